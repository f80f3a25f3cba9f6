//! The breaker for machines: where the last three machines of a class never came online, it launches
//! one at a time until one does. The verdict is in the records, so that each process has the same.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::{
    BootStop, ClassName, EndedBy, Job, MachineState, Phase, Reason, Refusal, RunName, StateReason,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};
use tinqs_ci_testing::{LaunchAnswer, ready};

use crate::harness::Harness;
use crate::{MINUTE, SECOND, of_old};

/// A class whose machines start and whose runners never come online.
fn stopped() -> (Harness, Vec<RunName>) {
    let harness = Harness::new();
    let names = harness.jobs(5, "bad");
    harness.reconcile_each(&names[..3]);
    assert_eq!(harness.launches("bad"), 3);
    harness.pass(5 * MINUTE + SECOND);
    harness.reconcile_each(&names[..3]);
    (harness, names)
}

/// Polls, and returns the [`BootStop`] of the first class that has one.
fn told(controller: &Controller) -> Option<BootStop> {
    ready(controller.poll());
    controller.boot_stops().into_iter().map(|(_, stop)| stop).next()
}

/// The runner of the newest machine of a run comes online.
fn comes_online(harness: &Harness, name: &RunName) {
    let mut state = harness.state();
    let number = state.runs[name].status.attempt.as_ref().expect("an attempt").number;
    let own = |run: &RunName, of: u32| run == name && of == number;
    let rows = state.registrations.iter_mut();
    rows.filter(|row| own(&row.attempt_id.run, row.attempt_id.number))
        .for_each(|row| row.online = true);
}

#[test]
fn after_three_machines_that_never_came_online_the_class_waits() {
    let (harness, names) = stopped();
    // The ends of the first two were known one after the other, and each got another machine.
    assert_eq!(harness.launches("bad"), 5);
    assert_eq!(harness.reason(&names[2]), Some(Reason::BreakerOpen));
    let message = harness.run(&names[2]).status.conditions[0].message.clone();
    assert!(message.contains("class bad") && message.contains("never come online"), "{message}");
    let other = harness.jobs(1, "good");
    harness.reconcile_each(&names);
    harness.reconcile_each(&other);
    assert_eq!((harness.launches("bad"), harness.launches("good")), (5, 1));
    for name in &names[2..] {
        let run = harness.run(name);
        assert_eq!(run.status.phase, Phase::Waiting);
        assert_eq!(run.status.reason(), Some(Reason::BreakerOpen));
    }
    assert_eq!(harness.run(&names[3]).status.failures, 0, "waiting is no failure");
    let written = harness.writes();
    harness.pass(MINUTE);
    harness.reconcile_each(&names[3..]);
    assert_eq!(harness.writes(), written, "a run that goes on waiting is not written");
}

#[test]
fn each_process_reads_the_same_in_the_records() {
    let (harness, names) = stopped();
    let own = told(&harness.controller).expect("it is stopped");
    assert_eq!(own.machines, 3);
    let another = harness.another();
    assert_eq!(told(&another), Some(own));
    // One that has not polled reads them before it launches.
    let fresh = harness.another();
    ready(fresh.reconcile(&names[4]));
    assert_eq!(harness.launches("bad"), 5);
    assert_eq!(harness.reason(&names[4]), Some(Reason::BreakerOpen));
}

#[test]
fn one_attempt_at_a_time_tries_in_all_processes() {
    let (harness, names) = stopped();
    let another = harness.another();
    // The two that were launched meanwhile fail, too.
    harness.pass(5 * MINUTE + SECOND);
    harness.reconcile_each(&names[..2]);
    assert_eq!(harness.launches("bad"), 5);
    harness.pass(5 * MINUTE);
    ready(another.reconcile(&names[3]));
    assert_eq!(harness.launches("bad"), 6, "it tries");
    harness.reconcile_each(&names);
    ready(another.reconcile(&names[4]));
    assert_eq!(harness.launches("bad"), 6, "no other does");
    // Its result is known: the next one tries five minutes later.
    harness.pass(5 * MINUTE + SECOND);
    ready(another.reconcile(&names[3]));
    harness.reconcile_each(&names);
    assert_eq!(harness.launches("bad"), 6);
    harness.pass(5 * MINUTE);
    harness.reconcile_each(&names);
    assert_eq!(harness.launches("bad"), 7);
}

