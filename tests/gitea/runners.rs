//! Registrations: list, read, create and remove.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_gitea::{Config as Settings, Scope};
use tinqs_ci_reconciler::model::{AttemptId, Registrations};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};

use crate::script::{
    FixedClock, JOB_REPO, RUNNER_TOKEN, RecordedRequest, Script, TOKEN, client, client_with, html,
    json_answer, not_found, settings, version, with_runner_token,
};

const ATTEMPT_ID: &str = "tq-job-7-0123abcd-1";

fn attempt_id() -> AttemptId {
    ATTEMPT_ID.parse().expect("an attempt ID")
}

fn labels() -> Vec<String> {
    ["linux:host", "linux:docker://image", "x64"].map(str::to_owned).to_vec()
}

fn registered(id: &Value) -> (u16, Value) {
    let runner = json!({
        "id": id, "uuid": "u-1", "token": "runner-secret", "name": ATTEMPT_ID, "ephemeral": true,
        "labels": ["linux"], "version": "x",
    });
    (200, json!({ "runner": runner }))
}

#[tokio::test]
async fn registering_sends_names_and_keeps_schemas() {
    for id in [json!("12"), json!(12)] {
        let script = Script::new(move |_: &RecordedRequest| registered(&id)).await;
        let client = client(&with_runner_token(&script.url));
        let runner = client.register(&attempt_id(), JOB_REPO, &labels()).await.expect("registers");
        assert_eq!(
            (runner.id, runner.uuid.as_str(), runner.name.as_str()),
            (12, "u-1", ATTEMPT_ID)
        );
        assert_eq!(runner.labels, labels());
        assert_eq!(runner.token.expose(), "runner-secret");
        let [asked] = &script.asked()[..] else { panic!("one call") };
        assert_eq!(asked.path, "/api/actions/runner.v1.RunnerService/Register");
        assert!(asked.headers.get("authorization").is_none(), "the API token is not sent");
        let body = asked.json();
        assert_eq!((&body["name"], &body["token"]), (&json!(ATTEMPT_ID), &json!(RUNNER_TOKEN)));
        assert_eq!(body["labels"], json!(["linux", "x64"]));
        assert_eq!(body["ephemeral"], true);
        assert!(body["version"].as_str().is_some_and(|v| v.starts_with("tinqs-ci/")));
    }
}

#[tokio::test]
async fn the_registration_token_is_cached_until_it_is_reset() {
    let current = Arc::new(Mutex::new("first-token".to_owned()));
    let answers = current.clone();
    let script = Script::new(move |asked: &RecordedRequest| {
        let current = answers.lock().clone();
        if asked.path.ends_with("/registration-token") {
            return (200, json!({ "token": current }));
        }
        if asked.json()["token"] == current.as_str() {
            return registered(&json!("1"));
        }
        // The format of servers up to 1.27.
        let text = "rpc error: code = NotFound desc = runner registration token not found";
        (500, json!({ "code": "unknown", "message": text }))
    })
    .await;
    let client = script.client();
    for _ in 0..2 {
        client.register(&attempt_id(), JOB_REPO, &labels()).await.expect("registers");
    }
    let token = "POST /api/v1/admin/actions/runners/registration-token";
    let register = "POST /api/actions/runner.v1.RunnerService/Register";
    assert_eq!(script.take_paths(), [token, register, register]);
    *current.lock() = "second-token".to_owned();
    client.register(&attempt_id(), JOB_REPO, &labels()).await.expect("registers with the new one");
    client.register(&attempt_id(), JOB_REPO, &labels()).await.expect("its token is cached");
    assert_eq!(script.take_paths(), [register, token, register, register]);
}

#[tokio::test]
async fn a_refused_registration_token_names_its_fix() {
    let script = Script::new(|asked: &RecordedRequest| {
        if asked.path.ends_with("/registration-token") {
            return (403, json!({ "message": "no" }));
        }
        let message = format!("token {} is unknown", asked.json()["token"]);
        (401, json!({ "code": "unauthenticated", "message": message }))
    })
    .await;
    let configured = client(&with_runner_token(&script.url));
    let error = configured.register(&attempt_id(), JOB_REPO, &labels()).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("forge.runner_token"), "{error}");
    assert!(!format!("{error:?}").contains(RUNNER_TOKEN), "{error:?}");
    let error =
        script.client().register(&attempt_id(), JOB_REPO, &labels()).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("write:admin"), "{error}");
}

