//! `get --sort`: the same order in every form of output.

use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{JobRef, Phase, Run, RunName, SeenBy, Spec};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

fn run(id: i64, repo: &str, phase: Phase) -> Value {
    let spec = Spec {
        job: JobRef { repo: repo.to_owned(), repo_id: 7, job_id: id },
        runs_on: vec!["linux".to_owned()],
        ..Spec::default()
    };
    let created = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(190 - id);
    let mut run = Run::new("tinqs-ci", RunName::job(id), spec, SeenBy::Webhook, created);
    run.status.phase = phase;
    serde_json::to_value(run).expect("JSON")
}

fn machine(id: &str, class: &str, launched_at: &str) -> Value {
    json!({
        "id": id, "attempt_id": "tq-job-77-0a1b2c3d-1", "run": "job-77", "class": class,
        "kind": "process", "zone": "", "market": "spot", "state": "up", "doing": "up",
        "job": null, "launched_at": launched_at, "deadline": "2026-01-01T18:00:00Z",
    })
}

/// A server with three runs on two pages, and two machines.
fn server() -> Server {
    Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/runs?limit=200" => {
            let items = [run(3, "acme/web", Phase::Running), run(2, "acme/api", Phase::Waiting)];
            Answer(200, None, json!({ "items": items, "next": "c" }))
        }
        "GET /v1/runs?limit=200&after=c" => {
            let items = [run(1, "acme/web", Phase::Waiting)];
            Answer(200, None, json!({ "items": items, "next": null }))
        }
        "GET /v1/machines" => {
            let items = [
                machine("i-2", "gpu", "2026-01-01T12:10:00Z"),
                machine("i-1", "linux", "2026-01-01T12:00:00Z"),
            ];
            Answer(200, None, json!({ "items": items, "next": null }))
        }
        "GET /v1/status" => problem(404, "this path does not exist"),
        line => panic!("unexpected request {line}"),
    })
}

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str())];
    said(command(args, &env).output().expect("it runs"))
}

/// Returns the names in the order of the list, which is the same in each form of output.
fn order(server: &Server, args: &[&str]) -> Vec<String> {
    let asked = |form: &str| {
        let said = ask(server, &[args, &["-o", form]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{args:?}");
        said.out
    };
    let first = |line: &str, end: &[char]| line.split(end).next().unwrap_or_default().to_owned();
    let names: Vec<String> = asked("name")
        .lines()
        .filter_map(|line| line.split_once('/'))
        .map(|(_, name)| name.to_owned())
        .collect();
    let table: Vec<String> =
        asked("table").lines().skip(1).map(|line| first(line, &[' '])).collect();
    assert_eq!(table, names, "{args:?}");
    let list: Value = serde_json::from_str(&asked("json")).expect("JSON");
    let items = list["items"].as_array().expect("a list").iter();
    let key = if args.contains(&"machines") { "id" } else { "name" };
    let json: Vec<String> =
        items.map(|item| item[key].as_str().expect("a name").to_owned()).collect();
    assert_eq!(json, names, "{args:?}");
    names
}

#[test]
fn runs_and_machines_are_sorted_by_a_key() {
    let server = server();
    assert_eq!(order(&server, &["get", "runs"]), ["job-3", "job-2", "job-1"]);
    let sorted = |key: &str| order(&server, &["get", "runs", "--sort", key]);
    assert_eq!(sorted("age"), ["job-1", "job-2", "job-3"]);
    assert_eq!(sorted("repo"), ["job-2", "job-3", "job-1"]);
    assert_eq!(sorted("phase"), ["job-2", "job-1", "job-3"]);
    assert_eq!(sorted("Class"), ["job-3", "job-2", "job-1"], "none has one");
    assert_eq!(order(&server, &["get", "machines"]), ["i-2", "i-1"]);
    assert_eq!(order(&server, &["get", "machines", "--sort", "age"]), ["i-1", "i-2"]);
    assert_eq!(order(&server, &["get", "machines", "--sort", "class"]), ["i-2", "i-1"]);
}

#[test]
fn a_limit_takes_the_first_ones_of_the_order() {
    let server = server();
    let args = ["get", "runs", "--sort", "age", "--limit", "1"];
    assert_eq!(order(&server, &args), ["job-1"], "it is on the second page");
}

#[test]
fn what_cannot_be_sorted_is_a_usage_error() {
    let server = Server::new(|asked, _| panic!("unexpected request {}", asked.line));
    for (args, message) in [
        (["get", "machines", "--sort", "phase"], "--sort phase is for runs"),
        (["get", "classes", "--sort", "age"], "--sort is for runs and machines"),
        (["get", "runs", "--sort", "color"], "invalid value 'color' for '--sort <KEY>'"),
    ] {
        let said = ask(&server, &args);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(message) && said.err.contains("hint:"), "{}", said.err);
    }
}