#[test]
fn one_that_is_used_lets_all_go_on() {
    let (harness, names) = stopped();
    harness.reconcile_each(&names[3..]);
    let runner = harness.attempt_id(&names[0], 2).to_string();
    harness.job_is(&names[0], Job::Running { runner });
    harness.pass(SECOND);
    harness.reconcile(&names[0]);
    harness.follow();
    assert_eq!(harness.wakes(), 3, "those that waited in this process are due");
    harness.follow();
    assert_eq!(harness.launches("bad"), 5 + 3);
    assert_eq!(told(&harness.controller), None);
    assert_eq!(told(&harness.another()), None);
}

#[test]
fn one_that_came_online_late_lets_all_go_on() {
    let (harness, names) = stopped();
    comes_online(&harness, &names[2]);
    harness.pass(SECOND);
    harness.reconcile(&names[2]);
    let status = harness.run(&names[2]).status;
    let attempts = status.attempt.iter().map(|it| it.boot_result);
    let mut results = attempts.chain(status.past.iter().map(|it| it.boot_result)).flatten();
    assert!(results.any(|result| result.online), "it is corrected");
    assert_eq!(told(&harness.controller), None);
}

#[test]
fn a_person_who_retries_the_run_is_not_kept_waiting_by_its_own_machines() {
    let (harness, names) = stopped();
    let now = harness.now();
    harness.change(&names[2], |run| run.retry(now, None));
    harness.reconcile(&names[2]);
    assert_eq!((harness.launches("bad"), told(&harness.controller)), (6, None));
}

/// The machines of three jobs end in some way. Returns whether that stops the class.
fn stops(ends: impl Fn(&Harness, &RunName)) -> bool {
    let harness = Harness::new();
    let names = harness.jobs(3, "bad");
    harness.reconcile_each(&names);
    harness.pass(20 * SECOND);
    for name in &names {
        ends(&harness, name);
    }
    harness.reconcile_each(&names);
    told(&harness.controller).is_some()
}

fn machine_ends(harness: &Harness, name: &RunName, by: Option<EndedBy>) {
    let mut state = harness.state();
    let now = state.now;
    for machine in state.machines.iter_mut().filter(|m| m.attempt_id.run == *name) {
        (machine.state, machine.ended_by) = (MachineState::Gone, by);
        machine.ended_at = Some(now);
    }
}

#[test]
fn machines_that_end_themselves_count_and_those_that_others_end_do_not() {
    assert!(stops(|harness, name| machine_ends(harness, name, Some(EndedBy::Itself))));
    for by in [Some(EndedBy::Cloud), Some(EndedBy::Request), None] {
        assert!(!stops(|harness, name| machine_ends(harness, name, by)), "{by:?}");
    }
}

#[test]
fn a_runner_that_was_online_does_not_count() {
    assert!(!stops(|harness, name| {
        comes_online(harness, name);
        machine_ends(harness, name, Some(EndedBy::Itself));
    }));
}

#[test]
fn a_registration_that_is_gone_or_unknown_says_nothing() {
    assert!(!stops(|harness, name| {
        machine_ends(harness, name, Some(EndedBy::Itself));
        harness.state().registrations.retain(|row| row.attempt_id.run != *name);
    }));
    assert!(!stops(|harness, name| {
        machine_ends(harness, name, Some(EndedBy::Itself));
        harness.state().registrations_hidden = true;
    }));
}

#[test]
fn a_reading_of_the_forge_that_failed_meanwhile_says_that_no_runner_could_come() {
    assert!(!stops(|harness, name| {
        harness.fails("job", ErrorKind::Unavailable);
        harness.reconcile(name);
        machine_ends(harness, name, Some(EndedBy::Itself));
    }));
}

/// The launch of a run's machine fails after the cloud has accepted it.
fn launch_fails(harness: &Harness, name: &RunName, refusal: Refusal) {
    let mut state = harness.state();
    for machine in state.machines.iter_mut().filter(|m| m.attempt_id.run == *name) {
        machine.state = MachineState::Gone;
        machine.state_reason = Some(StateReason {
            code: "Client.InternalError".to_owned(),
            message: "Client error on launch: check the key".to_owned(),
            refusal: Some(refusal),
        });
    }
}

