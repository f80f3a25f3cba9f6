//! `GET /openapi.json`: the description of `/v1`.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// The file of `schemas/`, which a test compares with the types.
const DOCUMENT: &str = include_str!("../../../schemas/openapi.json");

/// `GET /openapi.json`.
pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
