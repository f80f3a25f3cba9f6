//! Completion by asking the server, and the manual.

use std::fs;

use serde_json::{Value, json};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said, tinqs};

/// Completes as fish does: the last word is what was typed.
fn complete(url: &str, words: &[&str]) -> CommandOutput {
    let args: Vec<&str> = ["--", "tinqs-ci"].into_iter().chain(words.iter().copied()).collect();
    let env = [("TINQS_CI_COMPLETE", "fish"), ("TINQS_CI_URL", url)];
    said(command(&args, &env).output().expect("it runs"))
}

fn run(id: i64, job: &str) -> Value {
    let at = "2026-01-01T12:00:00Z";
    json!({
        "name": format!("job-{id}"), "uid": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "version": 5,
        "created_at": at,
        "spec": {
            "job": { "repo": "acme/shop", "repo_id": 7, "job_id": id }, "runs_on": [],
            "about": { "job": job },
        },
        "status": { "phase": "Running", "next": 3, "waiting_since": at, "due": at },
    })
}

fn machine(id: &str) -> Value {
    json!({
        "id": id, "attempt_id": "tq-job-77-0a1b2c3d-1", "run": "job-77", "class": "linux",
        "kind": "process", "zone": "", "market": "spot", "state": "up", "doing": "job",
        "job": null, "launched_at": "2026-01-01T12:00:00Z", "deadline": "2026-01-01T18:00:00Z",
    })
}

fn server() -> Server {
    Server::new(|asked, _| {
        let items = match asked.line.as_str() {
            "GET /v1/runs?limit=200" => json!([run(4812, "test\u{1b}[2J\n(2)"), run(77, "lint")]),
            "GET /v1/machines" => json!([machine("i-0a1"), machine("i-$(reboot)")]),
            "GET /v1/classes" => json!([{
                "name": "linux", "labels": ["linux", "x64"], "limit": 5, "repo_limit": null,
                "seats": 0, "machines": 0, "open_runs": 0, "waiting_runs": 0, "blocked_by": [],
            }]),
            _ => return problem(404, "this path does not exist"),
        };
        Answer(200, None, json!({ "items": items, "next": null }))
    })
}

#[test]
fn runs_machines_and_classes_are_completed_from_the_server() {
    let server = server();
    let once = |words: &[&str]| {
        let said = complete(&server.url, words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}");
        said.out
    };
    // On a busy host the answer may come too late, and then nothing is completed.
    let completed = |words: &[&str]| {
        let mut tries = std::iter::repeat_with(|| once(words)).take(20);
        tries.find(|out| !out.is_empty()).unwrap_or_default()
    };
    let names = |words: &[&str]| {
        let out = completed(words);
        let names = out.lines().map(|line| line.split('\t').next().unwrap_or("").to_owned());
        names.collect::<Vec<_>>()
    };
    for verb in ["describe", "plan", "retry", "delete", "watch", "why"] {
        assert_eq!(names(&[verb, "job-"]), ["job-4812", "job-77"], "{verb}");
    }
    assert_eq!(names(&["get", "events", "--for", "job-7"]), ["job-77"]);
    assert_eq!(names(&["terminate", ""])[0], "i-0a1");
    assert_eq!(names(&["logs", "i"]), ["i-0a1"]);
    assert_eq!(names(&["get", "runs", "--class", "l"]), ["linux"]);
    assert_eq!(names(&["get", "ev"]), ["events"]);
    assert_eq!(names(&["desc"]), ["describe"]);
    let described = completed(&["describe", "job-4"]);
    assert!(described.contains("acme/shop test\\u{1b}[2J"), "{described:?}");
    assert_eq!(described.lines().count(), 1, "{described:?}");
}

#[test]
fn without_an_answer_nothing_is_completed_and_nothing_is_said() {
    let closed = Server::new(|_, _| problem(503, "the store fails"));
    for url in [closed.url.as_str(), "http://127.0.0.1:1", "nonsense"] {
        let said = complete(url, &["describe", "job-"]);
        assert_eq!((said.code, said.out.trim(), said.err.as_str()), (0, "", ""), "{url}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let said = tinqs(&["man", pages.to_str().expect("UTF-8")]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for (page, text) in [
        ("tinqs-ci.1", "Exit codes"),
        ("tinqs-ci-get.1", "OWNER/NAME"),
        ("tinqs-ci-webhook-add.1", "webhook"),
        ("tinqs-ci-explain-push.1", "COMMIT"),
    ] {
        let found = fs::read_to_string(pages.join(page)).expect(page);
        assert!(found.contains(".TH") && found.contains(text), "{page}: {found}");
    }
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let said = tinqs(&["man", file.to_str().expect("UTF-8")]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("cannot write to") && said.err.contains("hint:"), "{}", said.err);
}
