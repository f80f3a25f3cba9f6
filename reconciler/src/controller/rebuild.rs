//! Makes a lost store again, from the machines' tags, the registrations and the waiting jobs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Controller;
use crate::model::{
    AttemptId, Class, ClassName, JobRef, Machine, MachineId, Registration, Registrations, RepoRef,
    Run, RunName, SeatLimits, serving,
};
use crate::plan::{LeftOver, rebuilt};
use crate::ports::{ErrorKind, Expect, Filter, PortError, RegistrationLists, WaitingJob};

/// The seats and runs that a rebuild writes, or would write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// Whether they were written.
    pub written: bool,
    /// Jobs that the forge lists as waiting; `None` in push mode, where nothing lists them.
    pub waiting_jobs: Option<usize>,
    /// Whether the registrations could be listed. Otherwise a machine that is not listed yet is
    /// not waited for.
    pub registrations_listed: bool,
    /// The remains of attempts: those with a machine first.
    pub items: Vec<RebuiltItem>,
}

/// The remains of an attempt, and the records that are written for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuiltItem {
    /// The attempt.
    pub attempt_id: AttemptId,
    /// Its machine; `None` if only its registration is left.
    pub machine: Option<MachineId>,
    /// Its class.
    pub class: ClassName,
    /// The repository of its job, `owner/name`; empty if it is not known.
    pub repo: String,
    /// The ID of that repository at the forge; 0 if it is not known.
    #[serde(default)]
    pub repo_id: i64,
    /// Whether a run is written that has it: its job waits, and has no newer attempt.
    pub run: bool,
    /// Whether a seat is written for it: its class has a limit.
    pub seat: bool,
}

/// The machines, waiting jobs and registrations that are read for a rebuild.
struct Remains {
    machines: Vec<Machine>,
    jobs: Option<BTreeMap<RunName, WaitingJob>>,
    registrations: Registrations,
}

impl Controller {
    /// Makes a lost store again, or only says what that would write. Waiting jobs of which nothing
    /// is left are for the next poll. A machine of a job that does not wait gets a seat and no run.
    ///
    /// # Errors
    /// `Conflict` if the store holds runs; or the error of a read or a write. After an error of a
    /// write a part may be written.
    pub async fn rebuild(&self, write: bool) -> Result<RebuildReport, PortError> {
        self.refuse_runs().await?;
        let remains = self.remains().await?;
        let now = self.ports.clock.now();
        let settings = self.settings();
        let mut report = RebuildReport {
            written: write,
            waiting_jobs: remains.jobs.as_ref().map(BTreeMap::len),
            registrations_listed: matches!(remains.registrations, Registrations::Seen(_)),
            items: Vec::new(),
        };
        let mut runs = Vec::new();
        let latest = remains.latest();
        for left in remains.all() {
            let name = &left.attempt_id.run;
            let job = remains.jobs.as_ref().and_then(|jobs| jobs.get(name));
            let by = job.and_then(|job| serving(&settings.classes, &job.job.repo, &job.runs_on));
            let is_latest = latest.get(name) == Some(&left);
            let run = match (job, by) {
                (Some(job), Some(class)) if is_latest => Some(rebuilt(job, class, &left, now)),
                _ => None,
            };
            let class = match (left.machine, by) {
                (Some(machine), _) => machine.class.clone(),
                (None, Some(class)) => class.name.clone(),
                // A registration alone, of a job that does not wait: a sweep removes it.
                (None, None) => continue,
            };
            let has_limit = |own: &Class| own.name == class && own.has_limit();
            let counts = left.machine.is_some() || run.is_some();
            let seat = counts && settings.classes.iter().any(has_limit);
            report.items.push(RebuiltItem {
                attempt_id: left.attempt_id.clone(),
                machine: left.machine.map(|machine| machine.id.clone()),
                class,
                repo: self.repo_of(&left, job).await?,
                repo_id: job.map_or_else(|| left.repo_id(), |job| job.job.repo_id),
                run: run.is_some(),
                seat,
            });
            runs.extend(run);
        }
        if write {
            self.write_rebuilt(&report.items, &runs).await?;
        }
        Ok(report)
    }

    /// Refuses a store that holds runs: their records know more than what is left outside.
    async fn refuse_runs(&self) -> Result<(), PortError> {
        let filter = Filter { limit: 1, ..Filter::default() };
        let page = self.ports.store.page(&filter, None).await?;
        if page.items.is_empty() && page.next.is_none() && self.ports.store.unreadable() == 0 {
            return Ok(());
        }
        let message = "the store holds runs, which a rebuild would contradict";
        Err(PortError::new("store", "rebuild", ErrorKind::Conflict, message))
    }

