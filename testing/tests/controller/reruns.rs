//! Jobs whose machines the cloud took: they are run again, at the right time and never against a
//! person.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::{Event, RerunOutcome};
use tinqs_ci_reconciler::model::{
    Conclusion, Happened, Job, JobTimes, MachineState, Market, Milestone, Outcome, Phase, Reason,
    RerunEnd, RerunJobs, RerunKey, RerunScope, Reruns, RunName, WorkflowJob, WorkflowRun,
};
use tinqs_ci_reconciler::plan::{FAILED_WITHIN, RERUN_LANDS_WITHIN};
use tinqs_ci_reconciler::ports::{ErrorKind, RerunAnswer};

use super::{MINUTE, SECOND};
use crate::harness::Harness;

pub(crate) const FAILED: Job = Job::Done { conclusion: Conclusion::Failure };
const CANCELED: Job = Job::Done { conclusion: Conclusion::Cancelled };
pub(crate) const SUCCEEDED: Job = Job::Done { conclusion: Conclusion::Success };
/// The workflow run of all jobs here.
pub(crate) const RUN: i64 = 900;

pub(crate) fn job_name(id: i64) -> String {
    format!("test ({id})")
}

/// Jobs of one workflow run, each running on its own machine.
pub(crate) fn running(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    for name in &names {
        harness.change(name, |run| {
            run.spec.about.run_id = RUN;
            run.spec.about.job = job_name(run.spec.job.job_id);
        });
        harness.reconcile(name);
        let runner = harness.attempt_id(name, 1).to_string();
        harness.job_is(name, Job::Running { runner });
    }
    {
        let mut state = harness.state();
        state.machines.iter_mut().for_each(|machine| machine.state = MachineState::Up);
        state.registrations.iter_mut().for_each(|row| (row.online, row.busy) = (true, true));
    }
    harness.pass(MINUTE);
    harness.reconcile_each(&names);
    names
}

/// The same, and the cloud has taken their machines; the forge has failed the jobs.
pub(crate) fn lost(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = running(harness, count);
    for name in &names {
        harness.take_back(name);
        harness.reconcile(name);
        assert_eq!(harness.run(name).status.reason(), Some(Reason::AwaitsRerun));
    }
    harness.pass(10 * MINUTE);
    for name in &names {
        harness.job_is(name, FAILED);
    }
    names
}

/// Says what the workflow run is: its jobs by ID, each with its state. Those that are done ended
/// now.
pub(crate) fn workflow_run(harness: &Harness, jobs: &[(i64, Job)]) -> Timestamp {
    let at = harness.now();
    let job = |(id, state): &(i64, Job)| WorkflowJob {
        id: *id,
        name: job_name(*id),
        completed_at: matches!(state, Job::Done { .. }).then_some(at),
        state: Some(state.clone()),
    };
    let is_done = jobs.iter().all(|(_, state)| matches!(state, Job::Done { .. }));
    let jobs = jobs.iter().map(job).collect();
    let run = WorkflowRun { is_done, attempt: Some(1), can_rerun: true, jobs };
    harness.state().workflow_runs.insert(RUN, run);
    at
}

pub(crate) fn requests(harness: &Harness) -> Vec<(i64, RerunScope)> {
    harness.state().rerun_requests.clone()
}

pub(crate) fn recorded(harness: &Harness, id: i64) -> Option<Reruns> {
    let key = RerunKey { repo_id: 7, run_id: RUN, job: job_name(id) };
    harness.state().reruns.get(&key).cloned()
}

/// Asserts that the run is over, and why its job is not run again.
pub(crate) fn is_not_run_again(harness: &Harness, name: &RunName, why: RerunEnd) {
    let report = harness.reconcile(name);
    let status = harness.run(name).status;
    assert_eq!((status.phase, status.outcome), (Phase::Finished, Some(Outcome::MachineLost)));
    let not = Event::Rerun { outcome: RerunOutcome::Not(why) };
    assert!(report.events.contains(&not), "{why:?}: {:?}", report.events);
    let told = status.timeline.iter().any(|m| m.what == Happened::NotRerun { why });
    assert!(told, "{why:?}: {:?}", status.timeline);
    assert_eq!(requests(harness), []);
}

