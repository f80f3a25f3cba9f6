//! Gitea Actions as a state machine: jobs, registrations and tasks, without a clock or I/O.
//!
//! Tests push workflow runs and register runners; a runner process calls `fetch` and `report`;
//! `tick` is the server's cron. Each change of a job's status produces one webhook.

mod git;
mod held;
mod json;
mod pull;
mod renames;
mod reruns;
mod rows;
mod runners;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::Conclusion;

pub(crate) use git::blob_sha;
pub use git::{Commit, Files, Push, TreeEntry, ZEROS};
pub use pull::PullRequest;
pub use reruns::RerunRefused;
pub use rows::{Config, JobRow, JobSpec, Line, Repo, Status, Webhook};
pub use runners::{Fetched, RunnerRow, Task, TaskState, Unregistered};
pub use scope::Scope;

/// A runner in contact within this time is online.
pub const ONLINE_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// The API shows a runner as busy if it reported on a task within this time.
pub const ACTIVE_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// Up to Gitea 1.26, fetches this close to another runner's pick lose the race.
pub const RACE_WINDOW: SignedDuration = SignedDuration::from_millis(250);

/// The simulated server.
#[derive(Clone, Debug)]
pub struct Forge {
    /// The configuration.
    pub config: Config,
    repos: BTreeMap<String, Repo>,
    owners: BTreeMap<String, i64>,
    jobs: BTreeMap<i64, JobRow>,
    runs: BTreeMap<i64, Vec<i64>>,
    /// Jobs of former attempts, and how often workflow runs were run again.
    superseded: BTreeSet<i64>,
    reruns: BTreeMap<i64, u32>,
    /// Rows of later attempts for jobs that were not run again, with the rows that ran.
    passed_on: BTreeMap<i64, i64>,
    held: BTreeMap<i64, held::WorkflowRun>,
    /// The number of each workflow run in its repository, and the last one of each repository.
    run_numbers: BTreeMap<i64, i64>,
    last_numbers: BTreeMap<i64, i64>,
    /// Waiting jobs as (updated, id), in the order of assignment.
    queue: BTreeSet<(Timestamp, i64)>,
    runners: BTreeMap<i64, RunnerRow>,
    by_uuid: BTreeMap<String, i64>,
    tasks: BTreeMap<i64, runners::TaskRow>,
    open_tasks: BTreeSet<i64>,
    tasks_version: i64,
    last_pick: Option<runners::Pick>,
    last_id: Ids,
    webhooks: Vec<Webhook>,
    commits: BTreeMap<String, Commit>,
    /// (repository, ref) → commit.
    refs: BTreeMap<(String, String), String>,
}

/// The last ID of each table.
#[derive(Clone, Copy, Debug, Default)]
struct Ids {
    repo: i64,
    owner: i64,
    run: i64,
    job: i64,
    runner: i64,
    task: i64,
}

fn next(id: &mut i64) -> i64 {
    *id += 1;
    *id
}

