//! Sends requests to the router and checks the invariants of every response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hmac::{Hmac, KeyInit, Mac};
use jiff::SignedDuration;
use serde_json::Value;
use sha2::Sha256;
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Intervals, Listeners, Parts, PollSignal, Role, serve};
use tinqs_ci::settings::{
    ComputeUrl, LaunchRate, ProcessUser, QueueUrl, Right, Server as ServerSettings, Settings,
    StoreUrl, Token,
};
use tinqs_ci_gitea::{Config, Demand, RegisterIn, Scope};
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_testing::TestWorld;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use crate::openapi;
use crate::world::{CANARY, class, world};

pub(crate) const SECRET: &str = "hook-canary-77aa";
pub(crate) const TOKEN: &str = "api-canary-88bb-0123";
const FORGE_TOKEN: &str = "forge-canary-99cc";

/// Returns a token of the API.
pub(crate) fn token(name: &str, secret: &str, may: Right) -> Token {
    Token { name: name.to_owned(), secret: Secret::new(secret), may }
}

/// Returns settings with every secret set.
pub(crate) fn settings() -> Settings {
    Settings {
        installation: "test".to_owned(),
        forge: Config {
            url: "http://127.0.0.1:1".to_owned(),
            machine_url: None,
            token: Some(Secret::new(FORGE_TOKEN)),
            runner_token: Some(Secret::new(FORGE_TOKEN)),
            webhook_secret: Some(Secret::new(SECRET)),
            git_token: Some(Secret::new(CANARY)),
            demand: Demand::Jobs,
            scope: Scope::All,
            register_in: RegisterIn::Scope,
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
        },
        store: StoreUrl::Memory,
        queue: QueueUrl::Memory,
        compute: ComputeUrl::Process("unused".into()),
        process: ProcessUser::default(),
        launches: LaunchRate::default(),
        server: ServerSettings {
            webhooks: SocketAddr::from(([127, 0, 0, 1], 0)),
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: None,
            tls: None,
            hosts: Vec::new(),
            event_clients: 256,
            tokens: vec![token("ops", TOKEN, Right::Operate)],
            own_token: None,
            webhook_secrets: Vec::new(),
            log: None,
            emf: false,
        },
        prices: std::collections::BTreeMap::new(),
        classes: vec![class()],
    }
}

/// A server without a socket.
pub(crate) struct TestServer {
    pub(crate) world: Arc<TestWorld>,
    pub(crate) router: Router,
    pub(crate) poll_signal: Arc<PollSignal>,
}

/// A server at real addresses.
pub(crate) struct Served {
    pub(crate) webhooks: SocketAddr,
    pub(crate) api: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start(settings: Settings) -> Self {
        let listeners = Listeners::bind(&settings.server).await.expect("two ports");
        let webhooks = listeners.webhooks.local_addr().expect("bound");
        let api = listeners.api.local_addr().expect("bound");
        let parts = Parts::over(settings.clone(), world().ports(), "replica-1");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let grace = Duration::from_millis(100);
        let intervals = Intervals { grace, ..Intervals::of(&settings) };
        let serving = tokio::spawn(async move {
            let served = serve(parts, listeners, intervals, Role::All, shutdown).await;
            served.expect("it ends well");
        });
        Self { webhooks, api, stop, serving }
    }

    pub(crate) async fn end(self) {
        self.stop.send(()).expect("it serves");
        self.serving.await.expect("no panic");
    }
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

impl TestServer {
    pub(crate) fn new(settings: Settings) -> Self {
        Self::with(settings, Role::All, true)
    }

    pub(crate) fn with(settings: Settings, role: Role, loopback: bool) -> Self {
        Self::over(world(), settings, role, loopback, Deadlines::default())
    }

    pub(crate) fn with_deadlines(deadlines: Deadlines) -> Self {
        Self::over(world(), settings(), Role::All, true, deadlines)
    }

