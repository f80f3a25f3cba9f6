//! What a look sees: the record first and, where that matters, last; registrations that matter and
//! are on no list are asked for by their ids; what is remembered of machines.

use tinqs_ci_reconciler::model::{
    Attempt, Cause, ClassName, Conclusion, End, Ended, EndedBy, Instance, InstanceId,
    InstanceState, Job, Observation, Phase, Placement, Registration, Run, RunName, Slot,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};

use super::town::{Answer as Answers, Town, done};
use super::{MINUTE, SECOND, of_old};

pub(super) fn observe(town: &Town, name: &RunName) -> Observation {
    done(town.controller.observe(name)).expect("everything can be read")
}

/// A run whose first attempt's machine boots.
pub(super) fn started(town: &Town) -> RunName {
    let name = town.jobs(1, "good").remove(0);
    town.look(&name);
    name
}

pub(super) fn row(id: i64, slot: Slot) -> Registration {
    Registration { id, slot, uuid: None, online: false, busy: false, missing_since: None }
}

pub(super) fn seat(slot: Slot) -> Seat {
    Seat { slot, repo: "acme/site".to_owned() }
}

pub(super) fn attempt(run: &mut Run) -> &mut Attempt {
    run.status.attempt.as_mut().expect("an attempt")
}

#[test]
fn a_record_is_read_once_where_all_that_is_seen_is_of_it() {
    let town = Town::new();
    let name = started(&town);
    let slot = town.slot(&name, 1);
    town.world().seats.push((ClassName("good".to_owned()), seat(slot)));
    let before = town.calls("get");
    let seen = observe(&town, &name);
    assert_eq!(town.calls("get"), before + 1);
    assert_eq!((seen.machines.len(), seen.registrations.seen().len(), seen.seats.len()), (1, 1, 1));
    assert_eq!(
        (seen.job, seen.room, seen.no_spare, seen.recorded_here),
        (Job::Waiting, true, false, None)
    );
    assert_eq!((seen.now, &seen.name, seen.run), (town.now(), &name, Some(town.run(&name))));
}

#[test]
fn things_of_another_incarnation_have_the_record_read_once_more_last() {
    type Case = (&'static str, fn(&mut super::town::World));
    let cases: [Case; 3] = [
        ("a machine", |world| {
            let old = world.machines[0].clone();
            world.machines.push(Instance {
                slot: of_old(&old.slot),
                id: InstanceId("i-old".to_owned()),
                state: InstanceState::Gone,
                ..old
            });
        }),
        ("a registration", |world| {
            let slot = of_old(&world.rows[0].slot);
            world.rows.push(row(900, slot));
        }),
        ("a seat", |world| {
            let slot = of_old(&world.rows[0].slot);
            world.seats.push((ClassName("bad".to_owned()), seat(slot)));
        }),
    ];
    for (case, change) in cases {
        let town = Town::new();
        let name = started(&town);
        change(&mut town.world());
        let before = town.calls("get");
        observe(&town, &name);
        assert_eq!(town.calls("get"), before + 2, "{case}");
    }
}

#[test]
fn a_record_that_is_made_while_nothing_was_known_of_it_is_looked_at() {
    let town = Town::new();
    let name = town.jobs(1, "good").remove(0);
    let run = town.run(&name);
    town.world().runs.clear();
    assert_eq!(observe(&town, &name).run, None);
    assert_eq!(town.calls("get"), 2);
    town.when("registrations", move |world| drop(world.runs.insert(run.name.clone(), run)));
    assert_eq!(observe(&town, &name).run, Some(town.run(&name)));
}

#[test]
fn a_record_that_changes_again_and_again_is_left_to_the_next_look() {
    let town = Town::new();
    let name = started(&town);
    let slot = of_old(&town.slot(&name, 1));
    town.world().rows.push(row(900, slot));
    let change = |town: &Town| {
        let name = name.clone();
        town.when("registrations", move |world| {
            world.runs.get_mut(&name).expect("a run").version += 1;
        });
    };
    (0..2).for_each(|_| change(&town));
    assert_eq!(observe(&town, &name).run.map(|run| run.version), Some(town.run(&name).version));
    (0..3).for_each(|_| change(&town));
    let error = done(town.controller.observe(&name)).expect_err("it changes each time");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.to_string().contains("job-1"));
}

