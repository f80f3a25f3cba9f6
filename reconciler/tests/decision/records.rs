//! Records and classes without a decision: changes by a person, lists and pages, which jobs a class
//! serves, and how the result of an action changes a status.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Class, Condition, End, Ended, Happened, Machine, Outcome, Phase, Reason,
    Run, RunName, SeatLimits, SeenBy, Spec, Status, decode, encode, labels_match,
};
use tinqs_ci_reconciler::plan::{LONGEST_DUE, Prepare, Rule, record};
use tinqs_ci_reconciler::ports::{ErrorKind, Filter, OpenRun, PortError};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("as it is kept")
}

/// Returns a run of `acme/site`, created at 0 s.
fn run(name: RunName) -> Run {
    let spec: Spec = read(json!({
        "job": { "repo": "acme/site", "repo_id": 7, "job_id": 42 }, "runs_on": ["linux"],
    }));
    Run::new("test", name, spec, SeenBy::Webhook, at(0))
}

fn attempt(attempt_id: &AttemptId, class: &str) -> Attempt {
    read(json!({
        "number": attempt_id.number, "decided_at": at(5), "class": class,
        "runner": { "id": 101, "uuid": "", "name": attempt_id.to_string(), "labels": [], "token": "t" },
        "boot": { "deadline": at(600), "idle_within": "3m", "instance_url": "https://forge" },
        "placements": [{ "machine": { "kind": "small" } }],
    }))
}

/// Returns the same run with an attempt of a class.
fn started(class: &str) -> Run {
    let mut run = run(RunName::job(42));
    run.status.phase = Phase::Starting;
    run.status.attempt = Some(attempt(&run.attempt_id(1), class));
    run.status.next = 2;
    run
}

#[test]
fn every_rule_has_a_name_and_a_number_of_its_own() {
    let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    let numbers: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.number()).collect();
    assert_eq!((names.len(), numbers.len()), (Rule::ALL.len(), Rule::ALL.len()));
    for rule in Rule::ALL {
        let shown = format!("{} (rule {})", rule.name(), rule.number());
        assert_eq!((rule.to_string(), rule.shown()), (shown.clone(), shown.as_str()));
        assert_eq!(serde_json::to_value(rule).unwrap(), shown);
        assert!(rule.name().bytes().all(|b| b.is_ascii_lowercase() || b == b' '), "{shown}");
        let digits = rule.number().trim_start_matches(['P', 'R']);
        assert!(digits.parse::<u32>().is_ok(), "{shown}");
    }
}

#[test]
fn every_reason_is_written_in_camel_case_and_labeled_in_snake_case() {
    for reason in Reason::ALL {
        let camel = reason.to_string();
        let mut snake = String::new();
        for letter in camel.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        assert_eq!(serde_json::to_value(reason).unwrap(), camel);
        assert_eq!(format!("{reason:?}"), camel);
        assert_eq!(reason.label(), snake);
    }
    let labels: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(labels.len(), Reason::ALL.len());
}

#[test]
fn deleting_a_run_marks_it_and_voids_the_number_in_preparation() {
    let mut run = started("linux");
    run.status.due = at(60);
    run.delete(at(10), false, None);
    assert_eq!((run.deleted_at, run.terminate_now), (Some(at(10)), false));
    assert_eq!((run.status.next, run.status.due), (3, at(10)));
    // Again, with its machine: the time of deletion stays.
    run.delete(at(20), true, None);
    assert_eq!((run.deleted_at, run.terminate_now, run.status.next), (Some(at(10)), true, 4));
    // The request to terminate is not withdrawn.
    run.delete(at(30), false, None);
    assert!(run.terminate_now);
}

