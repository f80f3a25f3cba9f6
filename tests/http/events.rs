//! `/v1/events`, as a list and as a stream, and `GET /`.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::Value;
use tinqs_ci::server::Role;
use tinqs_ci_reconciler::model::About;
use tower::ServiceExt as _;

use crate::asking::{TOKEN, TestServer, queued, settings};
use crate::status::{sweep, waiting_job};
use crate::world::add_run;

/// The longest wait for an expected chunk.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn list(asked: &TestServer, query: &str) -> Value {
    let answer = asked.get(&format!("/v1/events{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

pub(crate) fn told(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    items.iter().map(|e| format!("{} {}", text(&e["reason"]), text(&e["object"]["name"]))).collect()
}

/// A stream that is read message by message.
pub(crate) struct Followed {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: BodyDataStream,
    rest: String,
}

impl Followed {
    pub(crate) async fn new(asked: &TestServer, query: &str, last_id: &str) -> Self {
        Self::with(asked, TOKEN, query, last_id).await
    }

    /// Follows with this token.
    pub(crate) async fn with(asked: &TestServer, token: &str, query: &str, last_id: &str) -> Self {
        let mut request = Request::builder()
            .uri(format!("/v1/events{query}"))
            .header("host", "127.0.0.1:8080")
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/event-stream");
        if !last_id.is_empty() {
            request = request.header("last-event-id", last_id);
        }
        let request = request.body(Body::empty()).expect("a request");
        let answer = asked.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = answer.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        Self { status, headers, body: body.into_data_stream(), rest: String::new() }
    }

    /// Returns the next message that is no comment; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.find("\n\n") {
                let message: String = self.rest.drain(..end + 2).collect();
                if message.lines().any(|line| line.starts_with("data")) {
                    return Some(message);
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("in time")?;
            self.rest.push_str(std::str::from_utf8(&chunk.expect("a chunk")).expect("UTF-8"));
        }
    }

    /// Returns the ID and the content of the next event.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let message = self.next().await.expect("an event");
        let field = |name: &str| {
            let line = message.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{message}")).to_owned()
        };
        (field("id: "), serde_json::from_str(&field("data: ")).expect("JSON"))
    }
}

#[tokio::test]
async fn what_happens_to_a_run_is_told_with_type_reason_object_and_by_whom() {
    let asked = TestServer::new(settings());
    asked.deliver("workflow_job", &queued(7, "build\u{1b}[31m")).await;
    asked.deliver("workflow_job", &queued(8, "test")).await;
    asked.ask("DELETE", "/v1/runs/job-7", &[], Body::empty()).await;
    let all = list(&asked, "").await;
    assert_eq!(told(&all), ["Seen job-7", "Seen job-8", "Deleted job-7"]);
    let first = &all["items"][0];
    assert_eq!(
        (&first["type"], &first["object"]["kind"], &first["repo"], &first["by"]),
        (&"Normal".into(), &"run".into(), &"a/b".into(), &Value::Null)
    );
    assert_eq!(
        (&first["count"], &first["message"]),
        (&1.into(), &"a webhook announced the job".into())
    );
    assert!(first["first_at"].is_string() && first["last_at"] == first["first_at"], "{first}");
    assert_eq!(
        (&all["items"][2]["by"], &all["items"][2]["message"]),
        (&"ops".into(), &"ops deleted the run".into())
    );
    let last = all["last_id"].as_str().expect("an ID");
    assert!(last.starts_with("replica-1:"), "{last}");
    assert_eq!(all["items"][2]["id"], last);

    assert_eq!(told(&list(&asked, "?limit=1").await), ["Deleted job-7"]);
    let id = all["items"][0]["id"].as_str().expect("an ID");
    assert_eq!(told(&list(&asked, &format!("?since={id}")).await), ["Seen job-8", "Deleted job-7"]);
    assert_eq!(told(&list(&asked, &format!("?since={last}")).await), [""; 0]);
    assert_eq!(told(&list(&asked, "?since=2126-01-01T00:00:00Z").await), [""; 0]);
    assert_eq!(told(&list(&asked, "?since=2026-01-01T00:00:00Z&run=job-8").await), ["Seen job-8"]);
    let foreign = list(&asked, "?since=replica-9:4").await;
    assert_eq!((foreign["reset"].clone(), told(&foreign).len()), (true.into(), 3));
}

