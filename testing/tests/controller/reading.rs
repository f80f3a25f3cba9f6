//! Tests the observation of a reconcile. It reads the record first and, if that matters, again at
//! the end; looks up by ID the registrations that matter and are not listed; and adds cached
//! machines.

use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, ClassName, Conclusion, End, Ended, Job, Machine, MachineId,
    MachineState, Observation, Phase, Registration, Run, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};
use tinqs_ci_testing::{LaunchAnswer, ready};

use super::{MINUTE, SECOND, of_old};
use crate::harness::Harness;

pub(super) fn observe(harness: &Harness, name: &RunName) -> Observation {
    ready(harness.controller.observe(name)).expect("everything can be read")
}

/// A run whose first attempt's machine boots.
pub(super) fn started(harness: &Harness) -> RunName {
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    name
}

pub(super) fn row(id: i64, attempt_id: AttemptId) -> Registration {
    let (online, busy, missing_since) = (false, false, None);
    Registration {
        id,
        repo_id: 0,
        attempt_id,
        uuid: None,
        online,
        busy,
        disabled: None,
        disabled_since: None,
        missing_since,
    }
}

pub(super) fn seat(attempt_id: AttemptId) -> Seat {
    Seat { attempt_id, repo: "acme/site".to_owned(), repo_id: 0 }
}

pub(super) fn attempt(run: &mut Run) -> &mut Attempt {
    run.status.attempt.as_mut().expect("an attempt")
}

#[test]
fn a_record_is_read_once_where_all_that_is_seen_is_of_it() {
    let harness = Harness::new();
    let name = started(&harness);
    let attempt_id = harness.attempt_id(&name, 1);
    harness.state().seats.push((ClassName("good".to_owned()), seat(attempt_id)));
    let before = harness.calls("get");
    let seen = observe(&harness, &name);
    assert_eq!(harness.calls("get"), before + 1);
    assert_eq!((seen.machines.len(), seen.registrations.seen().len(), seen.seats.len()), (1, 1, 1));
    assert_eq!(
        (seen.job, seen.room, seen.no_replacement, seen.recorded_here),
        (Job::Waiting, true, false, None)
    );
    assert_eq!((seen.now, &seen.name, seen.run), (harness.now(), &name, Some(harness.run(&name))));
}

#[test]
fn things_of_another_incarnation_have_the_record_read_once_more_last() {
    type Case = (&'static str, fn(&mut tinqs_ci_testing::State));
    let cases: [Case; 3] = [
        ("a machine", |state| {
            let old = state.machines[0].clone();
            state.machines.push(Machine {
                attempt_id: of_old(&old.attempt_id),
                id: MachineId("i-old".to_owned()),
                state: MachineState::Gone,
                ..old
            });
        }),
        ("a registration", |state| {
            let attempt_id = of_old(&state.registrations[0].attempt_id);
            state.registrations.push(row(900, attempt_id));
        }),
        ("a seat", |state| {
            let attempt_id = of_old(&state.registrations[0].attempt_id);
            state.seats.push((ClassName("bad".to_owned()), seat(attempt_id)));
        }),
    ];
    for (case, change) in cases {
        let harness = Harness::new();
        let name = started(&harness);
        change(&mut harness.state());
        let before = harness.calls("get");
        observe(&harness, &name);
        assert_eq!(harness.calls("get"), before + 2, "{case}");
    }
}

#[test]
fn a_record_that_is_made_while_nothing_was_known_of_it_is_reconciled() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    let run = harness.run(&name);
    harness.state().runs.clear();
    assert_eq!(observe(&harness, &name).run, None);
    assert_eq!(harness.calls("get"), 2);
    harness.when("registrations", move |state| drop(state.runs.insert(run.name.clone(), run)));
    assert_eq!(observe(&harness, &name).run, Some(harness.run(&name)));
}

#[test]
fn a_record_that_changes_again_and_again_is_left_to_the_next_reconcile() {
    let harness = Harness::new();
    let name = started(&harness);
    let attempt_id = of_old(&harness.attempt_id(&name, 1));
    harness.state().registrations.push(row(900, attempt_id));
    let change = |harness: &Harness| {
        let name = name.clone();
        harness.when("registrations", move |state| {
            state.runs.get_mut(&name).expect("a run").version += 1;
        });
    };
    (0..2).for_each(|_| change(&harness));
    assert_eq!(
        observe(&harness, &name).run.map(|run| run.version),
        Some(harness.run(&name).version)
    );
    (0..3).for_each(|_| change(&harness));
    let error = ready(harness.controller.observe(&name)).expect_err("it changes each time");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.to_string().contains("job-1"));
}

#[test]
fn an_unlisted_registration_that_its_id_finds_is_there() {
    let harness = Harness::new();
    let name = started(&harness);
    harness.state().unlisted.insert("100".to_owned());
    harness.state().registrations[0].online = true;
    let seen = observe(&harness, &name);
    assert_eq!(seen.registrations.seen(), [harness.state().registrations[0].clone()]);
    assert_eq!(
        harness.calls("registration"),
        1,
        "though attempt and machine have both that number"
    );
}

