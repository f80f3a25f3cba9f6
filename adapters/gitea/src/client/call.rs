//! What is asked of the forge, and what was answered: built and read, not sent.

use axum::http::{HeaderMap, Method, StatusCode, header};
use serde::de::DeserializeOwned;

/// What is asked of the forge.
#[derive(Clone)]
pub(super) struct Call {
    /// The port's word for it.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// From the forge's address on, each segment escaped.
    pub(super) path: String,
    /// As JSON.
    pub(super) body: Option<Vec<u8>>,
    /// Whether the API token goes along.
    pub(super) with_token: bool,
    /// Whether it may be made twice.
    pub(super) repeats: bool,
    /// Whether a 500 of the forge's own is read around by whoever asks.
    pub(super) reads_around: bool,
}

impl Call {
    /// A reading of the API. `path` begins behind `/api/v1`.
    pub(super) fn get(operation: &'static str, path: &str) -> Self {
        Self::api(operation, Method::GET, path, None)
    }

    /// A call of the API. `path` begins behind `/api/v1`.
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

    /// The right that it takes. Scopes are categories of paths (`routers/api/v1/api.go`).
    pub(super) fn needs(&self) -> String {
        let access = if self.method == Method::GET { "read" } else { "write" };
        let path = self.path.strip_prefix("/api/v1").unwrap_or(&self.path);
        let (category, whose) = match path.split('/').nth(1).unwrap_or_default() {
            "admin" => ("admin", ", and belong to a site administrator"),
            "orgs" => ("organization", ", and belong to an owner of the organisation"),
            "user" => ("user", ""),
            _ if access == "write" => ("repository", ", and belong to the repository's owner"),
            _ => ("repository", ", and its user must be able to read the repository"),
        };
        format!("it must have the scope `{access}:{category}`{whose}")
    }
}

/// What the forge, or something in front of it, answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A page for people: not the forge's API, which speaks JSON.
    pub(super) fn is_html(&self) -> bool {
        let media = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        media.is_some_and(|media| media.trim_start().to_ascii_lowercase().starts_with("text/html"))
            || self.body.trim_ascii_start().starts_with(b"<")
    }

    /// A 404 by the forge itself.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && !self.is_html()
    }

    /// A 500 by the forge itself.
    pub(super) fn is_own_failure(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR && !self.is_html()
    }

    /// A header's text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, where it is.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}
