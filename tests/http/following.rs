//! Clients that follow events over real connections, many at one address, and for as long as they
//! are admitted.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tinqs_ci::settings::{Env, Right, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::asking::{SECRET, Served, TOKEN, TestServer, queued, settings, token};
use crate::doors::{connect, deliver};
use crate::events::Followed;
use crate::world::world;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The addresses of loopback that stand for a proxy, a client that is greedy, and another one.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// Starts a server, with as many open files as this process may have: both ends are in it.
async fn start() -> Served {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("raised");
    Served::start(settings()).await
}

/// Returns the head of a request with the token.
fn head(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {TOKEN}\r\n{more}\r\n")
}

/// Returns the whole answer to a request from this address.
async fn ask(from: Ipv4Addr, to: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = connect(from, to).await.expect("the kernel accepts it");
        stream.write_all(head(path, "connection: close\r\n").as_bytes()).await.expect("written");
        let mut answer = String::new();
        // A connection that is closed without an answer is an empty one.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    timeout(PATIENCE, exchange).await.expect("in time")
}

/// A client, and what it has read.
struct Reader {
    stream: TcpStream,
    read: String,
}

impl Reader {
    /// Reads until this text has come, or until the end. Returns all that was read.
    async fn until(&mut self, text: &str) -> &str {
        let mut part = [0; 4096];
        while !self.read.contains(text) {
            let more = timeout(PATIENCE, self.stream.read(&mut part)).await.expect("in time");
            let more = more.unwrap_or_default();
            if more == 0 {
                break;
            }
            self.read.push_str(&String::from_utf8_lossy(&part[..more]));
        }
        &self.read
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_event_clients_of_one_proxy_leave_its_other_requests_alone() {
    let server = start().await;
    // All have connected before one asks: as after a restart.
    let mut clients = Vec::new();
    for _ in 0..300 {
        let stream = connect(PROXY, server.api).await.expect("the kernel accepts it");
        clients.push(Reader { stream, read: String::new() });
    }
    let follow = head("/v1/events", "accept: text/event-stream\r\n");
    for client in &mut clients {
        client.stream.write_all(follow.as_bytes()).await.expect("written");
    }
    let (mut following, mut refused) = (Vec::new(), 0);
    for mut client in clients {
        let answer = client.until("\r\n\r\n").await;
        if answer.starts_with("HTTP/1.1 200 ") {
            following.push(client);
        } else {
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
            assert!(answer.contains("\r\nretry-after: "), "{answer}");
            refused += 1;
        }
    }
    assert_eq!((following.len(), refused), (128, 300 - 128), "one token has half of 256");

    // With 300 that ask nothing these are 428, and the share of an address is 384.
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(connect(PROXY, server.api).await.expect("the kernel accepts it"));
    }
    for path in ["/healthz", "/v1/status"] {
        for from in [PROXY, OTHER] {
            let answer = ask(from, server.api, path).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path} from {from}: {answer}");
        }
    }
    assert!(deliver(OTHER, server.webhooks, 7).await, "the forge's delivery");
    for client in &mut following {
        let read = client.until("\"job-7\"").await;
        assert!(read.contains("\"job-7\""), "each gets the event: {read}");
    }

