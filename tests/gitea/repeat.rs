//! Transient failures are retried if the call is idempotent and the forge answers now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tinqs_ci_gitea::Config;
use tinqs_ci_reconciler::model::{Job, JobRef, Registrations, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};

use crate::script::{
    JOB_REPO, RUNNER_TOKEN, RecordedRequest, Says, Script, client, hanging_up, html, json_answer,
    settings, version, with_runner_token,
};

const FAILURES: [(&str, Says); 5] = [
    ("502 page", || html(502)),
    ("500 page", || html(500)),
    ("500 by the forge", || json_answer(500, json!({ "message": "database is locked" }))),
    ("503 by the forge", || json_answer(503, json!({ "message": "busy" }))),
    ("504 page", || html(504)),
];

fn job() -> JobRef {
    JobRef { repo: "a/b".into(), repo_id: 3, job_id: 7 }
}

fn good(asked: &RecordedRequest) -> Response {
    let path = asked.path.as_str();
    if path.contains("/actions/jobs/") {
        json_answer(200, json!({ "id": 7, "status": "queued", "labels": ["linux"] }))
    } else if path.contains("/actions/runners?") {
        json_answer(200, json!({ "runners": [], "total_count": 0 }))
    } else if path.ends_with("/registration-token") {
        json_answer(200, json!({ "token": RUNNER_TOKEN }))
    } else if asked.method == "DELETE" {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let (status, body) = version();
        json_answer(status, body)
    }
}

/// Returns a forge whose first responses are this failure.
async fn failing_first(times: usize, failure: Says) -> Script {
    let asked_before = Arc::new(AtomicUsize::new(0));
    Script::new(move |asked: &RecordedRequest| {
        let before = asked_before.fetch_add(1, Ordering::SeqCst);
        if before < times { failure() } else { good(asked) }
    })
    .await
}

#[tokio::test]
async fn an_idempotent_call_survives_two_failures() {
    for (what, failure) in FAILURES {
        let script = failing_first(2, failure).await;
        let seen = script.client().job(&job()).await;
        assert_eq!(seen.expect(what).state, Job::Waiting);
        let script = failing_first(2, failure).await;
        let asked = script.client().registration_token().await;
        assert_eq!(asked.expect(what).expose(), RUNNER_TOKEN);
        let script = failing_first(2, failure).await;
        script.client().retire(5, 0).await.expect(what);
        assert_eq!(script.take_paths(), ["DELETE /api/v1/admin/actions/runners/5"; 3], "{what}");
    }
}

#[tokio::test]
async fn the_third_failure_in_a_row_is_returned() {
    for (what, failure) in FAILURES {
        let script = failing_first(3, failure).await;
        let client = script.client();
        let error = client.job(&job()).await.expect_err(what);
        assert_eq!(error.kind, ErrorKind::Unavailable, "{what}");
        assert_eq!(script.take_paths().len(), 3, "{what}");
        client.job(&job()).await.expect(what);
    }
}

