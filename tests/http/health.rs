//! `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tinqs_ci::settings::Right;
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_reconciler::model::About;
use tinqs_ci_reconciler::ports::{Ports, Queue as _};

use crate::asking::{TOKEN, TestServer, queued, settings, token};
use crate::world::{add_run, name, world};

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
    let began = Instant::now();
    assert_eq!(asked.get("/readyz").await.status, StatusCode::OK);
    asked.world.state().down.insert("store");
    let reused = asked.get("/readyz").await.status == StatusCode::OK;
    assert!(reused || began.elapsed() >= Duration::from_secs(2), "the success is reused");
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

#[tokio::test]
async fn a_scrape_while_the_store_is_down_shows_the_last_snapshot_with_its_age() {
    let asked = TestServer::new(settings());
    let began = Instant::now();
    let before = asked.get("/metrics").await.text;
    let of = |text: &str, series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("{series} is not shown")).to_owned()
    };
    let listed_at = "tinqs_ci_snapshot_timestamp_seconds{source=\"store\"}";
    let desired = "tinqs_ci_desired_machines{class=\"linux\"}";
    let errors = "tinqs_ci_snapshot_errors_total{source=\"store\"}";
    assert_eq!([of(&before, desired), of(&before, errors)], ["0", "0"]);
    add_run(&asked.world, 1, About::default());
    let shown = of(&asked.get("/metrics").await.text, desired);
    assert!(shown == "0" || began.elapsed() >= Duration::from_secs(3), "the listing is fresh");
    // It is not any more.
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let fresh = asked.get("/metrics").await.text;
    assert_eq!(of(&fresh, desired), "1");
    assert_ne!(of(&fresh, listed_at), of(&before, listed_at));
    asked.world.state().down.insert("store");
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    let answer = asked.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(of(&answer.text, desired), "1", "the last snapshot");
    assert_eq!(of(&answer.text, listed_at), of(&fresh, listed_at), "with its age");
    assert_eq!(of(&answer.text, errors), "1");
}

#[tokio::test]
async fn a_scrape_shows_what_the_queue_holds_also_while_the_listing_is_fresh() {
    let world = world();
    let queue = Arc::new(MemoryQueue::new());
    let with_queue = Ports { queue: queue.clone(), ..world.ports() };
    let parts = Parts::over(settings(), with_queue, "replica-1");
    let address = Some(([127, 0, 0, 1], 8081).into());
    let poll_signal = Arc::new(PollSignal::default());
    let app = App::new(&parts, poll_signal.clone(), Role::All, address);
    let router = everything(&app, Deadlines::default());
    let server = TestServer { world, router, poll_signal };
    let now = parts.telemetry.now();
    parts.controller.ports().store.open(now).await.expect("the store is there");
    queue.wake(&name(7)).await.expect("there is room");
    let text = server.get("/metrics").await.text;
    let of = |series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.unwrap_or_else(|| panic!("{series} is not shown")).to_owned()
    };
    assert_eq!(of("tinqs_ci_queue_messages{queue=\"events\",state=\"visible\"}"), "1");
    assert_eq!(of("tinqs_ci_queue_messages{queue=\"dlq\",state=\"visible\"}"), "0");
    let oldest = "tinqs_ci_queue_oldest_message_timestamp_seconds";
    assert_ne!(of(&format!("{oldest}{{queue=\"events\"}}")), "0");
    assert_eq!(of(&format!("{oldest}{{queue=\"dlq\"}}")), "0");
}
