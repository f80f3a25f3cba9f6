//! The forge as the decided mode shows it: with its job list, or without.

use std::sync::Arc;

use async_trait::async_trait;
use tinqs_ci_reconciler::model::{
    AttemptId, Job, JobRef, JobRunner, Registration, Registrations, RepoRef, RerunScope, Runner,
    WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Forge, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};
use tokio::sync::OnceCell;

use super::{DemandConfig, Mode, ModeChoice, Refusal, ask, version_for_rules};
use crate::client::Client;
use crate::version::Version;

/// A forge with its source of demand. In mode `auto`, if the forge was down at start, the first
/// call that it answers decides the mode.
pub struct DemandSource {
    client: Arc<Client>,
    config: DemandConfig,
    chosen: OnceCell<ModeChoice>,
    version: OnceCell<Version>,
}

impl DemandSource {
    /// Sends nothing yet.
    pub fn new(client: Arc<Client>, config: DemandConfig) -> Self {
        Self { client, config, chosen: OnceCell::new(), version: OnceCell::new() }
    }

    /// Returns the client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the mode once it is decided.
    pub fn known(&self) -> Option<Mode> {
        self.chosen.get().map(|choice| choice.mode)
    }

    /// Decides the mode, or returns the earlier decision. The inner error: no mode fits.
    ///
    /// # Errors
    /// The forge does not answer; nothing is decided.
    pub async fn choose(&self) -> Result<Result<&ModeChoice, Refusal>, PortError> {
        if let Some(choice) = self.chosen.get() {
            return Ok(Ok(choice));
        }
        match ask(&self.client, self.config).await? {
            Ok(choice) => Ok(Ok(self.chosen.get_or_init(async || choice).await)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Uses the configured mode although the forge does not answer; with `auto`, nothing is
    /// decided.
    pub fn assume(&self) {
        if let Some(mode) = self.config.fixed() {
            let why = "as configured, the forge has not answered yet".to_owned();
            // If another caller decided it first, that decision stands.
            let _ = self.chosen.set(ModeChoice { mode, why });
        }
    }

    /// Returns the mode.
    ///
    /// # Errors
    /// `Unavailable` while it cannot be decided, `Denied` if no mode fits.
    pub async fn mode(&self) -> Result<Mode, PortError> {
        match self.choose().await? {
            Ok(choice) => Ok(choice.mode),
            Err(refusal) => {
                Err(PortError::new("forge", "mode", ErrorKind::Denied, refusal.to_string()))
            }
        }
    }

    /// Returns the server's version; asks for it once.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn version(&self) -> Result<&Version, PortError> {
        self.version.get_or_try_init(|| self.client.version()).await
    }

    /// Returns the rules of the forge's release line.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn dialect(&self) -> Result<tinqs_ci_workflow::Dialect, PortError> {
        self.version().await.map(version_for_rules)
    }
}

#[async_trait]
impl Forge for DemandSource {
    fn true_time(&self) -> TrueTime {
        self.client.true_time()
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        match self.mode().await? {
            Mode::Jobs => self.client.waiting().await,
            Mode::Push => Ok(None),
        }
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        match self.mode().await? {
            Mode::Jobs => self.client.job(job).await,
            Mode::Push => Ok(Job::Unobservable.into()),
        }
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.client.registration_lists()
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        self.client.registrations(repo_id).await
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        self.client.registration(id, repo_id).await
    }

    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        match self.mode().await? {
            Mode::Jobs => self.client.at_work(repo_id).await,
            Mode::Push => Ok(None),
        }
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        self.client.register(attempt_id, repo, labels).await
    }

    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        self.client.disable(id, repo_id).await
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.client.retire(id, repo_id).await
    }

    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        self.client.workflow_run(job, run_id).await
    }

    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        self.client.rerun(job, run_id, scope).await
    }
}
