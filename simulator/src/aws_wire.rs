//! Shared parts of the AWS wires: one HTTP server, faults by rule, a ledger of every call.

mod faults;
mod ledger;
mod server;

pub use faults::{Kind, Rule, Rules, When};
pub use ledger::{Entry, Ledger};

pub(crate) use faults::{chance, draw};
pub(crate) use server::{Answer, Head, ReadFault, Reply, Server, Service, caller, request_id};

use std::time::Duration;

/// Latency of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Latency by operation.
    pub of: Vec<(String, Duration)>,
    /// Latency of all other operations.
    pub other: Duration,
}

impl Latency {
    /// Returns the latency of an operation.
    pub fn of(&self, operation: &str) -> Duration {
        let named = self.of.iter().find(|(name, _)| name == operation);
        named.map_or(self.other, |(_, wait)| *wait)
    }
}
