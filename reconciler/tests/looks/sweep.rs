//! What a sweep wakes and counts: what is there names runs, and finished runs are gone through.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{
    ClassName, End, Ended, InstanceState, Outcome, Phase, Registration, RunName, Times,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};

use super::town::{Town, done};
use super::{MINUTE, SECOND};

fn sweep(town: &Town) -> SweepReport {
    done(town.controller.sweep())
}

fn finish(town: &Town, name: &RunName) {
    let now = town.now();
    town.change(name, |run| {
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(Outcome::Succeeded));
        run.status.finished_at = Some(now);
        run.status.due = now + Times::default().keep;
    });
}

fn seat(town: &Town, name: &RunName, class: &str, number: u32) {
    let seat = Seat { slot: town.slot(name, number), repo: "acme/site".to_owned() };
    town.world().seats.push((ClassName(class.to_owned()), seat));
}

#[test]
fn what_is_left_of_a_run_wakes_it_and_an_attempt_that_goes_on_does_not() {
    let town = Town::new();
    let names = town.jobs(6, "good");
    town.look_at(&names);
    // 1 goes on. 2 is finished, 3's attempt has ended, 4 is gone from the store.
    finish(&town, &names[1]);
    let now = town.now();
    town.change(&names[2], |run| {
        let attempt = run.status.attempt.as_mut().expect("an attempt");
        attempt.ended = Some(Ended { why: End::NotAssigned, at: now });
    });
    town.world().runs.remove(&names[3]);
    // Of 5 a seat is left, of 6 a machine that has gone.
    {
        let mut world = town.world();
        let of = |name: &RunName, slot: &tinqs_ci_reconciler::model::Slot| slot.run == *name;
        world.machines.retain(|m| !of(&names[4], &m.slot));
        world.rows.retain(|r| !of(&names[4], &r.slot) && !of(&names[5], &r.slot));
        world.runs.remove(&names[4]);
        world.runs.remove(&names[5]);
        world.machines.last_mut().expect("a machine").state = InstanceState::Gone;
    }
    let slot = town.world().machines[0].slot.clone();
    let five = tinqs_ci_reconciler::model::Slot { run: names[4].clone(), ..slot };
    let repo = "acme/site".to_owned();
    town.world().seats.push((ClassName("bad".to_owned()), Seat { slot: five, repo }));
    let report = sweep(&town);
    let expected = SweepReport {
        leader: true,
        machines: 5,
        registrations: 4,
        seats: 1,
        woken: 4,
        ..SweepReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(town.woken(), ["job-2", "job-3", "job-4", "job-5"]);
}

#[test]
fn another_slot_than_that_of_the_attempt_wakes_its_run() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    assert_eq!(sweep(&town).woken, 0);
    seat(&town, &name, "good", 7);
    assert_eq!((sweep(&town).woken, town.woken()), (1, vec!["job-1".to_owned()]));
}

#[test]
fn what_cannot_be_listed_is_told_and_the_rest_is_used() {
    for (operation, woken) in [("list", 1), ("registrations", 1), ("seats", 1)] {
        let town = Town::new();
        let name = town.jobs(1, "good").remove(0);
        town.look(&name);
        finish(&town, &name);
        seat(&town, &name, "good", 1);
        town.fails(operation, ErrorKind::Unavailable);
        let report = sweep(&town);
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
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    town.world().rows_unknown = true;
    let report = sweep(&town);
    assert_eq!((report.machines, report.registrations, report.errors.len()), (1, 0, 0));
}

#[test]
fn seats_of_a_class_that_is_configured_no_longer_are_gone_through_while_it_has_machines() {
    let town = Town::new();
    let name = town.jobs(1, "bad").remove(0);
    town.look(&name);
    seat(&town, &name, "bad", 1);
    let mut settings = (*town.controller.settings()).clone();
    settings.classes.retain(|class| class.name.0 == "good");
    town.controller.configure(settings);
    finish(&town, &name);
    assert_eq!(sweep(&town).seats, 1);
    town.world().machines.clear();
    assert_eq!(sweep(&town).seats, 0, "who holds one is looked at for it");
}

/// Finished runs that the store's list of what is due leaves out: they would stay for ever.
fn misfiled(town: &Town, count: usize) -> Vec<RunName> {
    let names = town.jobs(count, "good");
    for name in &names {
        finish(town, name);
        town.change(name, |run| run.status.due += SECOND);
    }
    names
}

#[test]
fn finished_runs_are_gone_through_a_page_a_sweep_and_then_rest_for_an_hour() {
    let town = Town::new();
    misfiled(&town, 120);
    let mut woken = Vec::new();
    for sweeps in [50, 50, 20, 0, 0] {
        assert_eq!(sweep(&town).woken, sweeps);
        woken.extend(town.woken());
        town.pass(MINUTE);
    }
    woken.sort();
    woken.dedup();
    assert_eq!((woken.len(), town.calls("page")), (120, 3), "each once");
    // It rests since the last page.
    town.pass(56 * MINUTE);
    assert_eq!((sweep(&town).woken, town.calls("page")), (0, 3));
    // Nothing else being left, the next sweep is five minutes later.
    town.pass(5 * MINUTE);
    assert_eq!((sweep(&town).woken, town.calls("page")), (50, 4));
}

#[test]
fn a_page_that_cannot_be_read_is_told_and_tried_again_in_an_hour() {
    let town = Town::new();
    misfiled(&town, 60);
    assert_eq!(sweep(&town).woken, 50);
    town.pass(MINUTE);
    town.fails("page", ErrorKind::Unavailable);
    let report = sweep(&town);
    assert_eq!((report.woken, report.errors.len()), (0, 1));
    town.pass(MINUTE);
    assert_eq!((sweep(&town).woken, town.calls("page")), (0, 2));
    town.pass(60 * MINUTE);
    assert_eq!((sweep(&town).woken, town.calls("page")), (50, 3), "from the first");
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
        let town = Town::new();
        town.configure("good", |class| class.times.keep = day);
        let name = town.jobs(1, label).remove(0);
        finish(&town, &name);
        let now = town.now();
        town.change(&name, |run| {
            run.status.finished_at = finished.map(|ago| now + ago);
            run.status.due = now + due;
        });
        assert_eq!(sweep(&town).woken, usize::from(woken), "{case}");
    }
}

#[test]
fn an_open_run_is_no_part_of_the_audit() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.change(&name, |run| run.status.due += SignedDuration::from_hours(1000));
    assert_eq!(sweep(&town).woken, 0);
}

#[test]
fn a_row_that_two_lists_name_wakes_its_run_once() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    finish(&town, &name);
    seat(&town, &name, "good", 1);
    let slot = town.slot(&name, 1);
    town.world().rows.push(Registration {
        id: 900,
        slot,
        uuid: None,
        online: false,
        busy: false,
        missing_since: None,
    });
    assert_eq!((sweep(&town).woken, town.woken().len()), (1, 1));
    town.pass(29 * SECOND);
    assert_eq!(sweep(&town).woken, 0);
    town.pass(SECOND);
    assert_eq!(sweep(&town).woken, 1);
}
