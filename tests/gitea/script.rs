//! A scripted server on loopback that records its requests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_gitea::client::{Client, Deadlines};
use tinqs_ci_gitea::{Config, Demand, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{RepoRef, Secret};
use tinqs_ci_reconciler::ports::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(crate) const TOKEN: &str = "api-token-0123456789abcdef";
pub(crate) const RUNNER_TOKEN: &str = "registration-token-0123456789";

/// The repository in which runners are registered.
pub(crate) const JOB_REPO: RepoRef<'static> = RepoRef { id: 2, name: "acme/widget" };

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct RecordedRequest {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl RecordedRequest {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the client sends JSON")
    }

    /// Returns a number from the query.
    pub(crate) fn number(&self, key: &str) -> usize {
        let (_, query) = self.path.split_once('?').expect("a query");
        let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        value.expect("the key").parse().expect("a number")
    }
}

/// The server, which stops on drop.
pub(crate) struct Script {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Script {
    pub(crate) async fn new<F, R>(answer: F) -> Self
    where
        F: Fn(&RecordedRequest) -> R + Clone + Send + Sync + 'static,
        R: IntoAnswer,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let app = Router::new().fallback(move |request: Request| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.expect("a small body");
                let asked = RecordedRequest {
                    method: parts.method,
                    path: parts.uri.to_string(),
                    headers: parts.headers,
                    body,
                };
                log.lock().push(asked.clone());
                match answer(&asked).into_answer() {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            }
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("serves");
        });
        Self { url, asked, serving }
    }

    pub(crate) fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().clone()
    }

    /// Removes and returns the recorded requests as `METHOD path`.
    pub(crate) fn take_paths(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock());
        asked.iter().map(|a| format!("{} {}", a.method, a.path)).collect()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_of(Scope::All)
    }

    pub(crate) fn client_of(&self, scope: Scope) -> Client {
        client(&Config { scope, ..settings(&self.url) })
    }
}

/// Starts a server that reads a request, sends the next of these byte strings and hangs up.
pub(crate) async fn hanging_up<I>(answers: I) -> (String, tokio::task::JoinHandle<()>)
where
    I: IntoIterator<Item = &'static [u8], IntoIter: Send> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let serving = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    (url, serving)
}

/// A scripted response; `None` means that none is ever sent.
pub(crate) trait IntoAnswer {
    fn into_answer(self) -> Option<Response>;
}

impl IntoAnswer for (u16, Value) {
    fn into_answer(self) -> Option<Response> {
        let status = StatusCode::from_u16(self.0).expect("a status");
        Some((status, axum::Json(self.1)).into_response())
    }
}

impl IntoAnswer for Option<Response> {
    fn into_answer(self) -> Option<Response> {
        self
    }
}

impl IntoAnswer for Response {
    fn into_answer(self) -> Option<Response> {
        Some(self)
    }
}

/// A script that ignores the request.
pub(crate) type Says = fn() -> Response;

pub(crate) fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    let page = "<!doctype html><title>Sign in</title>";
    (status, [("content-type", "text/html; charset=utf-8")], page).into_response()
}

pub(crate) fn json_answer(status: u16, value: Value) -> Response {
    (status, value).into_answer().expect("an answer")
}

/// Returns the forge's own 404.
pub(crate) fn not_found() -> (u16, Value) {
    (404, json!({ "message": "The target couldn't be found.", "url": "https://x/swagger" }))
}

pub(crate) fn version() -> (u16, Value) {
    (200, json!({ "version": "1.26.0+dev" }))
}

pub(crate) struct FixedClock(pub(crate) Mutex<Timestamp>);

impl FixedClock {
    pub(crate) fn new() -> Arc<Self> {
        let start = "2026-08-01T10:00:00Z".parse().expect("a time");
        Arc::new(Self(Mutex::new(start)))
    }

    pub(crate) fn advance(&self, by: SignedDuration) {
        *self.0.lock() += by;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

pub(crate) fn settings(url: &str) -> Config {
    Config {
        url: url.to_owned(),
        machine_url: None,
        token: Some(Secret::new(TOKEN)),
        runner_token: None,
        webhook_secret: None,
        git_token: None,
        demand: Demand::Auto,
        scope: Scope::All,
        register_in: RegisterIn::Scope,
        poll_every: SignedDuration::from_secs(10),
        sweep_every: SignedDuration::from_secs(60),
    }
}

pub(crate) fn with_runner_token(url: &str) -> Config {
    Config { runner_token: Some(Secret::new(RUNNER_TOKEN)), ..settings(url) }
}

/// Returns a client with time limits that suit a loaded host.
pub(crate) fn client(forge: &Config) -> Client {
    client_with(forge, Duration::from_secs(10), FixedClock::new())
}

pub(crate) fn client_with(forge: &Config, call: Duration, clock: Arc<dyn Clock>) -> Client {
    let pause = Duration::from_millis(1);
    let deadlines = Deadlines { connect: Duration::from_secs(5), call, pause };
    Client::with(forge, deadlines, clock).expect("a client")
}
