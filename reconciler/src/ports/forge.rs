//! The forge port: jobs and registrations.

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::clock::TrueTime;
use super::error::PortError;
use crate::model::{
    About, AttemptId, Job, JobRef, JobRunner, JobTimes, Registration, Registrations, RepoRef,
    RerunScope, Runner, WorkflowRun,
};

/// A job that waits for a runner at the forge. The inbox holds it, also across an update: a new
/// field needs a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// The job.
    pub job: JobRef,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// Informational: affects no decision.
    pub about: About,
    /// Time at which the forge created this attempt of the job, if it tells that. Affects no
    /// decision.
    pub created_at: Option<Timestamp>,
}

/// A job, as the forge shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenJob {
    /// Its state.
    pub state: Job,
    /// The times of the job at the forge.
    pub times: JobTimes,
    /// The name of its repository, where the forge found it in one of another name than it was asked
    /// for.
    pub repo: Option<String>,
    /// The ID of its repository, where that is not the one it was asked for with.
    pub repo_id: Option<i64>,
    /// The labels it asks for; `None` if the forge does not tell them.
    pub runs_on: Option<Vec<String>>,
    /// The ID of the registration whose runner executes it, or executed it, also of one that is
    /// deleted since; `None` if no runner took it since it was last queued, or if the forge does not
    /// tell it.
    pub runner_id: Option<i64>,
}

/// A job of which only the state is known.
impl From<Job> for SeenJob {
    fn from(state: Job) -> Self {
        let times = JobTimes::default();
        Self { state, times, repo: None, repo_id: None, runs_on: None, runner_id: None }
    }
}

/// The forge's answer to a request to run jobs again. A missing right is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RerunAnswer {
    /// The jobs wait for runners again.
    Accepted,
    /// The workflow run is not over: somebody else ran jobs of it again.
    NotDone,
    /// The workflow run, the job or its repository no longer exists.
    NotFound,
    /// The server has no such call: before Gitea 1.26.
    Unsupported,
    /// The forge refuses it for another cause, as it says: the workflow is disabled, or was run as
    /// often as the server allows.
    Refused(String),
}

/// The lists that show the registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationLists {
    /// One list shows all that the installation makes.
    One,
    /// Each repository has a list of its own.
    PerRepository,
}

/// Reads jobs and manages registrations at the forge. A registration serves one repository, or
/// every repository of the scope; `repo_id` is the ID of that repository, or 0.
///
/// # Errors
/// Every call returns the forge's error: `Unavailable` or `Throttled` if a retry may help, `Denied`
/// if the token lacks a right, `Invalid` if the forge refuses the call or its answer has another
/// shape. A change that failed with `Unavailable` may have happened.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Returns the true time, as the last answer tells it. Reads no clock that can be set, and calls
    /// nothing.
    fn true_time(&self) -> TrueTime;
    /// Returns the listed jobs that wait for a runner, possibly not all; `None` in push mode.
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError>;
    /// Returns a job.
    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError>;
    /// Returns which lists show the registrations.
    fn registration_lists(&self) -> RegistrationLists;
    /// Returns the listed registrations whose names are attempt IDs: those of the scope for 0,
    /// otherwise those of a repository. Absence proves nothing.
    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError>;
    /// Returns a registration by its ID; `None` for a 404 while the forge answers and its repository
    /// is still the same, or is gone.
    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError>;
    /// Returns the runners that execute jobs of a repository now, or of every repository in scope for
    /// 0; also of jobs that are being canceled. `None` if that cannot be read: without a job list, or
    /// without the right to it.
    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError>;
    /// Creates an ephemeral registration in a repository, or in the scope if so configured. Not
    /// idempotent.
    ///
    /// # Errors
    /// `Denied` if the token may not register runners there.
    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError>;
    /// Disables a registration: the forge gives it no job any more, and one that it has goes on.
    /// Returns whether the forge can do that (since Gitea 1.26). Succeeds if it is already gone.
    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError>;
    /// Removes a registration. Succeeds if it is already gone.
    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError>;
    /// Returns a workflow run of a job's repository with the jobs of its latest attempt; `None` if
    /// it no longer exists.
    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError>;
    /// Asks to run jobs of a workflow run again. Not idempotent: read it before.
    ///
    /// # Errors
    /// `Denied` if the token may not change Actions of the repository.
    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError>;
}