    drop(following.pop());
    // The server notices that a client has gone when it writes to it.
    let place = async {
        for job in 8.. {
            assert!(deliver(OTHER, server.webhooks, job).await, "the forge's delivery");
            let stream = connect(PROXY, server.api).await.expect("the kernel accepts it");
            let mut next = Reader { stream, read: String::new() };
            next.stream.write_all(follow.as_bytes()).await.expect("written");
            if next.until("\r\n\r\n").await.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    };
    timeout(PATIENCE, place).await.expect("the place of one that left is free");
    drop(idle);
    server.end().await;
}

#[tokio::test]
async fn one_token_leaves_places_for_clients_of_another() {
    const READS: &str = "reads-canary-66ff-01";
    let mut settings = settings();
    settings.server.event_clients = 8;
    settings.server.tokens.push(token("reads", READS, Right::Read));
    let asked = TestServer::new(settings);
    let mut places = Vec::new();
    for (secret, expected) in [(READS, 4), (TOKEN, 2)] {
        let mut following = Vec::new();
        let refused = loop {
            let next = Followed::with(&asked, secret, "", "").await;
            if next.status != StatusCode::OK {
                break next.status;
            }
            following.push(next);
        };
        assert_eq!((following.len(), refused), (expected, StatusCode::SERVICE_UNAVAILABLE));
        places.push(following);
    }
    // The token that holds more than is left gets no place that another one gives back.
    drop(places.pop());
    for (secret, expected) in [(READS, StatusCode::SERVICE_UNAVAILABLE), (TOKEN, StatusCode::OK)] {
        assert_eq!(Followed::with(&asked, secret, "", "").await.status, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_requests_of_one_address_leave_the_api_to_another() {
    let server = start().await;
    let mut held = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(GREEDY, server.api).await.expect("the kernel accepts it");
        // Beyond its share, the connection is closed already.
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: loc").await;
        held.push(stream);
    }
    for path in ["/healthz", "/v1/status"] {
        let answer = ask(OTHER, server.api, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    let mut reads = JoinSet::new();
    for mut stream in held {
        // Before heads that do not arrive end their connections.
        reads.spawn(async move {
            let end = timeout(Duration::from_secs(3), stream.read(&mut [0; 1])).await;
            end.is_err()
        });
    }
    let open = reads.join_all().await.into_iter().filter(|open| *open).count();
    assert!(open <= 256 + 128, "{open} are more than half of what there is");
    server.end().await;
}

/// The text of a configuration with these tokens.
fn configuration(tokens: &[(&str, &str)]) -> String {
    let token = |(name, secret): &(&str, &str)| {
        format!("[[server.token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nmay = \"operate\"\n")
    };
    let tokens: String = tokens.iter().map(token).collect();
    format!(
        "store = \"memory:\"\ncompute = \"process:unused\"\n\
         [forge]\nurl = \"http://127.0.0.1:1\"\ntoken = \"forge-token\"\n\
         webhook_secret = \"{SECRET}\"\n{tokens}\
         [[class]]\nname = \"linux\"\nlabels = [\"linux\"]\n"
    )
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_tells_nothing_more() {
    const LEAVES: &str = "leaves-canary-55ee-01";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ci.toml");
    let write = |tokens: &[(&str, &str)]| {
        std::fs::write(&file, configuration(tokens)).expect("written");
    };
    write(&[("ops", TOKEN), ("leaves", LEAVES)]);
    let source = Source { named: Some(file.clone()), env: Env::new() };
    let loaded = source.load().expect("valid");
    let world = world();
    let parts = Parts::over(loaded.settings, world.ports(), "replica-1");
    let parts = parts.reloadable(source, loaded.secret_sources, "replica-1");
    let poll_signal = std::sync::Arc::new(PollSignal::default());
    let address = Some(([127, 0, 0, 1], 8081).into());
    let app = App::new(&parts, poll_signal.clone(), Role::All, address);
    let router = everything(&app, Deadlines::default());
    let asked = TestServer { world, router, poll_signal };

    let mut stays = Followed::new(&asked, "", "").await;
    let mut leaves = Followed::with(&asked, LEAVES, "", "").await;
    assert_eq!((stays.status, leaves.status), (StatusCode::OK, StatusCode::OK));
    asked.deliver("workflow_job", &queued(6, "x")).await;
    for stream in [&mut stays, &mut leaves] {
        assert_eq!(stream.event().await.1["object"]["name"], "job-6");
    }
    write(&[("ops", TOKEN)]);
    let reloaded = asked.ask("POST", "/v1/reload", &[], Body::empty()).await;
    assert_eq!(reloaded.status, StatusCode::OK, "{reloaded:?}");
    asked.deliver("workflow_job", &queued(7, "x")).await;
    assert_eq!(leaves.next().await, None, "it ends at once, without the event");
    assert_eq!(stays.event().await.1["object"]["name"], "job-7");
    let again = Followed::with(&asked, LEAVES, "", "").await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
}
