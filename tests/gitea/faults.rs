//! Everything except a complete response of the forge is `Unavailable`, and no error has a secret.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;
use serde_json::json;
use tinqs_ci_gitea::Config;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_reconciler::model::{JobRef, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _, PortError};
use tinqs_ci_test_host::free_port;

use crate::script::{
    FixedClock, JOB_REPO, RUNNER_TOKEN, RecordedRequest, Says, Script, TOKEN, client, client_with,
    hanging_up, html, json_answer, settings, version, with_runner_token,
};

/// Makes every call, including `register` with a configured token. Returns the errors.
async fn everything(client: &Client) -> Vec<PortError> {
    let job = JobRef { repo: "a/b".into(), repo_id: 3, job_id: 7 };
    let attempt_id = "tq-job-7-0123abcd-1".parse().expect("an attempt ID");
    let errors = [
        client.waiting().await.err(),
        client.job(&job).await.err(),
        client.registrations(0).await.err(),
        client.registration(5, 0).await.err(),
        client.register(&attempt_id, JOB_REPO, &["linux".to_owned()]).await.err(),
        client.retire(5, 0).await.err(),
        client.version().await.err(),
        client.whoami().await.err(),
        client.hooks().await.err(),
        client.server_time().await.err(),
        client.rights().await.err(),
        client.registration_token().await.err(),
        client
            .create_hook("http://ci/webhook", &Secret::new("hook-secret"), &["workflow_job"])
            .await
            .err(),
    ];
    errors.into_iter().flatten().collect()
}

const CALLS: usize = 13;

fn chain(error: &PortError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, " {inner} {inner:?}");
        source = inner.source();
    }
    text
}