    async fn remains(&self) -> Result<Remains, PortError> {
        let jobs = self.ports.forge.waiting().await?;
        let machines = self.ports.compute.list().await?;
        let machines: Vec<Machine> = machines.into_iter().filter(Machine::is_live).collect();
        let mut lists = BTreeSet::from([0]);
        if self.ports.forge.registration_lists() == RegistrationLists::PerRepository {
            lists = machines.iter().map(|machine| machine.repo_id).collect();
            lists.extend(jobs.iter().flatten().map(|job| job.job.repo_id));
        }
        let own = self.settings().installation_id();
        let (mut rows, mut all_listed) = (Vec::new(), true);
        for repo_id in lists {
            match self.ports.forge.registrations(repo_id).await? {
                Registrations::Seen(listed) => rows.extend(listed),
                Registrations::Unknown => all_listed = false,
            }
        }
        rows.retain(|row: &Registration| row.attempt_id.is_of(&own) && row.missing_since.is_none());
        let registrations =
            if all_listed { Registrations::Seen(rows) } else { Registrations::Unknown };
        let named = |job: WaitingJob| (RunName::job(job.job.job_id), job);
        let jobs = jobs.map(|jobs| jobs.into_iter().map(named).collect());
        Ok(Remains { machines, jobs, registrations })
    }

    /// Returns the repository of a job; empty if the forge does not tell it.
    async fn repo_of(
        &self,
        left: &LeftOver<'_>,
        job: Option<&WaitingJob>,
    ) -> Result<String, PortError> {
        if let Some(job) = job {
            return Ok(job.job.repo.clone());
        }
        let repo_id = left.repo_id();
        let job_id = left.attempt_id.run.as_str().strip_prefix("job-");
        let Some(job_id) = job_id.and_then(|id| id.parse().ok()).filter(|_| repo_id > 0) else {
            return Ok(String::new());
        };
        let job = JobRef { repo: String::new(), repo_id, job_id };
        Ok(self.ports.forge.job(&job).await?.repo.unwrap_or_default())
    }

    /// Writes seats first: a rebuild that ends here can be repeated.
    async fn write_rebuilt(&self, items: &[RebuiltItem], runs: &[Run]) -> Result<(), PortError> {
        let store = &self.ports.store;
        for item in items.iter().filter(|item| item.seat) {
            // What is there counts, whatever the limits are now.
            let no_limits = SeatLimits::default();
            let repo = RepoRef { id: item.repo_id, name: &item.repo };
            store.seat(&item.class, &item.attempt_id, repo, no_limits).await?;
        }
        for run in runs {
            store.put(run, Expect::Absent).await?;
        }
        Ok(())
    }
}

impl Remains {
    /// Returns what is left: each machine, then each registration without one.
    fn all(&self) -> Vec<LeftOver<'_>> {
        let rows = self.registrations.seen();
        let has_machine =
            |row: &Registration| self.machines.iter().any(|m| m.attempt_id == row.attempt_id);
        let machines = self.machines.iter().map(|machine| LeftOver {
            attempt_id: &machine.attempt_id,
            machine: Some(machine),
            registration: rows.iter().find(|row| row.id == machine.registration),
        });
        // One with a job has a machine that is not listed, and none is to come.
        let alone = rows.iter().filter(|row| !row.busy && !has_machine(row));
        let alone = alone.map(|row| LeftOver {
            attempt_id: &row.attempt_id,
            machine: None,
            registration: Some(row),
        });
        machines.chain(alone).collect()
    }

    /// Returns the latest attempt of each run: the one with a machine, then the last registered.
    fn latest(&self) -> BTreeMap<RunName, LeftOver<'_>> {
        let order = |left: &LeftOver<'_>| -> (bool, Timestamp, i64, u32) {
            let launched_at = left.machine.map_or(Timestamp::MIN, |machine| machine.launched_at);
            let registration = left.registration.map_or(0, |row| row.id);
            (left.machine.is_some(), launched_at, registration, left.attempt_id.number)
        };
        let mut latest: BTreeMap<RunName, LeftOver<'_>> = BTreeMap::new();
        for left in self.all() {
            let name = left.attempt_id.run.clone();
            if latest.get(&name).is_none_or(|known| order(known) < order(&left)) {
                latest.insert(name, left);
            }
        }
        latest
    }
}
