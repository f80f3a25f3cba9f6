//! A forge that refuses some calls and answers others.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::Value;
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::asking::{TestServer, settings};
use crate::status::sweep;

async fn attention(asked: &TestServer) -> Vec<Value> {
    let status = asked.get("/v1/status").await.json();
    status["attention"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_forge_that_rejects_every_other_call_is_not_told_as_failing() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    for _ in 0..5 {
        asked.world.fail_next("waiting", ErrorKind::Denied);
        sweep(&asked).await;
        assert_eq!(attention(&asked).await, [""; 0], "it answered the call before");
        sweep(&asked).await;
    }
    let events = asked.get("/v1/events").await.json();
    assert_eq!(events["items"].as_array().map(Vec::len), Some(0), "{events}");
    let answer = asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn one_call_that_is_rejected_again_and_again_is_told_though_others_work() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    for _ in 0..3 {
        asked.world.fail_next("waiting", ErrorKind::Denied);
        sweep(&asked).await;
        assert_eq!(asked.get("/v1/registrations").await.status, StatusCode::OK);
    }
    let told = attention(&asked).await;
    let reasons: Vec<&str> = told.iter().filter_map(|one| one["reason"].as_str()).collect();
    assert_eq!(reasons, ["ForgeDenied"]);
    sweep(&asked).await;
    assert_eq!(attention(&asked).await, [""; 0]);
    let events = asked.get("/v1/events").await.json();
    let items = events["items"].as_array().expect("items");
    let reasons: Vec<&str> = items.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert_eq!(reasons, ["ForgeDenied", "ServiceWorks"]);
}
