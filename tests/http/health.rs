//! `/healthz`, `/readyz`, `/metrics`.

use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci::server::Role;
use tinqs_ci::settings::Right;
use tinqs_ci_reconciler::model::About;

use crate::asking::{TOKEN, TestServer, queued, settings, token};
use crate::world::add_run;

#[tokio::test]
async fn readiness_depends_on_the_store_only() {
    let asked = TestServer::new(settings());
    assert_eq!(asked.get("/healthz").await.status, StatusCode::OK);
    asked.world.state().down = ["compute", "forge"].into();
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let answer = asked.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let ready = answer.json();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["parts"]["store"]["state"], "ok", "{ready}");
    assert_eq!(ready["parts"]["forge"]["state"], "failing", "{ready}");
    assert_eq!(ready["parts"]["forge"]["error"], "unavailable", "{ready}");
    assert_eq!(ready["parts"]["compute"]["state"], "failing", "{ready}");
    asked.world.state().down.clear();
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let ready = asked.get("/readyz").await.json();
    assert_eq!(ready["parts"]["forge"]["state"], "ok", "{ready}");
    assert!(ready["parts"]["forge"]["age_seconds"].as_i64().is_some_and(|age| age < 60), "{ready}");
}

#[tokio::test]
async fn an_unready_answer_names_the_store() {
    let asked = TestServer::new(settings());
    asked.world.state().down.insert("store");
    let answer = asked.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["ready"], false);
    assert_eq!(body["parts"]["store"]["state"], "failing", "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| detail.contains("store")), "{body}");
    assert_eq!(asked.get("/healthz").await.status, StatusCode::OK, "the process is alive");
}

#[tokio::test]
async fn a_failed_write_ends_the_time_for_which_a_success_is_reused() {
    let asked = TestServer::new(settings());
    assert_eq!(asked.get("/readyz").await.status, StatusCode::OK);
    asked.world.state().down.insert("store");
    assert_eq!(asked.get("/readyz").await.status, StatusCode::OK, "the success is reused");
    let answer = asked.deliver("workflow_job", &queued(7, "x")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..3 {
        assert_eq!(asked.get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    asked.world.state().down.clear();
    assert_eq!(asked.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_scrape_calls_neither_cloud_nor_forge() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    asked.deliver("workflow_job", &queued(7, "x")).await;
    asked.ask("POST", "/webhook", &[("content-type", "application/json")], "no").await;
    let before = (asked.world.calls("list"), asked.world.calls("registrations"));
    let text = asked.get("/metrics").await.text;
    let after = (asked.world.calls("list"), asked.world.calls("registrations"));
    assert_eq!(before, after);
    for line in [
        "tinqs_ci_webhooks_total{event=\"workflow_job\",result=\"accepted\"} 1",
        "tinqs_ci_webhooks_total{event=\"unknown\",result=\"bad_signature\"} 1",
        "tinqs_ci_desired_machines{class=\"linux\"} 2",
        "tinqs_ci_runs{class=\"linux\",stage=\"pending\"} 2",
        "tinqs_ci_api_requests_total{code=\"ok\",operation=\"put\",service=\"store\"} 1",
        "tinqs_ci_reconcile_total{controller=\"ingest\",result=\"acted\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(!text.contains("job-7") && !text.contains("a/b"), "no ID and no repository");
}

#[tokio::test]
async fn metrics_need_the_token_beyond_loopback_only() {
    let mut settings = settings();
    settings.server.tokens = vec![token("monitor", TOKEN, Right::Read)];
    let none = [("authorization", "")];
    let local = TestServer::with(settings.clone(), Role::All, true);
    let answer = local.ask("GET", "/metrics", &none, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let public = TestServer::with(settings, Role::All, false);
    let answer = public.ask("GET", "/metrics", &none, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let bearer = format!("Bearer {TOKEN}");
    let answer = public.ask("GET", "/metrics", &[("authorization", &bearer)], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(public.get("/readyz").await.status, StatusCode::OK);
}
