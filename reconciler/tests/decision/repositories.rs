//! The repository of a registration in records: kept in attempts and past ones, and absent in the
//! records of earlier releases.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{
    Attempt, End, Ended, PastAttempt, Run, RunName, SeenBy, Spec, decode, encode,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn started(runner: &Value) -> Run {
    let mut run = Run::new("test", RunName::job(42), Spec::default(), SeenBy::Poll, at(0));
    let attempt: Attempt = serde_json::from_value(json!({
        "number": 1, "decided_at": at(5), "class": "linux", "runner": runner,
        "boot": { "deadline": at(600), "idle_within": "3m", "instance_url": "https://forge" },
        "placements": [{ "machine": { "kind": "small" } }],
    }))
    .expect("as it is kept");
    let ended = Ended { why: End::Consumed, at: at(60) };
    run.status.past.push(attempt.clone().into_past(ended));
    run.status.attempt = Some(attempt);
    run
}

fn repositories(run: &Run) -> (i64, i64) {
    let past: &PastAttempt = &run.status.past[0];
    (run.status.attempt.as_ref().expect("one").runner.repo_id, past.repo_id)
}

#[test]
fn the_repository_of_a_registration_is_kept_with_current_and_past_attempts() {
    let run = started(&json!({
        "id": 101, "repo_id": 7, "uuid": "u", "name": "n", "labels": [], "token": "t",
    }));
    assert_eq!(repositories(&decode(&encode(&run)).expect("a run")), (7, 7));
}

#[test]
fn records_of_earlier_releases_are_read_and_keep_their_form() {
    let run = started(&json!({ "id": 101, "uuid": "u", "name": "n", "labels": [], "token": "t" }));
    let stored = encode(&run);
    assert!(!String::from_utf8_lossy(&stored).contains("\"repo_id\":0,\"uuid"));
    let read = decode(&stored).expect("a run");
    assert_eq!((repositories(&read), &read), ((0, 0), &run));
}
