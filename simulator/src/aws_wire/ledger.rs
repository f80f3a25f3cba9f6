//! What was asked for, call by call.

use jiff::Timestamp;
use serde::Serialize;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it came.
    pub at: Timestamp,
    /// The access key id that signed it.
    pub caller: String,
    /// `ec2`, `sts`, `iam`, `sqs`.
    pub service: String,
    /// The operation.
    pub op: String,
    /// What it was about, in number: machines, messages, rows of an answer.
    pub items: usize,
    /// Of the request's body.
    pub bytes_in: usize,
    /// Of the answer's body.
    pub bytes_out: usize,
    /// Taken from the buckets: for the call, and for what it is about.
    pub tokens: (u32, u32),
    /// HTTP's; 0 where there was no answer.
    pub status: u16,
    /// The error's name; empty where it was no error.
    pub code: String,
}

/// Every call so far, oldest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ledger {
    /// The calls.
    pub entries: Vec<Entry>,
}

impl Ledger {
    /// The calls of an operation.
    pub fn of<'a>(&'a self, op: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.op == op)
    }

    /// How many calls of an operation there were, refused ones included.
    pub fn count(&self, op: &str) -> usize {
        self.of(op).count()
    }

    /// How many calls were refused for pace.
    pub fn throttled(&self) -> usize {
        let codes = ["RequestLimitExceeded", "RequestThrottled"];
        self.entries.iter().filter(|entry| codes.contains(&entry.code.as_str())).count()
    }
}
