//! Wake-ups.

use async_trait::async_trait;

use super::error::PortError;
use crate::model::RunName;

/// A wake-up taken from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The run to look at.
    pub name: RunName,
    /// The queue's own handle.
    pub handle: String,
}

/// Wake-ups: names to look at, never what to do. At least once, in no order.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Asks for a look at a run.
    async fn wake(&self, name: &RunName) -> Result<(), PortError>;
    /// At most `max` wake-ups; waits a while where there is none, and may then answer none.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError>;
    /// This one has been looked at. What is not done comes again.
    async fn done(&self, delivery: Delivery) -> Result<(), PortError>;
}
