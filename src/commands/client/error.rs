//! Errors of the client.

use reqwest::StatusCode;
use tinqs_ci_net::Distrust;
use tinqs_ci_reconciler::text::cut;

use super::DEFAULT_URL;

/// An error of the client; its variants have different exit codes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is invalid.
    #[error("`{url}` is not a server address: expected one such as {DEFAULT_URL}")]
    Address {
        /// The given address.
        url: String,
    },
    /// The server cannot be reached.
    #[error("cannot reach the server at {url}: {why}")]
    Unreachable {
        /// The server's address.
        url: String,
        /// The cause.
        why: String,
    },
    /// The server at the address is not believed to be it.
    #[error("cannot use the server at {url}: {}", cut(&.why.to_string(), 300))]
    Distrusted {
        /// The server's address.
        url: String,
        /// The cause.
        why: Distrust,
    },
    /// The object does not exist.
    #[error("{kind} `{name}` not found{}", detail_after(.detail))]
    NotFound {
        /// The kind: `run`, `machine`, `commit`.
        kind: &'static str,
        /// The requested name.
        name: String,
        /// Further details from the server.
        detail: String,
    },
    /// The server rejected the request.
    #[error("the server rejected the request: {status}{}", detail_after(.detail))]
    Refused {
        /// The status.
        status: StatusCode,
        /// The message of the server.
        detail: String,
    },
    /// The response does not come from a tinqs-ci server.
    #[error("unexpected response from {url}: {why}")]
    Garbled {
        /// The server's address.
        url: String,
        /// The problem with the response.
        why: String,
    },
}

impl Error {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Address { .. }
            | Self::Distrusted { .. }
            | Self::NotFound { .. }
            | Self::Garbled { .. } => false,
        }
    }
}

fn detail_after(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {}", cut(detail, 500)) }
}