#[test]
fn a_retry_clears_backoff_giving_up_and_deletion() {
    let mut run = started("linux");
    run.delete(at(5), true, None);
    let status = &mut run.status;
    (status.failures, status.retry_at, status.phase) = (9, Some(at(500)), Phase::Finished);
    (status.outcome, status.finished_at) = (Some(Outcome::GaveUp), Some(at(9)));
    run.retry(at(10), None);
    assert_eq!((run.deleted_at, run.terminate_now), (None, false));
    let status = &run.status;
    assert_eq!((status.phase, status.outcome, status.finished_at), (Phase::Waiting, None, None));
    assert_eq!((status.failures, status.retry_at), (0, None));
    assert_eq!((status.waiting_since, status.due), (at(10), at(10)));
}

#[test]
fn a_retry_does_not_reopen_a_succeeded_run() {
    let mut run = started("linux");
    run.status.phase = Phase::Finished;
    (run.status.outcome, run.status.finished_at) = (Some(Outcome::Succeeded), Some(at(9)));
    run.retry(at(10), None);
    assert_eq!((run.status.phase, run.status.outcome), (Phase::Finished, Some(Outcome::Succeeded)));
    assert_eq!((run.status.finished_at, run.status.due), (Some(at(9)), at(10)));
}

#[test]
fn a_name_shows_whether_a_push_triggered_the_run() {
    assert!(RunName::push(&["acme/site", "build"]).is_push());
    assert!(!RunName::job(7).is_push());
    // UIDs are printed in the usual form.
    let uid = run(RunName::job(7)).uid.to_string();
    assert_eq!((uid.len(), uid.matches('-').count()), (36, 4), "{uid}");
}

#[test]
fn the_list_of_open_runs_shows_which_run_waits_for_a_seat() {
    let mut run = run(RunName::job(42));
    let listed = OpenRun::of(&run);
    assert_eq!((listed.at_limit, &listed.attempt, listed.deleted), (false, &None, false));
    let condition = |reason| Condition { reason, message: String::new(), since: at(1) };
    run.status.conditions = vec![condition(Reason::AtLimit)];
    assert!(OpenRun::of(&run).at_limit);
    run.status.conditions = vec![condition(Reason::BackingOff)];
    assert!(!OpenRun::of(&run).at_limit);
    let mut run = started("linux");
    run.delete(at(3), false, None);
    let listed = OpenRun::of(&run);
    assert_eq!((listed.attempt, listed.deleted), (Some(run.attempt_id(1)), true));
    assert_eq!((&*listed.repo, &*listed.runs_on), ("acme/site", &["linux".to_owned()][..]));
}

#[test]
fn a_page_contains_runs_that_match_all_of_its_filter() {
    let (waiting, starting) = (run(RunName::job(42)), started("linux"));
    let takes = |phase: Option<Phase>, class: Option<&str>, repo: Option<&str>| {
        let class = class.map(|name| read(json!(name)));
        let filter = Filter { phase, class, repo: repo.map(str::to_owned), limit: 1 };
        (filter.takes(&waiting), filter.takes(&starting))
    };
    let (some_phase, linux) = (Some(Phase::Starting), Some("linux"));
    let rows = [
        ((None, None, None), (true, true)),
        ((Some(Phase::Waiting), None, None), (true, false)),
        ((some_phase, None, None), (false, true)),
        // A run without an attempt has no class yet.
        ((None, linux, None), (false, true)),
        ((None, Some("macos"), None), (false, false)),
        ((None, None, Some("acme/site")), (true, true)),
        ((None, None, Some("acme/other")), (false, false)),
        ((some_phase, linux, Some("acme/site")), (false, true)),
        ((some_phase, linux, Some("acme/other")), (false, false)),
        ((Some(Phase::Running), linux, Some("acme/site")), (false, false)),
        ((some_phase, Some("macos"), Some("acme/site")), (false, false)),
    ];
    for ((phase, class, repo), expected) in rows {
        assert_eq!(takes(phase, class, repo), expected, "{phase:?} {class:?} {repo:?}");
    }
}

