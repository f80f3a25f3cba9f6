use super::*;
use crate::model::{End, Ended, JobRef, PastAttempt, SeenBy, Spec};

fn linux() -> ClassName {
    ClassName("linux".to_owned())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn boot(second: i64, online: bool) -> ClassBoot {
    let result = BootResult { at: at(second), online, launch_failed: false };
    ClassBoot { class: linux(), result }
}

fn run(job: i64) -> Run {
    let job_ref = JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id: job };
    let spec = Spec { job: job_ref, ..Spec::default() };
    Run::new("test", RunName::job(job), spec, SeenBy::Poll, at(0))
}

fn open(job: i64, boots: Vec<ClassBoot>) -> OpenRun {
    OpenRun { boots, ..OpenRun::of(&run(job)) }
}

/// A past attempt whose machine never came online.
fn past(attempt_id: &AttemptId) -> PastAttempt {
    PastAttempt {
        number: attempt_id.number,
        decided_at: at(0),
        class: linux(),
        registration: 1,
        repo_id: 0,
        deadline: None,
        promise: None,
        placements: Vec::new(),
        ended: Ended { why: End::NeverReady, at: at(3) },
        hung_since: None,
        boot_result: Some(BootResult { at: at(3), online: false, launch_failed: false }),
        state_reason: None,
        log: None,
    }
}

/// Three open runs whose machines never came online.
fn three() -> Vec<OpenRun> {
    (1..=3).map(|job| open(job, vec![boot(job, false)])).collect()
}

#[test]
fn three_open_runs_stop_the_class_and_one_that_came_online_frees_those_that_wait() {
    let boots = Boots::default();
    assert!(boots.listed(&three(), at(10)).is_empty());
    let stop = boots.known(&linux(), None, at(10)).expect("it is stopped");
    assert_eq!((stop.machines, stop.since, stop.until), (3, at(3), at(303)));
    assert_eq!(boots.known(&ClassName("other".to_owned()), None, at(10)), None);
    boots.holds(&linux(), &RunName::job(9));
    let mut more = three();
    more.push(open(4, vec![boot(8, true)]));
    let freed = boots.listed(&more, at(20));
    assert_eq!(freed.into_iter().collect::<Vec<_>>(), [RunName::job(9)]);
    assert_eq!(boots.known(&linux(), None, at(20)), None);
    assert!(boots.listed(&three(), at(30)).is_empty(), "nobody waits any more");
    assert_eq!(boots.known(&linux(), None, at(30)), None, "that run has finished meanwhile");
}

#[test]
fn what_was_noted_while_a_list_was_read_is_newer() {
    let boots = Boots::default();
    boots.listed(&three()[..2], at(10));
    let mut late = run(3);
    late.status.past = vec![past(&late.attempt_id(1))];
    boots.reconciled(&late, at(12));
    assert!(boots.known(&linux(), None, at(12)).is_some());
    boots.holds(&linux(), &RunName::job(9));
    assert!(boots.listed(&three()[..2], at(11)).is_empty(), "the list began before the write");
    assert!(boots.known(&linux(), None, at(13)).is_some());
    assert_eq!(boots.listed(&three()[..2], at(13)).len(), 1, "a later list shows no third one");
}

#[test]
fn a_run_counts_once_whether_it_is_open_or_finished() {
    let boots = Boots::default();
    let mut finished = run(1);
    finished.status.phase = Phase::Finished;
    boots.listed(&three()[..2], at(10));
    assert_eq!(boots.known(&linux(), None, at(10)), None, "two machines");
    {
        let mut inner = boots.0.lock();
        inner.finished.insert(RunName::job(1), vec![boot(1, false)]);
        assert_eq!(inner.stop(&linux(), at(10)), None, "the same run");
        inner.finished.insert(RunName::job(5), vec![boot(5, false)]);
        assert!(inner.stop(&linux(), at(10)).is_some(), "another one");
        inner.finished_at = Some(at(10));
    }
    boots.reconciled(&finished, at(11));
    assert!(!boots.is_finished_read(at(11)), "it is read again");
    boots.listed(&[], at(12));
    let none = "no open run has such a machine";
    assert_eq!(boots.known(&linux(), None, at(12)), None, "{none}");
}

#[test]
fn others_wait_for_the_attempt_that_tries() {
    let boots = Boots::default();
    boots.listed(&three(), at(10));
    let own = run(1).attempt_id(2);
    let until = at(900);
    let probe = Probe { attempt_id: Some(own.clone()), holds: true, until };
    boots.set_probe(&linux(), probe);
    let asks = |attempt_id, is_recorded| {
        let asking = Asking { attempt_id, is_recorded };
        boots.known(&linux(), Some(asking), at(400)).map(|stop| stop.until)
    };
    let other = run(2).attempt_id(2);
    for is_recorded in [false, true] {
        assert_eq!(asks(&own, is_recorded), None);
        assert_eq!(asks(&other, is_recorded), Some(until), "it waits");
    }
    assert!(boots.probe(&linux(), at(899)).is_some());
    assert!(boots.probe(&linux(), until).is_none(), "its result is overdue");
    boots.set_probe(&linux(), Probe { attempt_id: None, holds: false, until });
    assert_eq!(asks(&own, false), Some(until), "another process tries");
    assert_eq!(asks(&own, true), None, "it may be this one: the lease tells");
}

#[test]
fn a_result_of_the_future_does_not_count() {
    let boots = Boots::default();
    let mut runs = three();
    runs.push(open(4, vec![boot(40_000, false)]));
    boots.listed(&runs, at(10));
    assert_eq!(boots.known(&linux(), None, at(10)).expect("three").until, at(303));
}

#[test]
fn a_list_is_young_for_a_while() {
    let boots = Boots::default();
    assert!(!boots.is_listed(LISTED_FOR, at(0)));
    boots.listed(&[], at(0));
    assert!(boots.is_listed(LISTED_FOR, at(30)) && !boots.is_listed(LISTED_FOR, at(31)));
    assert!(!boots.is_listed(LISTED_FOR, at(-1)), "the clock went back");
    boots.forget();
    assert!(!boots.is_listed(SHOWN_FOR, at(0)));
}
