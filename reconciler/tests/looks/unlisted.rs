//! Machines that were answered and are on no list are asked for by their ids, where that matters.

use tinqs_ci_reconciler::model::{
    Answer, ClassName, Conclusion, End, Ended, EndedBy, Instance, InstanceId, InstanceState, Job,
    PastAttempt, PastPlacement, Slot,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::reading::{attempt, observe, row, seat, started};
use super::town::{Answer as Answers, Town};
use super::{MINUTE, SECOND};

#[test]
fn a_machine_that_must_be_visible_and_is_not_found_is_gone() {
    let town = Town::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    town.answers("good", Answers::Refuses(none));
    let name = started(&town);
    // Its second placement was answered, and the first refused.
    let at = town.now();
    town.change(&name, |run| {
        let attempt = attempt(run);
        attempt.ended = None;
        attempt.placements.truncate(2);
        attempt.placements[1].refused = None;
        attempt.placements[1].answered = Some(Answer { id: InstanceId("i-2".to_owned()), at });
    });
    town.pass(5 * MINUTE);
    assert_eq!(
        (observe(&town, &name).machines.len(), town.calls("find")),
        (0, 0),
        "it may be hidden"
    );
    town.pass(SECOND);
    let run = town.run(&name);
    let recorded = run.status.attempt.as_ref().expect("an attempt");
    let expected = Instance {
        id: InstanceId("i-2".to_owned()),
        slot: run.slot(1),
        placement: 1,
        state: InstanceState::Gone,
        launched_at: at,
        deadline: recorded.boot.deadline,
        registration: 100,
        ended_by: Some(EndedBy::Itself),
        class: ClassName("good".to_owned()),
        kind: "small".to_owned(),
        zone: String::new(),
        market: recorded.placements[1].machine.market,
    };
    let seen = observe(&town, &name);
    assert_eq!((&seen.machines[..], town.calls("find")), (&[expected.clone()][..], 1));
    // One that is found by its id is as it is found.
    let found = Instance { state: InstanceState::Up, kind: "as it is".to_owned(), ..expected };
    town.world().machines.push(found.clone());
    town.world().unlisted.insert("i-2".to_owned());
    assert_eq!(observe(&town, &name).machines, std::slice::from_ref(&found));
    // One that is listed is not asked for.
    town.world().unlisted.clear();
    let asked = town.calls("find");
    assert_eq!((observe(&town, &name).machines, town.calls("find")), (vec![found], asked));
}

#[test]
fn what_is_listed_of_other_slots_and_placements_stands_for_no_machine() {
    let town = Town::new();
    let name = started(&town);
    let slot = town.slot(&name, 1);
    town.world().machines[0].id = InstanceId("i-other".to_owned());
    town.pass(6 * MINUTE);
    for (listed, placement) in [(slot.clone(), 1), (Slot { number: 3, ..slot.clone() }, 0)] {
        {
            let mut world = town.world();
            (world.machines[0].slot, world.machines[0].placement) = (listed, placement);
        }
        let before = town.calls("find");
        let seen = observe(&town, &name);
        assert_eq!((seen.machines.len(), town.calls("find")), (2, before + 1));
    }
}

#[test]
fn unlisted_machines_are_asked_for_where_that_matters() {
    type Case = (&'static str, Job, bool, Option<&'static str>, usize);
    let over = Job::Done { conclusion: Conclusion::Success };
    let running = Job::Running { runner: "another".to_owned() };
    let cases: [Case; 12] = [
        ("its job waits", Job::Waiting, false, None, 1),
        ("push mode", Job::Unobservable, false, None, 1),
        ("it has ended", Job::Waiting, true, None, 0),
        ("push mode: it has ended", Job::Unobservable, true, None, 0),
        ("its job runs", running.clone(), false, None, 0),
        ("its job is over", over.clone(), false, None, 0),
        ("its job runs, and it has a row", running, false, Some("row"), 1),
        ("its job is over, and it has a row", over.clone(), true, Some("row"), 1),
        ("its job is over, and it has a seat", over.clone(), true, Some("seat"), 1),
        ("another slot has a row", over.clone(), true, Some("other row"), 0),
        ("another slot has a seat", over.clone(), true, Some("other seat"), 0),
        ("its row is missing", Job::Unobservable, true, Some("missing"), 0),
    ];
    for (case, job, has_ended, holds, asked) in cases {
        let town = Town::new();
        let name = started(&town);
        let slot = town.slot(&name, 1);
        let other = Slot { number: 2, ..slot.clone() };
        let good = ClassName("good".to_owned());
        {
            let mut world = town.world();
            world.machines.clear();
            world.rows.clear();
            match holds {
                Some("row") => world.rows.push(row(100, slot)),
                Some("seat") => world.seats.push((good, seat(slot))),
                Some("other row") => world.rows.push(row(101, other)),
                Some("other seat") => world.seats.push((good, seat(other))),
                _ => {}
            }
        }
        if has_ended {
            town.change(&name, |run| {
                let at = run.created_at;
                attempt(run).ended = Some(Ended { why: End::NotAssigned, at });
            });
        }
        town.job_is(&name, job);
        town.pass(6 * MINUTE);
        observe(&town, &name);
        assert_eq!(town.calls("find"), asked, "{case}");
    }
}

#[test]
fn the_machine_of_a_past_attempt_is_asked_for_as_long_as_it_holds_something() {
    let town = Town::new();
    let name = started(&town);
    let at = town.now();
    let class = ClassName("good".to_owned());
    town.change(&name, |run| {
        let answered = Some(Answer { id: InstanceId("i-past".to_owned()), at });
        attempt(run).number = 2;
        run.status.next = 3;
        run.status.past = vec![PastAttempt {
            number: 1,
            decided_at: at - SECOND,
            class: class.clone(),
            registration: 90,
            placements: vec![
                PastPlacement { answered: None, refused: None },
                PastPlacement { answered, refused: None },
            ],
            ended: Ended { why: End::NeverSeen, at },
        }];
        attempt(run).placements[0].answered = None;
    });
    let (slot, second) = (town.slot(&name, 1), town.slot(&name, 2));
    {
        let mut world = town.world();
        world.machines.clear();
        world.rows.clear();
        world.rows.push(row(100, second));
    }
    town.pass(6 * MINUTE);
    observe(&town, &name);
    assert_eq!(town.calls("find"), 0);
    town.world().rows.push(row(90, slot.clone()));
    let expected = Instance {
        id: InstanceId("i-past".to_owned()),
        slot,
        placement: 1,
        state: InstanceState::Gone,
        launched_at: at,
        deadline: at - SECOND,
        registration: 90,
        ended_by: Some(EndedBy::Itself),
        class,
        kind: String::new(),
        zone: String::new(),
        market: tinqs_ci_reconciler::model::Market::OnDemand,
    };
    assert_eq!(observe(&town, &name).machines, [expected]);
}