#[test]
fn a_class_serves_jobs_that_a_runner_with_its_labels_may_take() {
    let class = |labels: &[&str], unlabeled: bool| -> Class {
        read(
            json!({ "name": "one", "labels": labels, "serves_unlabeled": unlabeled, "machines": [] }),
        )
    };
    let own = |labels: &[&str]| labels.iter().map(|l| (*l).to_owned()).collect::<Vec<String>>();
    let (some, any) = (class(&["linux:host", "x64"], false), class(&["*", "gpu:host"], true));
    let rows: [(&[&str], bool, bool); 8] = [
        (&[], false, true),
        (&["linux"], true, true),
        (&["linux", "x64"], true, true),
        (&["linux", "arm64"], false, true),
        // Labels that no runner can have, alone or beside others.
        (&["host"], false, false),
        (&[""], false, false),
        (&["linux:host"], false, false),
        (&["linux", "a:b"], false, false),
    ];
    for (runs_on, by_some, by_any) in rows {
        let runs_on = own(runs_on);
        assert_eq!(
            (some.serves_labels(&runs_on), any.serves_labels(&runs_on)),
            (by_some, by_any),
            "{runs_on:?}"
        );
    }
    assert!(labels_match(&own(&["a:docker://b"]), &own(&["a"])));
    let carried = any.runner_labels(&own(&["linux", "gpu", "linux"]));
    assert_eq!(carried, ["linux:host", "gpu:host"]);
    assert_eq!(some.runner_labels(&own(&["linux"])), ["linux:host"], "no label of another job");
    assert_eq!(some.runner_labels(&own(&["x64", "linux"])), ["x64", "linux:host"]);
    assert_eq!(some.runner_labels(&[]), Vec::<String>::new());
}

fn prepare(run: &Run) -> Prepare {
    Prepare {
        attempt_id: run.attempt_id(1),
        class: read(json!("linux")),
        seat: Some(SeatLimits { class: Some(3), repo: Some(2), owner: None }),
        repo: "acme/site".to_owned(),
        repo_id: 7,
        labels: vec!["linux:host".to_owned()],
        machine: read(json!({ "kind": "small" })),
        chosen: None,
        idle_within: SignedDuration::from_mins(3),
        deadline: at(600),
        start_by: at(330),
        hold: SignedDuration::from_mins(30),
    }
}

#[test]
fn the_status_shows_the_result_of_a_preparation() {
    let mut run = run(RunName::job(42));
    let prepare = prepare(&run);
    assert_eq!(
        prepare.seat.expect("counted"),
        SeatLimits { class: Some(3), repo: Some(2), owner: None }
    );
    record::at_limit(&mut run.status, &prepare, at(10));
    assert_eq!((run.status.phase, run.status.reason()), (Phase::Waiting, Some(Reason::AtLimit)));
    assert!(run.status.conditions[0].message.contains("linux"), "{:?}", run.status.conditions);
    assert_eq!((run.status.due, run.status.conditions[0].since), (at(310), at(10)));
    record::not_prepared(&mut run.status, at(20));
    assert_eq!(run.status.due, at(35));
    let runner = attempt(&prepare.attempt_id, "linux").runner;
    let boot = ("https://forge".into(), None);
    record::prepared(&mut run.status, prepare, runner, boot, at(30), &[]);
    let made = run.status.attempt.as_ref().expect("an attempt");
    assert_eq!((made.number, made.runner.id, made.placements.len()), (1, 101, 1));
    assert_eq!((made.decided_at, made.boot.deadline, made.ended), (at(30), at(600), None));
    assert_eq!((made.boot.start_by, made.launch_by()), (Some(at(330)), Some(at(180))));
    assert_eq!(made.boot.hold, SignedDuration::from_mins(30));
    assert_eq!((run.status.next, run.status.phase), (2, Phase::Starting));
    assert_eq!((run.status.reason(), run.status.due), (None, at(30)));
}

