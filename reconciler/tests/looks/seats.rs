//! Places in a class: a refused one is waited for, a freed one calls those that it fits.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{ActionKind, LookResult};
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, InstanceState, Job, Phase, Reason, RunName, Slot,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};

use super::town::Town;
use super::{MINUTE, SECOND, effects};

/// A class `good` of so many places, altogether and for a repository.
fn limited(limit: Option<u32>, repo_limit: Option<u32>) -> Town {
    let town = Town::new();
    town.configure("good", |class| (class.limit, class.repo_limit) = (limit, repo_limit));
    town
}

/// A job of a repository, in a class.
fn job_of(town: &Town, repo: &str, class: &str) -> RunName {
    let name = town.jobs(1, class).remove(0);
    town.change(&name, |run| repo.clone_into(&mut run.spec.job.repo));
    name
}

/// The same, which has been told that there is no place.
fn at_limit(town: &Town, repo: &str, class: &str) -> RunName {
    let name = job_of(town, repo, class);
    town.pass(SECOND);
    let report = town.look(&name);
    assert_eq!(report.reason, Some(Reason::AtLimit));
    name
}

/// The machine of a run has ended with its job, and its run is looked at.
fn ends(town: &Town, name: &RunName) {
    for machine in town.world().machines.iter_mut().filter(|m| m.slot.run == *name) {
        machine.state = InstanceState::Gone;
    }
    town.job_is(name, Job::Done { conclusion: Conclusion::Success });
    let report = town.look(name);
    assert!(effects(&report).contains(&("26", ActionKind::Unseat)), "{:?}", effects(&report));
}

fn seat(slot: Slot, repo: &str) -> (ClassName, Seat) {
    (ClassName("good".to_owned()), Seat { slot, repo: repo.to_owned() })
}

#[test]
fn a_seat_is_taken_before_anything_is_registered() {
    let town = limited(Some(1), None);
    let name = job_of(&town, "acme/site", "good");
    let report = town.look(&name);
    assert_eq!(effects(&report)[..2], [("16", ActionKind::Seat), ("17", ActionKind::Register)]);
    assert_eq!(report.effects[0].target, "good");
    let slot = town.slot(&name, 1);
    assert_eq!(report.effects[0].slot, Some(slot.to_string()));
    assert_eq!(town.world().seats, [seat(slot, "acme/site")]);
}

#[test]
fn who_gets_no_seat_waits_five_minutes_and_registers_nothing() {
    let town = limited(Some(1), None);
    let first = job_of(&town, "acme/site", "good");
    town.look(&first);
    let second = job_of(&town, "acme/site", "good");
    let report = town.look(&second);
    assert_eq!((report.result, report.reason), (LookResult::Acted, Some(Reason::AtLimit)));
    assert_eq!((report.phase, report.due), (Some(Phase::Waiting), Some(town.now() + 5 * MINUTE)));
    assert_eq!(effects(&report), [("16", ActionKind::Put)]);
    assert_eq!((town.calls("register"), town.launches("good")), (1, 1));
    let report = town.look(&second);
    assert_eq!((report.result, effects(&report)), (LookResult::Settled, Vec::new()), "told once");
}

#[test]
fn a_seat_that_cannot_be_asked_for_is_asked_for_again_in_fifteen_seconds() {
    let town = limited(Some(1), None);
    let name = job_of(&town, "acme/site", "good");
    town.fails("seat", ErrorKind::Unavailable);
    let report = town.look(&name);
    assert_eq!(effects(&report)[0], ("16", ActionKind::Seat));
    assert_eq!((report.result, report.due), (LookResult::Error, Some(town.now() + 15 * SECOND)));
    assert_eq!((town.calls("register"), report.reason), (0, None));
    assert_eq!(town.look(&name).phase, Some(Phase::Starting));
}

#[test]
fn a_freed_seat_calls_the_one_that_has_waited_longest() {
    let town = limited(Some(2), None);
    let seated = [job_of(&town, "acme/site", "good"), job_of(&town, "acme/site", "good")];
    town.look_at(&seated);
    let waiting: Vec<RunName> = (0..3).map(|_| at_limit(&town, "acme/site", "good")).collect();
    // The last of them has waited longest.
    let long_ago = town.now() - 10 * MINUTE;
    town.change(&waiting[2], |run| run.status.waiting_since = long_ago);
    town.woken();
    ends(&town, &seated[0]);
    assert_eq!(town.woken(), [waiting[2].to_string()], "there is one place");
    assert_eq!(town.look(&waiting[2]).phase, Some(Phase::Starting));
    ends(&town, &seated[1]);
    assert_eq!(town.woken(), [waiting[0].to_string()]);
}