#[test]
fn a_lost_job_is_run_again_once_its_workflow_run_is_over() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED), (2, Job::Waiting)]);
    let report = harness.reconcile(&name);
    assert_eq!((report.phase, report.reason), (Some(Phase::Running), Some(Reason::AwaitsRerun)));
    assert!(report.due.is_some_and(|due| due <= harness.now() + 30 * SECOND), "{:?}", report.due);
    assert_eq!((requests(&harness), recorded(&harness, 1)), (Vec::new(), None));
    // The other job ends; this one has the end that was noted.
    {
        let mut state = harness.state();
        let run = state.workflow_runs.get_mut(&RUN).expect("there");
        (run.is_done, run.jobs[1].state) = (true, Some(SUCCEEDED));
    }
    harness.pass(30 * SECOND);
    let report = harness.reconcile(&name);
    assert!(report.events.contains(&Event::Rerun { outcome: RerunOutcome::Accepted }));
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
    assert_eq!(recorded(&harness, 1).map(|it| (it.count, it.asked_at)), Some((1, harness.now())));
    let timeline = harness.run(&name).status.timeline;
    assert!(timeline.iter().any(|m| m.what == Happened::RerunRequested), "{timeline:?}");
    // It waits again.
    harness.job_is(&name, Job::Waiting);
    harness.reconcile(&name);
    let status = harness.run(&name).status;
    assert_eq!((status.interrupted, status.outcome), (None, None));
    assert_eq!(requests(&harness).len(), 1);
}

#[test]
fn a_request_is_repeated_only_when_no_earlier_one_can_land() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED)]);
    harness.fails("rerun", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert!(report.events.contains(&Event::Rerun { outcome: RerunOutcome::Failed }));
    assert_eq!(recorded(&harness, 1).map(|it| it.count), Some(1), "recorded before the call");
    harness.pass(RERUN_LANDS_WITHIN - SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.calls("rerun"), requests(&harness)), (1, Vec::new()));
    harness.pass(SECOND);
    harness.reconcile(&name);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
    assert_eq!(recorded(&harness, 1).map(|it| it.count), Some(1), "the same end counts once");
}

#[test]
fn lost_jobs_are_run_again_together_unless_another_failed_by_itself() {
    let harness = Harness::new();
    let names = lost(&harness, 2);
    workflow_run(&harness, &[(1, FAILED), (2, FAILED)]);
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness), [], "what happened to the other is not known yet");
    harness.reconcile(&names[1]);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
    harness.pass(30 * SECOND);
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness).len(), 1, "one call for both");
    assert!(recorded(&harness, 1).is_some() && recorded(&harness, 2).is_some());

    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    // A job on a runner of somebody else.
    workflow_run(&harness, &[(1, FAILED), (77, FAILED)]);
    harness.reconcile(&name);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Job(1))]);
}

/// Since Gitea 1.27 each attempt lists all jobs under new IDs, also those that are not run again.
#[test]
fn beside_one_that_failed_by_itself_lost_jobs_are_run_again_one_by_one_under_new_ids() {
    let harness = Harness::new();
    let names = lost(&harness, 2);
    let at = workflow_run(&harness, &[(1, FAILED), (2, FAILED), (77, FAILED)]);
    let next_attempt = |number: u32, jobs: [(i64, Job, Option<Timestamp>); 3]| {
        let is_done = jobs.iter().all(|(_, state, _)| matches!(state, Job::Done { .. }));
        let job = |(id, state, completed_at): (i64, Job, Option<Timestamp>)| WorkflowJob {
            id: i64::from(number) * 100 + id,
            name: job_name(id),
            state: Some(state),
            completed_at,
        };
        let jobs = jobs.into_iter().map(job).collect();
        let run = WorkflowRun { is_done, attempt: Some(number), can_rerun: true, jobs };
        harness.state().workflow_runs.insert(RUN, run);
    };
    let failed = |id: i64| (id, FAILED, Some(at));
    harness.reconcile_each(&names);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Job(2))], "the first one was not known yet");
    next_attempt(2, [failed(1), (2, Job::Waiting, None), failed(77)]);
    harness.pass(30 * SECOND);
    harness.reconcile_each(&names);
    assert_eq!(requests(&harness).len(), 1, "the workflow run goes on");
    assert_eq!(harness.reason(&names[0]), Some(Reason::AwaitsRerun));
    let status = harness.run(&names[1]).status;
    assert_eq!((status.phase, status.outcome), (Phase::Finished, Some(Outcome::MachineLost)));
    let is_not = |m: &Milestone| matches!(m.what, Happened::NotRerun { .. });
    assert!(!status.timeline.iter().any(is_not), "it landed: {:?}", status.timeline);
    harness.pass(10 * MINUTE);
    let second = (2, SUCCEEDED, Some(harness.now()));
    next_attempt(2, [failed(1), second.clone(), failed(77)]);
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness)[1..], [(RUN, RerunScope::Job(201))], "by its present ID");
    next_attempt(3, [(1, Job::Waiting, None), second, failed(77)]);
    harness.pass(30 * SECOND);
    harness.reconcile_each(&names);
    assert_eq!(harness.run(&names[0]).status.phase, Phase::Finished);
    let counts = [1, 2].map(|id| recorded(&harness, id).map(|it| it.count));
    assert_eq!((requests(&harness).len(), counts), (2, [Some(1), Some(1)]));
}

