//! Seats of a class: a run waits where it gets none, and a freed seat wakes the runs that it fits.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{ActionKind, ReconcileOutcome};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Conclusion, Job, MachineState, Phase, Reason, RepoRef, RunName,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};

use super::{MINUTE, SECOND, effects};
use crate::harness::{Harness, is_of, repo_id};

/// Limits the seats of class `good`, in total and for one repository.
fn limited(limit: Option<u32>, repo_limit: Option<u32>) -> Harness {
    let harness = Harness::new();
    harness.configure("good", |class| (class.limit, class.repo_limit) = (limit, repo_limit));
    harness
}

/// A job of a repository, for a class.
fn job_of(harness: &Harness, repo: &str, class: &str) -> RunName {
    let name = harness.jobs(1, class).remove(0);
    harness.change(&name, |run| is_of(run, repo));
    name
}

/// The same, after a reconcile that got no seat.
fn at_limit(harness: &Harness, repo: &str, class: &str) -> RunName {
    let name = job_of(harness, repo, class);
    harness.pass(SECOND);
    let report = harness.reconcile(&name);
    assert_eq!(report.reason, Some(Reason::AtLimit));
    name
}

/// Ends a run's job and its machine, and reconciles the run.
fn ends(harness: &Harness, name: &RunName) {
    for machine in harness.state().machines.iter_mut().filter(|m| m.attempt_id.run == *name) {
        machine.state = MachineState::Gone;
    }
    harness.job_is(name, Job::Done { conclusion: Conclusion::Success });
    let report = harness.reconcile(name);
    assert!(effects(&report).contains(&("26", ActionKind::Unseat)), "{:?}", effects(&report));
}

fn seat(attempt_id: AttemptId, repo: &str) -> (ClassName, Seat) {
    let repo = RepoRef { id: repo_id(repo), name: repo };
    (ClassName("good".to_owned()), Seat::new(attempt_id, repo))
}

#[test]
fn a_seat_is_taken_before_anything_is_registered() {
    let harness = limited(Some(1), None);
    let name = job_of(&harness, "acme/site", "good");
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report)[..2], [("16", ActionKind::Seat), ("17", ActionKind::Register)]);
    assert_eq!(report.effects[0].target, "good");
    let attempt_id = harness.attempt_id(&name, 1);
    assert_eq!(report.effects[0].attempt_id, Some(attempt_id.to_string()));
    assert_eq!(harness.state().seats, [seat(attempt_id, "acme/site")]);
}

#[test]
fn who_gets_no_seat_waits_five_minutes_and_registers_nothing() {
    let harness = limited(Some(1), None);
    let first = job_of(&harness, "acme/site", "good");
    harness.reconcile(&first);
    let second = job_of(&harness, "acme/site", "good");
    let report = harness.reconcile(&second);
    assert_eq!((report.result, report.reason), (ReconcileOutcome::Acted, Some(Reason::AtLimit)));
    assert_eq!(
        (report.phase, report.due),
        (Some(Phase::Waiting), Some(harness.now() + 5 * MINUTE))
    );
    assert_eq!(effects(&report), [("16", ActionKind::Put)]);
    assert_eq!((harness.calls("register"), harness.launches("good")), (1, 1));
    let report = harness.reconcile(&second);
    assert_eq!(
        (report.result, effects(&report)),
        (ReconcileOutcome::Settled, Vec::new()),
        "told once"
    );
}

