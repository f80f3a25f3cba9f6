//! Errors of ports.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Cause;

/// An error of a port, classified by its remedy.
#[derive(Debug, thiserror::Error)]
#[error("{port} {operation}: {kind}: {message}")]
pub struct PortError {
    /// `store`, `queue`, `compute` or `forge`.
    pub port: &'static str,
    /// The call that failed.
    pub operation: &'static str,
    /// The remedy.
    pub kind: ErrorKind,
    /// The failure, for people: one line without secrets.
    pub message: String,
    /// The cause of a refused launch, if it is known more precisely than by `kind`.
    pub cause: Option<Cause>,
    /// The vendor's error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The remedy for an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Somebody else wrote first: read again.
    Conflict,
    /// Retry the call later. Also used for ambiguous answers: the call may have had its effect.
    Unavailable,
    /// Not sent, or rate-limited: retry the call later. It had no effect.
    Throttled,
    /// No capacity: definitive for this placement. The cause says which offerings are affected.
    NoCapacity,
    /// An account limit: the class's machines in that market are unavailable for a while.
    Limit,
    /// A permission is missing: an operator must act. Opens the class's breaker if a launch is
    /// refused with it, unless the cause narrows it down.
    Denied,
    /// The request is invalid: an operator must act. Opens the breaker like `Denied`.
    Invalid,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::NoCapacity => "no capacity",
            Self::Limit => "limit",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
        })
    }
}

impl PortError {
    /// Creates an error without the vendor's error.
    pub fn new(
        port: &'static str,
        operation: &'static str,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { port, operation, kind, message: message.into(), cause: None, source: None }
    }

    /// Narrows the error down to a cause.
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Adds the vendor's error.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}
