//! The address of webhooks behind a real nginx, as the documentation shows it: it leads to nothing
//! of the API.
//!
//! nginx comes from `NGINX`, else from `PATH` or `/usr/sbin`. Without one the test prints a loud
//! line and checks nothing; `.ci/run` unpacks the Debian package where it can.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tinqs_ci_test_host::free_port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::asking::{SECRET, Served, TOKEN, queued, settings, sign};
use crate::doors::Log;
use crate::openapi::operations;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The page that shows the configuration.
const DOCUMENTED: &str = include_str!("../../docs/reference/http.md");
/// Requests for the API that a proxy, or a server behind it, may read in another way.
const DISGUISED: [&str; 16] = [
    "GET //v1/runs",
    "GET /./v1/runs",
    "GET /webhook/../v1/runs",
    "GET /webhook/%2e%2e/v1/runs",
    "GET /../v1/runs",
    "GET /%2e%2e/v1/runs",
    "GET /v1%2fruns",
    "GET /v1/runs;x",
    "GET /V1/runs",
    "GET /v1/runs/",
    "GET http://127.0.0.1/v1/runs",
    "POST //v1/sweep",
    "POST /webhook/../v1/sweep",
    "DELETE /webhook/../v1/runs/job-7",
    "GET //metrics",
    "GET /webhook/../openapi.json",
];

/// Returns the program; prints a loud line if there is none.
fn program() -> Option<PathBuf> {
    let given = std::env::var_os("NGINX").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's `PATH` may lack the folder of servers.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut usual = folders.map(|folder| folder.join("nginx"));
    let found = given.or_else(|| usual.find(|file| file.is_file()));
    if found.is_none() {
        println!("!! SKIPPED: webhooks behind nginx: no nginx; set NGINX or install it");
    }
    found
}

/// Returns the documented configuration in front of this address.
fn configuration(listen: SocketAddr, webhooks: SocketAddr) -> String {
    let shown = DOCUMENTED.lines().find(|line| line.starts_with("location / {"));
    let shown = shown.expect("the documentation shows it");
    let location = shown.replace("127.0.0.1:8080", &webhooks.to_string());
    assert_ne!(location, shown, "the default address is in it");
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {kind};"));
    // One process, without a change of its user.
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\nevents {{}}\n\
         http {{\naccess_log off;\n{}\nserver {{\nlisten {listen};\n{location}\n}}\n}}\n",
        folders.join("\n"),
    )
}

/// A running nginx, which ends with the test.
struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Nginx {
    async fn start(program: &Path, webhooks: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = configuration(address, webhooks);
        std::fs::write(folder.path().join("nginx.conf"), text).expect("written");
        let log = File::create(folder.path().join("log")).expect("a file");
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let nginx = Self { child: command.spawn().expect("it starts"), address, folder };
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "it does not listen: {}", nginx.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        nginx
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("its log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a request as it is written here. Returns the status and the whole answer.
async fn ask(to: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> (u16, String) {
    let (headers, length) = (headers.join("\r\n"), body.len());
    let head = format!(
        "{line} HTTP/1.1\r\n{headers}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.expect("it listens");
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let answer = timeout(PATIENCE, exchange).await.expect("an answer in time");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{line}: {answer}")), answer)
}

/// Asserts that no request for the API is answered, with or without a token, for any host.
async fn assert_closed(nginx: &Nginx, server: &Served) {
    let bearer = format!("authorization: Bearer {TOKEN}");
    let bearer = bearer.as_str();
    let hosts = [
        "host: ci.example.com".to_owned(),
        "host: localhost".to_owned(),
        format!("host: {}", server.webhooks),
        format!("host: {}", server.api),
    ];
    let rewritten = ["x-original-url: /v1/runs", "x-rewrite-url: /v1/runs"];
    for host in hosts.iter().map(String::as_str) {
        for headers in [&[host][..], &[host, bearer], &[host, bearer, rewritten[0]]] {
            for (method, path) in operations() {
                let line = format!("{method} {path}");
                let (status, answer) = ask(nginx.address, &line, headers, b"").await;
                assert_eq!(status, 404, "{line} {headers:?}: {answer}");
                assert!(answer.contains("`server.api`"), "{line} {headers:?}: {answer}");
            }
            for line in ["GET /metrics", "GET /openapi.json", "GET /sign-in", "POST /sign-in"] {
                let (status, answer) = ask(nginx.address, line, headers, b"").await;
                assert_eq!(status, 404, "{line} {headers:?}: {answer}");
            }
            for line in DISGUISED {
                let (status, answer) = ask(nginx.address, line, headers, b"").await;
                // nginx itself refuses what leads out of the root.
                assert!([400, 404].contains(&status), "{line} {headers:?}: {answer}");
            }
        }
        let (status, answer) = ask(nginx.address, "GET /", &[host, rewritten[1]], b"").await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer.ends_with("takes the webhooks of tinqs-ci: POST /webhook.\n"), "{answer}");
    }
    // The sweep request of the predecessor.
    let json = "content-type: application/json";
    for line in ["POST /", "POST /webhook", "POST //", "POST /webhook/"] {
        for body in [&b""[..], br#"{"action":"cleanup"}"#] {
            let headers = ["host: localhost", bearer, json];
            let (status, answer) = ask(nginx.address, line, &headers, body).await;
            assert_eq!(status, 404, "{line}: {answer}");
        }
    }
}

#[tokio::test]
async fn nginx_in_front_of_the_address_of_webhooks_leads_to_nothing_of_the_api() {
    let Some(program) = program() else { return };
    let (log, _recorded) = Log::recorded();
    let server = Served::start(settings()).await;
    let nginx = Nginx::start(&program, server.webhooks).await;
    // At the address of the API these requests are answered.
    let bearer = format!("authorization: Bearer {TOKEN}");
    let headers = ["host: localhost", bearer.as_str()];
    let direct = ask(server.api, "GET /v1/runs", &headers, b"").await;
    assert_eq!(direct.0, 200, "{}", direct.1);
    assert_closed(&nginx, &server).await;
    assert_eq!(log.audit(), Vec::<[String; 3]>::new(), "nobody tried a change at the API");
    for line in ["GET /healthz", "GET /readyz"] {
        let (status, answer) = ask(nginx.address, line, &["host: localhost"], b"").await;
        assert_eq!(status, 200, "{line}: {answer}");
    }
    let body = queued(7, "x");
    let signature = format!("x-gitea-signature: {}", sign(SECRET, &body));
    let event = "x-gitea-event: workflow_job";
    let (host, media) = ("host: ci.example.com", "content-type: application/json");
    let headers = [host, media, event, signature.as_str()];
    for line in ["POST /webhook", "POST /"] {
        let (status, answer) = ask(nginx.address, line, &headers, &body).await;
        assert_eq!(status, 202, "{line}: {answer}");
    }
    let unsigned = ask(nginx.address, "POST /webhook", &headers[..3], &body).await;
    assert_eq!(unsigned.0, 401, "{}", unsigned.1);
    server.end().await;
}
