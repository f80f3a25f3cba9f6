//! Where machines are.

use async_trait::async_trait;

use super::error::PortError;
use crate::model::{Attempt, Instance, InstanceId, RunName, Slot};

/// Where machines are.
#[async_trait]
pub trait Compute: Send + Sync {
    /// All machines with our tag, also ended ones for a while. May lag: absence says nothing.
    async fn list(&self) -> Result<Vec<Instance>, PortError>;
    /// One machine by its id. `None`: not found (or not ours).
    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError>;
    /// Asks for the machine of a placement of a recorded attempt: same slot and placement, same
    /// machine. Its state is answered too: the token of an ended machine answers that machine.
    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError>;
    /// Ends a machine of ours; success where it is gone.
    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError>;
    /// Whether the launch pacer has a token to spare.
    fn room(&self) -> bool;
}

/// Machines whose ends are noticed by this process, sooner than a listing shows them.
#[async_trait]
pub trait MachineEnds: Send + Sync {
    /// Returns the runs whose machines have ended since this was last asked.
    ///
    /// # Errors
    /// `Unavailable` where the machines cannot be looked at now.
    async fn ended(&self) -> Result<Vec<RunName>, PortError>;
}
