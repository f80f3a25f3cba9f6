//! The rounds of one look: in time, each effect once, and what one round did is seen by the next.

use tinqs_ci_reconciler::controller::{ActionKind, LookResult};
use tinqs_ci_reconciler::model::{
    Class, ClassName, Conclusion, Instance, InstanceId, InstanceState, Job, Machine, Phase, Reason,
    Registration, RunName, Slot,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};

use super::reading::row;
use super::town::{Answer, Town};
use super::{MINUTE, SECOND, effects, of_old};

/// A run that was finished while its machine, of slot 1, still boots; its job waits anew.
fn waits_again(town: &Town) -> RunName {
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    town.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    town.look(&name);
    assert_eq!(town.run(&name).status.phase, Phase::Finished);
    town.job_is(&name, Job::Waiting);
    name
}

/// The row of a runner that is up.
fn up(id: i64, slot: Slot) -> Registration {
    Registration { online: true, ..row(id, slot) }
}

#[test]
fn nothing_is_begun_later_than_a_minute_after_the_look_began() {
    for (operation, undone) in [("register", "put"), ("put", "launch"), ("seats", "register")] {
        let town = Town::new();
        let names = town.jobs(1, "good");
        town.when(operation, |world| world.now += MINUTE + SECOND);
        let began_at = town.now();
        let report = town.look(&names[0]);
        assert_eq!((report.began_at, report.result), (began_at, LookResult::Error));
        assert!(report.error.is_some_and(|told| told.contains("60 s")));
        assert_eq!(town.calls(undone), 0, "{operation} took long");
        // The next look does the rest.
        town.look(&names[0]);
        assert_eq!(town.launches("good"), 1, "{operation} took long");
    }
}

#[test]
fn a_minute_after_the_look_began_is_in_time() {
    let town = Town::new();
    let names = town.jobs(1, "good");
    town.when("launch", |world| world.now += MINUTE);
    let report = town.look(&names[0]);
    assert_eq!((report.result, report.phase), (LookResult::Acted, Some(Phase::Starting)));
    let attempt = town.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!(attempt.placements[0].answered.as_ref().map(|a| a.at), Some(town.now()));
}

#[test]
fn each_machine_of_a_long_list_is_asked_for_in_one_look_and_no_refusal_is_left_unwritten() {
    let town = Town::new();
    town.configure("good", |class: &mut Class| {
        let first = class.machines[0].clone();
        let kind = |n: usize| Machine { kind: format!("kind-{n}"), ..first.clone() };
        class.machines = (0..12).map(kind).collect();
    });
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    town.answers("good", Answer::Refuses(none));
    let names = town.jobs(1, "good");
    let report = town.look(&names[0]);
    assert_eq!((town.launches("good"), report.reason), (12, Some(Reason::NoCapacity)));
    let attempt = town.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!(attempt.placements.iter().filter(|p| p.refused.is_some()).count(), 12);
    assert!(attempt.ended.is_some());
}

#[test]
fn an_effect_is_issued_once_in_a_look_whatever_came_of_it() {
    let town = Town::new();
    let name = waits_again(&town);
    let slot = town.slot(&name, 1);
    town.world().rows.push(up(900, slot.clone()));
    town.world().seats.push((ClassName("bad".to_owned()), Seat { slot, repo: String::new() }));
    town.fails("retire", ErrorKind::Unavailable);
    town.fails("unseat", ErrorKind::Unavailable);
    let report = town.look(&name);
    let expected = [("26", ActionKind::Unseat), ("24", ActionKind::Retire), ("7", ActionKind::Put)];
    assert_eq!(effects(&report)[..3], expected);
    assert_eq!((town.calls("retire"), town.calls("unseat")), (1, 1), "and there are more rounds");
    assert_eq!(report.phase, Some(Phase::Starting));
    // A failure keeps nothing from being tried by the next look.
    let report = town.look(&name);
    assert_eq!(effects(&report), expected[..2]);
}

#[test]
fn a_seat_that_was_freed_takes_no_other_with_it() {
    let town = Town::new();
    town.configure("good", |class| class.limit = Some(2));
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    // Its machine has gone, and the next number has its seat already: a look died there.
    town.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    town.look(&name);
    town.world().machines[0].state = InstanceState::Gone;
    let next = town.run(&name).status.next;
    let seat = Seat { slot: town.slot(&name, next), repo: "acme/site".to_owned() };
    town.world().seats.push((ClassName("good".to_owned()), seat));
    town.job_is(&name, Job::Waiting);
    let report = town.look(&name);
    let expected = [
        ("26", ActionKind::Unseat),
        ("23", ActionKind::Retire),
        ("7", ActionKind::Put),
        ("17", ActionKind::Register),
        ("17", ActionKind::Put),
        ("11", ActionKind::Launch),
        ("10", ActionKind::Put),
    ];
    assert_eq!(effects(&report), expected, "no seat is asked for");
    assert_eq!(report.effects[0].target, "good");
    assert_eq!(town.world().seats.len(), 1);
}

