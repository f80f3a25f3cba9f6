//! Polls: what they create, wake and count.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{SweepReport, UnservedJob, UnservedLabels};
use tinqs_ci_reconciler::model::{ClassName, Outcome, Phase, Run, RunName, Spec};
use tinqs_ci_reconciler::ports::{ErrorKind, WaitingJob};
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, waiting_job};
use crate::harness::Harness;

fn poll(harness: &Harness) -> SweepReport {
    ready(harness.controller.poll())
}

/// Runs of class `good` that are due in five minutes and were never reconciled.
fn left_alone(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    for name in &names {
        due_in(harness, name, 5 * MINUTE);
    }
    names
}

fn due_in(harness: &Harness, name: &RunName, wait: SignedDuration) {
    let due = harness.now() + wait;
    harness.change(name, |run| run.status.due = due);
}

fn finished(harness: &Harness, name: &RunName, outcome: Outcome) {
    let now = harness.now();
    harness.change(name, |run| {
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(outcome));
        (run.status.finished_at, run.status.due) = (Some(now), now + 60 * MINUTE);
    });
}

#[test]
fn a_waiting_job_without_a_run_gets_one_and_a_finished_one_is_reconciled_again() {
    let harness = Harness::new();
    let names = left_alone(&harness, 6);
    finished(&harness, &names[1], Outcome::Succeeded);
    finished(&harness, &names[2], Outcome::GaveUp);
    finished(&harness, &names[3], Outcome::Failed);
    let now = harness.now();
    for name in &names[3..5] {
        harness.change(name, |run| run.deleted_at = Some(now));
    }
    let jobs = (1..=5).chain([101, 102]).map(|id| waiting_job(id, "good"));
    harness.state().waiting = Some(jobs.chain([waiting_job(103, "elsewhere")]).collect());
    let report = poll(&harness);
    let job = waiting_job(103, "elsewhere");
    let expected = SweepReport {
        leader: true,
        waiting_jobs: 8,
        unserved_jobs: 1,
        unserved: Some(vec![UnservedLabels {
            runs_on: vec!["elsewhere".to_owned()],
            jobs: 1,
            examples: vec![UnservedJob {
                repo: job.job.repo,
                job_id: 103,
                name: job.about.job,
                url: job.about.url,
            }],
            nearest: None,
        }]),
        created: 2,
        woken: 3,
        ..SweepReport::default()
    };
    assert_eq!(report, expected);
    // Not woken: open runs, runs given up or deleted, and the run that the forge does not list.
    assert_eq!(harness.woken(), ["job-2", "job-101", "job-102"]);
    assert_eq!(
        harness.run(&RunName::job(101)).spec,
        Spec {
            job: waiting_job(101, "good").job,
            runs_on: vec!["good".to_owned()],
            about: waiting_job(101, "good").about,
            ..Spec::default()
        }
    );
    assert_eq!(harness.calls("get"), 5, "open runs and unserved jobs are not read");
}

#[test]
fn in_push_mode_nothing_is_listed_and_that_is_no_error() {
    let harness = Harness::new();
    left_alone(&harness, 1);
    let report = poll(&harness);
    assert_eq!(report, SweepReport { leader: true, ..SweepReport::default() });
}

