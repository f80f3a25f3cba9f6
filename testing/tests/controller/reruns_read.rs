//! Readings and their number until a lost job is run again, and the condition of its run meanwhile.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{Event, RerunOutcome};
use tinqs_ci_reconciler::model::{Job, Reason, RerunEnd, RerunKey, RerunScope, Reruns, RunName};
use tinqs_ci_reconciler::plan::RERUN_LANDS_WITHIN;
use tinqs_ci_reconciler::ports::ErrorKind;

use super::SECOND;
use crate::harness::Harness;
use crate::reruns::{
    FAILED, RUN, SUCCEEDED, is_not_run_again, job_name, lost, recorded, requests, running,
    workflow_run,
};

/// Another job of the workflow run, which goes on.
const OTHER: i64 = 77;

/// Lost jobs of a workflow run that goes on, and the time at which they failed.
fn failed_of_one_that_goes_on(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = lost(harness, count);
    let failed = (1..).take(count).map(|id| (id, FAILED));
    let jobs: Vec<(i64, Job)> = failed.chain([(OTHER, Job::Waiting)]).collect();
    workflow_run(harness, &jobs);
    names
}

#[test]
fn fifty_lost_jobs_of_a_matrix_cost_one_listing_per_interval() {
    let harness = Harness::new();
    let names = failed_of_one_that_goes_on(&harness, 50);
    let (told, before) = (harness.calls("reruns"), harness.calls("workflow_run"));
    assert_eq!((told, before), (50, 1), "one when their machines were lost");
    let mut intervals: Vec<i64> = Vec::new();
    for interval in 1..=20 {
        harness.reconcile_each(&names);
        assert_eq!(harness.calls("workflow_run"), before + interval);
        let due = harness.reconcile(&names[0]).due.expect("it waits");
        for name in &names {
            assert_eq!(harness.reconcile(name).due, Some(due), "all are due together");
        }
        let wait = due.duration_since(harness.now());
        intervals.push(wait.as_secs());
        harness.pass(wait);
    }
    assert_eq!((intervals.first(), intervals.last()), (Some(&30), Some(&90)), "{intervals:?}");
    assert!(intervals.is_sorted(), "{intervals:?}");
    // The requests so far were read once more, when their ends were noted.
    assert_eq!(harness.calls("reruns"), 100);
    {
        let mut state = harness.state();
        let run = state.workflow_runs.get_mut(&RUN).expect("there");
        run.is_done = true;
        run.jobs.iter_mut().filter(|job| job.id == OTHER).for_each(|job| {
            job.state = Some(SUCCEEDED);
        });
    }
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
}

#[test]
fn a_reading_for_one_job_serves_another_only_if_it_shows_its_end() {
    let harness = Harness::new();
    let names = lost(&harness, 2);
    workflow_run(&harness, &[(1, FAILED), (2, Job::Running { runner: String::new() })]);
    harness.reconcile(&names[0]);
    let before = harness.calls("workflow_run");
    // It fails, and the workflow run is over.
    {
        let mut state = harness.state();
        let at = state.now;
        let run = state.workflow_runs.get_mut(&RUN).expect("there");
        run.is_done = true;
        (run.jobs[1].state, run.jobs[1].completed_at) = (Some(FAILED), Some(at));
    }
    harness.reconcile(&names[1]);
    assert_eq!(harness.calls("workflow_run"), before + 2, "once more before the request");
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)], "both are known as lost");
}

#[test]
fn a_limit_that_is_reached_is_told_while_the_workflow_run_goes_on() {
    let harness = Harness::new();
    let name = failed_of_one_that_goes_on(&harness, 1).remove(0);
    let key = RerunKey { repo_id: 7, run_id: RUN, job: job_name(1) };
    let earlier = harness.now() - SignedDuration::from_hours(1);
    let reruns =
        Reruns { key: key.clone(), version: 4, count: 2, asked_at: earlier, failed_at: earlier };
    harness.state().reruns.insert(key, reruns);
    is_not_run_again(&harness, &name, RerunEnd::Limit);
}