#[test]
fn a_person_decides_who_acted_meanwhile() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED), (2, CANCELED)]);
    is_not_run_again(&harness, &name, RerunEnd::Cancelled);

    // Another end of the job: somebody ran it again, and it failed once more.
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED), (2, Job::Waiting)]);
    harness.reconcile(&name);
    harness.pass(30 * SECOND);
    workflow_run(&harness, &[(1, FAILED), (2, SUCCEEDED)]);
    is_not_run_again(&harness, &name, RerunEnd::Changed);

    // Between the decision and the call.
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED)]);
    harness.when("put_reruns", |state| {
        let run = state.workflow_runs.get_mut(&RUN).expect("there");
        (run.is_done, run.jobs[0].state) = (false, Some(Job::Waiting));
    });
    harness.reconcile(&name);
    assert_eq!((harness.calls("put_reruns"), requests(&harness)), (1, Vec::new()));
}

#[test]
fn a_class_a_limit_or_an_old_server_may_forbid_it() {
    let harness = Harness::new();
    harness.configure("good", |class| class.rerun.jobs = RerunJobs::Never);
    let name = running(&harness, 1).remove(0);
    harness.take_back(&name);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.reason(), Some(Reason::MachineLost));
    let told = harness.message(&name);
    assert!(told.ends_with("; class good has `rerun = \"never\"`: re-run it there"), "{told}");
    harness.job_is(&name, FAILED);
    workflow_run(&harness, &[(1, FAILED)]);
    is_not_run_again(&harness, &name, RerunEnd::Never);
    let timeline = harness.run(&name).status.timeline;
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.timeline, timeline, "it is told once");
    assert_eq!((harness.calls("workflow_run"), requests(&harness)), (0, Vec::new()));

    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    let at = workflow_run(&harness, &[(1, FAILED)]);
    let key = RerunKey { repo_id: 7, run_id: RUN, job: job_name(1) };
    let earlier = at - SignedDuration::from_hours(1);
    let reruns =
        Reruns { key: key.clone(), version: 4, count: 2, asked_at: earlier, failed_at: earlier };
    harness.state().reruns.insert(key, reruns);
    is_not_run_again(&harness, &name, RerunEnd::Limit);

    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED)]);
    harness.state().workflow_runs.get_mut(&RUN).expect("there").can_rerun = false;
    is_not_run_again(&harness, &name, RerunEnd::Unsupported);
}

#[test]
fn what_the_forge_answers_is_told() {
    let refused = RerunAnswer::Refused("400 Bad Request (the workflow is disabled)".to_owned());
    for (answer, why) in [(refused, RerunEnd::Refused), (RerunAnswer::NotFound, RerunEnd::Changed)]
    {
        let harness = Harness::new();
        let name = lost(&harness, 1).remove(0);
        workflow_run(&harness, &[(1, FAILED)]);
        harness.state().rerun_answer = answer;
        let report = harness.reconcile(&name);
        let not = Event::Rerun { outcome: RerunOutcome::Not(why) };
        let landed = report.events.contains(&not);
        assert!(landed || why == RerunEnd::Changed, "{:?}", report.events);
        assert_eq!(harness.run(&name).status.outcome, Some(Outcome::MachineLost), "{why:?}");
    }
    for (error, outcome) in
        [(ErrorKind::Denied, RerunOutcome::Denied), (ErrorKind::Unavailable, RerunOutcome::Failed)]
    {
        let harness = Harness::new();
        let name = lost(&harness, 1).remove(0);
        workflow_run(&harness, &[(1, FAILED)]);
        harness.fails("rerun", error);
        let report = harness.reconcile(&name);
        assert!(report.events.contains(&Event::Rerun { outcome }), "{:?}", report.events);
        assert_eq!(harness.run(&name).status.reason(), Some(Reason::AwaitsRerun));
    }
}

#[test]
fn a_job_on_the_machine_of_another_run_is_run_again_too() {
    let harness = Harness::new();
    let names = running(&harness, 2);
    let runner = harness.attempt_id(&names[1], 1).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    harness.job_is(&names[1], SUCCEEDED);
    harness.reconcile_each(&names);
    harness.take_back(&names[1]);
    harness.pass(MINUTE);
    let report = harness.reconcile(&names[0]);
    let interrupted = |event: &Event| matches!(event, Event::Interrupted { .. });
    assert!(report.events.iter().any(interrupted), "{:?}", report.events);
    harness.pass(10 * MINUTE);
    harness.job_is(&names[0], FAILED);
    workflow_run(&harness, &[(1, FAILED), (2, SUCCEEDED)]);
    harness.reconcile(&names[0]);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);
}

