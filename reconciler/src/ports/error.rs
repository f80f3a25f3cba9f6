//! What can go wrong at a port.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Cause;

/// What went wrong at a port, told apart by what helps.
#[derive(Debug, thiserror::Error)]
#[error("{port} {operation}: {kind}: {message}")]
pub struct PortError {
    /// `store`, `queue`, `compute` or `forge`.
    pub port: &'static str,
    /// The call.
    pub operation: &'static str,
    /// What helps.
    pub kind: ErrorKind,
    /// What happened, for people, on one line; without secrets.
    pub message: String,
    /// What a refused launch speaks of, where that is known closer than by its kind.
    pub cause: Option<Cause>,
    /// The vendor's own words.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What helps against an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Somebody else wrote: look again.
    Conflict,
    /// The same call again later. Every ambiguous answer too: it may have happened.
    Unavailable,
    /// Not sent, or refused for pace: the same call later. It has not happened.
    Throttled,
    /// Definitive for this placement: no capacity. The cause says how far that reaches.
    NoCapacity,
    /// An account limit: the class's machines in that market are backed off.
    Limit,
    /// We may not: an operator must act. A launch refused so stops its class, unless its cause says
    /// that it reaches less far.
    Denied,
    /// What we ask for is wrong: an operator must act. As with `Denied`.
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
    /// An error without a vendor's words.
    pub fn new(
        port: &'static str,
        operation: &'static str,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self { port, operation, kind, message: message.into(), cause: None, source: None }
    }

    /// The same error, which speaks of no more than this.
    pub fn because(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The same error with the vendor's words.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}