#[test]
fn an_unlisted_registration_that_its_id_finds_is_there() {
    let town = Town::new();
    let name = started(&town);
    town.world().unlisted.insert("100".to_owned());
    town.world().rows[0].online = true;
    let seen = observe(&town, &name);
    assert_eq!(seen.registrations.seen(), [town.world().rows[0].clone()]);
    assert_eq!(town.calls("registration"), 1, "though attempt and machine have both that number");
}

#[test]
fn a_registration_is_missing_since_it_was_first_found_so() {
    let town = Town::new();
    let name = started(&town);
    let since =
        |town: &Town| observe(town, &name).registrations.by_id(100).and_then(|r| r.missing_since);
    assert_eq!(since(&town), None);
    let kept = town.world().rows.clone();
    town.world().rows.clear();
    town.pass(SECOND);
    // Found so when it was asked for, however long the look had taken until then.
    let first = town.now() + 5 * SECOND;
    town.when("registration", |world| world.now += 5 * SECOND);
    assert_eq!(since(&town), Some(first));
    town.pass(40 * SECOND);
    assert_eq!(since(&town), Some(first));
    // Once it is seen again, that is over: on the list, or by its id.
    for unlisted in [&[][..], &["100".to_owned()]] {
        town.world().unlisted = unlisted.iter().cloned().collect();
        town.world().rows.clone_from(&kept);
        assert_eq!(since(&town), None);
        town.world().rows.clear();
        town.pass(SECOND);
        assert_eq!(since(&town), Some(town.now()));
    }
}

#[test]
fn only_what_matters_is_asked_for_by_its_number() {
    type Case = (&'static str, fn(&mut Run), InstanceState, Job, usize);
    let ends = |run: &mut Run| {
        let at = run.created_at;
        attempt(run).ended = Some(Ended { why: End::MachineGone, at });
    };
    let finishes = |run: &mut Run| {
        run.status.phase = Phase::Finished;
        run.status.finished_at = Some(run.created_at);
    };
    let (live, gone) = (InstanceState::Up, InstanceState::Gone);
    let over = Job::Done { conclusion: Conclusion::Success };
    let cases: [Case; 8] = [
        ("an attempt that goes on", |_| {}, gone, Job::Waiting, 1),
        ("an attempt that has ended", ends, gone, Job::Waiting, 0),
        ("push mode: an attempt that has ended", ends, gone, Job::Unobservable, 1),
        ("push mode: an attempt that goes on", |_| {}, gone, Job::Unobservable, 1),
        ("a finished run", finishes, gone, over.clone(), 0),
        ("a finished run whose machine lives", finishes, live, over, 1),
        ("an attempt that has ended and whose machine lives", ends, live, Job::Waiting, 1),
        ("no attempt", |run| run.status.attempt = None, gone, Job::Waiting, 0),
    ];
    for (case, change, state, job, asked) in cases {
        let town = Town::new();
        let name = started(&town);
        town.change(&name, change);
        town.world().machines[0].state = state;
        town.world().rows.clear();
        town.job_is(&name, job);
        observe(&town, &name);
        assert_eq!(town.calls("registration"), asked, "{case}");
    }
    let town = Town::new();
    let name = started(&town);
    town.world().rows.clear();
    town.world().rows_unknown = true;
    observe(&town, &name);
    assert_eq!(town.calls("registration"), 0, "the token may not");
}

#[test]
fn seats_in_a_class_that_is_configured_no_longer_are_seen_where_the_record_tells_of_it() {
    let town = Town::new();
    let names = town.jobs(2, "good");
    town.look_at(&names);
    let old = ClassName("old".to_owned());
    let own = town.slot(&names[0], 1);
    town.change(&names[0], |run| attempt(run).class = old.clone());
    {
        let mut world = town.world();
        world.machines.clear();
        let other = Slot { run: names[1].clone(), ..own.clone() };
        world.seats.extend([(old.clone(), seat(own.clone())), (old.clone(), seat(other))]);
        world.seats.push((ClassName("good".to_owned()), seat(own.clone())));
    }
    let seen = observe(&town, &names[0]);
    let expected = [(ClassName("good".to_owned()), own.clone()), (old, own)];
    assert_eq!(seen.seats, expected, "each once, and nobody else's");
    assert!(observe(&town, &names[1]).seats.is_empty());
}

#[test]
fn what_is_remembered_of_machines_is_seen_until_it_is_over() {
    let town = Town::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    town.answers("good", Answers::Refuses(none));
    let name = started(&town);
    let short = |town: &Town| observe(town, &name).class.expect("a class").unavailable;
    let until = town.now() + 3 * MINUTE;
    let seen = short(&town);
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|s| (s.until, s.cause) == (until, Cause::Capacity)));
    town.pass(3 * MINUTE - SECOND);
    assert_eq!(short(&town).len(), 3);
    town.pass(SECOND);
    assert!(short(&town).is_empty());
}

