//! The `demo` command.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
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

#[test]
fn a_demo_that_stays_serves_the_page_at_the_pace_of_the_real_time() {
    let mut demo = command(&["demo", "--stay", "--speed", "10"], &[]);
    let mut demo =
        Running(demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs"));
    let lines = BufReader::new(demo.0.stdout.take().expect("piped")).lines();
    let told = lines.map(|line| line.expect("UTF-8"));
    let line = told.into_iter().find(|line| line.contains("keeps running at ")).expect("it stays");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
    let address = address.expect("an address").to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/html\r\n\
             authorization: Bearer demo-api-token\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    };
    let page = get("/");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("acme/widget"), "{page}");
    let status = get("/v1/status");
    let body = status.split("\r\n\r\n").nth(1).expect("a body");
    let status: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let shown: Timestamp = status["now"].as_str().expect("a time").parse().expect("a time");
    let apart = Timestamp::now().duration_since(shown).as_secs();
    assert!((-60..=60).contains(&apart), "its time is the real one: {apart} s apart");
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
