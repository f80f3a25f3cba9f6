//! The forge.

use async_trait::async_trait;

use super::error::PortError;
use crate::model::{About, Job, JobRef, Registration, Registrations, Runner, Slot};

/// A job that the forge holds for a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingJob {
    /// The job.
    pub job: JobRef,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// For people.
    pub about: About,
}

/// The forge.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Jobs that wait for a runner, as far as the list tells. `None` in push mode.
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError>;
    /// One job by its id.
    async fn job(&self, job: &JobRef) -> Result<Job, PortError>;
    /// All rows whose names are slots. Absence from it says nothing.
    async fn registrations(&self) -> Result<Registrations, PortError>;
    /// One row by its id. `None`: 404 while the forge answers.
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError>;
    /// Makes an ephemeral registration. Not idempotent.
    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError>;
    /// Removes a registration; success where it is gone.
    async fn retire(&self, id: i64) -> Result<(), PortError>;
}
