//! The forge port: jobs and registrations.

use async_trait::async_trait;
use jiff::Timestamp;

use super::error::PortError;
use crate::model::{About, AttemptId, Job, JobRef, JobTimes, Registration, Registrations, Runner};

/// A job that waits for a runner at the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingJob {
    /// The job.
    pub job: JobRef,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// Informational: affects no decision.
    pub about: About,
    /// When the forge created this attempt of the job, if it tells that. Affects no decision.
    pub created_at: Option<Timestamp>,
}

/// A job, as the forge shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenJob {
    /// Its state.
    pub state: Job,
    /// What the forge tells besides.
    pub times: JobTimes,
}

/// A job of which only the state is known.
impl From<Job> for SeenJob {
    fn from(state: Job) -> Self {
        Self { state, times: JobTimes::default() }
    }
}

/// Reads jobs and manages registrations at the forge.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Returns the listed jobs that wait for a runner, possibly not all; `None` in push mode.
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError>;
    /// Returns a job.
    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError>;
    /// Returns all registrations whose names are attempt IDs. Absence proves nothing.
    async fn registrations(&self) -> Result<Registrations, PortError>;
    /// Returns a registration by its ID; `None` for a 404 while the forge answers.
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError>;
    /// Creates an ephemeral registration. Not idempotent.
    async fn register(
        &self,
        attempt_id: &AttemptId,
        labels: &[String],
    ) -> Result<Runner, PortError>;
    /// Removes a registration. Succeeds if it is already gone.
    async fn retire(&self, id: i64) -> Result<(), PortError>;
}
