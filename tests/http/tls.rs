//! TLS at the addresses: a real connection on loopback, certificates that change, unfinished
//! handshakes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::tls::TlsInfo;
use reqwest::{Client, Response, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tinqs_ci::server::{Intervals, Listeners, Parts, Role, serve};
use tinqs_ci::settings::{Env, Source};
use tinqs_ci_net::{Trust, http_client_of};
use tinqs_ci_testing::certificates::{Authority, Issued};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::asking::{SECRET, TOKEN, queued, sign};
use crate::doors::{Log, connect};
use crate::sign_in::{FORM, OWN};
use crate::world::world;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "ci.example.com";

/// A server with TLS, whose configuration is a file.
struct Secured {
    authority: Authority,
    folder: tempfile::TempDir,
    webhooks: SocketAddr,
    api: SocketAddr,
    metrics: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Secured {
    async fn start() -> (Self, Issued) {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let issued = authority.issue(&[NAME]);
        let [cert, key] = issued.write(folder.path());
        let any = "\"127.0.0.1:0\"";
        let text = format!(
            "store = \"memory:\"\ncompute = \"process:unused\"\n\
             [forge]\nurl = \"http://127.0.0.1:1\"\ntoken = \"forge-token\"\n\
             webhook_secret = \"{SECRET}\"\n\
             [server]\nwebhooks = {any}\napi = {any}\nmetrics = {any}\nhosts = [\"{NAME}\"]\n\
             [server.tls]\ncert = \"{}\"\nkey = \"{}\"\n\
             [[server.token]]\nname = \"ops\"\nsecret = \"{TOKEN}\"\nmay = \"operate\"\n\
             [[class]]\nname = \"linux\"\nlabels = [\"linux\"]\n",
            cert.display(),
            key.display(),
        );
        let file = folder.path().join("ci.toml");
        std::fs::write(&file, text).expect("written");
        let source = Source { named: Some(file), env: Env::new() };
        let loaded = source.load().expect("valid");
        let listeners = Listeners::bind(&loaded.settings.server).await.expect("three ports");
        let metrics = listeners.metrics.as_ref().expect("configured");
        let at = |listener: &tokio::net::TcpListener| listener.local_addr().expect("bound");
        let (webhooks, api, metrics) = (at(&listeners.webhooks), at(&listeners.api), at(metrics));
        let grace = Duration::from_millis(100);
        let intervals = Intervals { grace, ..Intervals::of(&loaded.settings) };
        let parts = Parts::over(loaded.settings, world().ports(), "replica-1");
        let parts = parts.reloadable(source, loaded.secret_sources, "replica-1");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(async move {
            let served = serve(parts, listeners, intervals, Role::All, shutdown).await;
            served.expect("it ends well");
        });
        (Self { authority, folder, webhooks, api, metrics, stop, serving }, issued)
    }

    /// Returns a client that believes the authority, and calls from this address.
    fn client(&self, from: Ipv4Addr) -> reqwest::ClientBuilder {
        let trust = Trust::also(self.authority.pem().as_bytes()).expect("a certificate");
        let client = http_client_of(&trust).expect("usable").no_proxy().timeout(PATIENCE);
        client
            .local_address(IpAddr::V4(from))
            .resolve(NAME, self.api)
            .redirect(reqwest::redirect::Policy::none())
            .tls_info(true)
    }

    fn new_client(&self) -> Client {
        self.client(Ipv4Addr::LOCALHOST).build().expect("a client")
    }

    async fn reload(&self) -> (StatusCode, String) {
        let url = url(self.api, "/v1/reload");
        let sent = self.new_client().post(url).bearer_auth(TOKEN).send().await.expect("answered");
        (sent.status(), sent.text().await.expect("a text"))
    }

    async fn end(self) {
        self.stop.send(()).expect("it serves");
        self.serving.await.expect("no panic");
    }
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("https://{NAME}:{}{path}", address.port())
}

/// Returns the certificate of the connection, as PEM text would hold it.
fn certificate(answer: &Response) -> Vec<u8> {
    let info = answer.extensions().get::<TlsInfo>().expect("TLS");
    info.peer_certificate().expect("a certificate").to_vec()
}

async fn served(client: &Client, address: SocketAddr) -> Vec<u8> {
    let answer = client.get(url(address, "/healthz")).send().await.expect("answered");
    assert_eq!(answer.status(), StatusCode::OK);
    let certificate = certificate(&answer);
    // The connection is free again.
    answer.bytes().await.expect("a body");
    certificate
}

async fn deliver(client: &Client, address: SocketAddr, job: i64) -> Option<StatusCode> {
    let body = queued(job, "x");
    let request = client
        .post(url(address, "/webhook"))
        .header("content-type", "application/json")
        .header("x-gitea-event", "workflow_job")
        .header("x-gitea-signature", sign(SECRET, &body))
        .body(body);
    Some(request.send().await.ok()?.status())
}

#[tokio::test]
async fn each_address_speaks_tls_and_nothing_else() {
    let (log, _recorded) = Log::recorded();
    let (server, issued) = Secured::start().await;
    let client = server.new_client();
    assert_eq!(deliver(&client, server.webhooks, 7).await, Some(StatusCode::ACCEPTED));
    let mut texts = Vec::new();
    for (address, path) in [
        (server.webhooks, "/readyz"),
        (server.api, "/v1/status"),
        (server.api, "/v1/classes"),
        (server.metrics, "/metrics"),
    ] {
        let answer = client.get(url(address, path)).bearer_auth(TOKEN).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.version(), reqwest::Version::HTTP_11, "{path}");
        texts.push(answer.text().await.expect("a text"));
    }
    let expiry = "tinqs_ci_tls_certificate_expiry_timestamp_seconds ";
    let metric = texts[3].lines().find_map(|line| line.strip_prefix(expiry)).expect("exported");
    assert!(metric.parse::<f64>().expect("a number") > 1e9, "{metric}");
    for address in [server.webhooks, server.api, server.metrics] {
        let mut plain = TcpStream::connect(address).await.expect("it listens");
        plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, plain.read_to_end(&mut answer)).await;
        assert!(closed.is_ok(), "the connection is closed");
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/"), "{answer:?}");
    }
    let refused = http_client_of(&Trust::System).expect("usable").no_proxy();
    let refused = refused.resolve(NAME, server.api).build().expect("a client");
    let error = refused.get(url(server.api, "/healthz")).send().await.expect_err("unknown");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    server.end().await;
    let lines = log.lines();
    let loud = |line: &&serde_json::Value| !["DEBUG", "TRACE"].contains(&level(line).as_str());
    let about: Vec<_> = lines.iter().filter(loud).map(ToString::to_string).collect();
    assert!(!about.iter().any(|line| line.contains("handshake")), "{about:#?}");
    let handshakes = lines.iter().filter(|line| line.to_string().contains("no TLS handshake"));
    assert!(handshakes.count() >= 3, "the log tells at debug: {lines:#?}");
    texts.extend(lines.iter().map(ToString::to_string));
    for secret in issued.secret_lines() {
        assert!(texts.iter().all(|text| !text.contains(secret)), "a line of the key");
    }
}

