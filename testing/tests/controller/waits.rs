//! Waits of jobs count by the forge's own times, and each job is counted once.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::{Event, Hint};
use tinqs_ci_reconciler::model::{
    Conclusion, Happened, Job, JobTimes, Outcome, Phase, RunName, Status,
};
use tinqs_ci_reconciler::ports::WaitingJob;
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, waiting_job};
use crate::harness::Harness;

const DONE: Job = Job::Done { conclusion: Conclusion::Success };

fn created(id: i64, at: Timestamp) -> WaitingJob {
    WaitingJob { created_at: Some(at), ..waiting_job(id, "good") }
}

/// A webhook announces a job that was created 4 seconds ago.
fn announced(harness: &Harness) -> RunName {
    let job = created(1, harness.now() - 4 * SECOND);
    ready(harness.controller.ingest(&[Hint::Queued(job)])).expect("durable");
    RunName::job(1)
}

fn times(harness: &Harness, started_at: Option<Timestamp>, attempt: u32) {
    let times = JobTimes { started_at, attempt: Some(attempt), ..JobTimes::default() };
    harness.state().times.insert(1, times);
}

fn status(harness: &Harness) -> Status {
    harness.run(&RunName::job(1)).status
}

fn waits(events: &[Event]) -> Vec<i64> {
    let waited = |event: &Event| match event {
        Event::Started { waited_seconds } => Some(*waited_seconds),
        _ => None,
    };
    events.iter().filter_map(waited).collect()
}

#[test]
fn a_wait_counts_from_the_creation_of_the_job_to_its_start_at_the_forge() {
    let harness = Harness::new();
    let name = announced(&harness);
    let created_at = harness.now() - 4 * SECOND;
    harness.reconcile(&name);
    assert_eq!(status(&harness).queued_at(), created_at);
    harness.pass(20 * SECOND);
    assert_eq!(status(&harness).waited(harness.now()), Some(24 * SECOND));
    // It started 15 s before this was seen.
    times(&harness, Some(harness.now() - 15 * SECOND), 1);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    assert_eq!(waits(&harness.reconcile(&name).events), [9]);
    harness.pass(MINUTE);
    assert!(harness.reconcile(&name).events.is_empty());
    assert_eq!(status(&harness).waited(harness.now()), Some(9 * SECOND));
    harness.job_is(&name, DONE);
    assert!(waits(&harness.reconcile(&name).events).is_empty());
    assert_eq!(status(&harness).waited(harness.now()), Some(9 * SECOND));
}

#[test]
fn a_job_that_was_over_before_it_was_seen_running_is_counted_once() {
    let harness = Harness::new();
    let name = announced(&harness);
    harness.reconcile(&name);
    harness.pass(MINUTE);
    times(&harness, Some(harness.now() - 50 * SECOND), 1);
    harness.job_is(&name, DONE);
    let report = harness.reconcile(&name);
    assert_eq!(waits(&report.events), [14]);
    let ended = Event::Finished { outcome: Outcome::Succeeded, ran_ms: None };
    assert_eq!(report.events.last(), Some(&ended));
    assert_eq!(harness.reconcile(&name).events, []);
}

#[test]
fn a_job_that_never_started_is_not_counted() {
    let harness = Harness::new();
    let name = announced(&harness);
    harness.reconcile(&name);
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    assert!(waits(&harness.reconcile(&name).events).is_empty());
}

#[test]
fn the_wait_of_a_re_run_counts_from_the_re_run() {
    let harness = Harness::new();
    let name = announced(&harness);
    times(&harness, Some(harness.now()), 1);
    harness.job_is(&name, DONE);
    harness.reconcile(&name);
    harness.pass(10 * MINUTE);
    times(&harness, None, 2);
    harness.job_is(&name, Job::Waiting);
    harness.reconcile(&name);
    let reopened = Happened::Reopened { job_attempt: Some(2) };
    assert!(status(&harness).timeline.iter().any(|milestone| milestone.what == reopened));
    assert_eq!(status(&harness).wait.attempt, Some(2));
    assert_eq!(status(&harness).queued_at(), harness.now());
    harness.pass(5 * SECOND);
    times(&harness, Some(harness.now()), 2);
    let runner = harness.attempt_id(&name, 2).to_string();
    harness.job_is(&name, Job::Running { runner });
    assert_eq!(waits(&harness.reconcile(&name).events), [5]);
    let last = status(&harness).timeline.pop().expect("a milestone").what;
    assert!(matches!(last, Happened::Started { job_attempt: Some(2), .. }), "{last:?}");
}

#[test]
fn a_wait_counts_from_the_unblocking() {
    let harness = Harness::new();
    harness.controller.saw_blocked(1);
    let seen = harness.now();
    let name = announced(&harness);
    assert_eq!(status(&harness).queued_at(), seen, "it was blocked until now");
    harness.job_is(&name, Job::Blocked);
    harness.reconcile(&name);
    harness.pass(MINUTE);
    harness.job_is(&name, Job::Waiting);
    harness.reconcile(&name);
    assert_eq!(status(&harness).queued_at(), harness.now());
}

#[test]
fn a_poll_that_did_not_list_a_job_dates_its_unblocking() {
    let harness = Harness::new();
    let begins = harness.now();
    harness.state().waiting = Some(vec![created(2, begins)]);
    ready(harness.controller.poll());
    harness.pass(10 * SECOND);
    let jobs = [created(2, begins), created(3, begins - MINUTE), created(4, begins + SECOND)];
    harness.state().waiting = Some(jobs.to_vec());
    ready(harness.controller.poll());
    let queued = |id| harness.run(&RunName::job(id)).status.queued_at();
    assert_eq!(queued(2), begins);
    assert_eq!(queued(3), harness.now(), "it existed, and the poll before did not list it");
    assert_eq!(queued(4), begins + SECOND);
}

#[test]
fn a_record_of_an_earlier_version_is_read_and_its_wait_is_known() {
    let harness = Harness::new();
    let name = announced(&harness);
    harness.reconcile(&name);
    let mut record = serde_json::to_value(harness.run(&name)).expect("JSON");
    record["status"].as_object_mut().expect("a status").remove("wait");
    let timeline = record["status"]["timeline"].as_array_mut().expect("a timeline");
    timeline.push(serde_json::json!({ "at": "2026-01-01T00:00:00Z", "kind": "Reopened" }));
    let old: tinqs_ci_reconciler::model::Run = serde_json::from_value(record).expect("is read");
    assert_eq!(
        old.status.timeline.last().expect("one").what,
        Happened::Reopened { job_attempt: None }
    );
    assert_eq!(old.status.queued_at(), old.status.waiting_since);
    assert_eq!(old.status.phase, Phase::Starting);
    harness.change(&name, |run| run.status.wait = old.status.wait);
    harness.pass(30 * SECOND);
    times(&harness, Some(harness.now() - SignedDuration::from_secs(10)), 1);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    assert_eq!(waits(&harness.reconcile(&name).events), [20], "since it was seen waiting");
}
