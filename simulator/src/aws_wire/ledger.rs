//! The ledger: a record of every call.

use jiff::Timestamp;
use serde::Serialize;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Time of the call.
    pub at: Timestamp,
    /// Access key ID that signed it.
    pub caller: String,
    /// `ec2`, `sts`, `iam`, `sqs`.
    pub service: String,
    /// Operation.
    pub op: String,
    /// Number of its subjects: machines, messages, or rows of the response.
    pub items: usize,
    /// Size of the request's body.
    pub bytes_in: usize,
    /// Size of the response's body.
    pub bytes_out: usize,
    /// Tokens taken from the buckets: for the call, and for its subjects.
    pub tokens: (u32, u32),
    /// HTTP status; 0 without a response.
    pub status: u16,
    /// Error code; empty on success.
    pub code: String,
}

/// Every call so far, oldest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    /// The calls.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// Returns the calls of an operation.
    pub fn of<'a>(&'a self, op: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.op == op)
    }

    /// Returns the number of calls of an operation, including refused ones.
    pub fn count(&self, op: &str) -> usize {
        self.of(op).count()
    }

    /// Returns the number of throttled calls.
    pub fn throttled(&self) -> usize {
        let codes = ["RequestLimitExceeded", "RequestThrottled"];
        self.entries.iter().filter(|entry| codes.contains(&entry.code.as_str())).count()
    }
}
