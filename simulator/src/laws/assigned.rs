//! Whose job runs where, checked when a runner took a job, and the limits of machines and jobs.
//!
//! L10: no job runs on a machine that was launched for another repository or other labels, nor on
//! one of a class that does not serve its repository. L14: the running jobs of a repository, and of
//! an owner, in a class never exceed its limits; L6 says the same of live machines.
//!
//! A repository is known by its ID, and its limit holds across renames. A class serves a name, and
//! the limit of an owner counts for a name: the one that the repository had when the attempt was
//! decided.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{AttemptId, Class, JobRef, RepoRef, Run, same_owner};

use super::Laws;
use crate::cloud::machine::SimulatedMachine;
use crate::forge::{JobRow, Repo};

/// A reconcile reads the name of the repository within this time of its begin.
const NAMED_WITHIN: SignedDuration = SignedDuration::from_mins(1);

impl Laws {
    /// Records what the job of a run asks for: the machines of the run are launched for it.
    pub(super) fn launched_for(&mut self, run: &Run) {
        let needs = (run.spec.job.repo_id, run.spec.runs_on.clone());
        self.launched_for.insert(run.name.clone(), needs);
        if let Some(attempt) = &run.status.attempt {
            let job = || run.spec.job.clone();
            self.decided_for.entry(run.attempt_id(attempt.number)).or_insert_with(job);
        }
    }

    /// Returns the repository with which an attempt was recorded, or another one if it never was.
    fn repo_of<'a>(&'a self, attempt_id: &AttemptId, otherwise: RepoRef<'a>) -> RepoRef<'a> {
        self.decided_for.get(attempt_id).map_or(otherwise, JobRef::repo_ref)
    }

    /// Returns the repository of a live machine. With it: the name of the repository of its run.
    fn repo_of_machine<'a>(&'a self, live: &'a (&SimulatedMachine, String)) -> RepoRef<'a> {
        let (machine, name) = live;
        self.repo_of(&machine.attempt_id, RepoRef { id: machine.runner.repo_id, name })
    }

    /// L10: a runner took a job. `repo`: its repository.
    pub fn on_assigned(&mut self, now: Timestamp, job: &JobRow, repo: Option<&Repo>) {
        let named = job.runner_name.as_deref();
        let Some(attempt_id) = named.and_then(|name| name.parse::<AttemptId>().ok()) else {
            return;
        };
        let is_strangers = job.runner_id.is_some_and(|id| self.strangers.contains(&id));
        if is_strangers || self.scrambled.contains(&attempt_id.run) {
            return;
        }
        let Some((repo_id, runs_on)) = self.launched_for.get(&attempt_id.run) else { return };
        if *repo_id != job.repo_id || !job.spec.runs_on.iter().all(|label| runs_on.contains(label))
        {
            let what = format!(
                "job-{} of {} with {:?} took {attempt_id}, launched for repository {repo_id} with {runs_on:?}",
                job.id, job.repo, job.spec.runs_on,
            );
            self.broken("L10", now, attempt_id.run.as_str(), what);
        }
        let name = self.repo_of(&attempt_id, job.repo_ref()).name.to_owned();
        let decided_at = self.attempts.get(&attempt_id).map(|attempt| attempt.decided_at);
        let had_name =
            |repo: &Repo, at: Timestamp| repo.had_name(&name, at - NAMED_WITHIN, at + NAMED_WITHIN);
        if let (Some(at), Some(repo)) = (decided_at, repo)
            && !had_name(repo, at)
        {
            let what = format!(
                "job-{} of {} took {attempt_id}, decided for {name}, which its repository was not \
                 called then",
                job.id, job.repo,
            );
            self.broken("L10", now, attempt_id.run.as_str(), what);
        }
        let class = self.class_in_force(&attempt_id).filter(|class| !class.is_for(&name));
        if let Some(class) = class {
            let what = format!(
                "job-{} of {name} took {attempt_id} of class {}, which serves only {:?}",
                job.id, class.name, class.repos,
            );
            self.broken("L10", now, attempt_id.run.as_str(), what);
        }
    }

    /// L6: checks the limits after a machine was made. `live`: all live machines that they count,
    /// including it, and the names of the repositories of their runs.
    pub(super) fn limits_hold(
        &mut self,
        now: Timestamp,
        made: &SimulatedMachine,
        live: &[(&SimulatedMachine, String)],
    ) {
        let own = live.iter().find(|(m, _)| m.id == made.id);
        let own = own.map(|one| self.repo_of_machine(one));
        let class = self.classes.iter().find(|c| c.name == made.class).cloned();
        let (Some(own), Some(class)) = (own, class) else { return };
        let in_class = live.iter().filter(|(m, _)| m.class == made.class);
        let repos: Vec<RepoRef<'_>> = in_class.map(|one| self.repo_of_machine(one)).collect();
        let (of_repo, of_owner) = shares(own, &repos);
        for (limit, count, of) in [
            (class.limit, repos.len(), "class"),
            (class.repo_limit, of_repo, "repository"),
            (class.owner_limit, of_owner, "owner"),
        ] {
            if limit.is_some_and(|limit| count > limit as usize) {
                let what = format!("{count} live machines of {} for one {of}", class.name);
                self.broken("L6", now, made.attempt_id.run.as_str(), what);
            }
        }
    }

    /// L14: a runner took `job`. `running`: the attempts whose live machines run jobs.
    pub fn on_running(&mut self, now: Timestamp, job: &JobRow, running: &[AttemptId]) {
        if self.twins || self.records_lost || !self.scrambled.is_empty() {
            return;
        }
        let named = job.runner_name.as_deref();
        let Some(attempt_id) = named.and_then(|name| name.parse::<AttemptId>().ok()) else {
            return;
        };
        let Some(class) = self.class_in_force(&attempt_id).cloned() else { return };
        let own = |id: &AttemptId| self.class_in_force(id).is_some_and(|of| of.name == class.name);
        let repo_of = |id| self.repo_of(id, job.repo_ref());
        let repos: Vec<RepoRef<'_>> = running.iter().filter(|&id| own(id)).map(repo_of).collect();
        let (of_repo, of_owner) = shares(repo_of(&attempt_id), &repos);
        for (count, limit, of) in
            [(of_repo, class.repo_limit, "repository"), (of_owner, class.owner_limit, "owner")]
        {
            if limit.is_some_and(|limit| count > limit as usize) {
                let what =
                    format!("{count} running jobs in {} for the {of} of {}", class.name, job.repo);
                self.broken("L14", now, attempt_id.run.as_str(), what);
            }
        }
    }

    /// Returns the class of an attempt that was decided under the current classes.
    fn class_in_force(&self, attempt_id: &AttemptId) -> Option<&Class> {
        let attempt = self.attempts.get(attempt_id)?;
        let is_current = self.configured_at.is_none_or(|at| attempt.decided_at > at);
        self.classes.iter().find(|class| is_current && class.name == attempt.class)
    }
}

/// Returns how many of these are of the same repository, and how many of an owner of its name.
fn shares(own: RepoRef<'_>, repos: &[RepoRef<'_>]) -> (usize, usize) {
    let of_repo = repos.iter().filter(|repo| repo.is_same(own)).count();
    let of_owner = repos.iter().filter(|repo| same_owner(repo.name, own.name)).count();
    (of_repo, of_owner)
}
