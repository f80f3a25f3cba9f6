//! `get events`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

const PAGE: &str = "https://forge.example/acme/web/actions/runs/8/jobs/0";

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str()), ("COLUMNS", "80")];
    said(command(args, &env).output().expect("it runs"))
}

fn event(sequence: u64, seconds_ago: i64, kind: &str, reason: &str, message: &str) -> Value {
    let at = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    json!({
        "id": format!("host-1:{sequence}"), "type": kind, "reason": reason, "message": message,
        "object": { "kind": "run", "name": "job-4812" }, "repo": "acme/shop",
        "job": "test (ubuntu-24.04, 2)", "url": PAGE, "count": sequence, "first_at": at,
        "last_at": at, "by": if reason == "Deleted" { json!("person") } else { Value::Null },
    })
}

fn events() -> Value {
    json!({ "last_id": "host-1:3", "items": [
        event(1, 130, "Normal", "Seen", "a webhook announced the job"),
        event(2, 70, "Warning", "MachineLost", "the cloud took machine i-0a1b2c3d4e5f60718 back mid-job\u{1b}[2J"),
        event(3, 7_300, "Normal", "Deleted", "a person deleted the run"),
    ]})
}

#[test]
fn events_are_a_table_with_age_reason_object_and_message() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/events" | "GET /v1/events?limit=3" => Answer(200, None, events()),
        line => panic!("unexpected request {line}"),
    });
    let said = ask(&server, &["get", "events"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    expect![[r#"
        AGE  REASON         OBJECT    MESSAGE
        2m   Seen           job-4812  a webhook announced the job
        1m   ! MachineLost  job-4812  the cloud took machine i-0a1b2c3d4e5f60718 back m…
        2h   Deleted        job-4812  a person deleted the run (3 times)
    "#]]
    .assert_eq(&said.out);
    let wide = ask(&server, &["get", "events", "--limit", "3", "-o", "wide"]);
    assert!(
        wide.out.contains("acme/shop test (ubuntu-24.04, 2)  3      2h     person  a person"),
        "{}",
        wide.out
    );
    assert_eq!(
        ask(&server, &["get", "events", "-o", "name"]).out.lines().next(),
        Some("event/host-1:1")
    );
    let json: Value =
        serde_json::from_str(&ask(&server, &["get", "events", "-o", "json"]).out).expect("JSON");
    assert_eq!(
        (&json["last_id"], json["items"].as_array().map(Vec::len)),
        (&"host-1:3".into(), Some(3))
    );
    let yaml = ask(&server, &["get", "events", "-o", "yaml"]).out;
    assert!(yaml.contains("last_id: host-1:3") && !yaml.contains('\u{1b}'), "{yaml}");
}

#[test]
fn events_of_a_run_are_found_by_its_name_and_its_page() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/events?run=job-4812" => Answer(200, None, events()),
        "GET /v1/runs/job-4812" => Answer(200, Some("\"5\""), run()),
        line if line.starts_with("GET /v1/why?what=https") => {
            let job = json!({
                "run": "job-4812", "repo": "acme/web", "name": "build", "url": PAGE,
                "runs_on": [], "state": "", "next": [], "attempts": [], "notes": [],
            });
            Answer(200, None, json!({ "attention": [], "runs": [], "job": job }))
        }
        _ => problem(404, "run `job-9` not found"),
    });
    for what in ["job-4812", "run/job-4812", PAGE] {
        let said = ask(&server, &["get", "events", "--for", what]);
        assert_eq!((said.code, said.out.lines().count()), (0, 4), "{what}: {}", said.err);
    }
    let cases: [(&[&str], i32, &str); 7] = [
        (&["get", "events", "--for", "job-9"], 3, "run `job-9` not found"),
        (&["get", "events", "job-4812"], 2, "an event is not listed by its name"),
        (&["get", "events", "--class", "linux"], 2, "--class is for runs and machines"),
        (&["get", "events", "--phase", "waiting"], 2, "--phase, --repo and --limit are for runs"),
        (&["get", "events", "--sort", "age"], 2, "--sort is for runs and machines"),
        (&["get", "runs", "--for", "job-4812"], 2, "--for is for events"),
        (&["get", "machines", "--limit", "3"], 2, "--phase, --repo and --limit are for runs"),
    ];
    for (args, code, message) in cases {
        let said = ask(&server, args);
        assert_eq!(said.code, code, "{args:?}: {}", said.err);
        assert!(said.err.contains(message) && said.err.contains("hint:"), "{args:?}: {}", said.err);
    }
}