#[test]
fn half_of_a_large_matrix_is_run_again_in_one_call_and_few_reads() {
    let harness = Harness::new();
    let names = lost(&harness, 128);
    let state = |id: i64| if id <= 128 { FAILED } else { SUCCEEDED };
    let jobs: Vec<(i64, Job)> = (1..=256).map(|id| (id, state(id))).collect();
    workflow_run(&harness, &jobs);
    let before = ["get", "reruns", "workflow_run"].map(|operation| harness.calls(operation));
    // In the order in which the forge ends them.
    harness.reconcile_each(&names);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)], "one call for all");
    assert_eq!(harness.calls("put_reruns"), 128);
    let after = ["get", "reruns", "workflow_run"].map(|operation| harness.calls(operation));
    let [records, requested, listings] = [0, 1, 2].map(|n| after[n] - before[n]);
    // If each of them read all others, it would be more than 16,000 of each.
    assert!(records <= 8 * 128 && requested <= 4 * 128, "{records} and {requested}");
    assert!(listings <= 4, "{listings}");
}

#[test]
fn an_unreadable_record_of_another_failed_job_stops_no_lost_one() {
    let harness = Harness::new();
    let names = lost(&harness, 3);
    workflow_run(&harness, &[(1, FAILED), (2, FAILED), (3, FAILED)]);
    harness.reconcile(&names[1]);
    harness.change(&names[2], |run| run.format = 99);
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Job(1))], "the third may be anybody's");
    assert_eq!(harness.reason(&names[0]), Some(Reason::AwaitsRerun));
    assert!(!harness.message(&names[0]).contains("cannot be read"), "{names:?}");
}

#[test]
fn before_1_26_a_lost_job_is_said_at_once_not_to_run_again() {
    for (can_rerun, reason, then) in [
        (false, Reason::MachineLost, "this version cannot run it again by its API (1.26 can)"),
        (true, Reason::AwaitsRerun, "it is run again then"),
    ] {
        let harness = Harness::new();
        let name = running(&harness, 1).remove(0);
        let runner = harness.attempt_id(&name, 1).to_string();
        workflow_run(&harness, &[(1, Job::Running { runner })]);
        harness.state().workflow_runs.get_mut(&RUN).expect("there").can_rerun = can_rerun;
        harness.take_back(&name);
        let report = harness.reconcile(&name);
        let told = harness.message(&name);
        assert_eq!(report.reason, Some(reason), "{told}");
        assert!(told.ends_with(then) || told.contains(&format!("{then}: re-run it")), "{told}");
        harness.pass(60 * SECOND);
        harness.reconcile(&name);
        assert_eq!(harness.calls("workflow_run"), 1, "it is told once");
        if !can_rerun {
            harness.job_is(&name, FAILED);
            workflow_run(&harness, &[(1, FAILED), (OTHER, Job::Waiting)]);
            harness.state().workflow_runs.get_mut(&RUN).expect("there").can_rerun = false;
            is_not_run_again(&harness, &name, RerunEnd::Unsupported);
        }
    }
}

#[test]
fn a_denied_request_is_told_with_its_remedy_until_one_is_accepted() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED)]);
    harness.fails("rerun", ErrorKind::Denied);
    let report = harness.reconcile(&name);
    assert!(report.events.contains(&Event::Rerun { outcome: RerunOutcome::Denied }));
    let told = harness.message(&name);
    assert!(told.contains("(told to fail)") && told.contains("`write:repository`"), "{told}");
    let writes = harness.writes();
    harness.pass(30 * SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.message(&name), harness.writes()), (told, writes), "it stays");
    harness.pass(RERUN_LANDS_WITHIN);
    harness.reconcile(&name);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
    let told = harness.message(&name);
    assert!(!told.contains("denies"), "{told}");
    assert_eq!(recorded(&harness, 1).map(|it| it.count), Some(1));
}
