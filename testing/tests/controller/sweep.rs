//! Sweeps: what is left of a run wakes it, and finished runs are audited page by page.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{
    Attempt, ClassName, Conclusion, End, Ended, Job, MachineState, Outcome, Phase, Registration,
    RunName, RunUsage, Times,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

fn sweep(harness: &Harness) -> SweepReport {
    ready(harness.controller.sweep())
}

fn finish(harness: &Harness, name: &RunName) {
    let now = harness.now();
    harness.change(name, |run| {
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(Outcome::Succeeded));
        run.status.finished_at = Some(now);
        run.status.due = now + Times::default().keep;
    });
}

fn seat(harness: &Harness, name: &RunName, class: &str, number: u32) {
    let seat = Seat {
        attempt_id: harness.attempt_id(name, number),
        repo: "acme/site".to_owned(),
        repo_id: 0,
    };
    harness.state().seats.push((ClassName(class.to_owned()), seat));
}

#[test]
fn what_is_left_of_a_run_wakes_it_and_an_attempt_that_goes_on_does_not() {
    let harness = Harness::new();
    let names = harness.jobs(6, "good");
    harness.reconcile_each(&names);
    // Run 1 goes on. Run 2 is finished, the attempt of run 3 has ended, run 4 is not in the store.
    finish(&harness, &names[1]);
    let now = harness.now();
    harness.change(&names[2], |run| {
        let attempt = run.status.attempt.as_mut().expect("an attempt");
        attempt.ended = Some(Ended { why: End::NotAssigned, at: now });
    });
    harness.state().runs.remove(&names[3]);
    // A seat is left of run 5, and a machine that has gone of run 6.
    {
        let mut state = harness.state();
        let of = |name: &RunName, attempt_id: &tinqs_ci_reconciler::model::AttemptId| {
            attempt_id.run == *name
        };
        state.machines.retain(|m| !of(&names[4], &m.attempt_id));
        state
            .registrations
            .retain(|r| !of(&names[4], &r.attempt_id) && !of(&names[5], &r.attempt_id));
        state.runs.remove(&names[4]);
        state.runs.remove(&names[5]);
        state.machines.last_mut().expect("a machine").state = MachineState::Gone;
    }
    let attempt_id = harness.state().machines[0].attempt_id.clone();
    let five = tinqs_ci_reconciler::model::AttemptId { run: names[4].clone(), ..attempt_id };
    let repo = "acme/site".to_owned();
    harness
        .state()
        .seats
        .push((ClassName("bad".to_owned()), Seat { attempt_id: five, repo, repo_id: 0 }));
    let report = sweep(&harness);
    let expected = SweepReport {
        leader: true,
        machines: 5,
        registrations: 4,
        seats: 1,
        woken: 4,
        ..SweepReport::default()
    };
    assert_eq!(report, expected);
    // What has gone holds nothing, and without a record nothing is counted.
    assert_eq!(harness.woken(), ["job-2", "job-3", "job-4", "job-5"]);
    harness.pass(MINUTE);
    assert_eq!(sweep(&harness).woken, 4);
}

#[test]
fn another_attempt_id_than_that_of_the_attempt_wakes_its_run() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!(sweep(&harness).woken, 0);
    seat(&harness, &name, "good", 7);
    assert_eq!((sweep(&harness).woken, harness.woken()), (1, vec!["job-1".to_owned()]));
}

#[test]
fn what_cannot_be_listed_is_told_and_the_rest_is_used() {
    for (operation, woken) in [("list", 1), ("registrations", 1), ("seats", 1)] {
        let harness = Harness::new();
        let name = harness.jobs(1, "good").remove(0);
        harness.reconcile(&name);
        finish(&harness, &name);
        seat(&harness, &name, "good", 1);
        harness.fails(operation, ErrorKind::Unavailable);
        let report = sweep(&harness);
        assert_eq!((report.errors.len(), report.woken), (1, woken), "{operation}");
        let seen = (report.machines, report.registrations, report.seats);
        let expected = match operation {
            "list" => (0, 1, 1),
            "registrations" => (1, 0, 1),
            _ => (1, 1, 0),
        };
        assert_eq!(seen, expected, "{operation}");
    }
}

#[test]
fn a_token_that_may_not_list_runners_is_no_error() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.state().registrations_hidden = true;
    let report = sweep(&harness);
    assert_eq!((report.machines, report.registrations, report.errors.len()), (1, 0, 0));
}

#[test]
fn seats_of_a_class_that_is_configured_no_longer_are_gone_through_while_it_has_machines() {
    let harness = Harness::new();
    let name = harness.jobs(1, "bad").remove(0);
    harness.reconcile(&name);
    seat(&harness, &name, "bad", 1);
    let mut settings = (*harness.controller.settings()).clone();
    settings.classes.retain(|class| class.name.0 == "good");
    harness.controller.configure(settings);
    finish(&harness, &name);
    assert_eq!(sweep(&harness).seats, 1);
    harness.state().machines.clear();
    assert_eq!(sweep(&harness).seats, 0, "who holds one is looked at for it");
}

/// Finished runs that the store never lists as due: without the audit they would stay for ever.
fn misfiled(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    for name in &names {
        finish(harness, name);
        harness.change(name, |run| run.status.due += SECOND);
    }
    names
}