#[tokio::test]
async fn an_incomplete_registration_fails_and_a_permanent_one_is_removed() {
    let halves = [
        json!({}),
        json!({ "runner": null }),
        json!({ "runner": { "id": "x", "uuid": "u", "token": "t", "ephemeral": true } }),
        json!({ "runner": { "id": 0, "uuid": "u", "token": "t", "ephemeral": true } }),
        json!({ "runner": { "id": 1, "uuid": "", "token": "t", "ephemeral": true } }),
        json!({ "runner": { "id": 1, "uuid": "u", "token": "", "ephemeral": true } }),
        json!({ "runner": { "id": 1, "uuid": "u", "ephemeral": true } }),
    ];
    for half in halves {
        let shown = half.to_string();
        let script = Script::new(move |_: &RecordedRequest| (200, half.clone())).await;
        let client = client(&with_runner_token(&script.url));
        let error =
            client.register(&attempt_id(), JOB_REPO, &labels()).await.expect_err("half an answer");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{shown}");
    }
    let script = Script::new(|_: &RecordedRequest| {
        (200, json!({ "runner": { "id": "5", "uuid": "u", "token": "runner-secret" } }))
    })
    .await;
    let client = client(&with_runner_token(&script.url));
    let error = client.register(&attempt_id(), JOB_REPO, &labels()).await.expect_err("permanent");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("1.24"), "{error}");
    assert_eq!(script.take_paths()[1], "DELETE /api/v1/admin/actions/runners/5");
}

#[tokio::test]
async fn a_registration_with_a_lost_reply_is_not_repeated() {
    let script = Script::new(|_: &RecordedRequest| None::<axum::response::Response>).await;
    let forge = with_runner_token(&script.url);
    let client = client_with(&forge, Duration::from_secs(3), FixedClock::new());
    let error = client.register(&attempt_id(), JOB_REPO, &labels()).await.expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(script.asked().len(), 1);
}

fn runner(id: i64, name: &str) -> Value {
    json!({ "id": id, "name": name, "status": "offline", "busy": false, "labels": [] })
}

#[tokio::test]
async fn only_registrations_with_our_names_are_listed() {
    let script = Script::new(|asked: &RecordedRequest| {
        let mut rows = vec![
            runner(1, "somebody's"),
            runner(2, ATTEMPT_ID),
            runner(3, "tq-job-x-0123abcd-1"),
            runner(4, "tq-job-8-0123abcd-2"),
        ];
        rows[3]["status"] = json!("active");
        rows[3]["busy"] = json!(true);
        rows[3]["uuid"] = json!("u-4");
        rows.reverse();
        let rows = if asked.number("page") == 1 { rows } else { Vec::new() };
        (200, json!({ "runners": rows, "total_count": 5 }))
    })
    .await;
    let seen = script.client().registrations(0).await.expect("answers");
    let Registrations::Seen(rows) = seen else { panic!("{seen:?}") };
    let seen: Vec<_> =
        rows.iter().map(|r| (r.id, r.attempt_id.to_string(), r.online, r.busy)).collect();
    let second = "tq-job-8-0123abcd-2".to_owned();
    assert_eq!(seen, [(2, ATTEMPT_ID.to_owned(), false, false), (4, second, true, true)]);
    assert_eq!(rows[1].uuid.as_deref(), Some("u-4"));
}

#[tokio::test]
async fn without_the_right_registrations_are_unknown_for_a_while() {
    for status in [401, 403, 404] {
        let script = Script::new(move |asked: &RecordedRequest| {
            if asked.path == "/api/v1/version" {
                return version();
            }
            (status, json!({ "message": "no" }))
        })
        .await;
        let clock = FixedClock::new();
        let client = client_with(&settings(&script.url), Duration::from_secs(10), clock.clone());
        for _ in 0..3 {
            let seen = client.registrations(0).await.expect("no outage");
            assert_eq!(seen, Registrations::Unknown, "{status}");
        }
        let asked = script.take_paths().len();
        assert!(asked <= 3, "{asked} calls");
        clock.advance(SignedDuration::from_mins(11));
        assert_eq!(client.registrations(0).await.expect("no outage"), Registrations::Unknown);
        assert!(!script.take_paths().is_empty(), "the list is tried again after a while");
    }
}

