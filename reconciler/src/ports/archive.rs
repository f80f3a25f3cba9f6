//! The archive port: everything that a store keeps, read for a backup, and put into an empty store.

use async_trait::async_trait;

use super::error::PortError;
use super::inbox::InboxItem;
use super::store::Seat;
use crate::model::{ClassName, Pause, Run, Usage};

/// An item that a store keeps. Leases are none: they end within minutes, and belong to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreItem {
    /// A run with its version, and with the credentials that its record has.
    Run(Box<Run>),
    /// A seat in a class.
    Seat {
        /// The class.
        class: ClassName,
        /// The attempt that holds it, and its repository.
        seat: Seat,
    },
    /// A pause.
    Pause(Pause),
    /// The usage of a day and a key.
    Usage(Usage),
    /// A delivery that is not evaluated yet.
    Delivery(InboxItem),
}

/// A part of a [`Snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The items.
    pub items: Vec<StoreItem>,
    /// The number of items that could not be decoded. They are logged, and left out.
    pub unreadable: u64,
}

/// A reading of everything that a store keeps.
#[async_trait]
pub trait Snapshot: Send {
    /// Returns the next part, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// Returns the store's error. Nothing follows it.
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError>;
}

/// Reads everything that a store keeps, and fills an empty store.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Begins to read everything.
    ///
    /// # Guarantees
    /// Each item is one that was stored at some moment between this call and the end. Deliveries
    /// and usage are not read later than runs, and seats not earlier: a delivery is there, or its
    /// runs are; a recorded attempt has its seat; nothing that a run still has to count is in the
    /// usage already. A store that can reads all items of one moment.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be read.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, PortError>;
    /// Returns whether the store keeps nothing, leases aside.
    ///
    /// # Errors
    /// Returns the store's error if it cannot be read.
    async fn is_empty(&self) -> Result<bool, PortError>;
    /// Adds items of a snapshot. Runs keep their versions.
    ///
    /// # Errors
    /// `Conflict` if one of the runs exists; or the store's error. Some of the items may be there
    /// then.
    async fn insert(&self, items: Vec<StoreItem>) -> Result<(), PortError>;
}
