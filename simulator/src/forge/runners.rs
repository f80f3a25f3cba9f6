//! The runners' API: registration, fetching a task, reporting on it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;
use uuid::Uuid;

use super::{
    ACTIVE_WITHIN, Forge, JobRow, JobSpec, Line, ONLINE_WITHIN, RACE_WINDOW, Scope, Status, digest,
    next,
};

/// A registration. Any process with uuid and token acts as the runner.
#[derive(Clone, PartialEq, Eq)]
pub struct RunnerRow {
    /// Its id.
    pub id: i64,
    /// First half of its credentials.
    pub uuid: String,
    /// Second half of its credentials.
    pub token: String,
    /// Its name; not unique.
    pub name: String,
    /// Its labels, without schemas.
    pub labels: Vec<String>,
    /// Whether it gets only one task and then loses its row.
    pub ephemeral: bool,
    /// The repositories that it serves.
    pub scope: Scope,
    /// The time since which it gets no more tasks.
    pub disabled_at: Option<Timestamp>,
    /// Time at which it was registered.
    pub created_at: Timestamp,
    /// Its last call of any kind.
    pub last_online: Option<Timestamp>,
    /// Its last report on a task.
    pub last_active: Option<Timestamp>,
    /// Its last task.
    pub last_task: Option<i64>,
}

impl fmt::Debug for RunnerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("labels", &self.labels)
            .field("ephemeral", &self.ephemeral)
            .field("last_online", &self.last_online)
            .field("last_task", &self.last_task)
            .finish_non_exhaustive()
    }
}

/// A task: one runner's execution of one job.
#[derive(Clone, Debug)]
pub(super) struct TaskRow {
    pub(super) job_id: i64,
    runner_id: i64,
    started_at: Timestamp,
    reported_at: Timestamp,
    done: Option<(Conclusion, Timestamp)>,
}

/// The pick against which other runners may lose the race.
#[derive(Clone, Debug)]
pub(super) struct Pick {
    at: Timestamp,
    runner_id: i64,
    repo: String,
    runs_on: Vec<String>,
}

/// A task assigned to a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The task's id.
    pub id: i64,
    /// The job it is about.
    pub job_id: i64,
    /// `owner/name`.
    pub repo: String,
    /// The job to run.
    pub spec: JobSpec,
}

/// The response to a fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// A task, if one is available for this runner.
    pub task: Option<Task>,
    /// The version to send with the next fetch: while it is current, the server does not search.
    pub tasks_version: i64,
}

/// The server's state of a reported task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Continue.
    Running,
    /// Ended, whatever was reported: `Cancelled` tells the runner to stop.
    Done(Conclusion),
    /// This runner has no such task (its repository was removed).
    Unknown,
}

/// The row is gone or the credentials are wrong: `Unauthenticated: unregistered runner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unregistered;

impl fmt::Display for Unregistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unregistered runner")
    }
}

impl std::error::Error for Unregistered {}

/// Returns whether `then` is at most `limit` ago.
fn within(then: Option<Timestamp>, now: Timestamp, limit: SignedDuration) -> bool {
    then.is_some_and(|then| now.duration_since(then) <= limit)
}

impl Forge {
    /// Registers a runner for all repositories. Not idempotent: each call creates a row.
    pub fn register(
        &mut self,
        now: Timestamp,
        name: &str,
        labels: &[String],
        ephemeral: bool,
    ) -> RunnerRow {
        self.register_in(now, Scope::Global, name, labels, ephemeral)
    }