#[test]
fn a_job_that_failed_long_before_its_machine_was_taken_failed_by_itself() {
    let harness = Harness::new();
    let name = running(&harness, 1).remove(0);
    harness.job_is(&name, FAILED);
    workflow_run(&harness, &[(1, FAILED)]);
    harness.pass(4 * MINUTE);
    harness.take_back(&name);
    let report = harness.reconcile(&name);
    let outcome = RerunOutcome::Not(RerunEnd::FailedBefore);
    assert!(report.events.contains(&Event::Rerun { outcome }), "{:?}", report.events);
    assert_eq!(harness.run(&name).status.outcome, Some(Outcome::Failed));
    assert_eq!(requests(&harness), []);
}

/// A job that its runner reports as failed while its spot machine is up.
fn reported_early(harness: &Harness) -> RunName {
    let name = running(harness, 1).remove(0);
    harness.state().machines.iter_mut().for_each(|machine| machine.market = Market::Spot);
    harness.job_is(&name, FAILED);
    let completed_at = Some(workflow_run(harness, &[(1, FAILED)]));
    harness.state().times.insert(1, JobTimes { completed_at, ..JobTimes::default() });
    let report = harness.reconcile(&name);
    assert_eq!(report.phase, Some(Phase::Running), "its machine may be taken now");
    assert!(report.due.is_some_and(|due| due <= harness.now() + 15 * SECOND), "{:?}", report.due);
    name
}

#[test]
fn a_job_that_failed_shortly_before_its_machine_was_taken_is_run_again() {
    let harness = Harness::new();
    let name = reported_early(&harness);
    harness.pass(30 * SECOND);
    harness.take_back(&name);
    harness.reconcile(&name);
    assert_eq!(requests(&harness), [(RUN, RerunScope::Failed)]);

    let harness = Harness::new();
    let name = reported_early(&harness);
    harness.pass(FAILED_WITHIN + SECOND);
    harness.reconcile(&name);
    let status = harness.run(&name).status;
    assert_eq!((status.phase, status.outcome), (Phase::Finished, Some(Outcome::Failed)));
    assert_eq!(requests(&harness), []);
}

#[test]
fn a_workflow_run_that_cannot_be_read_is_waited_for_and_no_longer_than_it_may() {
    for kind in [ErrorKind::Denied, ErrorKind::Unavailable] {
        let harness = Harness::new();
        let name = lost(&harness, 1).remove(0);
        harness.fails("workflow_run", kind);
        let report = harness.reconcile(&name);
        assert_eq!((report.phase, report.error), (Some(Phase::Running), None), "{kind:?}");
        let told = harness.run(&name).status.conditions[0].message.clone();
        assert!(told.contains("cannot be read now"), "{told}");
        harness.pass(SignedDuration::from_hours(25));
        harness.fails("workflow_run", kind);
        is_not_run_again(&harness, &name, RerunEnd::Unread);
    }
}

#[test]
fn a_request_that_is_denied_until_it_is_too_late_says_that_it_was_denied() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED)]);
    for hours in [0, 12, 13] {
        harness.pass(SignedDuration::from_hours(hours));
        assert_eq!(harness.run(&name).status.phase, Phase::Running, "{hours}");
        harness.fails("rerun", ErrorKind::Denied);
        harness.reconcile(&name);
    }
    assert_eq!(harness.calls("rerun"), 3, "it is asked to the end");
    let status = harness.run(&name).status;
    assert_eq!((status.phase, status.outcome), (Phase::Finished, Some(Outcome::MachineLost)));
    let why = RerunEnd::NotAllowed;
    let told = status.timeline.iter().any(|m| m.what == Happened::NotRerun { why });
    assert!(told && why.words().contains("`write:repository`"), "{:?}", status.timeline);
}

#[test]
fn a_workflow_run_that_goes_on_for_too_long_is_the_reason() {
    let harness = Harness::new();
    let name = lost(&harness, 1).remove(0);
    workflow_run(&harness, &[(1, FAILED), (2, Job::Waiting)]);
    harness.reconcile(&name);
    assert_eq!(harness.reason(&name), Some(Reason::AwaitsRerun));
    harness.pass(SignedDuration::from_hours(25));
    is_not_run_again(&harness, &name, RerunEnd::Expired);
}