impl Forge {
    /// Creates an empty server.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            repos: BTreeMap::new(),
            owners: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            superseded: BTreeSet::new(),
            reruns: BTreeMap::new(),
            passed_on: BTreeMap::new(),
            held: BTreeMap::new(),
            run_numbers: BTreeMap::new(),
            last_numbers: BTreeMap::new(),
            queue: BTreeSet::new(),
            runners: BTreeMap::new(),
            by_uuid: BTreeMap::new(),
            tasks: BTreeMap::new(),
            open_tasks: BTreeSet::new(),
            tasks_version: 1,
            last_pick: None,
            last_id: Ids::default(),
            webhooks: Vec::new(),
            commits: BTreeMap::new(),
            refs: BTreeMap::new(),
        }
    }

    /// Creates a repository if absent, and returns its ID.
    pub fn add_repo(&mut self, full_name: &str) -> i64 {
        if let Some(repo) = self.repos.get(full_name) {
            return repo.id;
        }
        let owner_id = self.owner_id(full_name);
        let id = next(&mut self.last_id.repo);
        let updated_at = Timestamp::UNIX_EPOCH;
        let (full_name, disabled, merged) =
            (full_name.to_owned(), BTreeSet::new(), BTreeSet::new());
        let former = Vec::new();
        let repo = Repo { id, full_name, former, owner_id, updated_at, disabled, merged };
        self.repos.insert(repo.full_name.clone(), repo);
        id
    }

    /// Removes a repository with its jobs, tasks and own runners. Rows of runners with a wider
    /// scope stay.
    pub fn remove_repo(&mut self, full_name: &str) {
        let Some(repo) = self.repos.remove(full_name) else { return };
        self.refs.retain(|(of, _), _| of != full_name);
        let ids: Vec<i64> =
            self.jobs.values().filter(|j| j.repo_id == repo.id).map(|j| j.id).collect();
        for id in ids {
            self.forget_job(id);
        }
        let own = Scope::Repo(full_name.to_owned());
        let rows: Vec<i64> =
            self.runners.values().filter(|r| r.scope == own).map(|r| r.id).collect();
        for id in rows {
            self.delete_runner(id);
        }
    }

    /// Deletes a job without a webhook, as an operator with a database shell does.
    pub fn forget_job(&mut self, id: i64) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.queue.remove(&(job.updated_at, id));
        self.tasks.retain(|_, task| task.job_id != id);
        self.open_tasks.retain(|task| self.tasks.contains_key(task));
        if let Some(run) = self.runs.get_mut(&job.run_id) {
            run.retain(|&j| j != id);
        }
    }

    /// Returns a repository by `owner/name`.
    pub fn repo(&self, full_name: &str) -> Option<&Repo> {
        self.repos.get(full_name)
    }

    /// Returns a repository by its ID.
    pub fn repo_by_id(&self, id: i64) -> Option<&Repo> {
        self.repos.values().find(|r| r.id == id)
    }

    /// Returns all repositories by name.
    pub fn repos(&self) -> impl Iterator<Item = &Repo> {
        self.repos.values()
    }

    /// Pushes a commit that starts one workflow run with these jobs, and returns their IDs. Creates
    /// the repository if absent.
    pub fn push(&mut self, now: Timestamp, repo: &str, jobs: &[JobSpec]) -> Vec<i64> {
        let head_sha = digest(&format!("commit/{repo}/{}", self.last_id.run + 1));
        self.start_run(now, repo, &head_sha, jobs)
    }

    /// Starts one workflow run of a commit with these jobs, and returns their IDs.
    pub(crate) fn start_run(
        &mut self,
        now: Timestamp,
        repo: &str,
        head_sha: &str,
        jobs: &[JobSpec],
    ) -> Vec<i64> {
        let repo_id = self.add_repo(repo);
        let run_id = next(&mut self.last_id.run);
        let number = next(self.last_numbers.entry(repo_id).or_default());
        self.run_numbers.insert(run_id, number);
        let ids: Vec<i64> = jobs.iter().map(|_| next(&mut self.last_id.job)).collect();
        for (spec, &id) in jobs.iter().zip(&ids) {
            let job = JobRow {
                id,
                run_id,
                repo: repo.to_owned(),
                repo_id,
                needs: spec.needs.iter().filter_map(|&n| ids.get(n).copied()).collect(),
                status: Status::Blocked,
                attempt: self.first_attempt(),
                created_at: now,
                updated_at: now,
                started_at: None,
                completed_at: None,
                task_id: None,
                runner_id: None,
                runner_name: None,
                head_sha: head_sha.to_owned(),
                spec: spec.clone(),
            };
            self.jobs.insert(id, job);
        }
        self.runs.insert(run_id, ids.clone());
        for (spec, &id) in jobs.iter().zip(&ids) {
            let blocked = !spec.needs.is_empty() || self.is_held(run_id);
            let status = if blocked { Status::Blocked } else { Status::Waiting };
            self.set_status(now, id, status);
        }
        ids
    }

    /// Gitea 1.27 counts attempts from their start, earlier lines from the pick by a runner.
    fn first_attempt(&self) -> u32 {
        u32::from(self.config.line >= Line::V1_27)
    }

    /// Cancels a job as a person. A waiting job ends at once and never had a runner. A running job
    /// ends at once, too: its ephemeral runner loses its row and learns it from the next call.
    /// (Servers treat runners before 2.0 this way; later ones are asked first.)
    pub fn cancel(&mut self, now: Timestamp, job_id: i64) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        match (job.status, job.task_id) {
            (Status::Done(_), _) => {}
            (Status::Running, Some(task)) => self.end_task(now, task, Conclusion::Cancelled),
            (Status::Blocked | Status::Waiting | Status::Running, _) => {
                self.finish(now, job_id, Conclusion::Cancelled);
            }
        }
    }

    /// Returns the job of a canceled task and when that was, if the job still tells it. One that is
    /// run again under its ID does not tell any more who executed it.
    pub fn tells_canceled(&self, task_id: i64) -> Option<(i64, Timestamp)> {
        let job = self.jobs.get(&self.tasks.get(&task_id)?.job_id)?;
        let at = self.canceled_at(task_id).filter(|_| job.task_id == Some(task_id))?;
        Some((job.id, at))
    }

    /// Returns a job by its ID.
    pub fn job(&self, id: i64) -> Option<&JobRow> {
        self.jobs.get(&id)
    }

    /// Returns all jobs by ID.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.values()
    }

    /// Returns the jobs that wait for a runner, in the order of assignment.
    pub fn waiting(&self) -> Vec<&JobRow> {
        self.queue.iter().filter_map(|(_, id)| self.jobs.get(id)).collect()
    }

    /// Runs the server's cron and queues: silent or endless tasks fail, abandoned jobs are
    /// canceled, jobs whose needs are done become waiting or skipped.
    pub fn tick(&mut self, now: Timestamp) {
        if self.is_down(now) {
            return;
        }
        self.end_lost_tasks(now);
        if let Some(limit) = self.config.abandoned_after {
            let idle = |j: &&JobRow| matches!(j.status, Status::Waiting | Status::Blocked);
            let old = |j: &&JobRow| now.duration_since(j.updated_at) >= limit;
            let ids: Vec<i64> = self.jobs.values().filter(idle).filter(old).map(|j| j.id).collect();
            for id in ids {
                self.finish(now, id, Conclusion::Cancelled);
            }
        }
    }

    /// Returns whether the server is down.
    pub fn is_down(&self, now: Timestamp) -> bool {
        self.config.down_until.is_some_and(|until| now < until)
    }

    /// Takes the webhooks since the last call, oldest first.
    pub fn take_webhooks(&mut self) -> Vec<Webhook> {
        std::mem::take(&mut self.webhooks)
    }

    /// Returns the webhooks that were not taken yet.
    pub fn owed_webhooks(&self) -> &[Webhook] {
        &self.webhooks
    }

    /// Redelivers a webhook with the same content, as a person can.
    pub fn redeliver(&mut self, webhook: Webhook) {
        self.webhooks.push(webhook);
    }

    /// Ends a job and updates the jobs that need it.
    fn finish(&mut self, now: Timestamp, id: i64, conclusion: Conclusion) {
        let Some(job) = self.jobs.get(&id).filter(|j| !j.status.is_done()) else { return };
        let run_id = job.run_id;
        self.set_status(now, id, Status::Done(conclusion));
        self.emit(now, run_id);
    }

    /// Updates jobs whose needs are all done: waiting if all succeeded, otherwise skipped,
    /// transitively.
    fn emit(&mut self, now: Timestamp, run_id: i64) {
        if self.is_held(run_id) {
            return;
        }
        let ready = |forge: &Self| {
            let run = forge.runs.get(&run_id)?;
            run.iter().filter_map(|id| forge.jobs.get(id)).find_map(|job| {
                let needs = || job.needs.iter().filter_map(|n| forge.jobs.get(n));
                let ready = job.status == Status::Blocked && needs().all(|n| n.status.is_done());
                let good = || needs().all(|n| n.status == Status::Done(Conclusion::Success));
                ready.then(|| (job.id, good()))
            })
        };
        while let Some((id, good)) = ready(self) {
            let status = if good { Status::Waiting } else { Status::Done(Conclusion::Skipped) };
            self.set_status(now, id, status);
        }
    }

    /// The only place that changes a job's status: updates queue, times, tasks version and
    /// webhooks.
    fn set_status(&mut self, now: Timestamp, id: i64, status: Status) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        self.queue.remove(&(job.updated_at, id));
        job.status = status;
        job.updated_at = now;
        match status {
            Status::Blocked => {}
            Status::Waiting => {
                self.queue.insert((now, id));
                self.tasks_version += 1;
            }
            Status::Running => job.started_at = Some(now),
            Status::Done(_) => job.completed_at = Some(now),
        }
        self.webhooks.extend(self.webhook(id));
    }
}

/// Returns 40 hexadecimal digits that depend only on the text.
fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text))[..40].to_owned()
}
