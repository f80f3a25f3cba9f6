//! The addresses of the server: what each serves and to whom, and the shares of its clients.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tinqs_ci::server::http::{App, Doors};
use tinqs_ci::server::{Intervals, Listeners, Parts, PollSignal, Role, serve};
use tinqs_ci::settings::{Right, Settings};
use tinqs_ci::telemetry::lines::{self, Form};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::asking::{SECRET, TestServer, queued, settings, sign, token};
use crate::world::world;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const READS: &str = "reads-canary-66dd";
pub(crate) const NO_TOKEN: [(&str, &str); 1] = [("authorization", "")];

/// Returns one of the doors of a server at this API address.
pub(crate) fn door(
    settings: Settings,
    role: Role,
    api: &str,
    pick: impl Fn(Doors) -> Router,
) -> TestServer {
    let world = world();
    let parts = Parts::over(settings, world.ports(), "replica-1");
    let poll_signal = Arc::new(PollSignal::default());
    let address = api.parse().expect("an address");
    let app = App::new(&parts, poll_signal.clone(), role, Some(address));
    TestServer { world, router: pick(Doors::of(&app)), poll_signal }
}

pub(crate) const LOOPBACK: &str = "127.0.0.1:8081";

#[tokio::test]
async fn the_address_of_webhooks_serves_nothing_else() {
    let webhooks = door(settings(), Role::All, LOOPBACK, |doors| doors.webhooks);
    assert_eq!(
        webhooks.deliver("workflow_job", &queued(7, "x")).await.status,
        StatusCode::ACCEPTED
    );
    for path in ["/healthz", "/readyz", "/"] {
        let answer = webhooks.ask("GET", path, &NO_TOKEN, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(path != "/" || answer.text.contains("POST /webhook"), "{answer:?}");
    }
    for path in ["/v1/runs", "/v1/status", "/metrics", "/nothing"] {
        let answer = webhooks.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("`server.api`"), "{answer:?}");
    }
    let answer = webhooks.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    // The sweep request of the predecessor, with a token that may operate.
    for (path, body) in [("/", ""), ("/webhook", ""), ("/", r#"{"action":"cleanup"}"#)] {
        let answer = webhooks.ask("POST", path, &[], body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path} {body}");
        assert!(answer.text.contains("`POST /v1/sweep` at `server.api`"), "{answer:?}");
    }
    assert_eq!(webhooks.world.calls("list"), 0, "nothing was swept");
}

#[tokio::test]
async fn the_address_of_the_api_takes_no_webhooks_and_always_needs_a_token() {
    for address in [LOOPBACK, "10.0.0.5:8081"] {
        let api = door(settings(), Role::All, address, |doors| doors.api);
        let answer = api.deliver("workflow_job", &queued(7, "x")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
        assert_eq!(api.get("/v1/runs").await.status, StatusCode::OK);
        let answer = api.ask("GET", "/v1/runs", &NO_TOKEN, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{address}");
        let answer = api.ask("GET", "/metrics", &NO_TOKEN, Body::empty()).await;
        let expected = match address {
            LOOPBACK => StatusCode::OK,
            _ => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(answer.status, expected, "{address}");
        assert_eq!(
            api.ask("GET", "/readyz", &NO_TOKEN, Body::empty()).await.status,
            StatusCode::OK
        );
    }
    let api = door(settings(), Role::All, LOOPBACK, |doors| doors.api);
    let front = api.ask("GET", "/", &NO_TOKEN, Body::empty()).await.text;
    assert!(front.contains("API, /v1") && front.contains("`tinqs-ci open`"), "{front}");
    assert!(!front.contains("webhook") && front.lines().count() == 1, "{front}");
    let ingest = door(settings(), Role::Ingest, LOOPBACK, |doors| doors.api);
    assert!(ingest.get("/").await.text.contains("has no API"));
    let answer = ingest.get("/v1/runs").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("role `ingest`"), "{answer:?}");
}

#[tokio::test]
async fn the_address_of_metrics_serves_them_without_a_token() {
    let metrics = door(settings(), Role::All, "10.0.0.5:8081", |doors| doors.metrics);
    let headers = [("authorization", ""), ("host", "prometheus.example"), ("via", "1.1 proxy")];
    let answer = metrics.ask("GET", "/metrics", &headers, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
    for path in ["/v1/runs", "/healthz", "/"] {
        assert_eq!(metrics.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_api_answers_under_its_own_names_only() {
    let mut settings = settings();
    settings.server.hosts = vec!["ci.example.com".to_owned()];
    let api = door(settings, Role::All, LOOPBACK, |doors| doors.api);
    let ask = async |host: &str| api.ask("GET", "/v1/runs", &[("host", host)], Body::empty()).await;
    for host in ["localhost:8081", "127.0.0.1:8081", "ci.example.com"] {
        assert_eq!(ask(host).await.status, StatusCode::OK, "{host}");
    }
    for host in ["rebound.evil.example", "10.0.0.5", ""] {
        let answer = ask(host).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(answer.text.contains("`server.hosts`"), "{answer:?}");
    }
    // Webhooks are signed: a proxy may use any name.
    let webhooks = door(crate::asking::settings(), Role::All, LOOPBACK, |doors| doors.webhooks);
    let answer = webhooks.ask("GET", "/readyz", &[("host", "any.example")], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::OK);
}

/// A log that a test reads.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Records the log of this thread until the guard is dropped.
    pub(crate) fn recorded() -> (Self, DefaultGuard) {
        // `tracing` asks a single dispatcher only in its own thread: a callsite that another test
        // meets first would stay silent.
        static ANOTHER: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&ANOTHER);
        let log = Self::default();
        let out = log.clone();
        let lines = lines::layer(Form::Json, "replica-1", move || out.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
        (log, guard)
    }

    /// Returns its lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().clone()).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Returns who did what with which result, of each line of the audit.
    pub(crate) fn audit(&self) -> Vec<[String; 3]> {
        let lines = self.lines().into_iter();
        let audit = lines.filter(|line| line["target"] == "audit");
        let field = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        audit.map(|line| ["who", "what", "result"].map(|name| field(&line, name))).collect()
    }
}

#[tokio::test]
async fn a_token_that_may_read_changes_nothing_and_each_change_is_audited() {
    let (log, _recorded) = Log::recorded();
    let mut settings = settings();
    settings.server.tokens.push(token("dashboard", READS, Right::Read));
    let server = TestServer::new(settings);
    let reads = format!("Bearer {READS}");
    let reads = [("authorization", reads.as_str())];
    for path in ["/v1/runs", "/v1/status", "/metrics"] {
        let answer = server.ask("GET", path, &reads, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
    }
    assert_eq!(log.audit(), Vec::<[String; 3]>::new(), "reading is no change");
    for (method, path) in [("POST", "/v1/sweep"), ("DELETE", "/v1/runs/job-1"), ("POST", "/")] {
        let answer = server.ask(method, path, &reads, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert!(answer.text.contains("may only read"), "{answer:?}");
    }
    assert_eq!(server.world.calls("list"), 0, "nothing was swept");
    server.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    server.ask("DELETE", "/v1/runs/job-1?now=true", &[], Body::empty()).await;
    server.ask("POST", "/v1/sweep", &NO_TOKEN, Body::empty()).await;
    let expected = [
        ["dashboard", "POST /v1/sweep", "refused"],
        ["dashboard", "DELETE /v1/runs/job-1", "refused"],
        ["dashboard", "POST /", "refused"],
        ["ops", "POST /v1/sweep", "done"],
        ["ops", "DELETE /v1/runs/job-1?now=true", "refused"],
    ];
    assert_eq!(log.audit(), expected.map(|line| line.map(str::to_owned)));
}

/// Connects from this address of loopback.
pub(crate) async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Sends a signed delivery from this address. Returns whether it was accepted.
pub(crate) async fn deliver(from: Ipv4Addr, to: SocketAddr, job: i64) -> bool {
    let body = queued(job, "x");
    let head = format!(
        "POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         x-gitea-event: workflow_job\r\nx-gitea-signature: {}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        sign(SECRET, &body),
        body.len()
    );
    let exchange = async {
        let mut stream = connect(from, to).await.ok()?;
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 202 ").then_some(())
    };
    timeout(PATIENCE, exchange).await.is_ok_and(|accepted| accepted.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_of_one_client_do_not_keep_another_ones_deliveries_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("raised");
    let settings = settings();
    let listeners = Listeners::bind(&settings.server).await.expect("two ports");
    let address = listeners.webhooks.local_addr().expect("bound");
    let parts = Parts::over(settings.clone(), world().ports(), "replica-1");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let grace = Duration::from_millis(100);
    let intervals = Intervals { grace, ..Intervals::of(&settings) };
    let serving = tokio::spawn(serve(parts, listeners, intervals, Role::All, shutdown));
    let (greedy, forge) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let mut held = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(greedy, address).await.expect("the kernel accepts it");
        // Beyond its share, the connection is closed already.
        let _ = stream.write_all(b"POST /webhook HTTP/1.1\r\nhost: loc").await;
        held.push(stream);
    }
    let mut accepted = 0;
    for job in 1..=200 {
        accepted += usize::from(deliver(forge, address, job).await);
    }
    assert_eq!(accepted, 200, "each delivery of the other client");
    drop(held);
    stop.send(()).expect("it serves");
    serving.await.expect("no panic").expect("it ends well");
}