    /// Returns another replica over the same store.
    pub(crate) fn beside(&self, settings: Settings, replica: &str) -> Self {
        let parts = Parts::over(settings, self.world.ports(), replica);
        Self::of(self.world.clone(), &parts, Role::All, true, Deadlines::default())
    }

    pub(crate) fn over(
        world: Arc<TestWorld>,
        settings: Settings,
        role: Role,
        loopback: bool,
        deadlines: Deadlines,
    ) -> Self {
        let parts = Parts::over(settings, world.ports(), "replica-1");
        let parts = Parts { archive: Some(world.clone()), ..parts };
        Self::of(world, &parts, role, loopback, deadlines)
    }

    /// Returns a server of these parts.
    pub(crate) fn of(
        world: Arc<TestWorld>,
        parts: &Parts,
        role: Role,
        loopback: bool,
        deadlines: Deadlines,
    ) -> Self {
        let poll_signal = Arc::new(PollSignal::default());
        let ip = if loopback { [127, 0, 0, 1] } else { [0, 0, 0, 0] };
        let app = App::new(parts, poll_signal.clone(), role, Some((ip, 8081).into()));
        Self { world, router: everything(&app, deadlines), poll_signal }
    }

    /// Returns a Lambda function: AWS gives it its address, and nothing runs between requests.
    pub(crate) fn function(settings: Settings) -> Self {
        let world = world();
        let parts = Parts::over(settings, world.ports(), "replica-1");
        let poll_signal = Arc::new(PollSignal::default());
        let app = App::new(&parts, poll_signal.clone(), Role::All, None);
        Self { world, router: everything(&app, Deadlines::default()), poll_signal }
    }

    /// Sends a request as a local caller with the token does. Given headers replace the defaults,
    /// and empty ones remove them.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let answer = self.ask_unchecked(method, path, headers, body).await;
        check(&answer, &format!("{method} {path}"));
        openapi::check(method, path, &answer);
        answer
    }

    /// The same for a file, which a browser may keep.
    pub(crate) async fn ask_unchecked(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("host", "127.0.0.1:8080");
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            request = request.header("authorization", format!("Bearer {TOKEN}"));
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a request");
        let answer = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, 64 << 20).await.expect("a body");
        let text = String::from_utf8(body.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], Body::empty()).await
    }

    /// Sends a signed JSON delivery.
    pub(crate) async fn deliver(&self, event: &str, body: &[u8]) -> Answer {
        let signature = sign(SECRET, body);
        let headers = [
            ("content-type", "application/json"),
            ("x-gitea-event", event),
            ("x-gitea-signature", signature.as_str()),
        ];
        self.ask("POST", "/webhook", &headers, body.to_vec()).await
    }
}

/// Checks every response: headers, problem documents for errors, no secrets.
fn check(answer: &Answer, what: &str) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    let is_page = answer.header("content-type").starts_with("text/html");
    let failed = answer.status.is_client_error() || answer.status.is_server_error();
    if failed && !is_page {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status.as_u16(), "{what}");
        assert_eq!(problem["type"], "about:blank", "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{what}");
    }
    let headers = format!("{:?}", answer.headers);
    for secret in [CANARY, SECRET, TOKEN, FORGE_TOKEN] {
        assert!(!answer.text.contains(secret) && !headers.contains(secret), "{what}: {secret}");
    }
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Returns a `workflow_job` delivery of a waiting job.
pub(crate) fn queued(id: i64, name: &str) -> Vec<u8> {
    serde_json::json!({
        "action": "queued",
        "workflow_job": {
            "id": id, "run_id": 3, "name": name, "labels": ["linux"], "status": "queued",
            "head_sha": "abc", "head_branch": "main",
            "url": format!("http://127.0.0.1:1/api/v1/repos/a/b/actions/jobs/{id}"),
        },
        "repository": { "id": 1, "full_name": "a/b" },
    })
    .to_string()
    .into_bytes()
}