#[test]
fn a_past_attempt_with_a_live_machine_is_never_dropped() {
    let mut run = started("linux");
    for number in 2..=9 {
        let live = if number > 3 { &[2][..] } else { &[] };
        let mut prepare = prepare(&run);
        prepare.attempt_id = run.attempt_id(number);
        let runner = attempt(&prepare.attempt_id, "linux").runner;
        let boot = ("https://forge".into(), None);
        let now = at(3_600 * i64::from(number));
        record::prepared(&mut run.status, prepare, runner, boot, now, live);
    }
    let kept: Vec<u32> = run.status.past.iter().map(|past| past.number).collect();
    assert_eq!(kept, [2, 4, 5, 6, 7, 8], "the last five, and the one with a live machine");
    assert_eq!(run.status.past[0].promise.map(|promise| promise.start_by), Some(at(330)));
}

#[test]
fn records_without_a_promise_are_read() {
    let attempt = attempt(&run(RunName::job(42)).attempt_id(1), "linux");
    assert_eq!((attempt.boot.promise(), attempt.launch_by()), (None, None));
    let past = attempt.into_past(Ended { why: End::NeverReady, at: at(7) });
    let value = serde_json::to_value(&past).unwrap();
    assert_eq!((past.promise, value.get("promise")), (None, None), "it keeps its form");
}

#[test]
fn the_result_of_a_launch_is_recorded_in_its_placement() {
    let mut run = started("linux");
    let machine: Machine = read(json!({
        "id": "i-1", "attempt_id": run.attempt_id(1).to_string(), "placement": 0, "state": "booting",
        "launched_at": at(6), "deadline": at(600), "registration": 101, "class": "linux", "kind": "small",
    }));
    record::launched(&mut run.status, 1, &machine, at(7));
    let placement = |run: &Run| run.status.attempt.as_ref().expect("one").placements[0].clone();
    assert_eq!(placement(&run).answered, None, "there is no second placement");
    record::launched(&mut run.status, 0, &machine, at(7));
    let answered = placement(&run).answered.expect("it is written");
    assert_eq!((answered.id, answered.at), (machine.id, at(7)));
    for kind in [ErrorKind::Conflict, ErrorKind::Unavailable, ErrorKind::Throttled] {
        record::not_launched(&mut run.status, 0, kind, at(8));
        assert_eq!(placement(&run).refused, None, "{kind}");
    }
    record::not_launched(&mut run.status, 0, ErrorKind::NoCapacity, at(9));
    assert_eq!(placement(&run).refused.expect("it is written").at, at(9));
}

#[test]
fn errors_and_rules_are_displayed_in_words() {
    let error = PortError::new("store", "put", ErrorKind::NoCapacity, "full");
    let kinds = [
        (ErrorKind::Conflict, "conflict"),
        (ErrorKind::Unavailable, "unavailable"),
        (ErrorKind::Throttled, "throttled"),
        (error.kind, "no capacity"),
        (ErrorKind::Limit, "limit"),
        (ErrorKind::Denied, "denied"),
        (ErrorKind::Invalid, "invalid"),
    ];
    assert!(kinds.iter().all(|(kind, word)| kind.to_string() == *word), "{kinds:?}");
    let words = error.to_string();
    assert!(["store", "put", "full"].iter().all(|word| words.contains(word)), "{words}");
    assert_eq!(
        (Rule::Launch.to_string(), Rule::PushEnded.to_string()),
        ("launch (rule 11)".into(), "machine ended (rule P2)".into())
    );
}

/// Returns whether a status that differs only in its due is written.
fn due_is_written(stored: &Run, due: Timestamp, now: Timestamp) -> bool {
    record::worth_writing(stored, &Status { due, ..stored.status.clone() }, now)
}

