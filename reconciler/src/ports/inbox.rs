//! Deliveries that are durable and not evaluated yet.
//!
//! A delivery is answered once it lies here: the forge sends each only once, and evaluating one asks
//! the forge, which may be down. It leaves when its runs are durable, so it is evaluated at least
//! once; runs have names that follow from the delivery, so twice is once.

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::PortError;

/// The most deliveries that may lie here at once. More come only where the forge tells much and
/// answers nothing for hours.
pub const MOST_ITEMS: u64 = 10_000;

/// A delivery that waits to be evaluated. Only who evaluates it understands its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    /// Its place: first come, first evaluated. At most 100 bytes of ASCII.
    pub key: String,
    /// When it was taken in.
    pub received_at: Timestamp,
    /// The delivery. Stores keep it as it is.
    pub body: Vec<u8>,
}

impl InboxItem {
    /// An item for a delivery with this digest. The same delivery at another time has another key.
    pub fn new(received_at: Timestamp, digest: &str, body: Vec<u8>) -> Self {
        Self { key: format!("{:020}-{digest}", received_at.as_microsecond()), received_at, body }
    }

    /// An item as a store keeps it; `None` where the key is not one that [`Self::new`] makes.
    pub fn stored(key: &str, body: Vec<u8>) -> Option<Self> {
        let received_at = Timestamp::from_microsecond(Self::received(key)?).ok()?;
        Some(Self { key: key.to_owned(), received_at, body })
    }

    /// When the item of a key was taken in, in microseconds of Unix time.
    pub fn received(key: &str) -> Option<i64> {
        key.split('-').next()?.parse().ok()
    }
}

/// Where deliveries lie until they are evaluated.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Takes one in; durable when it answers `Ok(true)`. `Ok(false)`: it is full.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError>;
    /// The oldest ones behind a key; an empty key: the oldest of all.
    ///
    /// # Errors
    /// The store's, where it cannot be read.
    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError>;
    /// Takes one out; success where it is not there.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    async fn take_out(&self, key: &str) -> Result<(), PortError>;
}
