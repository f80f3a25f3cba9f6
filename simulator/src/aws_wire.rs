//! What the AWS mouths have in common: one HTTP server, faults by rule, a ledger of every call.

mod faults;
mod ledger;
mod server;

pub use faults::{Kind, Rule, Rules, When};
pub use ledger::{Entry, Ledger};

pub(crate) use faults::{chance, draw};
pub(crate) use server::{Answer, Head, Reply, Server, Service, Twist, caller, request_id};

use std::time::Duration;

/// How long an operation takes to be answered, beside what it really takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Operations by name.
    pub of: Vec<(String, Duration)>,
    /// Every other.
    pub other: Duration,
}

impl Latency {
    /// Of an operation.
    pub fn of(&self, operation: &str) -> Duration {
        let named = self.of.iter().find(|(name, _)| name == operation);
        named.map_or(self.other, |(_, wait)| *wait)
    }
}
