//! A terminal of 20 columns, and other sizes that nobody chose.

use serde_json::{Value, json};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

const NAME: &str = "integration-tests-of-the-payment-service (ubuntu-24.04, postgres-17)";

fn at_width(server: &Server, args: &[&str], columns: &str) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str()), ("COLUMNS", columns)];
    said(command(args, &env).output().expect("it runs"))
}

fn run(id: i64) -> Value {
    let at = "2026-01-01T12:00:00Z";
    json!({
        "name": format!("job-{id}"), "uid": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "version": 5,
        "created_at": at,
        "spec": {
            "job": { "repo": "acme/shop", "repo_id": 7, "job_id": id }, "runs_on": ["linux"],
            "about": { "job": NAME, "repo": "a-very-long-organization/its-monorepo" },
        },
        "status": {
            "phase": "Waiting", "next": 3, "waiting_since": at, "due": at,
            "conditions": [{ "reason": "AtLimit", "since": at, "message": NAME }],
            "timeline": [{ "at": at, "kind": "Seen", "by": "webhook" }],
        },
    })
}

fn event() -> Value {
    let at = "2026-01-01T12:00:00Z";
    json!({
        "id": "host-1:1", "type": "Warning", "reason": "MachineLost", "message": NAME,
        "object": { "kind": "run", "name": "job-4812" }, "repo": "acme/shop", "job": NAME,
        "url": "", "count": 1, "first_at": at, "last_at": at, "by": null,
    })
}

fn server() -> Server {
    Server::new(|asked, _| {
        let list = |items: Value| Answer(200, None, json!({ "items": items, "next": null }));
        match asked.line.split('?').next().unwrap_or_default() {
            "GET /v1/runs" => list(json!([run(1), run(2)])),
            "GET /v1/runs/job-1" => Answer(200, Some("\"5\""), run(1)),
            "GET /v1/events" => {
                Answer(200, None, json!({ "items": [event()], "last_id": "host-1:1" }))
            }
            "GET /v1/machines" | "GET /v1/registrations" => list(json!([])),
            "GET /v1/classes" => list(json!([{
                "name": "linux", "labels": [NAME, "linux"], "limit": 5, "repo_limit": null,
                "seats": 0, "machines": 0, "open_runs": 0, "waiting_runs": 0, "blocked_by": [],
            }])),
            _ => problem(404, "this path does not exist"),
        }
    })
}

#[test]
fn tables_are_cut_to_a_narrow_terminal_as_far_as_their_columns_allow() {
    let server = server();
    for what in ["runs", "events", "classes"] {
        let narrow = at_width(&server, &["get", what], "20");
        let wide = at_width(&server, &["get", what], "400");
        assert_eq!((narrow.code, wide.code), (0, 0), "{what}: {}", narrow.err);
        assert_eq!(narrow.out.lines().count(), wide.out.lines().count(), "{what}");
        let longest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        assert!(longest(&narrow.out) < longest(&wide.out), "{what}: {}", narrow.out);
        assert!(narrow.out.contains('…') && !wide.out.contains('…'), "{what}: {}", narrow.out);
    }
}

#[test]
fn a_width_that_is_none_does_no_harm() {
    let server = server();
    for columns in ["0", "1", "x", "", "-5", "99999999999999999999999"] {
        for args in [&["get", "runs"][..], &["get", "events"], &["describe", "job-1"]] {
            let said = at_width(&server, args, columns);
            assert_eq!(said.code, 0, "{columns} {args:?}: {}", said.err);
            assert!(said.out.contains("job-"), "{columns} {args:?}: {}", said.out);
        }
    }
}
