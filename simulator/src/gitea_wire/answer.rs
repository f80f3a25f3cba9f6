//! Error responses of the API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Returns a status with Gitea's message.
pub(super) fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message, "url": "/api/swagger"}))).into_response()
}

pub(super) fn missing() -> Response {
    refuse(StatusCode::NOT_FOUND, "The target couldn't be found.")
}
