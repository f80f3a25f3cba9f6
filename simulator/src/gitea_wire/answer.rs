//! What the API answers with when it does not do what was asked.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A status with Gitea's message.
pub(super) fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message, "url": "/api/swagger"}))).into_response()
}

pub(super) fn missing() -> Response {
    refuse(StatusCode::NOT_FOUND, "The target couldn't be found.")
}