#[test]
fn a_registration_is_missing_since_it_was_first_found_so() {
    let harness = Harness::new();
    let name = started(&harness);
    let since = |harness: &Harness| {
        observe(harness, &name).registrations.by_id(100).and_then(|r| r.missing_since)
    };
    assert_eq!(since(&harness), None);
    let kept = harness.state().registrations.clone();
    harness.state().registrations.clear();
    harness.pass(SECOND);
    // The time is that of the call, however long the reconcile had taken before.
    let first = harness.now() + 5 * SECOND;
    harness.when("registration", |state| state.now += 5 * SECOND);
    assert_eq!(since(&harness), Some(first));
    harness.pass(40 * SECOND);
    assert_eq!(since(&harness), Some(first));
    // Once it is seen again, on the list or by its ID, it is no longer missing.
    for unlisted in [&[][..], &["100".to_owned()]] {
        harness.state().unlisted = unlisted.iter().cloned().collect();
        harness.state().registrations.clone_from(&kept);
        assert_eq!(since(&harness), None);
        harness.state().registrations.clear();
        harness.pass(SECOND);
        assert_eq!(since(&harness), Some(harness.now()));
    }
}

#[test]
fn only_what_matters_is_asked_for_by_its_number() {
    type Case = (&'static str, fn(&mut Run), MachineState, Job, usize);
    let ends = |run: &mut Run| {
        let at = run.created_at;
        attempt(run).ended = Some(Ended { why: End::MachineGone, at });
    };
    let finishes = |run: &mut Run| {
        run.status.phase = Phase::Finished;
        run.status.finished_at = Some(run.created_at);
    };
    let (live, gone) = (MachineState::Up, MachineState::Gone);
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
        let harness = Harness::new();
        let name = started(&harness);
        harness.change(&name, change);
        harness.state().machines[0].state = state;
        harness.state().registrations.clear();
        harness.job_is(&name, job);
        observe(&harness, &name);
        assert_eq!(harness.calls("registration"), asked, "{case}");
    }
    let harness = Harness::new();
    let name = started(&harness);
    harness.state().registrations.clear();
    harness.state().registrations_hidden = true;
    observe(&harness, &name);
    assert_eq!(harness.calls("registration"), 0, "the token may not");
}

#[test]
fn seats_in_a_class_that_is_configured_no_longer_are_seen_where_the_record_tells_of_it() {
    let harness = Harness::new();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    let old = ClassName("old".to_owned());
    let own = harness.attempt_id(&names[0], 1);
    harness.change(&names[0], |run| attempt(run).class = old.clone());
    {
        let mut state = harness.state();
        state.machines.clear();
        let other = AttemptId { run: names[1].clone(), ..own.clone() };
        state.seats.extend([(old.clone(), seat(own.clone())), (old.clone(), seat(other))]);
        state.seats.push((ClassName("good".to_owned()), seat(own.clone())));
    }
    let seen = observe(&harness, &names[0]);
    let expected = [(ClassName("good".to_owned()), own.clone()), (old, own)];
    assert_eq!(seen.seats, expected, "each once, and nobody else's");
    assert!(observe(&harness, &names[1]).seats.is_empty());
}

#[test]
fn what_is_cached_of_machines_is_seen_until_it_is_over() {
    let harness = Harness::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("good", LaunchAnswer::Refuses(none));
    let name = started(&harness);
    let unavailable =
        |harness: &Harness| observe(harness, &name).class.expect("a class").unavailable;
    let until = harness.now() + 3 * MINUTE;
    let seen = unavailable(&harness);
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|s| (s.until, s.cause) == (until, Cause::Capacity)));
    let skipped = || {
        let offerings = harness.controller.offerings();
        offerings.iter().map(|offering| offering.skipped).collect::<Vec<_>>()
    };
    assert_eq!(skipped(), [Some((until, Cause::Capacity)); 3], "both classes ask for the same");
    harness.pass(3 * MINUTE - SECOND);
    assert_eq!(unavailable(&harness).len(), 3);
    harness.pass(SECOND);
    assert!(unavailable(&harness).is_empty());
    assert!(skipped().iter().all(Option::is_none));
}

#[test]
fn a_class_whose_launches_are_stopped_is_seen_so() {
    let harness = Harness::new();
    let denied = || PortError::new("compute", "launch", ErrorKind::Denied, "no permission");
    let names = harness.jobs(2, "good");
    assert_eq!(observe(&harness, &names[1]).class.expect("a class").breaker, None);
    harness.answers("good", LaunchAnswer::Refuses(denied));
    let since = harness.now();
    harness.reconcile(&names[0]);
    let stopped = |harness: &Harness| observe(harness, &names[1]).class.expect("a class").breaker;
    let breaker = stopped(&harness).expect("it is stopped");
    assert_eq!((breaker.since, breaker.until), (since, since + 5 * MINUTE));
    assert!(breaker.message.contains("no permission"));
    harness.pass(5 * MINUTE);
    assert_eq!(stopped(&harness), None);
}