#[test]
fn finished_runs_are_gone_through_a_page_a_sweep_and_then_rest_for_an_hour() {
    let harness = Harness::new();
    misfiled(&harness, 120);
    let mut woken = Vec::new();
    for sweeps in [50, 50, 20, 0, 0] {
        assert_eq!(sweep(&harness).woken, sweeps);
        woken.extend(harness.woken());
        harness.pass(MINUTE);
    }
    woken.sort();
    woken.dedup();
    assert_eq!((woken.len(), harness.calls("page")), (120, 3), "each once");
    // The audit rests from its last page on.
    harness.pass(56 * MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (0, 3));
    // The installation is idle but for these, so the next sweep reads five minutes later.
    harness.pass(5 * MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (50, 4));
}

#[test]
fn an_audit_by_a_clock_that_was_ahead_does_not_postpone_the_next_one() {
    let harness = Harness::new();
    misfiled(&harness, 2);
    harness.pass(180 * MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (2, 1));
    // The clock is set right.
    harness.pass(-180 * MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (2, 2));
}

#[test]
fn a_page_that_cannot_be_read_is_told_and_tried_again_in_an_hour() {
    let harness = Harness::new();
    misfiled(&harness, 60);
    assert_eq!(sweep(&harness).woken, 50);
    harness.pass(MINUTE);
    harness.fails("page", ErrorKind::Unavailable);
    let report = sweep(&harness);
    assert_eq!((report.woken, report.errors.len()), (0, 1));
    harness.pass(MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (0, 2));
    harness.pass(60 * MINUTE);
    assert_eq!((sweep(&harness).woken, harness.calls("page")), (50, 3), "from the first");
}

#[test]
fn a_finished_run_is_misfiled_if_it_would_stay_longer_than_it_is_to_be_kept() {
    type Case = (&'static str, &'static str, Option<SignedDuration>, SignedDuration, bool);
    let week = Times::default().keep;
    let day = SignedDuration::from_hours(24);
    let cases: [Case; 8] = [
        ("as it is written", "good", Some(SignedDuration::ZERO), day, false),
        ("earlier", "good", Some(SignedDuration::ZERO), day - SECOND, false),
        ("later", "good", Some(SignedDuration::ZERO), day + SECOND, true),
        ("no class serves it, and it is kept for a week", "gone", Some(-day), week - day, false),
        ("no class serves it, and a week is over", "gone", Some(-day), week - day + SECOND, true),
        ("finished in the future", "good", Some(day), day + SECOND, true),
        ("finished nobody knows when", "good", None, day, false),
        ("finished nobody knows when, and too late", "good", None, day + SECOND, true),
    ];
    for (case, label, finished, due, woken) in cases {
        let harness = Harness::new();
        harness.configure("good", |class| class.times.keep = day);
        let name = harness.jobs(1, label).remove(0);
        finish(&harness, &name);
        let now = harness.now();
        harness.change(&name, |run| {
            run.status.finished_at = finished.map(|ago| now + ago);
            run.status.due = now + due;
        });
        assert_eq!(sweep(&harness).woken, usize::from(woken), "{case}");
    }
}

#[test]
fn an_open_run_is_no_part_of_the_audit() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.change(&name, |run| run.status.due += SignedDuration::from_hours(1000));
    assert_eq!(sweep(&harness).woken, 0);
}

fn has_credentials(harness: &Harness, name: &RunName) -> bool {
    harness.run(name).status.attempt.as_ref().is_some_and(Attempt::has_credentials)
}

/// Releases before that kept them until the record was removed, a week later.
#[test]
fn credentials_that_an_earlier_release_kept_leave_with_the_first_sweep_and_poll() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    finish(&harness, &names[0]);
    harness.job_is(&names[0], Job::Done { conclusion: Conclusion::Success });
    harness.change(&names[1], |run| run.status.phase = Phase::Running);
    harness.job_is(&names[1], Job::Running { runner: "office-pc".to_owned() });
    // Nothing is left of the finished run, and it is filed and counted.
    harness.change(&names[0], |run| run.status.usage = RunUsage::default());
    let of_it = |run: &RunName| *run == names[0];
    harness.state().machines.retain(|machine| !of_it(&machine.attempt_id.run));
    harness.state().registrations.retain(|row| !of_it(&row.attempt_id.run));
    assert!(names.iter().all(|name| has_credentials(&harness, name)));
    harness.woken();
    sweep(&harness);
    assert!(harness.state().queue.contains(&names[0]), "nothing else wakes it");
    harness.follow();
    assert!(!has_credentials(&harness, &names[0]));
    // One that runs is due within a minute.
    harness.pass(MINUTE);
    ready(harness.controller.poll());
    harness.follow();
    assert!(!has_credentials(&harness, &names[1]));
}

#[test]
fn a_row_that_two_lists_name_wakes_its_run_once() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    finish(&harness, &name);
    seat(&harness, &name, "good", 1);
    let attempt_id = harness.attempt_id(&name, 1);
    harness.state().registrations.push(Registration {
        repo_id: 0,
        id: 900,
        attempt_id,
        uuid: None,
        online: false,
        busy: false,
        disabled: None,
        disabled_since: None,
        missing_since: None,
    });
    assert_eq!((sweep(&harness).woken, harness.woken().len()), (1, 1));
    harness.pass(29 * SECOND);
    assert_eq!(sweep(&harness).woken, 0);
    harness.pass(SECOND);
    assert_eq!(sweep(&harness).woken, 1);
}