fn run() -> Value {
    let at = "2026-01-01T12:00:00Z";
    json!({
        "name": "job-4812", "uid": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "version": 5, "created_at": at,
        "spec": { "job": { "repo": "acme/shop", "repo_id": 7, "job_id": 4812 }, "runs_on": [] },
        "status": {
            "phase": "Running", "next": 3, "waiting_since": at, "due": at,
            "timeline": [{ "at": at, "kind": "Seen", "by": "webhook" }],
        },
    })
}

#[test]
fn describe_shows_the_events_that_the_timeline_does_not() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/runs/job-4812" => Answer(200, Some("\"5\""), run()),
        "GET /v1/events?run=job-4812" => Answer(200, None, events()),
        "GET /v1/machines" | "GET /v1/registrations" => {
            Answer(200, None, json!({ "items": [], "next": null }))
        }
        _ => problem(404, "this path does not exist"),
    });
    let said = ask(&server, &["describe", "job-4812"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let (_, events) = said.out.split_once("\nEvents:\n").expect("a section");
    let expected = "  1m ago (2 times)  MachineLost: the cloud took machine \
                    i-0a1b2c3d4e5f60718 back mid-job\\u{1b}[2J\n  \
                    2h ago (3 times)  Deleted: a person deleted the run\n";
    assert_eq!(events, expected);
}

/// A message of a stream.
fn message(event: &Value) -> String {
    format!("id: {}\ndata: {event}\n\n", event["id"].as_str().expect("an ID"))
}

#[test]
fn followed_events_are_printed_once_over_cut_streams_and_resets() {
    let five = event(5, 0, "Normal", "Launched", "machine m-1 was launched");
    let six = event(6, 0, "Normal", "Started", "the job started on its own machine");
    let seven = event(7, 0, "Normal", "Finished", "the job succeeded");
    let (first, later) = (events(), json!({ "last_id": "host-2:7", "items": [six, seven] }));
    let server = Server::new(move |asked, before| match (asked.line.as_str(), before) {
        ("GET /v1/events", 0) => Answer(200, None, first.clone()),
        // The stream breaks in the middle of a message.
        ("GET /v1/events", 1) => {
            let text = format!(": hello\n\n{}id: host-1:6\nda", message(&five));
            Answer(200, Some("stream"), json!(text))
        }
        ("GET /v1/events", 2) => problem(503, "too many clients"),
        ("GET /v1/events", 3) => Answer(
            200,
            Some("stream"),
            json!(format!("{}event: reset\ndata: {{}}\n\n", message(&six))),
        ),
        ("GET /v1/events", 4) => Answer(200, None, later.clone()),
        ("GET /v1/events", _) => problem(404, "this path does not exist"),
        (line, _) => panic!("unexpected request {line}"),
    });
    let env = [("TINQS_CI_URL", server.url.as_str())];
    let mut command = command(&["get", "events", "-w", "-o", "name"], &env);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let printed: Vec<String> = lines.map(|line| line.expect("UTF-8")).collect();
    let ended = child.wait_with_output().expect("it ends");
    let err = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(3), "the last answer ends it: {err}");
    let ids = |range: &[u64]| range.iter().map(|n| format!("event/host-1:{n}")).collect::<Vec<_>>();
    assert_eq!(printed, ids(&[1, 2, 3, 5, 6, 7]));
    assert!(err.contains("too many clients; will retry"), "{err}");
    assert!(err.contains("note: events may be missing"), "{err}");
    let asked = server.asked();
    let last_ids: Vec<Option<&str>> =
        asked.iter().map(|asked| asked.last_event_id.as_deref()).collect();
    assert_eq!(
        last_ids,
        [None, Some("host-1:3"), Some("host-1:5"), Some("host-1:5"), None, Some("host-2:7")]
    );
}
