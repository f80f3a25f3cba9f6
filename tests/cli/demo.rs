//! The `demo` command.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tinqs_ci_net::{Trust, http_client_of};
use tinqs_ci_testing::certificates::Authority;

use crate::{Running, command, said, tinqs};

#[test]
fn the_demo_ends_with_nothing_lost_doubled_or_leaked() {
    let said = tinqs(&["demo"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let last = said.out.lines().last().expect("lines");
    let counted = "jobs 10, machines 11 (one was interrupted), lost 0, doubled 0, leaked 0";
    assert!(last.ends_with(counted), "{}", said.out);
    for told in [
        "the webhook is lost; the next poll",
        "was interrupted by the cloud",
        "is canceled",
        "got no job and powered itself off",
        "was killed; the new process continues from the stored records",
    ] {
        assert!(said.out.contains(told), "not printed: {told}\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colors in a pipe");
}

#[test]
fn a_missing_temporary_directory_is_reported() {
    let mut demo = command(&["demo"], &[("TMPDIR", "/nowhere/at/all")]);
    let said = said(demo.output().expect("it runs"));
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.err.starts_with("error: the demo cannot create a temporary directory"),
        "{}",
        said.err
    );
}

/// A demo that runs until the end of the test.
struct Demo {
    _program: Running,
    /// The lines that it prints. It would end without a reader.
    _told: Box<dyn Iterator<Item = String>>,
    address: String,
}

impl Demo {
    /// Starts a demo, and waits for a line with these words before the address of its API.
    fn start(arguments: &[&str], words: &str) -> Self {
        let mut demo = command(arguments, &[]);
        let mut program =
            Running(demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs"));
        let lines = BufReader::new(program.0.stdout.take().expect("piped")).lines();
        let mut told = lines.map(|line| line.expect("UTF-8"));
        let line = told.by_ref().find(|line| line.contains(words)).expect("it stays");
        let address = line.split(words).nth(1).and_then(|rest| rest.split("http://").nth(1));
        let address = address.and_then(|rest| rest.split([' ', ';']).next());
        let address = address.expect("an address").to_owned();
        Self { _program: program, _told: Box::new(told), address }
    }

    /// Returns the head and the body of an answer.
    fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\naccept: text/html\r\n\
             authorization: Bearer demo-api-token\r\nconnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        (head.to_owned(), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (_, body) = self.get(path);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// Asks until there is an answer, for at most a minute.
    fn until<T>(&self, what: &str, found: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_mins(1);
        while Instant::now() < end {
            if let Some(found) = found(self) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{what} within a minute");
    }
}

#[test]
fn a_demo_that_stays_serves_the_page_at_the_pace_of_the_real_time() {
    let demo = Demo::start(&["demo", "--stay", "--speed", "2"], "keeps running at ");
    let (head, page) = demo.get("/");
    assert!(head.starts_with("HTTP/1.1 200") && page.contains("acme/widget"), "{page}");
    let status = demo.json("/v1/status");
    let shown: Timestamp = status["now"].as_str().expect("a time").parse().expect("a time");
    let apart = Timestamp::now().duration_since(shown).as_secs();
    assert!((-60..=60).contains(&apart), "its time is the real one: {apart} s apart");
    shows_usage(&demo);
    shows_a_spot_loss(&demo);
    demo.until("machines cost nothing", |demo| {
        // The list that a scrape reads.
        demo.get("/v1/machines");
        let (_, metrics) = demo.get("/metrics");
        let costs = metrics.lines().filter(|line| line.starts_with("tinqs_ci_hourly_cost_usd{"));
        let mut costs = costs.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        costs.any(|cost| cost > 0.0).then_some(())
    });
}

/// Jobs, seconds by their use, and a cost of the story.
fn shows_usage(demo: &Demo) {
    let usage = demo.json("/v1/usage?by=class");
    let total = |key: &str| usage["total"][key].as_u64().unwrap_or(0);
    assert!(total("jobs") >= 5, "{usage}");
    for key in ["boot_seconds", "busy_seconds", "cost_micro_usd"] {
        assert!(total(key) > 0, "{key}: {usage}");
    }
    assert_eq!(total("unpriced_seconds"), 0, "{usage}");
    assert_eq!(usage["items"][0]["class"], "linux", "{usage}");
    let (_, page) = demo.get("/usage");
    assert!(page.contains("acme/widget") && page.contains(">$0."), "{page}");
}

/// The machine that the cloud took back, in the records and on the page of its run.
fn shows_a_spot_loss(demo: &Demo) {
    let runs = demo.json("/v1/runs");
    let is_lost = |run: &&Value| {
        let machines = run["status"]["usage"]["machines"].as_array();
        machines.is_some_and(|all| all.iter().any(|machine| machine["ended_by"] == "cloud"))
    };
    let lost = runs["items"].as_array().and_then(|all| all.iter().find(is_lost));
    let lost = lost.unwrap_or_else(|| panic!("no machine was taken back: {runs}"));
    let (_, page) = demo.get(&format!("/runs/{}", lost["name"].as_str().expect("a name")));
    assert!(page.contains("the machine ended before it got a job"), "{page}");
}

#[test]
fn a_demo_with_a_fault_shows_drift() {
    let demo = Demo::start(&["demo", "--fault", "at-limit"], "real tinqs-ci at ");
    let open = demo.until("nothing drifts", |demo| {
        let drift = demo.json("/v1/drift");
        let [open] = &drift["items"].as_array()?[..] else { return None };
        // A run that was not tried yet is not refused yet.
        (open["blocked_by"] == "AtLimit").then(|| open.clone())
    });
    assert_eq!(open["kind"], "RunWithoutMachine", "{open}");
    let (_, page) = demo.get("/");
    assert!(page.contains("Drift <small>1 open</small>"), "{page}");
}

#[tokio::test]
async fn a_demo_with_a_certificate_gets_its_webhooks_by_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let files = authority.issue(&["127.0.0.1"]).write(folder.path());
    let [cert, key] = files.each_ref().map(|file| file.to_str().expect("UTF-8"));
    let mut demo = command(&["demo", "--fault", "none", "--tls-cert", cert, "--tls-key", key], &[]);
    let mut demo =
        Running(demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs"));
    let mut told = BufReader::new(demo.0.stdout.take().expect("piped"));
    let mut line = String::new();
    told.read_line(&mut line).expect("UTF-8");
    let url = line.split("real tinqs-ci at ").nth(1).and_then(|rest| rest.split(';').next());
    let url = url.unwrap_or_else(|| panic!("no address: {line}")).to_owned();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let trust = Trust::also(authority.pem().as_bytes()).expect("a certificate");
    let client = http_client_of(&trust).expect("usable").no_proxy().build().expect("a client");
    let begun = Instant::now();
    let metrics = loop {
        let answer = client.get(format!("{url}/metrics")).send().await.expect("it is believed");
        let text = answer.text().await.expect("a text");
        let accepted = "tinqs_ci_webhooks_total{event=\"workflow_job\",result=\"accepted\"} ";
        let accepted = text.lines().find_map(|line| line.strip_prefix(accepted));
        if accepted.is_some_and(|count| count != "0") {
            break text;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no webhook arrives:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let expiry = "\ntinqs_ci_tls_certificate_expiry_timestamp_seconds 1";
    assert!(metrics.contains(expiry), "{metrics}");
}

#[test]
fn a_certificate_of_the_demo_needs_its_key() {
    let alone = tinqs(&["demo", "--tls-cert", "cert.pem"]);
    assert_eq!(alone.code, 2, "{}", alone.err);
    assert!(alone.err.contains("--tls-key"), "{}", alone.err);
    let missing = tinqs(&["demo", "--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key"]);
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.starts_with("error: cannot use TLS: "), "{}", missing.err);
}
