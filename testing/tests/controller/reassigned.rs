//! A run whose machine took another job waits for that job's machine, but only while one may come.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, End, Ended, Job, Phase, Reason, Run, RunName,
};
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

/// Jobs whose machines were all launched.
fn started(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    harness.reconcile_each(&names);
    names
}

/// A hint says that a job runs on the machine of another run's first attempt.
fn takes(harness: &Harness, taker: &RunName, displaced: &RunName) {
    let runner = harness.attempt_id(displaced, 1).to_string();
    let id = harness.run(displaced).status.attempt.map(|attempt| attempt.runner.id);
    for row in harness.state().registrations.iter_mut().filter(|row| Some(row.id) == id) {
        row.busy = true;
    }
    let job_id = harness.run(taker).spec.job.job_id;
    let hint = Hint::Job { job_id, runner: Some(runner) };
    ready(harness.controller.ingest(&[hint])).expect("it is taken in");
    harness.woken();
}

fn ended(run: &mut Run, why: End) {
    let at = run.created_at;
    let attempt = run.status.attempt.as_mut().expect("an attempt");
    attempt.ended = Some(Ended { why, at });
}

/// Reconciles the first run. Returns whether it waits for the machine of another run.
fn waits(harness: &Harness, name: &RunName) -> bool {
    let report = harness.reconcile(name);
    match report.reason {
        Some(Reason::MachineReassigned) => {
            assert_eq!(report.due, Some(harness.now() + MINUTE), "for a minute at the most");
            true
        }
        None if report.phase == Some(Phase::Starting) => {
            assert_eq!(harness.run(name).status.attempt.map(|attempt| attempt.number), Some(2));
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_known_of_the_taker_decides_whether_the_displaced_run_waits() {
    type Case = (&'static str, fn(&mut Run), bool);
    let cases: [Case; 7] = [
        ("its machine is on its way", |_| {}, true),
        ("its attempt is over, and it waits itself", |run| ended(run, End::MachineGone), true),
        ("it runs, and its attempt goes on", |run| run.status.phase = Phase::Running, true),
        (
            "it runs, and its attempt came to nothing",
            |run| {
                ended(run, End::MachineGone);
                run.status.phase = Phase::Running;
            },
            false,
        ),
        (
            "it never had a machine, and runs",
            |run| (run.status.attempt, run.status.phase) = (None, Phase::Running),
            false,
        ),
        (
            "it never had a machine, and is over",
            |run| (run.status.attempt, run.status.phase) = (None, Phase::Finished),
            false,
        ),
        ("its own was taken too, by nobody who is known", |run| ended(run, End::Consumed), true),
    ];
    for (case, change, waits_for_it) in cases {
        let harness = Harness::new();
        let names = started(&harness, 2);
        takes(&harness, &names[1], &names[0]);
        harness.change(&names[1], change);
        assert_eq!(waits(&harness, &names[0]), waits_for_it, "{case}");
    }
}

#[test]
fn nobody_waits_for_a_taker_without_a_record_and_everybody_for_one_that_is_not_known() {
    let harness = Harness::new();
    let names = started(&harness, 3);
    takes(&harness, &names[2], &names[0]);
    harness.state().runs.remove(&names[2]);
    assert!(!waits(&harness, &names[0]));
    // Its registration is busy, and no hint said with which job.
    harness.state().registrations[1].busy = true;
    assert!(waits(&harness, &names[1]));
}

#[test]
fn those_who_have_got_each_others_machine_do_not_lead_anybody_on() {
    let harness = Harness::new();
    let names = started(&harness, 3);
    takes(&harness, &names[1], &names[0]);
    takes(&harness, &names[2], &names[1]);
    takes(&harness, &names[1], &names[2]);
    for name in &names[1..] {
        harness.change(name, |run| ended(run, End::Consumed));
    }
    assert!(waits(&harness, &names[0]));
}

#[test]
fn takers_are_followed_over_twenty_hops_and_no_further() {
    for (takers, waits_for_it) in [(2, false), (20, false), (21, true)] {
        let harness = Harness::new();
        let names = started(&harness, takers + 1);
        for pair in names.windows(2) {
            takes(&harness, &pair[1], &pair[0]);
            harness.change(&pair[1], |run| ended(run, End::Consumed));
        }
        harness.change(&names[takers], |run| {
            (run.status.attempt, run.status.phase) = (None, Phase::Running);
        });
        assert_eq!(waits(&harness, &names[0]), waits_for_it, "{takers} takers");
    }
}

#[test]
fn what_a_reconcile_sees_of_the_runner_is_cached_as_well() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.change(&names[1], |run| run.status.attempt = None);
    harness.job_is(&names[1], Job::Running { runner });
    harness.reconcile(&names[1]);
    harness.state().registrations[0].busy = true;
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn the_displaced_run_is_called_once_as_soon_as_nothing_comes_back() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.job_is(&names[1], Job::Running { runner });
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty(), "its own machine is on its way");
    harness.change(&names[1], |run| ended(run, End::MachineGone));
    harness.reconcile(&names[1]);
    assert_eq!(harness.woken(), ["job-1"]);
    harness.pass(MINUTE);
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty(), "it was told");
    harness.job_is(&names[1], Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty());
}

#[test]
fn one_that_is_over_before_it_was_seen_at_work_calls_the_displaced_too() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    takes(&harness, &names[1], &names[0]);
    harness.change(&names[1], |run| run.status.attempt = None);
    harness.job_is(&names[1], Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&names[1]);
    assert_eq!(harness.woken(), ["job-1"]);
}

#[test]
fn one_that_waits_itself_calls_nobody() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(1));
    let names = started(&harness, 2);
    assert_eq!(harness.run(&names[1]).status.reason(), Some(Reason::AtLimit));
    takes(&harness, &names[1], &names[0]);
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty());
}

#[test]
fn who_runs_on_his_own_machine_has_displaced_nobody() {
    let harness = Harness::new();
    let names = started(&harness, 1);
    // The machine of the first attempt came up late, after the second attempt had begun.
    let runner = harness.attempt_id(&names[0], 1).to_string();
    harness.change(&names[0], |run| {
        ended(run, End::MachineGone);
        run.status.attempt.as_mut().expect("an attempt").number = 2;
        run.status.attempt.as_mut().expect("an attempt").class = ClassName("good".to_owned());
    });
    harness.job_is(&names[0], Job::Running { runner });
    harness.reconcile(&names[0]);
    harness.pass(SECOND);
    harness.reconcile(&names[0]);
    assert!(harness.woken().is_empty());
}