#[tokio::test]
async fn a_creating_call_is_not_retried() {
    for (what, failure) in FAILURES {
        let script = failing_first(1, failure).await;
        let client = client(&with_runner_token(&script.url));
        let attempt_id = "tq-job-7-0123abcd-1".parse().expect("an attempt ID");
        client.register(&attempt_id, JOB_REPO, &["linux".to_owned()]).await.expect_err(what);
        assert_eq!(script.take_paths().len(), 1, "{what}");
        let script = failing_first(1, failure).await;
        let secret = Secret::new("hook-secret");
        let made = script.client().create_hook("http://ci/webhook", &secret, &["push"]).await;
        made.expect_err(what);
        assert_eq!(script.take_paths().len(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_permanent_error_is_not_retried() {
    let answers: [(u16, &str); 5] =
        [(401, "no"), (403, "no"), (422, "no"), (429, "slower"), (501, "never")];
    for (status, message) in answers {
        let script =
            Script::new(move |_: &RecordedRequest| (status, json!({ "message": message }))).await;
        script.client().job(&job()).await.expect_err("a refusal");
        assert_eq!(script.take_paths().len(), 1, "{status}");
    }
}

/// The forge's own 500 for a page means an entry that it cannot show: the entries around it are
/// read, without retries of the page itself.
#[tokio::test]
async fn a_page_that_is_read_in_parts_is_not_retried() {
    let whole = "limit=50&page=1";
    let script = Script::new(move |asked: &RecordedRequest| {
        let broken = asked.path.ends_with(whole);
        if broken { (500, json!({ "message": "no run" })) } else { (200, json!({ "runners": [] })) }
    })
    .await;
    script.client().registrations(0).await.expect_err("a list of nothing but a broken page");
    let paths = script.take_paths();
    assert_eq!(paths.iter().filter(|path| path.ends_with(whole)).count(), 1, "{paths:?}");
    let script = failing_first(2, || html(502)).await;
    let seen = script.client().registrations(0).await.expect("the third try is answered");
    assert_eq!(seen, Registrations::Seen(Vec::new()));
}

/// Breaks the first two connections, before or during a response.
#[tokio::test]
async fn a_broken_connection_is_retried() {
    let cut =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"ver";
    let whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"version\":\"1.27.0\"}";
    for broken in [&b""[..], cut] {
        let (url, serving) = hanging_up([broken, broken, whole]).await;
        client(&settings(&url)).version().await.expect("the third connection holds");
        serving.await.expect("three callers");
    }
}

/// Retries do not triple the calls to a forge that is down.
#[tokio::test]
async fn a_forge_that_is_down_gets_no_retries() {
    let script = Script::new(|_: &RecordedRequest| Some(html(502))).await;
    let client = script.client();
    for _ in 0..20 {
        client.version().await.expect_err("a proxy alone");
    }
    script.take_paths();
    for _ in 0..20 {
        client.version().await.expect_err("a proxy alone");
    }
    assert_eq!(script.take_paths().len(), 20);
}

/// Returns a forge that accepts only this token.
async fn accepting(token: &'static str) -> Script {
    Script::new(move |asked: &RecordedRequest| {
        let sent = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
        let accepted = sent == Some(format!("token {token}").as_str());
        if accepted { good(asked) } else { json_answer(401, json!({ "message": "bad token" })) }
    })
    .await
}

#[tokio::test]
async fn a_rejected_token_is_read_again_and_the_call_sent_again_with_the_new_one() {
    let script = accepting("second-token-0123").await;
    let client = Arc::new(script.client());
    let config = Config { token: Some(Secret::new("second-token-0123")), ..settings(&script.url) };
    let weak = Arc::downgrade(&client);
    client.on_rejected_token(move || {
        let client = weak.upgrade().expect("in use");
        client.configure(&config).expect("a token");
    });
    assert_eq!(client.job(&job()).await.expect("sent again").state, Job::Waiting);
    assert_eq!(script.take_paths().len(), 2);
    assert_eq!(client.job(&job()).await.expect("sent once").state, Job::Waiting);
    assert_eq!(script.take_paths().len(), 1, "the new token is kept");
    client.retire(5, 0).await.expect("a write, too");
}

#[tokio::test]
async fn a_rejected_token_without_a_new_one_is_denied_and_stays() {
    let script = failing_first(1, || json_answer(401, json!({ "message": "bad token" }))).await;
    let client = script.client();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    client.on_rejected_token(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let denied = client.job(&job()).await.expect_err("rejected");
    assert_eq!(denied.kind, ErrorKind::Denied);
    assert!(denied.message.contains("the forge does not accept `forge.token`"), "{denied}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The next call is answered, with the same token.
    assert_eq!(client.job(&job()).await.expect("answered").state, Job::Waiting);
    assert_eq!(script.take_paths().len(), 2);
}