#[test]
fn two_launches_that_fail_after_the_cloud_accepted_them_stop_the_class() {
    let harness = Harness::new();
    let names = harness.jobs(2, "bad");
    harness.reconcile(&names[0]);
    launch_fails(&harness, &names[0], Refusal::Invalid);
    harness.pass(SECOND);
    harness.reconcile(&names[0]);
    assert_eq!((harness.launches("bad"), told(&harness.controller)), (2, None), "one says little");
    launch_fails(&harness, &names[0], Refusal::Invalid);
    harness.pass(SECOND);
    harness.reconcile(&names[0]);
    let stop = told(&harness.controller).expect("two say enough");
    assert!(stop.launch_failed && stop.machines == 2, "{stop:?}");
    assert!(stop.detail().contains("key that encrypts their disks"), "{}", stop.detail());
    harness.reconcile_each(&names);
    assert_eq!(harness.launches("bad"), 2);
    let message = |name| {
        let status = harness.run(name).status;
        assert_eq!(status.reason(), Some(Reason::BreakerOpen));
        status.conditions[0].message.clone()
    };
    assert!(message(&names[1]).ends_with("and the image's snapshot"), "{}", message(&names[1]));
    let said = ": Client.InternalError: Client error on launch: check the key";
    assert!(message(&names[0]).ends_with(said), "{}", message(&names[0]));
    harness.pass(5 * MINUTE);
    harness.reconcile_each(&names);
    assert_eq!(harness.launches("bad"), 3, "one tries");
}

#[test]
fn a_limit_that_ends_a_machine_holds_its_class_for_a_minute() {
    let harness = Harness::new();
    let name = harness.jobs(1, "bad").remove(0);
    harness.reconcile(&name);
    launch_fails(&harness, &name, Refusal::Limit);
    harness.pass(SECOND);
    harness.reconcile(&name);
    assert_eq!(harness.launches("bad"), 1);
    let status = harness.run(&name).status;
    assert_eq!(status.reason(), Some(Reason::NoCapacity));
    assert!(status.conditions[0].message.contains("limit is reached"), "{status:?}");
    let reason = status.attempt.and_then(|attempt| attempt.state_reason).expect("it is kept");
    assert_eq!(reason.refusal, Some(Refusal::Limit));
    harness.pass(MINUTE + SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.launches("bad"), told(&harness.controller)), (2, None));
}

#[test]
fn refused_launches_do_not_count() {
    let harness = Harness::new();
    let full = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("bad", LaunchAnswer::Refuses(full));
    let names = harness.jobs(4, "bad");
    for _ in 0..4 {
        harness.reconcile_each(&names);
        harness.pass(SignedDuration::from_mins(4));
    }
    assert_eq!(told(&harness.controller), None);
    assert!(names.iter().all(|name| harness.reason(name) != Some(Reason::BreakerOpen)));
}

/// An attempt that tries finds no seat. After one became free, it launches, or one of another
/// process does.
fn finds_no_seat(another_tries: bool) {
    let (harness, names) = may_try();
    harness.configure("bad", |class| class.limit = Some(1));
    {
        let mut state = harness.state();
        let attempt_id = of_old(&state.runs[&names[0]].attempt_id(1));
        let seat = Seat { attempt_id, repo: "acme/site".to_owned(), repo_id: 0 };
        state.seats.push((ClassName("bad".to_owned()), seat));
    }
    let report = harness.reconcile(&names[3]);
    assert_eq!(harness.reason(&names[3]), Some(Reason::AtLimit));
    assert_eq!(report.due, Some(harness.now() + MINUTE), "it tries again soon");
    harness.state().seats.clear();
    // A seat for each of both: with one alone, it is the turn of the run that waits longer.
    harness.configure("bad", |class| class.limit = Some(2));
    if another_tries {
        ready(harness.another().reconcile(&names[4]));
    } else {
        harness.pass(MINUTE);
        harness.reconcile(&names[3]);
    }
    assert_eq!(harness.launches("bad"), 6, "the lease was given back");
}

#[test]
fn an_attempt_that_tries_and_finds_no_seat_lets_others_try() {
    finds_no_seat(true);
}