#[tokio::test]
async fn an_outage_is_not_a_missing_right() {
    let status = Arc::new(AtomicUsize::new(503));
    let answers = status.clone();
    let script = Script::new(move |asked: &RecordedRequest| {
        match u16::try_from(answers.load(Ordering::SeqCst)).expect("small") {
            200 if asked.path == "/api/v1/version" => json_answer(200, version().1),
            200 => json_answer(200, json!({ "runners": [], "total_count": 0 })),
            // A proxy in front of a forge that is down.
            404 => html(404),
            other => json_answer(other, json!({ "message": "no" })),
        }
    })
    .await;
    let client = script.client();
    let kind = async || client.registrations(0).await.map_err(|error| error.kind);
    assert_eq!(kind().await, Err(ErrorKind::Unavailable));
    status.store(404, Ordering::SeqCst);
    assert_eq!(kind().await, Err(ErrorKind::Unavailable));
    status.store(200, Ordering::SeqCst);
    assert_eq!(kind().await, Ok(Registrations::Seen(Vec::new())));
    // A list that was readable once never becomes unknown.
    status.store(403, Ordering::SeqCst);
    assert_eq!(kind().await, Err(ErrorKind::Denied));
    status.store(429, Ordering::SeqCst);
    assert_eq!(kind().await, Err(ErrorKind::Throttled));
}

#[tokio::test]
async fn a_registration_token_of_another_scope_makes_registrations_unknown() {
    let script = Script::new(|asked: &RecordedRequest| {
        if asked.path.ends_with("/registration-token") {
            return (200, json!({ "token": "the-scopes-own-token" }));
        }
        (200, json!({ "runners": [], "total_count": 0 }))
    })
    .await;
    let of = |scope: Scope| client(&Settings { scope, ..with_runner_token(&script.url) });
    let org = of(Scope::Org("acme".into()));
    assert_eq!(org.registrations(0).await.expect("answers"), Registrations::Unknown);
    // The list of the whole forge has every registration.
    let all = of(Scope::All);
    assert_eq!(all.registrations(0).await.expect("answers"), Registrations::Seen(Vec::new()));
}

#[tokio::test]
async fn a_registration_is_missing_only_while_the_forge_answers() {
    let up = Arc::new(AtomicUsize::new(1));
    let answers = up.clone();
    let script = Script::new(move |asked: &RecordedRequest| match asked.path.as_str() {
        "/api/v1/version" if answers.load(Ordering::SeqCst) == 1 => json_answer(200, version().1),
        "/api/v1/admin/actions/runners/1" => json_answer(404, not_found().1),
        "/api/v1/admin/actions/runners/2" => json_answer(200, runner(2, ATTEMPT_ID)),
        "/api/v1/admin/actions/runners/3" => json_answer(200, runner(4, ATTEMPT_ID)),
        "/api/v1/admin/actions/runners/5" => json_answer(200, runner(5, "somebody's")),
        "/api/v1/admin/actions/runners/6" => json_answer(403, json!({ "message": "no" })),
        _ => html(404),
    })
    .await;
    let client = script.client();
    let ask = async |id| match client.registration(id, 0).await {
        Ok(row) => Ok(row.map(|row| row.attempt_id.to_string())),
        Err(error) => Err(error.kind),
    };
    assert_eq!(ask(1).await, Ok(None));
    assert_eq!(ask(2).await, Ok(Some(ATTEMPT_ID.to_owned())));
    assert_eq!(ask(3).await, Err(ErrorKind::Unavailable));
    assert_eq!(ask(5).await, Ok(None), "the registration with that ID is foreign");
    assert_eq!(ask(6).await, Err(ErrorKind::Denied));
    assert_eq!(ask(9).await, Err(ErrorKind::Unavailable), "an HTML page");
    up.store(0, Ordering::SeqCst);
    assert_eq!(ask(1).await, Err(ErrorKind::Unavailable));
}

#[tokio::test]
async fn retiring_a_missing_registration_succeeds() {
    let script = Script::new(|asked: &RecordedRequest| match asked.path.rsplit('/').next() {
        Some("1") => json_answer(204, Value::Null),
        Some("2") => json_answer(404, not_found().1),
        Some("3") => html(404),
        Some("4") => json_answer(403, json!({ "message": "no" })),
        _ => json_answer(500, json!({ "message": "no" })),
    })
    .await;
    let client = script.client();
    let retire = async |id| client.retire(id, 0).await.map_err(|error| error.kind);
    assert_eq!(retire(1).await, Ok(()));
    assert_eq!(retire(2).await, Ok(()));
    assert_eq!(retire(3).await, Err(ErrorKind::Unavailable));
    assert_eq!(retire(4).await, Err(ErrorKind::Denied));
    assert_eq!(retire(5).await, Err(ErrorKind::Unavailable));
    let asked = script.asked();
    assert!(asked.iter().all(|a| a.headers["authorization"] == format!("token {TOKEN}")));
    assert!(asked.iter().all(|a| a.headers["user-agent"].as_bytes().starts_with(b"tinqs-ci/")));
}
