//! `GET /v1/backup`.

use std::io::Cursor;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci::api::backup::{BackupReader, Flaw};
use tinqs_ci::server::http::Deadlines;
use tinqs_ci::server::{Parts, Role};
use tinqs_ci_reconciler::model::{About, Phase};
use tinqs_ci_reconciler::ports::{
    Archive, ErrorKind, PortError, Snapshot, SnapshotPart, StoreItem,
};
use tinqs_ci_testing::make;

use crate::asking::{TestServer, settings};
use crate::world::{CANARY, add_run, world};

fn read(text: &str) -> Result<Vec<StoreItem>, Flaw> {
    let mut reader = BackupReader::open(Cursor::new(text.as_bytes()))?;
    assert_eq!(reader.header().installation, "test");
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok(items)
}

/// Adds a run with an attempt whose credentials are in no answer.
fn add_attempt(server: &TestServer) {
    let mut run = make::run(8, "o/r");
    let mut attempt = make::attempt(&run.attempt_id(1), "linux", 1, make::at(9_000));
    attempt.boot.git_token = Some(tinqs_ci_reconciler::model::Secret::new(CANARY));
    (run.status.attempt, run.status.phase) = (Some(attempt), Phase::Starting);
    server.world.state().runs.insert(run.name.clone(), run);
}

#[tokio::test]
async fn a_backup_has_everything_but_the_credentials() {
    let server = TestServer::new(settings());
    add_run(&server.world, 7, About::default());
    add_attempt(&server);
    // `ask` checks that no credential is in it.
    let answer = server.get("/v1/backup").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let items = read(&answer.text).expect("a whole backup");
    let runs = items.iter().filter(|item| matches!(item, StoreItem::Run(_))).count();
    assert_eq!(runs, server.world.state().runs.len());
    assert!(!answer.text.contains("SECRET"), "{}", answer.text);

    let answer = server.ask_unchecked("GET", "/v1/backup?secrets=true", &[], Body::empty()).await;
    assert!(answer.text.contains(CANARY) && answer.text.contains("runner-SECRET"));
    let items = read(&answer.text).expect("a whole backup");
    let kept = server.world.state().runs.get(&make::name(8)).cloned().expect("there");
    assert!(items.contains(&StoreItem::Run(Box::new(kept))), "{items:?}");
}

#[tokio::test]
async fn a_query_that_is_not_known_is_refused() {
    let server = TestServer::new(settings());
    for query in ["secrets=yes", "secret=true", "limit=1"] {
        let answer = server.get(&format!("/v1/backup?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains("`secrets`"), "{answer:?}");
    }
    assert_eq!(server.world.calls("snapshot"), 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_an_error_of_the_request() {
    let server = TestServer::new(settings());
    server.world.fail_next("snapshot", ErrorKind::Unavailable);
    let answer = server.get("/v1/backup").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
}

#[tokio::test]
async fn a_store_that_ends_with_its_server_has_no_backup() {
    let world = world();
    let parts = Parts::over(settings(), world.ports(), "replica-1");
    let server = TestServer::of(world, &parts, Role::All, true, Deadlines::default());
    let answer = server.get("/v1/backup").await;
    assert_eq!(answer.status, StatusCode::NOT_IMPLEMENTED, "{answer:?}");
}

/// A store that fails after its first part.
struct Breaking;

#[async_trait]
impl Snapshot for Breaking {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError> {
        Err(PortError::new("store", "snapshot", ErrorKind::Unavailable, "the disk is gone"))
    }
}

struct Beginning(Option<Breaking>);

#[async_trait]
impl Snapshot for Beginning {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError> {
        if let Some(breaking) = &mut self.0 {
            return breaking.next().await;
        }
        self.0 = Some(Breaking);
        let items = vec![StoreItem::Run(Box::new(make::run(1, "o/r")))];
        Ok(Some(SnapshotPart { items, unreadable: 0 }))
    }
}

#[async_trait]
impl Archive for Breaking {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, PortError> {
        Ok(Box::new(Beginning(None)))
    }
    async fn is_empty(&self) -> Result<bool, PortError> {
        Ok(false)
    }
    async fn insert(&self, _items: Vec<StoreItem>) -> Result<(), PortError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_backup_that_breaks_off_has_no_end() {
    use futures_util::StreamExt as _;
    use tower::ServiceExt as _;

    let world = world();
    let parts = Parts::over(settings(), world.ports(), "replica-1");
    let parts = Parts { archive: Some(Arc::new(Breaking)), ..parts };
    let server = TestServer::of(world, &parts, Role::All, true, Deadlines::default());
    let request = axum::http::Request::get("/v1/backup").header("host", "127.0.0.1:8080");
    let token = format!("Bearer {}", crate::asking::TOKEN);
    let request = request.header("authorization", token).body(Body::empty()).expect("a request");
    let answer = server.router.clone().oneshot(request).await.expect("infallible");
    assert_eq!(answer.status(), StatusCode::OK, "it has begun");
    let mut body = answer.into_body().into_data_stream();
    let first = body.next().await.expect("a part").expect("lines");
    let text = String::from_utf8(first.to_vec()).expect("text");
    assert!(matches!(read(&text), Err(Flaw::Cut { line: 2 })), "{text}");
    body.next().await.expect("a part").expect_err("the connection breaks");
}
