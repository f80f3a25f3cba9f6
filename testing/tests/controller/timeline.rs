//! The timeline of a run: it tells each step with its cause, and costs no write and no call.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    Conclusion, EndedBy, Happened, Job, JobRef, Outcome, RunName, SeenBy, Spec,
};
use tinqs_ci_testing::{LaunchAnswer, ready};

use super::{MINUTE, SECOND, waiting_job};
use crate::harness::Harness;

fn kinds(harness: &Harness, name: &RunName) -> Vec<Happened> {
    harness.run(name).status.timeline.into_iter().map(|milestone| milestone.what).collect()
}

#[test]
fn a_history_without_faults_is_told_in_the_four_writes_that_it_takes_anyway() {
    let harness = Harness::new();
    ready(harness.controller.ingest(&[Hint::Queued(waiting_job(1, "good"))])).expect("durable");
    let name = RunName::job(1);
    let written = harness.writes();
    harness.reconcile(&name);
    let runner = harness.attempt_id(&name, 1).to_string();
    let machine = harness.state().machines[0].id.clone();
    harness.pass(31 * SECOND);
    harness.job_is(&name, Job::Running { runner: runner.clone() });
    harness.reconcile(&name);
    harness.pass(MINUTE);
    harness.reconcile(&name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&name);
    harness.reconcile(&name);
    assert_eq!(harness.writes() - written, 4, "recorded, launched, running, finished");
    let calls = ["register", "launch", "job", "find", "registration"].map(|c| harness.calls(c));
    assert_eq!(calls, [1, 1, 5, 0, 0], "one read of the job for each reconcile");
    let expected = [
        Happened::Seen { by: SeenBy::Webhook },
        Happened::Registered { attempt: 1 },
        Happened::Launched { attempt: 1, machine },
        Happened::Started { runner, attempt: Some(1), job_attempt: None },
        Happened::Finished { outcome: Outcome::Succeeded },
    ];
    assert_eq!(kinds(&harness, &name), expected);
    let timeline = harness.run(&name).status.timeline;
    assert!(timeline.is_sorted_by_key(|milestone| milestone.at));
    let started = harness.run(&name).status.started_at().expect("it ran");
    assert_eq!(timeline[4].at.duration_since(started), MINUTE);
}

#[test]
fn the_way_in_which_a_job_was_found_is_told() {
    let harness = Harness::new();
    harness.state().waiting = Some(vec![waiting_job(7, "good")]);
    ready(harness.controller.poll());
    assert_eq!(kinds(&harness, &RunName::job(7)), [Happened::Seen { by: SeenBy::Poll }]);
    let spec = Spec {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id: 0 },
        runs_on: vec!["good".to_owned()],
        ..Spec::default()
    };
    let name = RunName::push(&["a"]);
    ready(harness.controller.demand_run(name.clone(), spec)).expect("durable");
    assert_eq!(kinds(&harness, &name), [Happened::Seen { by: SeenBy::Push }]);
}

#[test]
fn refusals_a_lost_machine_and_a_re_run_are_told_once_each() {
    let harness = Harness::new();
    let none = || {
        let kind = tinqs_ci_reconciler::ports::ErrorKind::NoCapacity;
        tinqs_ci_reconciler::ports::PortError::new("compute", "launch", kind, "none")
    };
    let name = harness.jobs(1, "good").remove(0);
    harness.answers("good", LaunchAnswer::Refuses(none));
    harness.reconcile(&name);
    let refused = kinds(&harness, &name);
    let count = refused.iter().filter(|what| matches!(what, Happened::Refused { .. })).count();
    assert_eq!(count, 3, "one for each machine spec: {refused:?}");
    assert!(matches!(refused.last(), Some(Happened::AttemptEnded { attempt: 1, .. })));

    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.reconcile(&name);
    let before = kinds(&harness, &name).len();
    harness.take_back(&name);
    harness.reconcile(&name);
    harness.pass(MINUTE);
    harness.reconcile(&name);
    let machine = harness.state().machines[0].id.clone();
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Failure });
    harness.reconcile(&name);
    harness.job_is(&name, Job::Waiting);
    harness.reconcile(&name);
    let told = kinds(&harness, &name).split_off(before);
    let expected = [
        Happened::MachineLost { machine, ended_by: Some(EndedBy::Cloud) },
        Happened::Finished { outcome: Outcome::MachineLost },
        Happened::Reopened { job_attempt: None },
        Happened::Registered { attempt: 4 },
    ];
    assert_eq!(told[..4], expected, "{told:?}");
}

#[test]
fn a_displaced_run_tells_that_its_machine_took_another_job() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.state().registrations[0].busy = true;
    harness.pass(SECOND);
    harness.reconcile(&name);
    harness.pass(SECOND);
    harness.reconcile(&name);
    let told = kinds(&harness, &name);
    let count = told.iter().filter(|what| **what == Happened::Reassigned { attempt: 1 }).count();
    assert_eq!(count, 1, "{told:?}");
}