#[test]
fn places_that_nobody_was_called_for_are_given_out_together() {
    let town = limited(Some(3), None);
    let seated: Vec<RunName> = (0..3).map(|_| job_of(&town, "acme/site", "good")).collect();
    town.look_at(&seated);
    let waiting: Vec<RunName> = (0..4).map(|_| at_limit(&town, "acme/site", "good")).collect();
    // One seat went without anybody being called.
    town.world().seats.remove(0);
    town.woken();
    ends(&town, &seated[2]);
    assert_eq!(town.woken(), [waiting[0].to_string(), waiting[1].to_string()]);
}

#[test]
fn a_freed_seat_calls_the_oldest_whose_repository_has_room() {
    let town = limited(Some(3), Some(1));
    let seated = [job_of(&town, "a/a", "good"), job_of(&town, "b/b", "good")];
    town.look_at(&seated);
    let waiting = [
        at_limit(&town, "a/a", "good"),
        at_limit(&town, "b/b", "good"),
        at_limit(&town, "b/b", "good"),
    ];
    let other = job_of(&town, "c/c", "good");
    town.change(&other, |run| {
        let told =
            serde_json::json!([{ "reason": "AtLimit", "since": run.created_at, "message": "" }]);
        run.status.conditions = serde_json::from_value(told).expect("conditions");
    });
    town.woken();
    ends(&town, &seated[1]);
    // `a/a` has its one place still, `b/b` has one again and no second, `c/c` is within the class's.
    assert_eq!(town.woken(), [waiting[1].to_string(), other.to_string()]);
}

#[test]
fn a_freed_seat_calls_nobody_who_waits_for_something_else() {
    let town = limited(Some(1), None);
    town.configure("bad", |class| class.limit = Some(1));
    let (seated, other) = (job_of(&town, "a/a", "good"), job_of(&town, "a/a", "bad"));
    town.look_at(&[seated.clone(), other]);
    let of_other_class = at_limit(&town, "a/a", "bad");
    let waiting = at_limit(&town, "a/a", "good");
    // Another one of the class has not been looked at yet.
    job_of(&town, "a/a", "good");
    let earlier = town.now() - MINUTE;
    town.change(&of_other_class, |run| run.status.waiting_since = earlier);
    town.woken();
    ends(&town, &seated);
    assert_eq!(town.woken(), [waiting.to_string()]);
}

#[test]
fn a_class_without_a_limit_calls_all_that_were_at_it() {
    let town = limited(Some(1), None);
    let seated = job_of(&town, "a/a", "good");
    town.look(&seated);
    let waiting = [at_limit(&town, "a/a", "good"), at_limit(&town, "b/b", "good")];
    town.configure("good", |class| class.limit = None);
    town.woken();
    ends(&town, &seated);
    assert_eq!(town.woken(), waiting.map(|name| name.to_string()));
}

#[test]
fn a_seat_that_is_not_given_back_calls_nobody() {
    let town = limited(Some(1), None);
    let seated = job_of(&town, "a/a", "good");
    town.look(&seated);
    at_limit(&town, "a/a", "good");
    town.woken();
    town.fails("unseat", ErrorKind::Unavailable);
    ends(&town, &seated);
    assert!(town.woken().is_empty());
    // What cannot be read leaves them to their due.
    town.fails("open", ErrorKind::Unavailable);
    town.look(&seated);
    assert!(town.woken().is_empty() && town.world().seats.is_empty());
}

#[test]
fn a_seat_of_a_recorded_attempt_is_kept_while_its_machine_lives() {
    let town = limited(Some(1), None);
    let name = job_of(&town, "a/a", "good");
    town.look(&name);
    for minutes in [1, 5, 30] {
        town.pass(SignedDuration::from_mins(minutes));
        town.world().rows[0].online = true;
        town.job_is(&name, Job::Running { runner: town.slot(&name, 1).to_string() });
        assert!(!effects(&town.look(&name)).iter().any(|(row, _)| *row == "26"));
    }
    assert_eq!(town.world().seats.len(), 1);
}
