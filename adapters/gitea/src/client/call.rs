//! Requests to the forge and their responses; nothing is sent here.

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde::de::DeserializeOwned;

/// A request to the forge.
#[derive(Clone)]
pub(super) struct Call {
    /// The operation's name in errors.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// The path after the forge's URL, each segment escaped.
    pub(super) path: String,
    /// The JSON body.
    pub(super) body: Option<Vec<u8>>,
    /// Whether to send the API token.
    pub(super) with_token: bool,
    /// Whether the call may be repeated.
    pub(super) repeats: bool,
    /// Whether the caller handles the forge's own 500 by reading smaller pages.
    pub(super) reads_around: bool,
}

impl Call {
    /// A read of the API. `path` begins after `/api/v1`.
    pub(super) fn get(operation: &'static str, path: &str) -> Self {
        Self::api(operation, Method::GET, path, None)
    }

    /// A call of the API. `path` begins after `/api/v1`.
    pub(super) fn api(
        operation: &'static str,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Self {
        Self {
            operation,
            repeats: method.is_idempotent(),
            method,
            path: format!("/api/v1{path}"),
            body,
            with_token: true,
            reads_around: false,
        }
    }

    /// Describes the permission it needs. Scopes are categories of paths (`routers/api/v1/api.go`).
    pub(super) fn needs(&self) -> String {
        let access = if self.method == Method::GET { "read" } else { "write" };
        let path = self.path.strip_prefix("/api/v1").unwrap_or(&self.path);
        let (category, whose) = match path.split('/').nth(1).unwrap_or_default() {
            "admin" => ("admin", ", and belong to a site administrator"),
            "orgs" => ("organization", ", and belong to an owner of the organization"),
            "user" => ("user", ""),
            _ if access == "write" => ("repository", ", and belong to the repository's owner"),
            _ => ("repository", ", and its user must be able to read the repository"),
        };
        format!("it must have the scope `{access}:{category}`{whose}")
    }
}

/// A response of the forge, or of something in front of it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether it is an HTML page: not the forge's API, which returns JSON.
    pub(super) fn is_html(&self) -> bool {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        media.is_some_and(|media| media.trim_start().to_ascii_lowercase().starts_with("text/html"))
            || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// Whether it is a 404 of the forge itself.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.is_html()
    }

    /// Whether it is a 500 of the forge itself.
    pub(super) fn is_own_failure(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR && !self.is_html()
    }

    /// Returns a header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Parses the body as JSON; `None` if that fails.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}