#[tokio::test]
async fn invalid_requests_say_what_is_valid() {
    let asked = TestServer::new(settings());
    for (query, status) in [
        ("?color=red", StatusCode::BAD_REQUEST),
        ("?since=yesterday", StatusCode::BAD_REQUEST),
        ("?limit=0", StatusCode::BAD_REQUEST),
        ("?limit=2001", StatusCode::BAD_REQUEST),
        ("?run=x", StatusCode::NOT_FOUND),
        ("?run=job-99", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(asked.get(&format!("/v1/events{query}")).await.status, status, "{query}");
    }
    let ingest = TestServer::with(settings(), Role::Ingest, true);
    let answer = ingest.get("/v1/events").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("--role reconcile"), "{answer:?}");
}

#[tokio::test]
async fn the_history_of_a_run_from_before_the_start_is_that_of_its_record() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About { job: "build".to_owned(), ..About::default() });
    assert_eq!(told(&list(&asked, "").await), [""; 0]);
    let of_run = list(&asked, "?run=job-1").await;
    assert_eq!(told(&of_run), ["Seen job-1"]);
    assert!(of_run["items"][0]["id"].is_null(), "{of_run}");
    asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!(told(&list(&asked, "?run=job-1").await), ["Seen job-1", "Retried job-1"]);
    assert_eq!(told(&list(&asked, "").await), ["Retried job-1"]);
}

#[tokio::test]
async fn services_and_labels_without_a_class_have_events() {
    let asked = TestServer::new(settings());
    asked.world.state().waiting = Some(vec![waiting_job(1, &["gpu"])]);
    sweep(&asked).await;
    asked.world.state().down.insert("forge");
    sweep(&asked).await;
    sweep(&asked).await;
    asked.world.state().down.clear();
    asked.world.state().waiting = Some(Vec::new());
    sweep(&asked).await;
    let all = list(&asked, "").await;
    let expected = ["NoClass gpu", "ForgeUnreachable forge", "ServiceWorks forge", "Served gpu"];
    assert_eq!(told(&all), expected);
    assert_eq!(
        (&all["items"][1]["type"], &all["items"][2]["type"]),
        (&"Warning".into(), &"Normal".into())
    );
}

#[tokio::test]
async fn a_stream_tells_what_comes_and_continues_after_the_last_event() {
    let asked = TestServer::new(settings());
    asked.deliver("workflow_job", &queued(1, "x")).await;
    let mut stream = Followed::new(&asked, "", "").await;
    assert_eq!(stream.status, StatusCode::OK);
    let header = |name: &str| stream.headers.get(name).map(|value| value.to_str().expect("text"));
    assert_eq!(header("content-type"), Some("text/event-stream"));
    assert_eq!(
        (header("cache-control"), header("x-accel-buffering")),
        (Some("no-store"), Some("no"))
    );
    for id in 2..=3 {
        asked.deliver("workflow_job", &queued(id, "x")).await;
    }
    let (first, event) = stream.event().await;
    assert_eq!((&event["object"]["name"], &event["id"]), (&"job-2".into(), &first.as_str().into()));
    assert_eq!(stream.event().await.1["object"]["name"], "job-3");

    let mut again = Followed::new(&asked, "", &first).await;
    assert_eq!(again.event().await.1["object"]["name"], "job-3");
    let mut of_run = Followed::new(&asked, "?run=job-3", &first).await;
    let mut since = Followed::new(&asked, "?since=2026-01-01T00:00:00Z", "").await;
    asked.ask("POST", "/v1/runs/job-2/retry", &[], Body::empty()).await;
    asked.ask("POST", "/v1/runs/job-3/retry", &[], Body::empty()).await;
    let reasons =
        [of_run.event().await, of_run.event().await].map(|(_, event)| event["reason"].clone());
    assert_eq!(reasons, ["Seen", "Retried"]);
    assert_eq!(since.event().await.1["object"]["name"], "job-1");
}