#[test]
fn a_seat_that_cannot_be_asked_for_is_asked_for_again_in_fifteen_seconds() {
    let harness = limited(Some(1), None);
    let name = job_of(&harness, "acme/site", "good");
    harness.fails("seat", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert_eq!(effects(&report)[0], ("16", ActionKind::Seat));
    assert_eq!(
        (report.result, report.due),
        (ReconcileOutcome::Error, Some(harness.now() + 15 * SECOND))
    );
    assert_eq!((harness.calls("register"), report.reason), (0, None));
    assert_eq!(harness.reconcile(&name).phase, Some(Phase::Starting));
}

#[test]
fn a_freed_seat_calls_the_one_that_has_waited_longest() {
    let harness = limited(Some(2), None);
    let seated = [job_of(&harness, "acme/site", "good"), job_of(&harness, "acme/site", "good")];
    harness.reconcile_each(&seated);
    let waiting: Vec<RunName> = (0..3).map(|_| at_limit(&harness, "acme/site", "good")).collect();
    // The last run of the list has waited longest.
    let long_ago = harness.now() - 10 * MINUTE;
    harness.change(&waiting[2], |run| run.status.waiting_since = long_ago);
    harness.woken();
    ends(&harness, &seated[0]);
    assert_eq!(harness.woken(), [waiting[2].to_string()], "there is one place");
    assert_eq!(harness.reconcile(&waiting[2]).phase, Some(Phase::Starting));
    ends(&harness, &seated[1]);
    assert_eq!(harness.woken(), [waiting[0].to_string()]);
}

#[test]
fn places_that_nobody_was_called_for_are_given_out_together() {
    let harness = limited(Some(3), None);
    let seated: Vec<RunName> = (0..3).map(|_| job_of(&harness, "acme/site", "good")).collect();
    harness.reconcile_each(&seated);
    let waiting: Vec<RunName> = (0..4).map(|_| at_limit(&harness, "acme/site", "good")).collect();
    // One seat was freed without waking a run.
    harness.state().seats.remove(0);
    harness.woken();
    ends(&harness, &seated[2]);
    assert_eq!(harness.woken(), [waiting[0].to_string(), waiting[1].to_string()]);
}

#[test]
fn a_freed_seat_calls_the_oldest_whose_owner_has_room() {
    let harness = limited(Some(4), None);
    harness.configure("good", |class| class.owner_limit = Some(2));
    let seated = [
        job_of(&harness, "acme/a", "good"),
        job_of(&harness, "Acme/b", "good"),
        job_of(&harness, "lone/a", "good"),
    ];
    harness.reconcile_each(&seated);
    let full = at_limit(&harness, "acme/c", "good");
    assert_eq!(harness.state().seats.len(), 3);
    let last = job_of(&harness, "other/a", "good");
    assert_eq!(harness.reconcile(&last).phase, Some(Phase::Starting));
    let other = at_limit(&harness, "other/b", "good");
    harness.woken();
    ends(&harness, &seated[2]);
    assert_eq!(harness.woken(), [other.to_string()], "`acme` still has its two");
    ends(&harness, &seated[0]);
    assert_eq!(harness.woken(), [full.to_string(), other.to_string()]);
    assert_eq!(harness.reconcile(&full).phase, Some(Phase::Starting));
}

#[test]
fn a_renamed_repository_keeps_its_seats() {
    let harness = limited(None, Some(1));
    let renamed = |name: &RunName, to: &str| {
        harness.change(name, |run| to.clone_into(&mut run.spec.job.repo));
    };
    let seated = job_of(&harness, "acme/site", "good");
    assert_eq!(harness.reconcile(&seated).phase, Some(Phase::Starting));
    let waiting = job_of(&harness, "acme/site", "good");
    renamed(&waiting, "other/moved");
    assert_eq!(harness.reconcile(&waiting).reason, Some(Reason::AtLimit));
    // Another repository has the former name.
    let replaced = job_of(&harness, "acme/next", "good");
    renamed(&replaced, "acme/site");
    assert_eq!(harness.reconcile(&replaced).phase, Some(Phase::Starting));
    ends(&harness, &seated);
    assert_eq!(harness.reconcile(&waiting).phase, Some(Phase::Starting));
}

#[test]
fn a_run_whose_class_no_longer_serves_its_repository_says_so() {
    let harness = limited(None, None);
    let name = job_of(&harness, "acme/site", "good");
    harness.configure("good", |class| class.repos = vec!["acme/infra-*".to_owned()]);
    let report = harness.reconcile(&name);
    assert_eq!((report.phase, report.reason), (Some(Phase::Waiting), Some(Reason::NoClass)));
    assert_eq!(harness.launches("good"), 0);
    let told = harness.run(&name).status.conditions[0].message.clone();
    assert!(told.ends_with("it serves only acme/infra-*") && told.contains("good"), "{told}");
    harness.configure("good", |class| class.repos = vec!["ACME/*".to_owned()]);
    harness.pass(5 * MINUTE);
    assert_eq!(harness.reconcile(&name).phase, Some(Phase::Starting));
}

#[test]
fn a_freed_seat_calls_the_oldest_whose_repository_has_room() {
    let harness = limited(Some(3), Some(1));
    let seated = [job_of(&harness, "a/a", "good"), job_of(&harness, "b/b", "good")];
    harness.reconcile_each(&seated);
    let waiting = [
        at_limit(&harness, "a/a", "good"),
        at_limit(&harness, "b/b", "good"),
        at_limit(&harness, "b/b", "good"),
    ];
    let other = job_of(&harness, "c/c", "good");
    harness.change(&other, |run| {
        let told =
            serde_json::json!([{ "reason": "AtLimit", "since": run.created_at, "message": "" }]);
        run.status.conditions = serde_json::from_value(told).expect("conditions");
    });
    harness.woken();
    ends(&harness, &seated[1]);
    // `a/a` still has its one seat, `b/b` has room for one run again, and `c/c` for its first.
    assert_eq!(harness.woken(), [waiting[1].to_string(), other.to_string()]);
}

#[test]
fn a_freed_seat_calls_nobody_who_waits_for_something_else() {
    let harness = limited(Some(1), None);
    harness.configure("bad", |class| class.limit = Some(1));
    let (seated, other) = (job_of(&harness, "a/a", "good"), job_of(&harness, "a/a", "bad"));
    harness.reconcile_each(&[seated.clone(), other]);
    let of_other_class = at_limit(&harness, "a/a", "bad");
    let waiting = at_limit(&harness, "a/a", "good");
    // Another run of the class was never reconciled.
    job_of(&harness, "a/a", "good");
    let earlier = harness.now() - MINUTE;
    harness.change(&of_other_class, |run| run.status.waiting_since = earlier);
    harness.woken();
    ends(&harness, &seated);
    assert_eq!(harness.woken(), [waiting.to_string()]);
}

#[test]
fn a_class_without_a_limit_calls_all_that_were_at_it() {
    let harness = limited(Some(1), None);
    let seated = job_of(&harness, "a/a", "good");
    harness.reconcile(&seated);
    let waiting = [at_limit(&harness, "a/a", "good"), at_limit(&harness, "b/b", "good")];
    harness.configure("good", |class| class.limit = None);
    harness.woken();
    ends(&harness, &seated);
    assert_eq!(harness.woken(), waiting.map(|name| name.to_string()));
}

#[test]
fn a_limit_below_what_runs_ends_nothing_and_starts_nothing_until_enough_have_ended() {
    let harness = limited(Some(3), None);
    let running: Vec<RunName> = (0..3).map(|_| job_of(&harness, "a/a", "good")).collect();
    harness.reconcile_each(&running);
    for name in &running {
        harness.job_is(name, Job::Running { runner: harness.attempt_id(name, 1).to_string() });
    }
    harness.configure("good", |class| class.limit = Some(1));
    harness.reconcile_each(&running);
    let waiting = at_limit(&harness, "b/b", "good");
    for name in &running[..2] {
        ends(&harness, name);
        assert_eq!(harness.reconcile(&waiting).reason, Some(Reason::AtLimit));
    }
    assert_eq!((harness.calls("terminate"), harness.launches("good")), (0, 3));
    assert_eq!(harness.state().seats.len(), 1, "the third one runs");
    ends(&harness, &running[2]);
    harness.reconcile(&waiting);
    assert_eq!(harness.launches("good"), 4);
}

#[test]
fn a_seat_that_is_not_given_back_calls_nobody() {
    let harness = limited(Some(1), None);
    let seated = job_of(&harness, "a/a", "good");
    harness.reconcile(&seated);
    at_limit(&harness, "a/a", "good");
    harness.woken();
    harness.fails("unseat", ErrorKind::Unavailable);
    ends(&harness, &seated);
    assert!(harness.woken().is_empty());
    // If the open runs cannot be read, they wait until they are due.
    harness.fails("open", ErrorKind::Unavailable);
    harness.reconcile(&seated);
    assert!(harness.woken().is_empty() && harness.state().seats.is_empty());
}

#[test]
fn a_seat_of_a_recorded_attempt_is_kept_while_its_machine_lives() {
    let harness = limited(Some(1), None);
    let name = job_of(&harness, "a/a", "good");
    harness.reconcile(&name);
    for minutes in [1, 5, 30] {
        harness.pass(SignedDuration::from_mins(minutes));
        harness.state().registrations[0].online = true;
        harness.job_is(&name, Job::Running { runner: harness.attempt_id(&name, 1).to_string() });
        assert!(!effects(&harness.reconcile(&name)).iter().any(|(rule, _)| *rule == "26"));
    }
    assert_eq!(harness.state().seats.len(), 1);
}
