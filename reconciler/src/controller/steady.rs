//! Watches the readings of the forge for rule 22: since when none failed, whether the forge can
//! disable registrations, and since when each of them is disabled. This is a cache: losing it costs
//! time, never safety.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::model::{
    AttemptId, ForgeRead, JobRef, JobRunner, Registration, Registrations, RepoRef, RerunScope,
    Runner, WorkflowRun,
};
use crate::ports::{
    Clock, Forge, PortError, RegistrationLists, RerunAnswer, SeenJob, TrueTime, WaitingJob,
};

/// A disabled registration is forgotten after this time; most are removed within minutes.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// The state of one process's readings of the forge.
pub(super) struct Steadiness {
    since: Mutex<Timestamp>,
    cannot_disable: AtomicBool,
    /// By ID: when the first answer came that showed a registration as disabled. It is one clock's
    /// time, because the clocks of replicas may differ by more than the wait.
    disabled: Mutex<HashMap<i64, Timestamp>>,
}

impl Steadiness {
    /// Forgets every reading before this time.
    pub(super) fn begin(&self, now: Timestamp) {
        *self.since.lock() = now;
    }

    /// Returns what an observation holds of these readings. `at`: when the registrations were read.
    pub(super) fn read(&self, at: Timestamp) -> ForgeRead {
        let cannot_disable = self.cannot_disable.load(Ordering::Relaxed);
        ForgeRead { steady_since: *self.since.lock(), at, cannot_disable }
    }

    /// Returns since when this process knows that a registration is disabled.
    pub(super) fn disabled_since(&self, id: i64) -> Option<Timestamp> {
        self.disabled.lock().get(&id).copied()
    }

    /// Notes whether an answer that has just come shows a registration as disabled. Returns since
    /// when it is; after a failed reading, and where the clock was set back, it counts from now.
    fn note_disabled(&self, id: i64, is_disabled: bool, now: Timestamp) -> Option<Timestamp> {
        let steady_since = *self.since.lock();
        let mut disabled = self.disabled.lock();
        let before = disabled.remove(&id);
        if !is_disabled {
            return None;
        }
        let since = before.filter(|at| (steady_since..=now).contains(at)).unwrap_or(now);
        disabled.retain(|_, at| now.duration_since(*at) < KEPT_FOR);
        disabled.insert(id, since);
        Some(since)
    }

    /// Adds to registrations since when they are disabled.
    fn date<'r>(&self, rows: impl IntoIterator<Item = &'r mut Registration>, now: Timestamp) {
        for row in rows {
            row.disabled_since = self.note_disabled(row.id, row.disabled == Some(true), now);
        }
    }
}

/// A forge whose failed readings are noted.
pub(super) struct Watched {
    forge: Arc<dyn Forge>,
    clock: Arc<dyn Clock>,
    known: Arc<Steadiness>,
}

impl Watched {
    /// Watches a forge from now on.
    pub(super) fn new(forge: Arc<dyn Forge>, clock: Arc<dyn Clock>) -> (Self, Arc<Steadiness>) {
        let since = Mutex::new(clock.now());
        let (cannot_disable, disabled) = (AtomicBool::new(false), Mutex::default());
        let known = Arc::new(Steadiness { since, cannot_disable, disabled });
        (Self { forge, clock, known: known.clone() }, known)
    }

    fn noted<T>(&self, answer: Result<T, PortError>) -> Result<T, PortError> {
        if answer.is_err() {
            *self.known.since.lock() = self.clock.now();
        }
        answer
    }
}

#[async_trait]
impl Forge for Watched {
    fn true_time(&self) -> TrueTime {
        self.forge.true_time()
    }

    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        self.noted(self.forge.waiting().await)
    }

    async fn job(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        self.noted(self.forge.job(job).await)
    }

    fn registration_lists(&self) -> RegistrationLists {
        self.forge.registration_lists()
    }

    async fn registrations(&self, repo_id: i64) -> Result<Registrations, PortError> {
        let mut answer = self.noted(self.forge.registrations(repo_id).await)?;
        if let Registrations::Seen(rows) = &mut answer {
            self.known.date(rows, self.clock.now());
        }
        Ok(answer)
    }

    async fn registration(&self, id: i64, repo_id: i64) -> Result<Option<Registration>, PortError> {
        let mut row = self.noted(self.forge.registration(id, repo_id).await)?;
        self.known.date(&mut row, self.clock.now());
        Ok(row)
    }

    async fn at_work(&self, repo_id: i64) -> Result<Option<Vec<JobRunner>>, PortError> {
        self.noted(self.forge.at_work(repo_id).await)
    }

    async fn register(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        self.forge.register(attempt_id, repo, labels).await
    }

    async fn disable(&self, id: i64, repo_id: i64) -> Result<bool, PortError> {
        let answer = self.forge.disable(id, repo_id).await;
        if let Ok(is_possible) = answer {
            self.known.cannot_disable.store(!is_possible, Ordering::Relaxed);
            self.known.note_disabled(id, is_possible, self.clock.now());
        }
        answer
    }

    async fn retire(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        self.forge.retire(id, repo_id).await
    }

    async fn workflow_run(
        &self,
        job: &JobRef,
        run_id: i64,
    ) -> Result<Option<WorkflowRun>, PortError> {
        self.forge.workflow_run(job, run_id).await
    }

    async fn rerun(
        &self,
        job: &JobRef,
        run_id: i64,
        scope: RerunScope,
    ) -> Result<RerunAnswer, PortError> {
        self.forge.rerun(job, run_id, scope).await
    }
}
