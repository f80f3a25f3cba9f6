//! Errors as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use crate::api::Problem;

const MEDIA_TYPE: &str = "application/problem+json";
/// The scheme of `WWW-Authenticate`. Browsers ask nobody for it.
pub(super) const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"tinqs-ci\"");

/// The reason why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
    /// The wait before a retry, in seconds.
    pub(super) retry_after: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }

    pub(crate) fn again_in(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Returns the problem document.
    pub(super) fn problem(&self) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
        }
    }

    /// Returns a response with this body: a problem document, or an extended one.
    pub(super) fn answer(&self, body: &impl serde::Serialize) -> Response {
        let body = serde_json::to_vec(body).unwrap_or_default();
        let mut answer = (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, BEARER);
        }
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.answer(&self.problem())
    }
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Self {
        let detail = error.to_string();
        match error.kind {
            ErrorKind::Conflict => Self::new(StatusCode::CONFLICT, detail).again_in(1),
            ErrorKind::Unavailable | ErrorKind::Throttled => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(5)
            }
            ErrorKind::NoCapacity | ErrorKind::Limit | ErrorKind::Denied | ErrorKind::Invalid => {
                Self::new(StatusCode::BAD_GATEWAY, detail)
            }
        }
    }
}

/// Turns any other error response, except those of the page, into a problem document; drops its
/// text.
pub(super) fn from_answer(answer: Response) -> Response {
    let status = answer.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media = answer.headers().get(header::CONTENT_TYPE);
    let is_page = media.is_some_and(|media| media.as_bytes().starts_with(b"text/html"));
    let is_problem = media.is_some_and(|media| media.as_bytes() == MEDIA_TYPE.as_bytes());
    if !is_error || is_problem || is_page {
        return answer;
    }
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => "method not allowed: see `Allow`",
        StatusCode::BAD_REQUEST => "invalid request: check path and query",
        StatusCode::GATEWAY_TIMEOUT => "the response took too long: try again",
        StatusCode::NOT_FOUND => "this path does not exist",
        _ => "cannot serve the request",
    };
    let allow = answer.headers().get(header::ALLOW).cloned();
    let mut problem = Refusal::new(status, detail).into_response();
    if let Some(allow) = allow {
        problem.headers_mut().insert(header::ALLOW, allow);
    }
    problem
}