fn check_all(errors: &[PortError], kind: ErrorKind, what: &str) {
    assert_eq!(errors.len(), CALLS, "{what}: {errors:#?}");
    for error in errors {
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert_eq!(error.port, "forge");
        let text = chain(error);
        for secret in [TOKEN, RUNNER_TOKEN, "hook-secret"] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn html_pages_and_wrong_responses_are_unavailable() {
    let text = |status: u16, text: &'static str| -> Response {
        json_answer(status, json!(null)).map(|_| text.into())
    };
    let cases: [(&str, Says); 6] = [
        ("502 page", || html(502)),
        ("login page with 200", || html(200)),
        ("403 page", || html(403)),
        ("page without its type", || (axum::http::StatusCode::OK, " <html>").into_response()),
        ("500 by the forge", || json_answer(500, json!({ "message": "boom" }))),
        ("503 by the forge", || json_answer(503, json!({ "message": "busy" }))),
    ];
    for (what, answer) in cases {
        let script = Script::new(move |_: &RecordedRequest| answer()).await;
        let client = client(&with_runner_token(&script.url));
        check_all(&everything(&client).await, ErrorKind::Unavailable, what);
    }
    // Successful statuses with wrong bodies; removals have no body.
    for body in
        ["", "null", "[1]", "[null]", "{}", "{\"jobs\":", "\"ok\"", "{\"message\":\"hello\"}"]
    {
        let script = Script::new(move |_: &RecordedRequest| text(200, body)).await;
        let client = client(&with_runner_token(&script.url));
        assert_eq!(client.retire(5, 0).await.map_err(|error| error.kind), Ok(()));
        let errors = everything(&client).await;
        assert_eq!(errors.len(), CALLS - 1, "{body}: {errors:#?}");
        // JSON of another shape is permanent; a truncated body or a possible effect is worth a
        // retry.
        let is_json = serde_json::from_str::<serde_json::Value>(body).is_ok();
        for error in errors {
            let reads = error.message.starts_with("GET ");
            let invalid = is_json && reads && error.message.contains("not what Gitea sends");
            let kind = if invalid { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            assert_eq!(error.kind, kind, "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn a_short_credential_is_not_removed_from_words() {
    let words = "main is not mainly a domain";
    let script = Script::new(move |_: &RecordedRequest| (500, json!({ "message": words }))).await;
    let said = async |token: &str| {
        let token = Some(Secret::new(token));
        let client = client(&Config { token, ..settings(&script.url) });
        client.whoami().await.expect_err("it fails").message
    };
    assert!(said("main").await.contains(words));
    // Seven characters are kept, eight are replaced.
    assert!(said("not mai").await.contains(words));
    let message = said("not main").await;
    assert!(message.contains("main is [secret]ly a domain"), "{message}");
}

#[tokio::test]
async fn too_many_requests_are_throttled() {
    let script = Script::new(|_: &RecordedRequest| (429, json!({ "message": "slower" }))).await;
    let client = client(&with_runner_token(&script.url));
    check_all(&everything(&client).await, ErrorKind::Throttled, "429");
}

#[tokio::test]
async fn an_echoed_credential_is_not_shown() {
    let script = Script::new(|asked: &RecordedRequest| {
        let authorization = asked.headers.get("authorization").map(|v| format!("{v:?}"));
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let echo = format!("{authorization:?}\u{1b}[31m\u{202e}\n{body} {TOKEN} {RUNNER_TOKEN}");
        (500, json!({ "code": "unknown", "message": echo }))
    })
    .await;
    let client = client(&with_runner_token(&script.url));
    let errors = everything(&client).await;
    assert_eq!(errors.len(), CALLS);
    for error in errors {
        let text = chain(&error);
        for secret in [TOKEN, RUNNER_TOKEN, "hook-secret"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(!error.message.contains(['\n', '\u{1b}', '\u{202e}']), "{}", error.message);
        assert!(error.message.len() < 800, "{}", error.message);
    }
}

#[tokio::test]
async fn truncated_responses_are_unavailable() {
    let cases: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"jobs\":[]",
        b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{}",
        b"HTTP/1.1 204 No",
        b"nonsense\r\n\r\n",
    ];
    for answer in cases {
        let (url, serving) = hanging_up(std::iter::repeat(answer)).await;
        let client = client(&with_runner_token(&url));
        let what = String::from_utf8_lossy(answer).into_owned();
        check_all(&everything(&client).await, ErrorKind::Unavailable, &what);
        serving.abort();
    }
}

#[tokio::test]
async fn an_unreachable_forge_is_unavailable() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let client = client(&with_runner_token(&url));
    let error = client.version().await.expect_err("nobody there");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains(&url) && error.message.contains("forge.url"), "{error}");
    assert!(client.last_ok().is_none());
    assert!(client.contact().last_error.is_some());
}

#[tokio::test]
async fn a_silent_forge_is_unavailable_after_the_time_limit() {
    let script = Script::new(|_: &RecordedRequest| None::<Response>).await;
    let forge = settings(&script.url);
    let client = client_with(&forge, Duration::from_millis(300), FixedClock::new());
    let began = std::time::Instant::now();
    let error = client.waiting().await.expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("no answer within 0.3 s"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_endless_response_is_aborted() {
    let script = Script::new(|_: &RecordedRequest| {
        let body = vec![b' '; 33 * 1024 * 1024];
        (axum::http::StatusCode::OK, [("content-type", "application/json")], body).into_response()
    })
    .await;
    let error = script.client().version().await.expect_err("too long");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("32 MiB"), "{error}");
}

#[tokio::test]
async fn only_responses_of_the_forge_count_as_contact() {
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let answers = good.clone();
    let script = Script::new(move |_: &RecordedRequest| {
        if answers.load(std::sync::atomic::Ordering::SeqCst) {
            json_answer(200, version().1)
        } else {
            html(200)
        }
    })
    .await;
    let clock = FixedClock::new();
    let client = client_with(&settings(&script.url), Duration::from_secs(10), clock.clone());
    assert_eq!(client.last_ok(), None);
    client.version().await.expect("answers");
    let first = client.last_ok().expect("answered");
    clock.advance(SignedDuration::from_secs(5));
    good.store(false, std::sync::atomic::Ordering::SeqCst);
    client.version().await.expect_err("a login page");
    assert_eq!(client.last_ok(), Some(first));
    let (at, why) = client.contact().last_error.expect("failed");
    assert_eq!(at.duration_since(first), SignedDuration::from_secs(5));
    assert!(why.contains("HTML page"), "{why}");
}