#[test]
fn runs_that_fell_due_are_woken_and_no_others() {
    type Case = (&'static str, bool, Phase, SignedDuration, bool);
    let (hour, minutes) = (60 * MINUTE, 10 * MINUTE);
    let cases: [Case; 12] = [
        ("due", false, Phase::Waiting, SignedDuration::ZERO, true),
        ("long due", false, Phase::Starting, -hour, true),
        ("soon due", false, Phase::Running, SECOND, false),
        ("due at the latest", false, Phase::Waiting, minutes, false),
        ("later than a run may be", false, Phase::Waiting, minutes + SECOND, true),
        ("much later", false, Phase::Starting, 24 * hour, true),
        ("push mode: due", true, Phase::Waiting, SignedDuration::ZERO, true),
        ("push mode: soon due", true, Phase::Waiting, SECOND, false),
        ("push mode: due at the latest", true, Phase::Waiting, hour, false),
        ("push mode: later than a run may be", true, Phase::Waiting, hour + SECOND, true),
        ("kept for long enough", false, Phase::Finished, SignedDuration::ZERO, true),
        ("to be kept", false, Phase::Finished, SECOND, false),
    ];
    for (case, is_push, phase, wait, woken) in cases {
        let harness = Harness::new();
        let mut name = harness.jobs(1, "good").remove(0);
        if is_push {
            let run: Run = harness.run(&name);
            name = RunName::push(&["one"]);
            let run = Run { name: name.clone(), ..run };
            harness.state().runs = [(name.clone(), run)].into();
        }
        harness.change(&name, |run| run.status.phase = phase);
        due_in(&harness, &name, wait);
        let report = poll(&harness);
        assert_eq!(report.woken, usize::from(woken), "{case}");
        assert_eq!(harness.woken().len(), usize::from(woken), "{case}");
    }
}

#[test]
fn a_finished_run_whose_store_lists_it_too_early_is_left_alone() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.change(&name, |run| run.status.phase = Phase::Finished);
    // The store's clock is fast.
    harness.when("open", |state| state.now += MINUTE);
    due_in(&harness, &name, 30 * MINUTE);
    assert_eq!(poll(&harness).woken, 0);
}

#[test]
fn the_process_s_own_word_on_when_a_run_is_due_goes_first() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.pass(20 * SECOND);
    // The stored due is 15 s after the first reconcile; a later one moved it without a write.
    harness.reconcile(&name);
    harness.pass(20 * SECOND);
    assert!(harness.run(&name).status.due < harness.now());
    assert_eq!((poll(&harness).woken, harness.woken().len()), (0, 0));
    harness.pass(10 * SECOND);
    assert_eq!((poll(&harness).woken, harness.woken()), (1, vec!["job-1".to_owned()]));
}

#[test]
fn nobody_is_woken_twice_within_half_a_minute() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    due_in(&harness, &names[1], 10 * SECOND);
    let mut woken = Vec::new();
    for _ in 0..=70 {
        poll(&harness);
        woken.push(harness.woken().join(" "));
        harness.pass(SECOND);
    }
    let told: Vec<_> = woken.iter().enumerate().filter(|(_, names)| !names.is_empty()).collect();
    let expected =
        [(0, "job-1"), (10, "job-2"), (30, "job-1"), (40, "job-2"), (60, "job-1"), (70, "job-2")];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((second, names), expected) in told.into_iter().zip(expected) {
        assert_eq!((second, names.as_str()), expected);
    }
}

#[test]
fn a_clock_that_went_back_puts_no_wake_up_off() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    poll(&harness);
    harness.pass(-MINUTE);
    due_in(&harness, &name, -SECOND);
    assert_eq!(poll(&harness).woken, 1);
}

#[test]
fn a_wake_up_that_is_lost_is_counted_as_an_error() {
    let harness = Harness::new();
    harness.jobs(3, "good");
    harness.fails("wake", ErrorKind::Unavailable);
    let report = poll(&harness);
    assert_eq!((report.woken, report.errors.len()), (2, 1));
    assert!(report.errors[0].contains("wake"));
}

#[test]
fn a_job_whose_run_cannot_be_read_or_made_keeps_the_others_from_nothing() {
    for operation in ["get", "put"] {
        let harness = Harness::new();
        left_alone(&harness, 1);
        harness.state().waiting = Some(vec![waiting_job(101, "good"), waiting_job(102, "good")]);
        harness.fails(operation, ErrorKind::Unavailable);
        let report = poll(&harness);
        assert_eq!((report.created, report.errors.len()), (1, 1), "{operation}");
        assert_eq!(harness.woken(), ["job-102"]);
    }
}

#[test]
fn without_the_lease_nothing_is_read() {
    let harness = Harness::new();
    harness.jobs(1, "good");
    harness.state().led_by_another = true;
    for report in [poll(&harness), ready(harness.controller.sweep())] {
        assert_eq!(report, SweepReport::default());
    }
    harness.state().led_by_another = false;
    for _ in 0..2 {
        harness.fails("lease", ErrorKind::Unavailable);
    }
    for report in [poll(&harness), ready(harness.controller.sweep())] {
        assert!(!report.leader && report.errors.len() == 1);
    }
    for operation in ["open", "waiting", "list", "page", "wake"] {
        assert_eq!(harness.calls(operation), 0, "{operation}");
    }
    assert!(poll(&harness).leader);
}

