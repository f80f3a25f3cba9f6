//! The compute port: machines.

use async_trait::async_trait;

use super::error::PortError;
use crate::model::{Attempt, AttemptId, Machine, MachineId, MachineSpec, MicroUsd, RunName};

/// Launches, lists and terminates machines.
///
/// # Errors
/// Every call returns the cloud's error: `Unavailable` or `Throttled` if a retry may help, `Denied`
/// or `Invalid` if an operator must act. Only a launch is refused with `NoCapacity` or `Limit`. A
/// launch that failed with `Unavailable` may have happened.
#[async_trait]
pub trait Compute: Send + Sync {
    /// Returns all machines with our tag, terminated ones too for a while. May lag: absence
    /// proves nothing.
    async fn list(&self) -> Result<Vec<Machine>, PortError>;
    /// Returns a machine by its ID; `None` if it is not found or not ours.
    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError>;
    /// Returns the image that a configured name stands for now: the name itself if it is an image.
    ///
    /// # Errors
    /// `Denied`, `Invalid`: it stands for none. A launch of it is refused with the same error.
    async fn image(&self, named: &str) -> Result<String, PortError> {
        Ok(named.to_owned())
    }
    /// Launches the machine of a placement of a recorded attempt.
    ///
    /// # Guarantees
    /// The same attempt ID and placement return the same machine, even after it has terminated.
    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError>;
    /// Terminates a machine of ours. Succeeds if it is already gone.
    async fn terminate(&self, id: &MachineId) -> Result<(), PortError>;
    /// Returns the last `most` bytes, or fewer, of what a machine printed, also for a while after
    /// its end. `None` if it has printed nothing yet, if its log is gone, or if it is not ours.
    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError>;
    /// Returns the machines that carry our tags and that we did not launch, as last listed. Nothing
    /// touches them.
    fn foreign(&self) -> Vec<MachineId> {
        Vec::new()
    }
    /// Returns whether the launch pacer has a token left.
    fn room(&self) -> bool;
    /// Reads the spot prices of these kinds, if there are such prices and they were not read lately.
    /// A failure leaves them as they are.
    async fn read_prices(&self, _kinds: &[String]) {}
    /// Returns the spot price per hour of a kind in a zone, as last read; with an empty zone, the
    /// highest of all zones. `None`: not known.
    fn spot_price(&self, _kind: &str, _zone: &str) -> Option<MicroUsd> {
        None
    }
    /// Returns the current spot price per hour of each machine's pool: of its kind in the zone of its
    /// subnet, from a reading at most ten minutes old if the cloud answers, and never from one older
    /// than an hour. `None`: not known. A failure is no error: prices only order.
    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        vec![None; machines.len()]
    }
    /// Returns the zone of each machine's subnet, which never moves. `None`: there are no zones, or
    /// it is not known. A failure is no error: zones only order.
    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        vec![None; machines.len()]
    }
}

/// The end of a machine's log: text from outside, which may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineLog {
    /// The bytes as the machine printed them.
    pub bytes: Vec<u8>,
    /// Whether the log has earlier bytes.
    pub cut: bool,
}

/// Shows its size only, because it may hold credentials.
impl std::fmt::Debug for MachineLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, cut } = self;
        f.debug_struct("MachineLog").field("bytes", &bytes.len()).field("cut", cut).finish()
    }
}

impl MachineLog {
    /// Returns the end of a complete log.
    pub fn end_of(log: &[u8], most: usize) -> Self {
        let from = log.len().saturating_sub(most);
        Self { bytes: log[from..].to_vec(), cut: from > 0 }
    }
}

/// Reports terminated machines that this process notices before a listing shows them.
#[async_trait]
pub trait MachineEnds: Send + Sync {
    /// Returns the runs whose machines have ended since the last call.
    ///
    /// # Errors
    /// `Unavailable` if the machines cannot be checked now.
    async fn ended(&self) -> Result<Vec<RunName>, PortError>;
}
