//! Errors of the Query protocol.

use crate::cloud::Refused;

/// An error with its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    /// Returns the error of an invalid parameter value.
    pub(super) fn value(name: &str, value: &str) -> Self {
        let value: String = value.chars().take(100).collect();
        let message = format!("Value ({value}) for parameter {name} is invalid.");
        Self::new("InvalidParameterValue", message)
    }

    /// Returns the response to a dry run that would have succeeded.
    pub(super) fn dry_run() -> Self {
        Self::new("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    }

    /// Returns the HTTP status.
    pub(super) fn status(&self) -> u16 {
        match self.code.as_str() {
            // A definite refusal, although the status blames the server.
            "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InternalError"
            | "InternalFailure" => 500,
            "RequestLimitExceeded" | "ServiceUnavailable" | "Unavailable" => 503,
            "UnauthorizedOperation" | "AccessDenied" => 403,
            "AuthFailure" => 401,
            "DryRunOperation" => 412,
            "NoSuchEntity" => 404,
            _ => 400,
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Self::new(refused.code, refused.message)
    }
}
