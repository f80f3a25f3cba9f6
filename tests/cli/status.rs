//! `status` and `why`, and what the status adds to tables.

use std::sync::OnceLock;

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{JobRef, Run, RunName, SeenBy, Spec};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str())];
    said(command(args, &env).output().expect("it runs"))
}

/// The time of the answers.
fn now() -> Timestamp {
    static NOW: OnceLock<Timestamp> = OnceLock::new();
    *NOW.get_or_init(Timestamp::now)
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// As [`ago`] for a command that takes the time from its own clock: tests that ran before took some.
fn truly_ago(seconds: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_secs(seconds)
}

fn service(name: &str, failure: &Value) -> Value {
    let state = if failure.is_null() { "ok" } else { "failing" };
    json!({ "name": name, "state": state, "last_contact": ago(4), "failure": failure })
}

/// A status with a failing forge, and jobs that no class serves.
fn ailing() -> Value {
    let failure = json!({
        "reason": "ForgeDenied", "since": ago(200), "operation": "waiting",
        "message": "the forge does not accept the token (401): it is expired or was deleted",
        "fix": "create a new token at the forge and put it into `forge.token` or its file",
    });
    let attention = |reason: &str, subject: &str, message: &str, fix: &str, person: bool| {
        json!({
            "reason": reason, "subject": subject, "since": ago(200), "message": message,
            "fix": fix, "needs_person": person,
        })
    };
    let job = |id: i64| json!({ "repo": "acme/ml", "job_id": id, "name": "train", "url": "" });
    json!({
        "now": now(), "started_at": ago(4_000),
        "attention": [
            attention("ForgeDenied", "forge", failure["message"].as_str().unwrap(),
                failure["fix"].as_str().unwrap(), true),
            attention("NoClass", "labels [gpu]",
                "7 jobs wait: no class serves [gpu\u{1b}, linux]; the nearest, linux, lacks gpu",
                "add the labels to a [[class]], or correct `runs-on` in the workflow", true),
            attention("NoCapacity", "class linux: job-9 and 2 more", "no capacity in 3 subnets",
                "", false),
        ],
        "services": [
            service("forge", &failure), service("store", &Value::Null),
            service("cloud", &Value::Null), service("queue", &Value::Null),
        ],
        "webhooks": {
            "accepted": 12, "ignored": 3, "refused": 1, "last_accepted": ago(30),
            "last_refused": ago(900), "refused_because": "no signature",
        },
        "classes": [{
            "name": "linux", "limit": 20, "machines": 4, "open": 9, "waiting": 5, "starting": 1,
            "running": 3, "reasons": [
                { "reason": "NoCapacity", "runs": 3 }, { "reason": "Blocked", "runs": 2 },
            ],
        }],
        "unserved_jobs": 7,
        "unserved": [{
            "runs_on": ["gpu", "linux"], "jobs": 7, "examples": [job(31), job(32)],
            "nearest": { "class": "linux", "lacks": ["gpu"] }, "since": ago(200),
        }],
        "lost_machines": [], "breakers": [],
        "failing_runs": [{
            "run": "job-7", "repo": "acme/web", "job": "", "url": "", "phase": "Waiting",
            "reason": "ForgeDenied", "since": ago(100), "message": "the forge does not accept it",
        }],
    })
}

fn healthy() -> Value {
    let mut status = ailing();
    status["attention"] = json!([]);
    status["services"][0] = service("forge", &Value::Null);
    (status["unserved"], status["unserved_jobs"]) = (json!([]), 0.into());
    status["failing_runs"] = json!([]);
    status
}

fn run(id: i64) -> Value {
    let job = JobRef { repo: "acme/web".into(), repo_id: 7, job_id: id };
    let spec = Spec { job, runs_on: vec!["linux".into()], ..Spec::default() };
    serde_json::to_value(Run::new("tinqs-ci", RunName::job(id), spec, SeenBy::Webhook, ago(100)))
        .expect("JSON")
}

fn class() -> Value {
    json!({
        "name": "linux", "labels": ["linux"], "limit": 20, "repo_limit": null, "seats": 4,
        "machines": 4, "open_runs": 9, "waiting_runs": 5, "blocked_by": [],
    })
}

/// A server with this status, a run and a class.
fn server(status: fn() -> Value) -> Server {
    Server::new(move |asked, _| match asked.line.as_str() {
        "GET /v1/status" => Answer(200, None, status()),
        "GET /v1/runs/job-7" => Answer(200, Some("\"1\""), run(7)),
        line if line.starts_with("GET /v1/runs?limit=200") => {
            Answer(200, None, json!({ "items": [run(7)], "next": null }))
        }
        "GET /v1/classes" => Answer(200, None, json!({ "items": [class()], "next": null })),
        "GET /v1/machines" | "GET /v1/registrations" => {
            Answer(200, None, json!({ "items": [], "next": null }))
        }
        line => panic!("unexpected request {line}"),
    })
}

#[test]
fn the_status_says_what_is_not_well_and_exits_with_1() {
    let said = ask(&server(ailing), &["status"]);
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    for line in said.out.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    expect![[r#"
        ✗ ForgeDenied, forge for 3 min: the forge does not accept the token (401): it is
          expired or was deleted
          → create a new token at the forge and put it into `forge.token` or its file
        ✗ NoClass, labels [gpu] for 3 min: 7 jobs wait: no class serves [gpu\u{1b},
          linux]; the nearest, linux, lacks gpu
          → add the labels to a [[class]], or correct `runs-on` in the workflow
        ! NoCapacity, class linux: job-9 and 2 more for 3 min: no capacity in 3 subnets

        forge     ✗ fails for 3 min  ForgeDenied
        store     ✓ ok               last contact 4 s ago
        cloud     ✓ ok               last contact 4 s ago
        queue     ✓ ok               last contact 4 s ago
        webhooks  ✓ ok               last one 30 s ago; 15 accepted, 1 refused

        CLASS  MACHINES  WAITING  STARTING  RUNNING  P50  P95  WAITS FOR
        linux  4/20      5        1         3        –    –    3 NoCapacity, 2 Blocked

        7 jobs wait that no class serves
    "#]]
    .assert_eq(&said.out);
}

#[test]
fn a_healthy_status_exits_with_0() {
    let said = ask(&server(healthy), &["status"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with("✓ all is well\n\nforge "), "{}", said.out);
    let said = ask(&server(ailing), &["status", "-o", "json"]);
    assert_eq!(said.code, 1);
    let status: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(status["unserved"][0]["nearest"]["lacks"][0], "gpu");
}

#[test]
fn tables_tell_failing_services_and_unserved_jobs() {
    let server = server(ailing);
    let banner = expect![[r#"
        warning: forge has failed for 3 min: the forge does not accept the token (401): it is expired or was deleted; create a new token at the forge and put it into `forge.token` or its file
    "#]];
    let said = ask(&server, &["get", "runs"]);
    assert_eq!(said.code, 0);
    banner.assert_eq(&said.err);
    let rows: Vec<(&str, &str)> = said
        .out
        .lines()
        .skip(1)
        .map(|line| (line.split("  ").next().unwrap_or(""), line.rsplit(' ').next().unwrap_or("")))
        .collect();
    let expected = [
        ("job-31", "NoClass"),
        ("job-32", "NoClass"),
        ("(5 more)", "NoClass"),
        ("job-7", "ForgeDenied"),
    ];
    assert_eq!(rows, expected, "{}", said.out);
    let said = ask(&server, &["get", "classes"]);
    banner.assert_eq(&said.err);
    let last = said.out.lines().last();
    assert_eq!(last, Some("7 waiting jobs are served by no class: see `tinqs-ci status`"));
    banner.assert_eq(&ask(&server, &["describe", "job-7"]).err);
    let said = ask(&server, &["get", "machines"]);
    assert!(said.err.ends_with("no machines found\n"), "{}", said.err);
    for other in [&["--phase", "running"][..], &["--class", "linux"], &["--repo", "x/y"]] {
        let said = ask(&server, &[&["get", "runs"], other].concat());
        assert!(!said.out.contains("NoClass"), "{other:?}: {}", said.out);
    }
    let said = ask(&server, &["get", "runs", "-o", "json"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "only tables have a banner");
}

#[test]
fn a_table_does_without_the_status() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/status" => problem(503, "cannot reach the store"),
        _ => Answer(200, None, json!({ "items": [run(7)], "next": null })),
    });
    let said = ask(&server, &["get"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out.lines().count(), 2, "{}", said.out);
}

#[test]
fn why_tells_one_story() {
    let server = Server::new(|asked, _| {
        let what =
            "https%3A%2F%2Fgit.example.com%2Facme%2Fweb%2Factions%2Fruns%2F12%2Fjobs%2F3%23L7";
        assert_eq!(asked.line, format!("GET /v1/why?what={what}"));
        let attempt = json!({
            "number": 1, "decided_at": truly_ago(400), "class": "linux", "machine": "i-0aa",
            "refusals": [], "ended": "the machine did not come online in time",
        });
        let job = json!({
            "run": "job-7", "id": 7, "repo": "acme/web", "name": "test\u{1b}[31m (3)",
            "url": "https://git.example.com/acme/web/actions/runs/12/jobs/3",
            "runs_on": ["linux"], "class": "linux", "phase": "Waiting", "at_forge": "waiting",
            "state": "the job has waited for 6 min: 2 attempts ended without a job",
            "reason": "BackingOff", "since": truly_ago(130),
            "waits_for": "the next attempt, after failed ones",
            "next": ["a new machine is tried then", "the next attempt starts in 40 s"],
            "fix": "fix why the attempts ended, then `tinqs-ci retry job-7` tries at once",
            "attempts": [attempt], "notes": [], "timeline": [
                { "at": "2026-01-01T22:31:07.25Z", "kind": "Seen", "by": "webhook" },
                { "at": "2026-01-01T22:31:07.65Z", "kind": "Registered", "attempt": 1 },
                { "at": "2026-01-01T22:33:12.65Z", "kind": "Started", "runner": "a\u{1b}b" },
                { "at": "2026-01-01T22:33:13Z", "kind": "Newer", "more": [1] },
            ],
        });
        Answer(200, None, json!({ "attention": [], "runs": [], "job": job }))
    });
    let url = "https://git.example.com/acme/web/actions/runs/12/jobs/3#L7";
    let said = ask(&server, &["why", url]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    expect![[r#"
        job-7: test\u{1b}[31m (3) of acme/web
          https://git.example.com/acme/web/actions/runs/12/jobs/3
          labels [linux], class linux

        state        the job has waited for 6 min: 2 attempts ended without a job
        reason       BackingOff for 2 min
        at the forge waiting
        waits for    the next attempt, after failed ones
        next         a new machine is tried then
                     the next attempt starts in 40 s
        to unblock   fix why the attempts ended, then `tinqs-ci retry job-7` tries at
                     once
        more         docs/troubleshooting.md#backingoff

        attempts
          6 min ago, class linux, machine i-0aa: the machine did not come online in time

        timeline (UTC)
          22:31:07           a webhook announced the job
          22:31:07    +0.4s  a runner was registered for it
          22:33:12    +2m5s  the job started on a\u{1b}b, a runner of somebody else
          22:33:13    +0.3s  something that this version does not know
    "#]]
    .assert_eq(&said.out);
}

#[test]
fn the_status_says_what_machines_cost_and_that_a_part_is_not_known() {
    fn costly() -> Value {
        let mut status = healthy();
        status["spend"] = json!({
            "per_hour_micro_usd": 410_000, "unpriced_machines": 2, "today_micro_usd": 3_100_000,
            "today_may_be_higher": true,
        });
        status
    }
    fn unknown() -> Value {
        let mut status = costly();
        status["spend"]["per_hour_micro_usd"] = Value::Null;
        status["spend"]["today_micro_usd"] = Value::Null;
        status
    }
    let told = ask(&server(costly), &["status"]).out;
    let line = "cost      ≥ $0.41 per hour  ≥ $3.10 today; 2 machines without a known price\n";
    assert!(told.contains(line), "{told}");
    let told = ask(&server(unknown), &["status"]).out;
    let line = "cost      – per hour  – today; 2 machines without a known price\n";
    assert!(told.contains(line), "never 0: {told}");
    let json = ask(&server(costly), &["status", "-o", "json"]).out;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["spend"], costly()["spend"]);
}

#[test]
fn the_status_of_a_process_that_has_not_listed_says_that_machines_are_not_known() {
    fn with_spend(listed_at: Value) -> Value {
        let mut status = healthy();
        status["spend"] = json!({
            "per_hour_micro_usd": null, "unpriced_machines": 0, "today_micro_usd": null,
            "today_may_be_higher": true,
        });
        status["machines_listed_at"] = listed_at;
        status
    }
    let told = |status: fn() -> Value| {
        ask(&server(status), &["status"]).out.contains("machines are not known")
    };
    assert!(told(|| with_spend(Value::Null)));
    assert!(!told(|| with_spend(json!("2026-11-29T22:31:00Z"))));
}

#[test]
fn the_status_says_how_long_the_oldest_wait_lasts() {
    fn waiting() -> Value {
        let mut status = ailing();
        status["classes"][0]["oldest_waiting_since"] = json!(ago(242));
        status
    }
    let told = |status: fn() -> Value| ask(&server(status), &["status"]).out;
    assert!(told(waiting).contains("the job that has waited longest has waited for "));
    assert!(!told(ailing).contains("waited longest"));
}

#[test]
fn why_without_a_job_lists_what_waits() {
    let server = Server::new(|asked, _| {
        assert_eq!(asked.line, "GET /v1/why");
        let runs = json!([{
            "run": "job-7", "repo": "acme/web", "job": "build", "url": "", "phase": "Waiting",
            "reason": "AtLimit", "since": truly_ago(130), "message": "class linux is at its limit of 20",
        }]);
        let mut attention = ailing()["attention"].clone();
        attention[0]["since"] = json!(truly_ago(200));
        Answer(200, None, json!({ "attention": attention, "runs": runs, "job": null }))
    });
    let said = ask(&server, &["why"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let end =
        "job-7 acme/web build: Waiting AtLimit for 2 min\n  class linux is at its limit of 20\n";
    assert!(
        said.out.starts_with("✗ ForgeDenied, forge for 3 min: ") && said.out.ends_with(end),
        "{}",
        said.out
    );
    let server =
        Server::new(|_, _| Answer(200, None, json!({ "attention": [], "runs": [], "job": null })));
    assert_eq!(ask(&server, &["why"]).out, "✓ all is well, and no job waits\n");
}

#[test]
fn bad_input_of_why_has_its_exit_code_and_remedy() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/why?what=web" => problem(400, "`web` is neither a job's URL nor a job ID"),
        _ => problem(404, "job 99 has no run: pass the URL of its page"),
    });
    let said = ask(&server, &["why", "web"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    expect![[r#"
        error: `web` is neither a job's URL nor a job ID
        hint: see `tinqs-ci why --help`
    "#]]
    .assert_eq(&said.err);
    let said = ask(&server, &["why", "99"]);
    assert_eq!((said.code, said.out.as_str()), (3, ""));
    expect![[r#"
        error: job 99 has no run: pass the URL of its page
        hint: `tinqs-ci why` without arguments lists what waits
    "#]]
    .assert_eq(&said.err);
}