#[test]
fn the_lease_is_asked_for_three_polls_and_half_a_minute_at_the_least() {
    for (poll_every, ttl) in [(5, 30), (10, 30), (20, 60), (45, 135)] {
        let harness = Harness::new();
        harness.jobs(1, "good");
        let mut settings = (*harness.controller.settings()).clone();
        settings.poll_every = SignedDuration::from_secs(poll_every);
        harness.controller.configure(settings);
        poll(&harness);
        assert_eq!(harness.state().lease_ttls, [SignedDuration::from_secs(ttl)]);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_used() {
    let harness = Harness::new();
    harness.jobs(1, "good");
    harness.fails("open", ErrorKind::Unavailable);
    let report = poll(&harness);
    assert_eq!((report.leader, report.woken, report.errors.len()), (true, 0, 1));
    harness.fails("waiting", ErrorKind::Unavailable);
    let report = poll(&harness);
    assert_eq!((report.leader, report.woken, report.errors.len()), (true, 1, 1));
}

#[test]
fn what_fell_due_is_woken_between_polls_too_and_put_off_for_half_a_minute() {
    let harness = Harness::new();
    assert_eq!((harness.controller.earliest_due(), harness.wakes()), (None, 0));
    let names = harness.jobs(3, "good");
    harness.reconcile_each(&names[..2]);
    harness.pass(10 * SECOND);
    harness.reconcile(&names[2]);
    let first = harness.now() + 20 * SECOND;
    assert_eq!((harness.controller.earliest_due(), harness.wakes()), (Some(first), 0));
    harness.pass(20 * SECOND);
    harness.fails("wake", ErrorKind::Unavailable);
    assert_eq!((harness.wakes(), harness.woken()), (1, vec!["job-2".to_owned()]), "one is lost");
    assert_eq!(harness.controller.earliest_due(), Some(harness.now() + 10 * SECOND));
    harness.pass(10 * SECOND);
    assert_eq!((harness.wakes(), harness.woken()), (1, vec!["job-3".to_owned()]));
    harness.pass(20 * SECOND);
    assert_eq!(
        (harness.wakes(), harness.woken()),
        (2, vec!["job-1".to_owned(), "job-2".to_owned()])
    );
    harness.configure("good", |class| class.name = ClassName("other".to_owned()));
    assert_eq!(harness.wakes(), 0, "and once");
}

#[test]
fn unserved_jobs_are_grouped_by_labels_and_bounded() {
    let harness = Harness::new();
    let unlike = (1..=150).map(|id| waiting_job(id, &format!("label-{id:03}")));
    let alike = (201..=207).map(|id| WaitingJob {
        runs_on: vec!["gpu".to_owned(), "good".to_owned(), "gpu".to_owned()],
        ..waiting_job(id, "gpu")
    });
    harness.state().waiting = Some(unlike.chain(alike).collect());
    let report = poll(&harness);
    assert_eq!((report.waiting_jobs, report.unserved_jobs), (157, 157));
    let groups = report.unserved.expect("the list was read");
    assert_eq!(groups.len(), 100);
    assert_eq!((groups[0].runs_on.join(","), groups[0].jobs), ("good,gpu".to_owned(), 7));
    let examples: Vec<i64> = groups[0].examples.iter().map(|job| job.job_id).collect();
    assert_eq!(examples, [201, 202, 203, 204, 205]);
    let nearest = groups[0].nearest.clone().expect("a class has one of the labels");
    assert_eq!((nearest.class.0.as_str(), nearest.lacks), ("good", vec!["gpu".to_owned()]));
    assert_eq!((groups[1].runs_on.join(","), &groups[1].nearest), ("label-001".to_owned(), &None));
}

#[test]
fn unserved_jobs_are_unknown_while_the_list_cannot_be_read() {
    let harness = Harness::new();
    left_alone(&harness, 1);
    harness.state().waiting = Some(vec![waiting_job(1, "elsewhere")]);
    harness.fails("waiting", ErrorKind::Unavailable);
    assert_eq!(poll(&harness).unserved, None);
    assert_eq!(poll(&harness).unserved.map(|groups| groups.len()), Some(1));
    harness.state().led_by_another = true;
    assert_eq!(poll(&harness).unserved, None, "another replica polls");
}