fn level(line: &serde_json::Value) -> String {
    line["level"].as_str().unwrap_or_default().to_uppercase()
}

#[tokio::test]
async fn a_reload_changes_the_certificate_of_new_connections_only() {
    let (server, _) = Secured::start().await;
    let open = server.new_client();
    let first = served(&open, server.webhooks).await;
    server.authority.issue(&[NAME]).write(server.folder.path());
    assert_eq!(served(&server.new_client(), server.webhooks).await, first, "not read yet");
    let (status, text) = server.reload().await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("\"server.tls\""), "{text}");
    assert_eq!(served(&open, server.webhooks).await, first, "the open connection");
    let second = served(&server.new_client(), server.webhooks).await;
    assert_ne!(second, first);
    let (status, text) = server.reload().await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"changed\":[]"), "{text}");

    // A pair that does not belong together.
    let wrong = server.authority.issue(&[NAME]);
    std::fs::write(server.folder.path().join("key.pem"), &wrong.key).expect("written");
    let (status, text) = server.reload().await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.contains("server.tls.key: the file `"), "{text}");
    assert!(text.contains("has the private key of another certificate"), "{text}");
    assert!(wrong.secret_lines().iter().all(|line| !text.contains(line)), "{text}");
    assert_eq!(served(&server.new_client(), server.webhooks).await, second, "the former one");
    assert_eq!(deliver(&server.new_client(), server.webhooks, 8).await, Some(StatusCode::ACCEPTED));
    server.end().await;
}

#[tokio::test]
async fn a_reload_neither_begins_nor_ends_tls() {
    let (server, _) = Secured::start().await;
    let file = server.folder.path().join("ci.toml");
    let text = std::fs::read_to_string(&file).expect("written before");
    let (before, after) = text.split_once("[server.tls]").expect("configured");
    let (_, after) = after.split_once("[[server.token]]").expect("after it");
    std::fs::write(&file, format!("{before}[[server.token]]{after}")).expect("written");
    let (status, text) = server.reload().await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.contains("\"restart\":[\"server.tls\"]"), "{text}");
    served(&server.new_client(), server.webhooks).await;
    server.end().await;
}

#[tokio::test]
async fn over_tls_the_cookie_is_for_tls_alone() {
    let (server, _) = Secured::start().await;
    let client = server.new_client();
    let made = client.post(url(server.api, "/v1/sign-in")).bearer_auth(TOKEN).send().await;
    let made: serde_json::Value =
        serde_json::from_str(&made.expect("answered").text().await.expect("a text")).expect("JSON");
    let code =
        made["path"].as_str().and_then(|path| path.strip_prefix("/sign-in?")).expect("a code");
    // Without `Origin`, as browsers send some forms: the connection tells.
    let form = client
        .post(url(server.api, "/sign-in"))
        .header(FORM.0, FORM.1)
        .header(OWN.0, OWN.1)
        .body(code.to_owned());
    let client = form.send().await.expect("answered");
    let cookie = client.headers().get("set-cookie").expect("a cookie").to_str().expect("text");
    assert!(cookie.starts_with("__Host-tinqs-ci."), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_handshakes_of_one_client_do_not_keep_another_ones_deliveries_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("raised");
    let (server, _) = Secured::start().await;
    let mut held = Vec::new();
    for _ in 0..600 {
        let greedy = Ipv4Addr::new(127, 0, 0, 2);
        let mut stream = connect(greedy, server.webhooks).await.expect("the kernel accepts it");
        // The begin of a handshake. Beyond its share, the connection is closed already.
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
        held.push(stream);
    }
    // Each delivery with a handshake of its own.
    let forge = server.client(Ipv4Addr::new(127, 0, 0, 3)).pool_max_idle_per_host(0);
    let forge = forge.build().expect("a client");
    let mut accepted = 0;
    for job in 1..=200 {
        let answer = deliver(&forge, server.webhooks, job).await;
        accepted += usize::from(answer == Some(StatusCode::ACCEPTED));
    }
    assert_eq!(accepted, 200, "each delivery of the other client");
    drop(held);
    server.end().await;
}