#[test]
fn a_due_is_written_only_if_the_stored_one_would_be_too_late() {
    let now = at(0);
    let latest = now + LONGEST_DUE;
    let (second, minute) = (SignedDuration::from_secs(1), SignedDuration::from_mins(1));
    let open = run(RunName::job(42));
    let mut finished = open.clone();
    finished.status.phase = Phase::Finished;
    let mut tombstone = finished.clone();
    tombstone.deleted_at = Some(now);
    let cases = [
        ("an open run's due moves with each reconcile", &open, now, now + minute, false),
        ("an open run may be due as late as that", &open, latest, now + minute, false),
        ("an open run is not due later than that", &open, latest + second, now + minute, true),
        ("the plan itself asks for a later due", &open, latest + minute, latest + minute, false),
        ("the plan asks for a still later due", &open, latest + second, latest + minute, false),
        ("a finished run keeps its due", &finished, latest + minute, latest + minute, false),
        ("a finished run is due later", &finished, now, now + minute, true),
        ("a finished run is due far in the future", &finished, Timestamp::MAX, latest, true),
        // A run whose machine hangs after its job is reconciled every minute, for hours.
        ("a deleted run's due moves with each reconcile", &tombstone, now, now + minute, false),
        ("a deleted run is due far in the future", &tombstone, Timestamp::MAX, now + minute, true),
    ];
    for (name, run, stored, decided, written) in cases {
        let mut run = run.clone();
        run.status.due = stored;
        assert_eq!(due_is_written(&run, decided, now), written, "{name}");
    }
}

#[test]
fn a_status_that_differs_in_more_than_its_due_is_written() {
    let stored = run(RunName::job(42));
    let started = Status { phase: Phase::Starting, ..stored.status.clone() };
    assert!(record::worth_writing(&stored, &started, at(0)));
    assert!(!record::worth_writing(&stored, &stored.status, at(0)));
}

#[test]
fn a_timeline_keeps_its_beginning_and_its_end() {
    let mut run = run(RunName::job(42));
    for second in 1..100 {
        run.retry(at(second), None);
    }
    let timeline = &run.status.timeline;
    let seconds: Vec<i64> = timeline.iter().map(|milestone| milestone.at.as_second()).collect();
    let kept: Vec<i64> = (0..4).chain(80..100).collect();
    assert_eq!(seconds, kept);
    assert_eq!(timeline[0].what, Happened::Seen { by: SeenBy::Webhook });
    assert_eq!(timeline[23].what, Happened::Retried { by: None });
}

#[test]
fn deleting_a_run_again_tells_nothing_new() {
    let mut run = run(RunName::job(42));
    for (second, terminate) in [(1, false), (2, false), (3, true), (4, true)] {
        run.delete(at(second), terminate, None);
    }
    let told: Vec<i64> = run.status.timeline.iter().map(|m| m.at.as_second()).collect();
    assert_eq!(told, [0, 1, 3]);
}

#[test]
fn records_without_a_timeline_and_with_kinds_of_a_newer_version_are_readable() {
    let run = started("linux");
    let mut old = serde_json::to_value(&run).expect("a run is JSON");
    old["status"].as_object_mut().expect("an object").remove("timeline");
    let read_back: Run = decode(old.to_string().as_bytes()).expect("a record of an old version");
    assert!(read_back.status.timeline.is_empty());
    assert!(!String::from_utf8_lossy(&encode(&read_back)).contains("timeline"));

    let mut new = serde_json::to_value(&run).expect("a run is JSON");
    new["status"]["timeline"] = json!([
        { "at": at(0), "kind": "Seen", "by": "telepathy" },
        { "at": at(1), "kind": "Migrated", "to": { "region": "north" } },
        { "at": at(2), "kind": "Launched", "attempt": 1, "machine": "i-1", "zone": "a" },
    ]);
    let read_back: Run = decode(new.to_string().as_bytes()).expect("a record of a newer version");
    let kinds: Vec<_> = read_back.status.timeline.iter().map(|m| m.what.clone()).collect();
    let launched = Happened::Launched { attempt: 1, machine: read(json!("i-1")) };
    assert_eq!(kinds, [Happened::Seen { by: SeenBy::Other }, Happened::Unknown, launched]);
    assert_eq!(decode(&encode(&read_back)).expect("it is kept"), read_back);
}
