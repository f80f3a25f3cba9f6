//! The inbox port: durable deliveries that are not evaluated yet.
//!
//! A delivery is acknowledged once it is stored here: the forge sends each only once, and its
//! evaluation needs the forge, which may be down. It is removed when its runs are durable, so it is
//! evaluated at least once. Run names derive from it, so a second evaluation has no effect.

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::PortError;

/// The maximum number of deliveries in the inbox. It is reached only if the forge sends many
/// deliveries while its API is down for hours.
pub const MOST_ITEMS: u64 = 10_000;

/// A delivery that waits for evaluation. Its body is opaque to stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    /// The sort key: the oldest delivery first. At most 100 bytes of ASCII.
    pub key: String,
    /// Time at which it was received.
    pub received_at: Timestamp,
    /// The delivery, stored unchanged.
    pub body: Vec<u8>,
}

impl InboxItem {
    /// Creates an item for a delivery with this digest. The key includes the time of receipt.
    pub fn new(received_at: Timestamp, digest: &str, body: Vec<u8>) -> Self {
        Self { key: format!("{:020}-{digest}", received_at.as_microsecond()), received_at, body }
    }

    /// Restores an item from a store; `None` if the key is not one that [`Self::new`] makes.
    pub fn stored(key: &str, body: Vec<u8>) -> Option<Self> {
        let received_at = Timestamp::from_microsecond(Self::received(key)?).ok()?;
        Some(Self { key: key.to_owned(), received_at, body })
    }

    /// Returns when the item of a key was received, in microseconds of Unix time.
    pub fn received(key: &str) -> Option<i64> {
        key.split('-').next()?.parse().ok()
    }
}

/// Stores deliveries until they are evaluated.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a delivery. `Ok(true)`: it is durable; `Ok(false)`: the inbox is full.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be written.
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError>;
    /// Returns the oldest deliveries after a key, at most `most`. An empty key: from the oldest.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be read.
    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError>;
    /// Removes a delivery. Succeeds if it does not exist.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be written.
    async fn take_out(&self, key: &str) -> Result<(), PortError>;
    /// Checks whether a delivery can be stored, with a harmless write that [`Self::oldest`] never
    /// returns. `holder` names this process, so that replicas do not interfere.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be written.
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError>;
}
