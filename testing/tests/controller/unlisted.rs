//! Machines that a launch answered and no list shows are asked for by their IDs, where that matters.

use tinqs_ci_reconciler::model::{
    Answer, AttemptId, ClassName, Conclusion, End, Ended, Job, Machine, MachineId, MachineState,
    PastAttempt, PastPlacement, Times,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::reading::{attempt, observe, row, seat, started};
use super::{MINUTE, SECOND};
use crate::harness::Harness;
use tinqs_ci_testing::LaunchAnswer;

#[test]
fn a_machine_that_must_be_visible_and_is_not_found_is_gone() {
    let harness = Harness::new();
    let none = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("good", LaunchAnswer::Refuses(none));
    let name = started(&harness);
    // Its first placement was refused, and its second answered.
    let at = harness.now();
    harness.change(&name, |run| {
        let attempt = attempt(run);
        attempt.ended = None;
        attempt.placements.truncate(2);
        attempt.placements[1].refused = None;
        attempt.placements[1].answered = Some(Answer { id: MachineId("i-2".to_owned()), at });
    });
    harness.pass(5 * MINUTE);
    assert_eq!(
        (observe(&harness, &name).machines.len(), harness.calls("find")),
        (0, 0),
        "it may be hidden"
    );
    harness.pass(SECOND);
    let run = harness.run(&name);
    let recorded = run.status.attempt.as_ref().expect("an attempt");
    let expected = Machine {
        id: MachineId("i-2".to_owned()),
        attempt_id: run.attempt_id(1),
        placement: 1,
        state: MachineState::Gone,
        launched_at: at,
        deadline: recorded.boot.deadline,
        registration: 100,
        repo_id: 0,
        promise: recorded.boot.promise(),
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("good".to_owned()),
        kind: "small".to_owned(),
        zone: String::new(),
        market: recorded.placements[1].machine.market,
    };
    let seen = observe(&harness, &name);
    assert_eq!((&seen.machines[..], harness.calls("find")), (&[expected.clone()][..], 1));
    // A machine that its ID finds is reported as it was found.
    let found = Machine { state: MachineState::Up, kind: "as it is".to_owned(), ..expected };
    harness.state().machines.push(found.clone());
    harness.state().unlisted.insert("i-2".to_owned());
    assert_eq!(observe(&harness, &name).machines, std::slice::from_ref(&found));
    // A listed machine is not asked for.
    harness.state().unlisted.clear();
    let asked = harness.calls("find");
    assert_eq!((observe(&harness, &name).machines, harness.calls("find")), (vec![found], asked));
}

#[test]
fn what_is_listed_of_other_attempt_ids_and_placements_stands_for_no_machine() {
    let harness = Harness::new();
    let name = started(&harness);
    let attempt_id = harness.attempt_id(&name, 1);
    harness.state().machines[0].id = MachineId("i-other".to_owned());
    harness.pass(6 * MINUTE);
    for (listed, placement) in
        [(attempt_id.clone(), 1), (AttemptId { number: 3, ..attempt_id.clone() }, 0)]
    {
        {
            let mut state = harness.state();
            (state.machines[0].attempt_id, state.machines[0].placement) = (listed, placement);
        }
        let before = harness.calls("find");
        let seen = observe(&harness, &name);
        assert_eq!((seen.machines.len(), harness.calls("find")), (2, before + 1));
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
        ("another attempt ID has a row", over.clone(), true, Some("other row"), 0),
        ("another attempt ID has a seat", over.clone(), true, Some("other seat"), 0),
        ("its row is missing", Job::Unobservable, true, Some("missing"), 0),
    ];
    for (case, job, has_ended, holds, asked) in cases {
        let harness = Harness::new();
        let name = started(&harness);
        let attempt_id = harness.attempt_id(&name, 1);
        let other = AttemptId { number: 2, ..attempt_id.clone() };
        let good = ClassName("good".to_owned());
        {
            let mut state = harness.state();
            state.machines.clear();
            state.registrations.clear();
            match holds {
                Some("row") => state.registrations.push(row(100, attempt_id)),
                Some("seat") => state.seats.push((good, seat(attempt_id))),
                Some("other row") => state.registrations.push(row(101, other)),
                Some("other seat") => state.seats.push((good, seat(other))),
                _ => {}
            }
        }
        if has_ended {
            harness.change(&name, |run| {
                let at = run.created_at;
                attempt(run).ended = Some(Ended { why: End::NotAssigned, at });
            });
        }
        harness.job_is(&name, job);
        harness.pass(6 * MINUTE);
        observe(&harness, &name);
        assert_eq!(harness.calls("find"), asked, "{case}");
    }
}

#[test]
fn the_machine_of_a_past_attempt_is_asked_for_as_long_as_it_holds_something() {
    let harness = Harness::new();
    let name = started(&harness);
    let at = harness.now();
    let class = ClassName("good".to_owned());
    harness.change(&name, |run| {
        let answered = Some(Answer { id: MachineId("i-past".to_owned()), at });
        attempt(run).number = 2;
        run.status.next = 3;
        run.status.past = vec![PastAttempt {
            number: 1,
            decided_at: at - SECOND,
            class: class.clone(),
            registration: 90,
            repo_id: 0,
            deadline: None,
            promise: None,
            placements: vec![
                PastPlacement { answered: None, refused: None },
                PastPlacement { answered, refused: None },
            ],
            ended: Ended { why: End::NeverSeen, at },
            hung_since: None,
            boot_result: None,
            state_reason: None,
            log: None,
        }];
        attempt(run).placements[0].answered = None;
    });
    let (attempt_id, second) = (harness.attempt_id(&name, 1), harness.attempt_id(&name, 2));
    {
        let mut state = harness.state();
        state.machines.clear();
        state.registrations.clear();
        state.registrations.push(row(100, second));
    }
    harness.pass(6 * MINUTE);
    observe(&harness, &name);
    assert_eq!(harness.calls("find"), 0);
    harness.state().registrations.push(row(90, attempt_id.clone()));
    let expected = Machine {
        id: MachineId("i-past".to_owned()),
        attempt_id,
        placement: 1,
        state: MachineState::Gone,
        launched_at: at,
        // The record is of an earlier release, without a deadline: it is that of the class.
        deadline: at - SECOND + Times::default().max_age,
        registration: 90,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class,
        kind: String::new(),
        zone: String::new(),
        market: tinqs_ci_reconciler::model::Market::OnDemand,
    };
    assert_eq!(observe(&harness, &name).machines, [expected]);
}
