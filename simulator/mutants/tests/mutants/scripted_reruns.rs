//! Clauses of re-runs that random faults reveal too rarely: one fixed order of events each.

use std::sync::Arc;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::{Conclusion, MachineId, Phase};
use tinqs_ci_simulator::forge::{JobSpec, Line, Status};
use tinqs_ci_simulator::world::World;

use crate::mutant::Mutant;
use crate::scripted::{Stage, calls, seconds};

fn build() -> JobSpec {
    JobSpec::new("build", &["linux"])
}

/// Whether a job has this status.
fn is(job: i64, status: Status) -> impl Fn(&World) -> bool {
    move |world| world.forge().job(job).is_some_and(|job| job.status == status)
}

impl Stage {
    /// Reconciles until the job runs on its machine, and that is recorded. Returns the machine.
    fn runs(&mut self, controller: &Arc<Controller>) -> MachineId {
        let (name, job) = (self.name(), self.job);
        self.poll(1, controller);
        self.until("the run is created", |world| world.records.run(&name).is_some());
        self.reconcile(1, controller);
        self.until("the job runs", is(job, Status::Running));
        self.reconcile(1, controller);
        self.until("that is recorded", |world| {
            world.records.run(&name).is_some_and(|run| run.status.phase == Phase::Running)
        });
        let world = self.world.lock();
        world.forge().config.zombie_after = seconds(60);
        let machine = world.cloud.live().next().map(|machine| machine.id.clone());
        machine.expect("a machine")
    }

    /// The same, the cloud takes the machine, and the forge fails the job.
    fn loses(&mut self, controller: &Arc<Controller>) {
        let machine = self.runs(controller);
        let now = self.now();
        self.world.lock().cloud.interrupt(now, &machine);
        self.until("the forge fails the job", is(self.job, Status::Done(Conclusion::Failure)));
    }

    /// Runners of somebody else take the waiting jobs, the oldest one first, and end them so.
    fn elsewhere(&self, ends: &[Conclusion]) {
        let now = self.now();
        let world = self.world.lock();
        let mut forge = world.forge();
        for conclusion in ends {
            let row = forge.register(now, "laptop", &["linux".to_owned()], true);
            let fetched = forge.fetch(now, &row.uuid, &row.token, 0).expect("it is registered");
            let task = fetched.task.expect("a waiting job").id;
            forge.report(now, &row.uuid, &row.token, task, Some(*conclusion)).expect("reported");
        }
    }

    fn reconciles(&mut self, controller: &Arc<Controller>, times: usize) {
        for _ in 0..times {
            self.reconcile(1, controller);
            self.rest(seconds(20));
        }
    }
}

/// Asserts that only the mutant runs a job again against L15.
fn only_runs_again(mutants: &'static [Mutant], story: fn(&'static [Mutant]) -> Vec<String>) {
    assert_eq!(story(&[]), Vec::<String>::new());
    let broken = story(mutants);
    assert!(broken.iter().any(|broken| broken.starts_with("L15")), "{mutants:?}: {broken:?}");
}

#[test]
fn terminated_machines_count_as_taken() {
    only_runs_again(&[Mutant::RerunOfTerminated], |mutants| {
        let mut stage = Stage::of(mutants, Line::V1_26, &[build()]);
        let controller = stage.controller(1);
        let machine = stage.runs(&controller);
        let now = stage.now();
        stage.world.lock().cloud.terminate(now, &machine);
        stage.reconciles(&controller, 15);
        stage.broken()
    });
}

/// A person runs a lost job again while its workflow run goes on, and it fails by itself before the
/// workflow run is read again. Since 1.27 the record shows only its former attempt.
#[test]
fn another_end_than_the_noted_one_counts() {
    only_runs_again(&[Mutant::RerunOfAnyEnd], |mutants| {
        let other = JobSpec::new("other", &["linux"]);
        let mut stage = Stage::of(mutants, Line::V1_27, &[build(), other]);
        let controller = stage.controller(1);
        stage.loses(&controller);
        stage.reconciles(&controller, 1);
        let record = stage.world.lock().records.run(&stage.name()).cloned();
        let noted = record.and_then(|run| run.status.interrupted?.failed_at);
        assert!(noted.is_some(), "the other job waits, so that the workflow run goes on");
        let now = stage.now();
        let again = stage.world.lock().forge().rerun(now, stage.job);
        assert_ne!(again, stage.job, "it has another ID");
        stage.elsewhere(&[Conclusion::Success, Conclusion::Failure]);
        stage.rest(seconds(100));
        stage.reconciles(&controller, 3);
        stage.broken()
    });
}

/// A job fails by itself, and nobody reconciles its run until the cloud takes its machine seven
/// minutes later.
#[test]
fn a_failure_long_before_the_machine_was_taken_counts() {
    only_runs_again(&[Mutant::RerunOfEarlierFailure], |mutants| {
        let failing = JobSpec { conclusion: Conclusion::Failure, ..build() };
        let mut stage = Stage::of(mutants, Line::V1_26, &[failing]);
        stage.world.lock().faults.hangs_after_job = 1.0;
        let controller = stage.controller(1);
        let machine = stage.runs(&controller);
        stage.until("it failed", is(stage.job, Status::Done(Conclusion::Failure)));
        stage.rest(SignedDuration::from_mins(7));
        let now = stage.now();
        stage.world.lock().cloud.interrupt(now, &machine);
        stage.rest(seconds(60));
        stage.reconciles(&controller, 3);
        stage.broken()
    });
}

/// After a request is recorded, its replica pauses; meanwhile a person runs the job again, and it
/// fails by itself.
#[test]
fn the_workflow_run_is_not_read_before_the_request() {
    only_runs_again(&[Mutant::RerunWithoutReading], |mutants| {
        let mut stage = Stage::of(mutants, Line::V1_26, &[build()]);
        let controller = stage.controller(1);
        stage.loses(&controller);
        stage.rest(seconds(30));
        stage.reconcile(1, &controller);
        stage.until("a request is recorded", |world| calls(world, "store.put_reruns") == 1);
        stage.scheduler().pause(1, stage.now() + seconds(30));
        let now = stage.now();
        assert_eq!(stage.world.lock().forge().rerun(now, stage.job), stage.job);
        stage.elsewhere(&[Conclusion::Failure]);
        stage.rest(seconds(60));
        stage.broken()
    });
}
