//! Ingest: what hints make durable, create and wake.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{RunName, Spec};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use super::waiting_job;
use crate::harness::Harness;

fn ingest(harness: &Harness, hints: &[Hint]) -> Result<usize, ErrorKind> {
    ready(harness.controller.ingest(hints)).map_err(|error| error.kind)
}

fn queued(job_id: i64) -> Hint {
    Hint::Queued(waiting_job(job_id, "good"))
}

#[test]
fn a_job_that_is_announced_twice_is_one_run_and_is_woken_each_time() {
    let harness = Harness::new();
    assert_eq!(ingest(&harness, &[queued(11), queued(12), queued(11)]), Ok(2));
    assert_eq!(harness.woken(), ["job-11", "job-12", "job-11"]);
    let (announced, run) = (waiting_job(11, "good"), harness.run(&RunName::job(11)));
    assert_eq!((run.version, run.created_at, run.status.due), (1, harness.now(), harness.now()));
    let Spec { job, runs_on, about, needs, needed_by } = run.spec;
    assert_eq!((job, runs_on, about), (announced.job, announced.runs_on, announced.about));
    assert!(needs.is_empty() && needed_by.is_empty());
    assert_eq!(ingest(&harness, &[queued(12)]), Ok(0));
    assert_eq!(harness.state().runs.len(), 2);
}

#[test]
fn a_job_that_no_class_serves_makes_nothing() {
    let harness = Harness::new();
    let unserved = waiting_job(11, "somewhere-else");
    assert_eq!(ingest(&harness, &[Hint::Queued(unserved)]), Ok(0));
    assert!(harness.state().runs.is_empty() && harness.woken().is_empty());
    assert_eq!(harness.calls("put"), 0);
}

#[test]
fn a_store_that_is_down_is_an_error_and_nobody_is_told_that_the_run_is_durable() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Throttled, ErrorKind::Denied] {
        let harness = Harness::new();
        harness.fails("put", kind);
        assert_eq!(ingest(&harness, &[queued(11)]), Err(kind));
        assert!(harness.state().runs.is_empty() && harness.woken().is_empty());
        assert_eq!(ingest(&harness, &[queued(11)]), Ok(1), "the next announcement finds it up");
    }
}

#[test]
fn a_run_that_another_has_just_made_is_as_good() {
    let harness = Harness::new();
    harness.fails("put", ErrorKind::Conflict);
    assert_eq!(ingest(&harness, &[queued(11)]), Ok(0));
    assert_eq!(harness.woken(), ["job-11"]);
}

#[test]
fn a_lost_wake_up_is_an_error_only_where_it_was_all_that_was_durable() {
    let harness = Harness::new();
    harness.fails("wake", ErrorKind::Unavailable);
    assert_eq!(ingest(&harness, &[queued(11)]), Ok(1), "the new run is due");
    harness.fails("wake", ErrorKind::Unavailable);
    assert_eq!(ingest(&harness, &[queued(11)]), Err(ErrorKind::Unavailable));
}

#[test]
fn news_of_a_job_wake_its_run_and_the_run_whose_machine_it_is_on() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    let (own, other) = (
        harness.attempt_id(&names[0], 1).to_string(),
        harness.attempt_id(&names[1], 1).to_string(),
    );
    let table: [(i64, Option<&str>, &[&str]); 7] = [
        (1, None, &["job-1"]),
        (1, Some(&own), &["job-1"]),
        (1, Some(&other), &["job-1", "job-2"]),
        (2, Some(&own), &["job-2", "job-1"]),
        (1, Some("a-runner-of-somebody-else"), &["job-1"]),
        // A job without a run: an update of a job creates none.
        (77, Some(&own), &["job-1"]),
        (77, None, &[]),
    ];
    for (job_id, runner, woken) in table {
        let hint = Hint::Job { job_id, runner: runner.map(str::to_owned) };
        assert_eq!(ingest(&harness, &[hint]), Ok(0));
        assert_eq!(harness.woken(), woken, "job {job_id} on {runner:?}");
    }
    assert_eq!(harness.state().runs.len(), 2);
}

#[test]
fn news_of_a_job_that_wake_nobody_for_want_of_store_or_queue_are_an_error() {
    for operation in ["get", "wake"] {
        let harness = Harness::new();
        harness.jobs(1, "good");
        harness.fails(operation, ErrorKind::Unavailable);
        let hint = Hint::Job { job_id: 1, runner: None };
        assert_eq!(ingest(&harness, &[hint]), Err(ErrorKind::Unavailable), "{operation}");
    }
}
