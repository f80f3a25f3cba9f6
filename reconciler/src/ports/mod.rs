//! Ports: what the controller needs from outside, and no more than it calls.

mod archive;
pub mod check;
mod clock;
mod compute;
mod cursor;
mod error;
mod forge;
mod formats;
mod inbox;
mod queue;
mod store;

use std::sync::Arc;

pub use archive::{Archive, Snapshot, SnapshotPart, StoreItem};
pub use clock::{Clock, TrueTime};
pub use compute::{Compute, MachineEnds, MachineLog};
pub use cursor::Cursor;
pub use error::{ErrorKind, PortError};
pub use forge::{Forge, RegistrationLists, RerunAnswer, SeenJob, WaitingJob};
pub use formats::{Announced, NewerRecord, ReadByAll, UnreadRecords};
pub use inbox::{Inbox, InboxItem, MOST_ITEMS};
pub use queue::{Delivery, LONGEST_DELAY, Queue, QueueDepth};
pub use store::{
    Expect, Filter, OpenRun, Page, RERUNS_KEPT, RunStore, Seat, Sharing, USAGE_MONTHS,
};

/// The five ports of a controller.
#[derive(Clone)]
pub struct Ports {
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Stores runs, seats, pauses and leases.
    pub store: Arc<dyn RunStore>,
    /// Delivers wake-ups.
    pub queue: Arc<dyn Queue>,
    /// Launches and terminates machines.
    pub compute: Arc<dyn Compute>,
    /// Reads jobs and manages registrations.
    pub forge: Arc<dyn Forge>,
}