#[tokio::test]
async fn an_unknown_last_event_gets_a_reset_and_then_what_comes() {
    let asked = TestServer::new(settings());
    let unknown = ["replica-2:5", "replica-1:1", "replica-1:18446744073709551615", "nonsense"];
    for (id, last_id) in (1..).zip(unknown) {
        let mut stream = Followed::new(&asked, "", last_id).await;
        let reset = stream.next().await.expect("a message");
        assert!(reset.contains("event: reset") && reset.contains("id: replica-1:"), "{reset}");
        asked.deliver("workflow_job", &queued(id, "x")).await;
        assert_eq!(stream.event().await.1["object"]["name"], format!("job-{id}"));
    }
}

#[tokio::test]
async fn more_clients_than_allowed_are_refused_until_one_leaves() {
    let mut settings = settings();
    // One token has half of them.
    settings.server.event_clients = 2 * 256;
    let asked = TestServer::new(settings);
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(Followed::new(&asked, "", "").await);
    }
    let refused: Vec<&Followed> =
        clients.iter().filter(|c| c.status == StatusCode::SERVICE_UNAVAILABLE).collect();
    assert_eq!(refused.len(), 300 - 256);
    assert!(refused.iter().all(|client| client.headers.contains_key("retry-after")));
    asked.deliver("workflow_job", &queued(7, "x")).await;
    for client in clients.iter_mut().take(256) {
        assert_eq!(client.event().await.1["object"]["name"], "job-7");
    }
    assert_eq!(asked.get("/v1/events").await.status, StatusCode::OK, "a list needs no place");
    clients.swap_remove(0);
    assert_eq!(Followed::new(&asked, "", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_with_a_marker_and_delays_nobody() {
    let asked = TestServer::new(settings());
    let mut idle = Followed::new(&asked, "", "").await;
    for id in 1..=2_100 {
        let answer = asked.deliver("workflow_job", &queued(id, "x")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{id}");
    }
    let marker = idle.next().await.expect("a message");
    assert!(marker.contains("event: dropped"), "{marker}");
    assert_eq!(idle.next().await, None);
    assert_eq!(told(&list(&asked, "?limit=2000").await).len(), 2_000);
}

#[tokio::test]
async fn a_replica_tells_what_another_one_wrote() {
    let first = TestServer::new(settings());
    let second = first.beside(settings(), "replica-2");
    let ids = |list: &Value| list["last_id"].as_str().expect("an ID").to_owned();
    assert_eq!(told(&list(&second, "").await), [""; 0]);
    let mut stream = Followed::new(&second, "", "").await;
    first.deliver("workflow_job", &queued(7, "x")).await;
    let (id, event) = stream.event().await;
    assert_eq!((&event["reason"], &event["object"]["name"]), (&"Seen".into(), &"job-7".into()));
    assert!(id.starts_with("replica-2:"), "{id}");
    let (one, other) = (list(&first, "").await, list(&second, "").await);
    assert_eq!(
        (told(&one), told(&other)),
        (vec!["Seen job-7".to_owned()], vec!["Seen job-7".to_owned()])
    );
    assert!(ids(&one).starts_with("replica-1:") && ids(&other).starts_with("replica-2:"));
}

#[tokio::test]
async fn the_bare_address_says_what_it_is_for() {
    for (role, says) in [
        (Role::All, "webhooks go to /webhook"),
        (Role::Ingest, "this replica has no API"),
        (Role::Reconcile, "this replica takes no webhooks"),
    ] {
        let asked = TestServer::with(settings(), role, true);
        let answer = asked.get("/").await;
        assert_eq!((answer.status, answer.text.lines().count()), (StatusCode::OK, 1), "{answer:?}");
        assert!(answer.text.contains(says), "{answer:?}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    let ingests = TestServer::new(settings());
    let posted = ingests.ask("POST", "/", &[], Body::from("x")).await;
    assert_eq!(
        posted.status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a webhook as before: {posted:?}"
    );
}
