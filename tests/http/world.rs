//! The world behind the server: the test world on the system's clock, whose machines are quick.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{About, Class, Job, JobRef, Run, RunName, SeenBy, Spec};
use tinqs_ci_testing::{TestWorld, make};

/// Stands for every credential of an attempt. No answer and no log line may contain it.
pub(crate) const CANARY: &str = "canary-5f0e1d";

pub(crate) fn name(id: i64) -> RunName {
    RunName::job(id)
}

/// A class that serves `linux`.
pub(crate) fn class() -> Class {
    Class { limit: Some(5), ..make::class("linux", vec![make::process()]) }
}

/// A world without runs, whose forge lists jobs, holds none, and gives [`CANARY`] as credential.
pub(crate) fn world() -> Arc<TestWorld> {
    let world = TestWorld::on_system_clock();
    let mut state = world.state();
    state.instant_machines = true;
    state.waiting = Some(Vec::new());
    state.other_jobs = Job::Absent;
    CANARY.clone_into(&mut state.runner_token);
    drop(state);
    world
}

/// Puts a run of a job that waits.
pub(crate) fn add_run(world: &TestWorld, id: i64, about: About) -> Run {
    let repo = if about.repo.is_empty() { "a/b".to_owned() } else { about.repo.clone() };
    let job = JobRef { repo, repo_id: 1, job_id: id };
    let runs_on = vec!["linux".to_owned()];
    let spec = Spec { job, runs_on, about, ..Spec::default() };
    let at = Timestamp::now() - SignedDuration::from_secs(1_000 - id);
    let run = Run { version: 1, ..Run::new("test", name(id), spec, SeenBy::Webhook, at) };
    world.state().jobs.insert(id, Job::Waiting);
    world.add_run(run.clone());
    run
}