#[test]
fn a_class_whose_launches_are_stopped_is_seen_so() {
    let town = Town::new();
    let denied = || PortError::new("compute", "launch", ErrorKind::Denied, "no permission");
    let names = town.jobs(2, "good");
    assert_eq!(observe(&town, &names[1]).class.expect("a class").breaker, None);
    town.answers("good", Answers::Refuses(denied));
    let since = town.now();
    town.look(&names[0]);
    let stopped = |town: &Town| observe(town, &names[1]).class.expect("a class").breaker;
    let broken = stopped(&town).expect("it is stopped");
    assert_eq!((broken.since, broken.until), (since, since + 5 * MINUTE));
    assert!(broken.message.contains("no permission"));
    town.pass(5 * MINUTE);
    assert_eq!(stopped(&town), None);
}

/// The subnet that a new job of the class is given a machine in.
fn next_subnet(town: &Town) -> String {
    let name = town.jobs(1, "good");
    town.look_at(&name);
    town.subnets().pop().expect("a launch")
}

#[test]
fn a_machine_that_was_taken_back_counts_once_however_often_it_is_seen() {
    let town = Town::new();
    let name = started(&town);
    town.take_back(&name);
    // Its run gets no other for now, so that it is seen again and again.
    town.room_for(0);
    for _ in 0..4 {
        town.look(&name);
        town.pass(MINUTE);
    }
    town.room_for(10);
    assert_eq!(next_subnet(&town), "subnet-a", "three minutes are over");
}

#[test]
fn what_another_incarnation_lost_says_nothing_of_this_one_s_machine() {
    let town = Town::new();
    let name = started(&town);
    let mut old = town.world().machines[0].clone();
    (old.id, old.slot) = (InstanceId("i-old".to_owned()), of_old(&old.slot));
    (old.state, old.ended_by) = (InstanceState::Gone, Some(EndedBy::Cloud));
    town.world().machines.push(old);
    town.look(&name);
    assert_eq!(next_subnet(&town), "subnet-a");
    // Nor does a machine that ended by itself.
    town.world().machines[0].state = InstanceState::Gone;
    town.world().machines[0].ended_by = Some(EndedBy::Itself);
    town.look(&name);
    assert_eq!(next_subnet(&town), "subnet-a");
}

#[test]
fn placements_are_counted_from_the_first() {
    let town = Town::new();
    let name = started(&town);
    // Its machine in the second subnet was taken back: the first is as good as ever.
    town.change(&name, |run| {
        let attempt = attempt(run);
        let first: Placement = attempt.placements[0].clone();
        attempt.placements.push(first);
        attempt.placements[1].machine.subnet = "subnet-b".to_owned();
    });
    town.world().machines[0].placement = 1;
    town.take_back(&name);
    town.look(&name);
    assert_eq!(next_subnet(&town), "subnet-a");
}
