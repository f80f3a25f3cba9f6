//! Deliveries that are durable and not evaluated yet.
//!
//! A delivery is answered once it lies here: the forge sends each only once, and evaluating one asks
//! the forge, which may be down. It leaves when its runs are durable, so it is evaluated at least
//! once; runs have names that follow from the delivery, so twice is once.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::ports::PortError;

use super::occasion::Occasion;

/// Deliveries that may lie here at once. More come only where the forge tells much and answers
/// nothing for hours.
pub const MOST_ITEMS: u64 = 10_000;

/// A delivery that is to be evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// When it was taken in.
    pub received_at: Timestamp,
    /// What happened.
    pub occasion: Occasion,
}

impl Item {
    /// Its place: first come, first evaluated; the same delivery again has another.
    pub fn key(&self) -> String {
        let Self { received_at, occasion } = self;
        format!("{:020}-{}", received_at.as_microsecond(), occasion.digest())
    }
}

/// Where deliveries lie until they are evaluated.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Takes one in; durable when it answers `Ok(true)`. `Ok(false)`: it is full.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    async fn take_in(&self, item: &Item) -> Result<bool, PortError>;
    /// The oldest ones behind a key, with their keys; an empty key: the oldest of all.
    ///
    /// # Errors
    /// The store's, where it cannot be read.
    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<(String, Item)>, PortError>;
    /// Takes one out; success where it is not there.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    async fn take_out(&self, key: &str) -> Result<(), PortError>;
}