#[test]
fn an_attempt_that_tries_and_finds_no_seat_tries_again_a_minute_later() {
    finds_no_seat(false);
}

/// The breaker is open, and one attempt may try now.
fn may_try() -> (Harness, Vec<RunName>) {
    let (harness, names) = stopped();
    harness.pass(5 * MINUTE + SECOND);
    harness.reconcile_each(&names[..2]);
    harness.pass(5 * MINUTE);
    (harness, names)
}

/// The attempt that holds the lease of the class.
fn holder(harness: &Harness) -> Option<String> {
    harness.state().leases.get("boot/bad").map(|(holder, _)| holder.clone())
}

/// Its request may still make a machine, so that it keeps the lease, and each process that
/// reconciles its run repeats it.
#[test]
fn an_attempt_that_tries_and_whose_launch_fails_is_repeated_and_no_other_tries() {
    for by_another in [false, true] {
        let (harness, names) = may_try();
        let another = harness.another();
        harness.fails("launch", ErrorKind::Unavailable);
        harness.reconcile(&names[3]);
        let (own, before) = (harness.attempt_id(&names[3], 1), harness.calls("launch"));
        assert_eq!(holder(&harness), Some(own.to_string()));
        harness.pass(SECOND);
        harness.reconcile(&names[4]);
        ready(another.reconcile(&names[4]));
        assert_eq!(harness.calls("launch"), before, "no other one tries");
        assert_eq!(harness.reason(&names[4]), Some(Reason::BreakerOpen));
        harness.pass(15 * SECOND);
        if by_another {
            ready(another.reconcile(&names[3]));
        } else {
            harness.reconcile(&names[3]);
        }
        assert_eq!(harness.calls("launch"), before + 1, "by another process: {by_another}");
        assert_eq!(harness.state().machines.last().map(|it| it.attempt_id.clone()), Some(own));
        harness.reconcile(&names[4]);
        assert_eq!(harness.calls("launch"), before + 1, "its result is not known yet");
    }
}

#[test]
fn the_lease_of_an_attempt_that_cannot_launch_ends_by_itself_and_another_one_tries() {
    let (harness, names) = may_try();
    harness.fails("launch", ErrorKind::Unavailable);
    harness.reconcile(&names[3]);
    let before = harness.calls("launch");
    // As long as its result may take: `boot_within` and a minute.
    harness.pass(6 * MINUTE - SECOND);
    harness.reconcile(&names[4]);
    assert_eq!(harness.calls("launch"), before);
    harness.pass(SECOND);
    harness.reconcile(&names[4]);
    assert_eq!(harness.calls("launch"), before + 1);
    assert_eq!(holder(&harness), Some(harness.attempt_id(&names[4], 1).to_string()));
}

#[test]
fn an_attempt_that_tries_and_whose_registration_fails_tries_again_at_once() {
    let (harness, names) = may_try();
    harness.fails("register", ErrorKind::Unavailable);
    let report = harness.reconcile(&names[3]);
    assert_eq!((report.due, harness.launches("bad")), (Some(harness.now() + 15 * SECOND), 5));
    let own = harness.attempt_id(&names[3], 1).to_string();
    assert_eq!(holder(&harness), Some(own.clone()));
    harness.reconcile(&names[4]);
    assert_eq!(harness.launches("bad"), 5, "no other one tries");
    harness.pass(15 * SECOND);
    harness.reconcile(&names[3]);
    assert_eq!((harness.launches("bad"), holder(&harness)), (6, Some(own)));
}

/// Others wait for the result of its launch, also if it took the lease long before.
#[test]
fn an_attempt_that_tries_late_renews_its_lease() {
    let (harness, names) = may_try();
    let another = harness.another();
    harness.fails("register", ErrorKind::Unavailable);
    harness.reconcile(&names[3]);
    harness.pass(5 * MINUTE);
    harness.reconcile(&names[3]);
    assert_eq!(harness.launches("bad"), 6);
    for wait in [2 * MINUTE, 4 * MINUTE - SECOND] {
        harness.pass(wait);
        ready(another.reconcile(&names[4]));
        assert_eq!(harness.launches("bad"), 6, "its result is not known yet");
    }
}