    /// Registers a runner for a scope. Not idempotent: each call creates a row.
    pub fn register_in(
        &mut self,
        now: Timestamp,
        scope: Scope,
        name: &str,
        labels: &[String],
        ephemeral: bool,
    ) -> RunnerRow {
        let id = next(&mut self.last_id.runner);
        let row = RunnerRow {
            id,
            uuid: Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("runner/{id}").as_bytes()).to_string(),
            token: digest(&format!("runner token/{id}")),
            name: name.to_owned(),
            labels: labels.to_vec(),
            ephemeral,
            scope,
            disabled_at: None,
            created_at: now,
            last_online: None,
            last_active: None,
            last_task: None,
        };
        self.by_uuid.insert(row.uuid.clone(), id);
        self.runners.insert(id, row.clone());
        row
    }

    /// Deletes a row, busy or not; the zombie timer ends its task. Returns whether it existed.
    pub fn delete_runner(&mut self, id: i64) -> bool {
        let Some(row) = self.runners.remove(&id) else { return false };
        self.by_uuid.remove(&row.uuid);
        true
    }

    /// Disables a row, so that it gets no more tasks, or enables it. Returns whether it exists.
    pub fn disable_runner(&mut self, now: Timestamp, id: i64, disabled: bool) -> bool {
        let Some(row) = self.runners.get_mut(&id) else { return false };
        row.disabled_at = disabled.then(|| row.disabled_at.unwrap_or(now));
        true
    }

    /// Returns whether a row gets no task: it is disabled, and no request that came before that is
    /// under way.
    fn is_disabled(&self, row: &RunnerRow, now: Timestamp) -> bool {
        row.disabled_at.is_some_and(|at| now.duration_since(at) >= self.config.picks_for)
    }

    /// Returns a row by its ID.
    pub fn runner(&self, id: i64) -> Option<&RunnerRow> {
        self.runners.get(&id)
    }

    /// Returns all rows by ID.
    pub fn runners(&self) -> impl Iterator<Item = &RunnerRow> {
        self.runners.values()
    }

    /// Returns whether a runner was in contact within a minute.
    pub fn online(row: &RunnerRow, now: Timestamp) -> bool {
        within(row.last_online, now, ONLINE_WITHIN)
    }

    /// Returns whether the API shows a runner as busy: it reported on a task within ten seconds. A
    /// silent runner is not shown as busy.
    pub fn active(row: &RunnerRow, now: Timestamp) -> bool {
        Self::online(row, now) && within(row.last_active, now, ACTIVE_WITHIN)
    }

    /// Returns whether a runner has an unfinished task.
    pub fn busy(&self, row: &RunnerRow) -> bool {
        self.open_tasks.iter().any(|t| self.tasks.get(t).is_some_and(|t| t.runner_id == row.id))
    }

    /// Returns the row with these credentials and counts the call as contact.
    fn authenticate(
        &mut self,
        now: Timestamp,
        uuid: &str,
        token: &str,
    ) -> Result<&mut RunnerRow, Unregistered> {
        let id = self.by_uuid.get(uuid).ok_or(Unregistered)?;
        let row = self.runners.get_mut(id).filter(|r| r.token == token).ok_or(Unregistered)?;
        row.last_online = Some(now);
        Ok(row)
    }

    /// Declares that the runner process is running.
    pub fn declare(&mut self, now: Timestamp, uuid: &str, token: &str) -> Result<(), Unregistered> {
        self.authenticate(now, uuid, token).map(drop)
    }

    /// Declares the runner and replaces the labels of its registration. Returns the row.
    pub fn declare_labels(
        &mut self,
        now: Timestamp,
        uuid: &str,
        token: &str,
        labels: &[String],
    ) -> Result<RunnerRow, Unregistered> {
        let row = self.authenticate(now, uuid, token)?;
        row.labels = labels.to_vec();
        Ok(row.clone())
    }

    /// Fetches a task. Searches only if `tasks_version` (0 at start) is not current; picks the
    /// oldest waiting job in scope whose labels the runner has.
    pub fn fetch(
        &mut self,
        now: Timestamp,
        uuid: &str,
        token: &str,
        tasks_version: i64,
    ) -> Result<Fetched, Unregistered> {
        let row = self.authenticate(now, uuid, token)?.clone();
        if self.config.mute_until.is_some_and(|until| now < until) {
            // Returns the sent version, so that the runner is not stranded when the silence ends.
            return Ok(Fetched { task: None, tasks_version });
        }
        let nothing = Fetched { task: None, tasks_version: self.tasks_version };
        let used = row.ephemeral && row.last_task.is_some();
        let gets_none = used || self.is_disabled(&row, now) || self.loses_race(now, &row);
        if tasks_version == self.tasks_version || gets_none {
            return Ok(nothing);
        }
        let found = self
            .queue
            .iter()
            .filter_map(|(_, id)| self.jobs.get(id))
            .find(|job| matches(&row, &job.repo, &job.spec.runs_on))
            .map(|job| job.id);
        Ok(match found {
            Some(job_id) => Fetched { task: self.pick(now, row.id, job_id), ..nothing },
            None => nothing,
        })
    }

    /// Up to 1.26, runners that ask at the same time try the same job; all but one get nothing, but
    /// with the new version.
    fn loses_race(&self, now: Timestamp, row: &RunnerRow) -> bool {
        let Some(pick) = &self.last_pick else { return false };
        self.config.tasks_version_race
            && self.config.line < Line::V1_27
            && pick.runner_id != row.id
            && now.duration_since(pick.at) <= RACE_WINDOW
            && matches(row, &pick.repo, &pick.runs_on)
    }

    fn pick(&mut self, now: Timestamp, runner_id: i64, job_id: i64) -> Option<Task> {
        let line = self.config.line;
        let row = self.runners.get_mut(&runner_id)?;
        let job = self.jobs.get_mut(&job_id)?;
        let id = next(&mut self.last_id.task);
        if line < Line::V1_27 {
            job.attempt += 1;
        }
        job.task_id = Some(id);
        job.runner_id = Some(runner_id);
        job.runner_name = Some(row.name.clone());
        row.last_task = Some(id);
        let JobRow { repo, spec, .. } = job.clone();
        let task = TaskRow { job_id, runner_id, started_at: now, reported_at: now, done: None };
        self.tasks.insert(id, task);
        self.open_tasks.insert(id);
        let runs_on = spec.runs_on.clone();
        self.last_pick = Some(Pick { at: now, runner_id, repo: repo.clone(), runs_on });
        self.set_status(now, job_id, Status::Running);
        Some(Task { id, job_id, repo, spec })
    }

    /// Gitea 1.27: the response with this task did not reach the runner. The job waits again,
    /// without a webhook.
    pub fn release(&mut self, now: Timestamp, task_id: i64) {
        if !self.open_tasks.remove(&task_id) {
            return;
        }
        let Some(task) = self.tasks.remove(&task_id) else { return };
        if let Some(row) = self.runners.get_mut(&task.runner_id) {
            row.last_task = None;
        }
        if let Some(job) = self.jobs.get_mut(&task.job_id) {
            job.status = Status::Waiting;
            job.updated_at = now;
            (job.started_at, job.task_id) = (None, None);
            (job.runner_id, job.runner_name) = (None, None);
            self.queue.insert((now, task.job_id));
            self.tasks_version += 1;
        }
    }

    /// Reports on a task: progress (`None`) or its end. Only the first end counts.
    pub fn report(
        &mut self,
        now: Timestamp,
        uuid: &str,
        token: &str,
        task_id: i64,
        result: Option<Conclusion>,
    ) -> Result<TaskState, Unregistered> {
        let row = self.authenticate(now, uuid, token)?;
        row.last_active = Some(now);
        let id = row.id;
        let task = self.tasks.get_mut(&task_id).filter(|t| t.runner_id == id);
        let Some(task) = task else { return Ok(TaskState::Unknown) };
        if let Some((conclusion, _)) = task.done {
            return Ok(TaskState::Done(conclusion));
        }
        task.reported_at = now;
        Ok(match result {
            None => TaskState::Running,
            Some(conclusion) => {
                self.end_task(now, task_id, conclusion);
                TaskState::Done(conclusion)
            }
        })
    }

    /// Ends a task. The row of an ephemeral runner is deleted first, so the job's webhook lacks its
    /// name.
    pub(super) fn end_task(&mut self, now: Timestamp, task_id: i64, conclusion: Conclusion) {
        if !self.open_tasks.remove(&task_id) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&task_id) else { return };
        task.done = Some((conclusion, now));
        let (job_id, runner_id) = (task.job_id, task.runner_id);
        if self.runners.get(&runner_id).is_some_and(|r| r.ephemeral) {
            self.delete_runner(runner_id);
        }
        if self.config.line >= Line::V1_27 {
            self.tasks_version += 1;
        }
        self.finish(now, job_id, conclusion);
    }

    /// Returns when a task was canceled. Its runner may not have heard of it.
    pub fn canceled_at(&self, task_id: i64) -> Option<Timestamp> {
        let (conclusion, at) = self.tasks.get(&task_id)?.done?;
        (conclusion == Conclusion::Cancelled).then_some(at)
    }

    /// Fails tasks without a report for too long, or running for too long.
    pub(super) fn end_lost_tasks(&mut self, now: Timestamp) {
        let (zombie, endless) = (self.config.zombie_after, self.config.endless_after);
        let lost = |t: &TaskRow| {
            now.duration_since(t.reported_at) >= zombie
                || endless.is_some_and(|limit| now.duration_since(t.started_at) >= limit)
        };
        let open = self.open_tasks.iter().copied();
        let ids: Vec<i64> = open.filter(|id| self.tasks.get(id).is_some_and(lost)).collect();
        for id in ids {
            self.end_task(now, id, Conclusion::Failure);
        }
    }
}

/// Returns whether a runner may take a job: in scope, and with every label, compared exactly.
fn matches(row: &RunnerRow, repo: &str, runs_on: &[String]) -> bool {
    row.scope.covers(repo) && runs_on.iter().all(|label| row.labels.contains(label))
}
