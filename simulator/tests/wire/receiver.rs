//! A receiver of webhooks that checks their signatures.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_simulator::forge::{JobSpec, Line, Push};
use tinqs_ci_simulator::gitea_wire::Hook;

use super::{REPO, Site, until};

pub(crate) const SECRET: &str = "s3cr3t";

/// Received webhooks with valid signatures, in order.
#[derive(Clone, Default)]
pub(crate) struct Received(Arc<Mutex<Vec<Value>>>);

impl Received {
    pub(crate) fn all(&self) -> Vec<Value> {
        self.0.lock().clone()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.all().iter().map(|p| p["action"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// Starts a receiver and returns its URL. A webhook without a valid signature gets 401 and is
/// dropped.
pub(crate) async fn receiver() -> (String, Received) {
    let received = Received::default();
    let router = Router::new().route("/hook", post(take)).with_state(received.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

async fn take(State(received): State<Received>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let payload = if header("content-type") == "application/x-www-form-urlencoded" {
        let uri = format!("/?{text}").parse().unwrap();
        let form = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
        form.0.into_iter().find(|(key, _)| key == "payload").unwrap().1
    } else {
        text
    };
    let mut mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    let good = hex::encode(mac.finalize().into_bytes()) == header("x-gitea-signature")
        && header("x-gitea-event-type") == "workflow_job"
        && header("x-gitea-delivery").len() == 36;
    if !good {
        return StatusCode::UNAUTHORIZED;
    }
    received.0.lock().push(serde_json::from_str(&payload).unwrap());
    StatusCode::ACCEPTED
}

#[tokio::test]
async fn hooks_are_created_by_the_api_and_deliver_json_and_form() {
    let site = Site::new(Line::V1_26);
    let (url, received) = receiver().await;
    site.wire.forge().add_repo(REPO);
    let config = |kind: &str, system: &str| json!({"url": url, "content_type": kind, "secret": SECRET, "is_system_webhook": system});
    let hook = |config: Value, active: bool| json!({"type": "gitea", "active": active, "events": ["workflow_job"], "config": config});
    let (status, made) =
        site.post("/api/v1/admin/hooks", &hook(config("form", "true"), true)).await;
    assert_eq!((status, &made["active"]), (201, &json!(true)));
    assert!(!made.to_string().contains(SECRET));
    let path = format!("/api/v1/repos/{REPO}/hooks");
    assert_eq!(site.post(&path, &hook(config("json", ""), true)).await.0, 201);
    // None of these hooks sends: a template, an inactive hook, and another repository's.
    assert_eq!(site.post("/api/v1/admin/hooks", &hook(config("json", ""), true)).await.0, 201);
    let off = json!({"type": "gitea", "events": ["workflow_job"], "config": config("json", "")});
    assert_eq!(site.post(&path, &off).await.1["active"], false);
    site.wire.forge().add_repo("acme/other");
    let other = "/api/v1/repos/acme/other/hooks";
    assert_eq!(site.post(other, &hook(config("json", ""), true)).await.0, 201);
    let without_url = hook(json!({"content_type": "json"}), true);
    assert_eq!(site.post(&path, &without_url).await.0, 422);

    site.push(&[JobSpec::new("a <b> & \"c\" +%\u{202e}", &["linux"])]);
    until("two deliveries", || (site.wire.counters().sent == 2).then_some(())).await;
    let all = received.all();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0]["workflow_job"]["name"], "a <b> & \"c\" +%\u{202e}");
    let (_, list) = site.get(&format!("/repos/{REPO}/hooks")).await;
    assert_eq!(list.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_test_delivery_is_a_push_that_only_a_hook_with_pushes_sends() {
    let site = Site::new(Line::V1_26);
    let (url, _) = receiver().await;
    site.wire.forge().add_repo(REPO);
    let path = format!("/api/v1/repos/{REPO}/hooks");
    let config = json!({"url": url, "content_type": "json", "secret": SECRET});
    let hook = |events: Value| json!({"type": "gitea", "active": true, "events": events, "config": config});
    let made = async |events: Value| site.post(&path, &hook(events)).await.1["id"].clone();
    let (jobs, pushes) = (made(json!(["workflow_job"])).await, made(json!(["push"])).await);
    let test = async |path: String| site.post(&path, &json!({})).await.0;
    // Without commits, nothing is sent.
    assert_eq!(test(format!("{path}/{pushes}/tests")).await, 204);
    let changes = [("README.md", Some("hello"))];
    let push = Push { git_ref: "refs/heads/main", changes: &changes, message: "begin", runs: &[] };
    site.wire.forge().push_commit(Timestamp::now(), REPO, &push);
    site.wire.forge().take_webhooks();
    assert_eq!(test(format!("{path}/{jobs}/tests")).await, 204);
    assert_eq!(test(format!("{path}/99/tests")).await, 404);
    assert_eq!(test("/api/v1/orgs/acme/hooks/1/tests".to_owned()).await, 404);
    assert_eq!(test(format!("{path}/{pushes}/tests")).await, 204);
    // The receiver refuses what is not a job.
    until("one delivery", || (site.wire.counters().failed == 1).then_some(())).await;
    assert_eq!(site.wire.counters().sent, 0);
}

#[tokio::test]
async fn lost_or_refused_webhooks_are_not_sent_again() {
    let site = Site::new(Line::V1_26);
    let (url, received) = receiver().await;
    site.wire.add_hook(Hook::system(&url, SECRET));
    site.wire.lose_webhooks(1);
    site.wire.lose_webhooks_if(|w| w.action == "completed");
    let jobs = site.push(&[JobSpec::new("a", &[]), JobSpec::new("b", &[])]);
    site.wire.forge().cancel(Timestamp::now(), jobs[0]);
    until("one sent, two lost", || {
        let seen = site.wire.counters();
        ((seen.sent, seen.lost) == (1, 2)).then_some(())
    })
    .await;
    assert_eq!(received.actions(), ["queued"]);
    // A hook with another secret is refused once and not retried.
    site.wire.lose_webhooks_if(|_| false);
    site.wire.add_hook(Hook::system(&url, "other"));
    site.push(&[JobSpec::new("c", &[])]);
    until("one refused webhook", || (site.wire.counters().failed == 1).then_some(())).await;
    until("one accepted webhook", || (site.wire.counters().sent == 2).then_some(())).await;
    assert_eq!(received.actions(), ["queued", "queued"]);
}