#[test]
fn a_registration_that_was_retired_takes_no_other_with_it() {
    let town = Town::new();
    let name = waits_again(&town);
    let slot = town.slot(&name, 1);
    // Its own is at work for another job; beside it lies a crash's twin.
    town.world().rows[0].busy = true;
    town.world().rows.push(up(900, slot));
    let report = town.look(&name);
    assert_eq!(report.effects[0].action, ActionKind::Retire);
    assert_eq!(report.effects[0].target, "900");
    assert_eq!(report.reason, Some(Reason::SpareExpected), "it was seen to be taken");
    assert_eq!(town.launches("good"), 1);
}

#[test]
fn a_machine_that_was_terminated_takes_no_other_with_it() {
    let town = Town::new();
    let name = waits_again(&town);
    let mut old: Instance = town.world().machines[0].clone();
    (old.slot, old.id) = (of_old(&old.slot), InstanceId("i-old".to_owned()));
    old.deadline = town.now() - 3 * MINUTE;
    town.world().machines.push(old);
    let report = town.look(&name);
    let ended = &report.effects[0];
    assert_eq!(
        (ended.row.number(), ended.action, ended.target.as_str()),
        ("20", ActionKind::Terminate, "i-old")
    );
    assert_eq!(report.phase, Some(Phase::Starting), "its own machine is on its way");
    assert_eq!((town.launches("good"), town.calls("terminate")), (1, 1));
}

#[test]
fn a_machine_that_was_launched_hides_no_other() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    let slot = of_old(&town.slot(&name, 1));
    // Of another incarnation a machine lives, with its registration: it may be taking a job.
    let deadline = town.now() + 60 * MINUTE;
    let old: Instance = serde_json::from_value(serde_json::json!({
        "id": "i-old", "slot": slot.to_string(), "placement": 0, "state": "up",
        "launched_at": town.now(), "deadline": deadline, "registration": 900,
        "class": "good", "kind": "small",
    }))
    .expect("a machine");
    town.world().machines.push(old);
    town.world().rows.push(up(900, slot));
    town.look(&name);
    assert_eq!((town.launches("good"), town.calls("retire")), (1, 0));
}

#[test]
fn a_refusal_that_is_not_of_capacity_ends_the_attempt_and_the_next_follows_in_the_same_look() {
    let town = Town::new();
    let lost = || PortError::new("compute", "launch", ErrorKind::Limit, "quota");
    town.answers("good", Answer::Refuses(lost));
    let name = town.jobs(1, "good").remove(0);
    let report = town.look(&name);
    assert_eq!(report.phase, Some(Phase::Waiting));
    assert_eq!(town.subnets(), ["subnet-a", "subnet-a"], "one for each market");
}

#[test]
fn a_placement_that_may_have_been_asked_for_is_not_refused_for_its_class_s_being_stopped() {
    let town = Town::new();
    let names = town.jobs(2, "bad");
    town.fails("launch", ErrorKind::Unavailable);
    town.look(&names[0]);
    let denied = || PortError::new("compute", "launch", ErrorKind::Denied, "no permission");
    town.answers("bad", Answer::Refuses(denied));
    town.look(&names[1]);
    // The class that is stopped does not serve the run any more.
    town.configure("good", |class| class.labels.push("bad:host".to_owned()));
    let asked = town.launches("bad");
    town.look(&names[0]);
    let attempt = town.run(&names[0]).status.attempt.expect("an attempt");
    assert_eq!((attempt.class.0.as_str(), attempt.number), ("bad", 1));
    assert!(attempt.placements[0].refused.is_none() && attempt.ended.is_none());
    assert_eq!(town.launches("bad"), asked, "nor asked for again");
}

#[test]
fn a_tombstone_is_removed_once_nothing_is_left_of_it() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    let now = town.now();
    town.change(&name, |run| run.delete(now, true));
    let report = town.look(&name);
    assert_eq!(effects(&report), [("2", ActionKind::Terminate), ("2", ActionKind::Put)]);
    assert_eq!((report.reason, report.due), (Some(Reason::Deleted), Some(now + MINUTE)));
    town.world().machines[0].state = InstanceState::Gone;
    town.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    assert_eq!(effects(&town.look(&name)), [("23", ActionKind::Retire)]);
    town.fails("remove", ErrorKind::Unavailable);
    let report = town.look(&name);
    assert_eq!((report.result, report.phase), (LookResult::Error, Some(Phase::Waiting)));
    let report = town.look(&name);
    let [removed] = &report.effects[..] else { panic!("{:?}", report.effects) };
    assert_eq!((removed.row.number(), removed.action), ("1", ActionKind::Remove));
    assert_eq!(removed.target, "job-1");
    assert_eq!((report.result, report.phase, report.due), (LookResult::Acted, None, None));
    assert!(town.world().runs.is_empty());
    assert_eq!(town.controller.earliest_due(), None);
}

#[test]
fn a_record_that_another_wrote_is_not_removed() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    let now = town.now();
    town.change(&name, |run| run.delete(now, false));
    town.job_is(&name, Job::Done { conclusion: Conclusion::Cancelled });
    let other = name.clone();
    town.when("remove", move |world| world.runs.get_mut(&other).expect("a run").version += 1);
    let report = town.look(&name);
    assert_eq!((report.result, report.due), (LookResult::Conflict, Some(now)));
    assert_eq!(town.world().runs.len(), 1);
}
