//! The queue port: wake-ups.

use async_trait::async_trait;
use jiff::SignedDuration;

use super::error::PortError;
use crate::model::RunName;

/// The longest delay that a queue takes: that of SQS.
pub const LONGEST_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// A wake-up taken from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The run to reconcile.
    pub name: RunName,
    /// The queue's handle of this delivery.
    pub handle: String,
}

/// The number of messages in a queue. Shown to people; no decision reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Wake-ups that wait for delivery, without those whose delay is not over.
    pub visible: u64,
    /// Wake-ups that were delivered and not acknowledged.
    pub in_flight: u64,
    /// The age of the oldest one that waits for delivery, if one does.
    pub oldest_age: Option<SignedDuration>,
    /// Messages in the dead-letter queue: 0 if there is no such queue; `None`: not known.
    pub dead_letters: Option<u64>,
}

/// Delivers wake-ups: names of runs to reconcile, never what to do. At least once, in no order.
///
/// # Errors
/// Every call returns the queue's error: `Unavailable` or `Throttled` if a retry may help, `Denied`
/// or `Invalid` if an operator must act.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Requests a reconcile of a run.
    async fn wake(&self, name: &RunName) -> Result<(), PortError>;
    /// Requests a reconcile of a run after this delay, at most [`LONGEST_DELAY`], for a process that
    /// does not live until then. A queue within the process does nothing: its process wakes due
    /// runs.
    async fn wake_later(&self, _name: &RunName, _delay: SignedDuration) -> Result<(), PortError> {
        Ok(())
    }
    /// Returns at most `max` wake-ups. Waits a while if there is none, and may then return none.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError>;
    /// Acknowledges a wake-up. One that is not acknowledged is delivered again.
    async fn done(&self, delivery: Delivery) -> Result<(), PortError>;
    /// Returns what the queue holds; `None` if this queue does not tell.
    async fn depth(&self) -> Result<Option<QueueDepth>, PortError> {
        Ok(None)
    }
}
