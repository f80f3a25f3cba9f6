//! What the world must offer, as small as the controller's calls.

pub mod check;
mod clock;
mod compute;
mod cursor;
mod error;
mod forge;
mod inbox;
mod queue;
mod store;

use std::sync::Arc;

pub use clock::Clock;
pub use compute::{Compute, MachineEnds};
pub use cursor::Cursor;
pub use error::{ErrorKind, PortError};
pub use forge::{Forge, WaitingJob};
pub use inbox::{Inbox, InboxItem, MOST_ITEMS};
pub use queue::{Delivery, Queue};
pub use store::{Expect, Filter, OpenRun, Page, RunStore, Seat};

/// The five ports, as the controller holds them.
#[derive(Clone)]
pub struct Ports {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where runs are kept.
    pub store: Arc<dyn RunStore>,
    /// Wake-ups.
    pub queue: Arc<dyn Queue>,
    /// Where machines are.
    pub compute: Arc<dyn Compute>,
    /// The forge.
    pub forge: Arc<dyn Forge>,
}
