//! What a poll makes, wakes and counts.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{ClassName, Outcome, Phase, Run, RunName, Spec};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::town::{Town, done};
use super::{MINUTE, SECOND, waiting_job};

fn poll(town: &Town) -> SweepReport {
    done(town.controller.poll())
}

/// Runs of class `good` that are due in an hour's time and were not looked at.
fn left_alone(town: &Town, count: usize) -> Vec<RunName> {
    let names = town.jobs(count, "good");
    for name in &names {
        due_in(town, name, 5 * MINUTE);
    }
    names
}

fn due_in(town: &Town, name: &RunName, wait: SignedDuration) {
    let due = town.now() + wait;
    town.change(name, |run| run.status.due = due);
}

fn finished(town: &Town, name: &RunName, outcome: Outcome) {
    let now = town.now();
    town.change(name, |run| {
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(outcome));
        (run.status.finished_at, run.status.due) = (Some(now), now + 60 * MINUTE);
    });
}

#[test]
fn a_waiting_job_without_a_run_gets_one_and_a_finished_one_is_looked_at_anew() {
    let town = Town::new();
    let names = left_alone(&town, 6);
    finished(&town, &names[1], Outcome::Succeeded);
    finished(&town, &names[2], Outcome::GaveUp);
    finished(&town, &names[3], Outcome::Failed);
    let now = town.now();
    for name in &names[3..5] {
        town.change(name, |run| run.deleted_at = Some(now));
    }
    let jobs = (1..=5).chain([101, 102]).map(|id| waiting_job(id, "good"));
    town.world().waiting = Some(jobs.chain([waiting_job(103, "elsewhere")]).collect());
    let report = poll(&town);
    let expected = SweepReport {
        leader: true,
        waiting_jobs: 8,
        unserved_jobs: 1,
        created: 2,
        woken: 3,
        ..SweepReport::default()
    };
    assert_eq!(report, expected);
    // Neither open ones, nor those given up or deleted, nor the one that the forge does not list.
    assert_eq!(town.woken(), ["job-2", "job-101", "job-102"]);
    assert_eq!(
        town.run(&RunName::job(101)).spec,
        Spec {
            job: waiting_job(101, "good").job,
            runs_on: vec!["good".to_owned()],
            about: waiting_job(101, "good").about,
            ..Spec::default()
        }
    );
    assert_eq!(town.calls("get"), 5, "open runs and unserved jobs are not read");
}

#[test]
fn in_push_mode_nothing_is_listed_and_that_is_no_error() {
    let town = Town::new();
    left_alone(&town, 1);
    let report = poll(&town);
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
        let town = Town::new();
        let mut name = town.jobs(1, "good").remove(0);
        if is_push {
            let run: Run = town.run(&name);
            name = RunName::push(&["one"]);
            let run = Run { name: name.clone(), ..run };
            town.world().runs = [(name.clone(), run)].into();
        }
        town.change(&name, |run| run.status.phase = phase);
        due_in(&town, &name, wait);
        let report = poll(&town);
        assert_eq!(report.woken, usize::from(woken), "{case}");
        assert_eq!(town.woken().len(), usize::from(woken), "{case}");
    }
}

#[test]
fn a_finished_run_whose_store_lists_it_too_early_is_left_alone() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.change(&name, |run| run.status.phase = Phase::Finished);
    // The store's clock is ahead.
    town.when("open", |world| world.now += MINUTE);
    due_in(&town, &name, 30 * MINUTE);
    assert_eq!(poll(&town).woken, 0);
}

#[test]
fn the_process_s_own_word_on_when_a_run_is_due_goes_first() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    town.pass(20 * SECOND);
    // Written was 15 s, and a later look moved that without writing it.
    town.look(&name);
    town.pass(20 * SECOND);
    assert!(town.run(&name).status.due < town.now());
    assert_eq!((poll(&town).woken, town.woken().len()), (0, 0));
    town.pass(10 * SECOND);
    assert_eq!((poll(&town).woken, town.woken()), (1, vec!["job-1".to_owned()]));
}

