//! Turns hints and demand into runs.

use jiff::Timestamp;

use super::{Controller, Hint};
use crate::model::{AttemptId, Run, RunName, SeenBy, Spec, serving};
use crate::ports::{ErrorKind, Expect, PortError, WaitingJob};

impl Controller {
    /// Ingests hints. Creates a run for each waiting job that a class serves and that has none, and
    /// returns how many it created.
    ///
    /// # Guarantees
    /// After `Ok`, each hint is durable as a run or a wake-up.
    ///
    /// # Errors
    /// Returns the store's or the queue's error if a hint could not be made durable.
    pub async fn ingest(&self, hints: &[Hint]) -> Result<usize, PortError> {
        self.cache.reset_idle();
        let own = self.settings().installation_id();
        let mut created = 0;
        for hint in hints {
            match hint {
                Hint::Queued(job) => {
                    created += usize::from(self.ensure_run(job, SeenBy::Webhook).await?);
                }
                Hint::Job { job_id, runner } => {
                    let attempt_id =
                        runner.as_deref().and_then(|name| name.parse::<AttemptId>().ok());
                    let attempt_id = attempt_id.filter(|it| !it.is_of_another(&own));
                    let run_name = RunName::job(*job_id);
                    if let Some(attempt_id) = &attempt_id {
                        let now = self.ports.clock.now();
                        self.cache.unclaimed.took(&run_name, attempt_id, now);
                        self.cache.unclaimed.told(attempt_id);
                    }
                    let displaced = attempt_id.map(|s| s.run).filter(|name| *name != run_name);
                    for name in std::iter::once(run_name).chain(displaced) {
                        if self.ports.store.get(&name).await?.is_some() {
                            self.ports.queue.wake(&name).await?;
                        }
                    }
                }
            }
        }
        Ok(created)
    }

    /// Creates and wakes the run of a waiting job, if a class serves it and there is none.
    pub(super) async fn ensure_run(&self, job: &WaitingJob, by: SeenBy) -> Result<bool, PortError> {
        let spec = Spec {
            job: job.job.clone(),
            runs_on: job.runs_on.clone(),
            about: job.about.clone(),
            ..Spec::default()
        };
        let queued_at = self.cache.queued.since(job, by, self.ports.clock.now());
        self.create_run(RunName::job(job.job.job_id), spec, by, queued_at).await
    }

    /// Creates and wakes a run that a push demands, if a class serves its labels and there is none.
    /// Returns whether it created the run.
    ///
    /// # Guarantees
    /// After `Ok`, the run is durable, or no class serves it.
    ///
    /// # Errors
    /// Returns the store's error if the run could not be made durable, and the queue's error if an
    /// existing run could not be woken.
    pub async fn demand_run(&self, name: RunName, spec: Spec) -> Result<bool, PortError> {
        self.create_run(name, spec, SeenBy::Push, None).await
    }

    async fn create_run(
        &self,
        name: RunName,
        spec: Spec,
        by: SeenBy,
        queued_at: Option<Timestamp>,
    ) -> Result<bool, PortError> {
        let settings = self.settings();
        if serving(&settings.classes, &spec.job.repo, &spec.runs_on).is_none() {
            return Ok(false);
        }
        self.cache.reset_idle();
        let now = self.ports.clock.now();
        let mut run = Run::new(&settings.installation, name.clone(), spec, by, now);
        run.status.wait.queued_at = queued_at;
        run.format = self.record_format();
        // No read first: most jobs are announced once, and the write detects an existing run.
        let created = match self.ports.store.put(&run, Expect::Absent).await {
            Ok(_) => true,
            // The run exists already.
            Err(error) if error.kind == ErrorKind::Conflict => false,
            Err(error) => return Err(error),
        };
        // The run is durable and due: a lost wake-up only delays it until the next poll.
        let woken = self.ports.queue.wake(&name).await;
        // An existing run may be gone by now: then only the wake-up is durable.
        if created { Ok(true) } else { woken.map(|()| false) }
    }
}