#[test]
fn nobody_is_woken_twice_within_half_a_minute() {
    let town = Town::new();
    let names = town.jobs(2, "good");
    due_in(&town, &names[1], 10 * SECOND);
    let mut woken = Vec::new();
    for _ in 0..=70 {
        poll(&town);
        woken.push(town.woken().join(" "));
        town.pass(SECOND);
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
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    poll(&town);
    town.pass(-MINUTE);
    due_in(&town, &name, -SECOND);
    assert_eq!(poll(&town).woken, 1);
}

#[test]
fn a_wake_up_that_is_lost_is_counted_as_an_error() {
    let town = Town::new();
    town.jobs(3, "good");
    town.fails("wake", ErrorKind::Unavailable);
    let report = poll(&town);
    assert_eq!((report.woken, report.errors.len()), (2, 1));
    assert!(report.errors[0].contains("wake"));
}

#[test]
fn a_job_whose_run_cannot_be_read_or_made_keeps_the_others_from_nothing() {
    for operation in ["get", "put"] {
        let town = Town::new();
        left_alone(&town, 1);
        town.world().waiting = Some(vec![waiting_job(101, "good"), waiting_job(102, "good")]);
        town.fails(operation, ErrorKind::Unavailable);
        let report = poll(&town);
        assert_eq!((report.created, report.errors.len()), (1, 1), "{operation}");
        assert_eq!(town.woken(), ["job-102"]);
    }
}

#[test]
fn without_the_lease_nothing_is_read() {
    let town = Town::new();
    town.jobs(1, "good");
    town.world().led_by_another = true;
    for report in [poll(&town), done(town.controller.sweep())] {
        assert_eq!(report, SweepReport::default());
    }
    town.world().led_by_another = false;
    for _ in 0..2 {
        town.fails("lease", ErrorKind::Unavailable);
    }
    for report in [poll(&town), done(town.controller.sweep())] {
        assert!(!report.leader && report.errors.len() == 1);
    }
    for operation in ["open", "waiting", "list", "page", "wake"] {
        assert_eq!(town.calls(operation), 0, "{operation}");
    }
    assert!(poll(&town).leader);
}

#[test]
fn the_lease_is_asked_for_three_polls_and_half_a_minute_at_the_least() {
    for (poll_every, ttl) in [(5, 30), (10, 30), (20, 60), (45, 135)] {
        let town = Town::new();
        town.jobs(1, "good");
        let mut settings = (*town.controller.settings()).clone();
        settings.poll_every = SignedDuration::from_secs(poll_every);
        town.controller.configure(settings);
        poll(&town);
        assert_eq!(town.world().leases, [SignedDuration::from_secs(ttl)]);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_used() {
    let town = Town::new();
    town.jobs(1, "good");
    town.fails("open", ErrorKind::Unavailable);
    let report = poll(&town);
    assert_eq!((report.leader, report.woken, report.errors.len()), (true, 0, 1));
    town.fails("waiting", ErrorKind::Unavailable);
    let report = poll(&town);
    assert_eq!((report.leader, report.woken, report.errors.len()), (true, 1, 1));
}

#[test]
fn what_fell_due_is_woken_between_polls_too_and_put_off_for_half_a_minute() {
    let town = Town::new();
    assert_eq!((town.controller.earliest_due(), town.wakes()), (None, 0));
    let names = town.jobs(3, "good");
    town.look_at(&names[..2]);
    town.pass(10 * SECOND);
    town.look(&names[2]);
    let first = town.now() + 20 * SECOND;
    assert_eq!((town.controller.earliest_due(), town.wakes()), (Some(first), 0));
    town.pass(20 * SECOND);
    town.fails("wake", ErrorKind::Unavailable);
    assert_eq!((town.wakes(), town.woken()), (1, vec!["job-2".to_owned()]), "one is lost");
    assert_eq!(town.controller.earliest_due(), Some(town.now() + 10 * SECOND));
    town.pass(10 * SECOND);
    assert_eq!((town.wakes(), town.woken()), (1, vec!["job-3".to_owned()]));
    town.pass(20 * SECOND);
    assert_eq!((town.wakes(), town.woken()), (2, vec!["job-1".to_owned(), "job-2".to_owned()]));
    town.configure("good", |class| class.name = ClassName("other".to_owned()));
    assert_eq!(town.wakes(), 0, "and once");
}
