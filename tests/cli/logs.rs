//! `logs` and `watch`.

use serde_json::{Value, json};

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

const MACHINE: &str = "tq-job-2-0a1b2c3d-2-0";
const BEFORE: &str = "tq-job-2-0a1b2c3d-1-0";
const PAGE: &str = "https://forge.example/acme/web/actions/runs/8/jobs/0";

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str())];
    said(command(args, &env).output().expect("it runs"))
}

/// The answer of `why` about a job; without a name the job has no run.
fn job(run: Option<&str>) -> Answer {
    let job = json!({
        "run": run, "repo": "acme/web", "name": "build", "url": PAGE, "runs_on": ["linux"],
        "state": "the job was just queued", "next": [], "attempts": [], "notes": [],
    });
    Answer(200, None, json!({ "attention": [], "runs": [], "job": job }))
}

/// The answer of `why` about the page of a workflow run.
fn jobs(runs: &[&str]) -> Answer {
    let run = |name: &&str| {
        json!({
            "run": name, "repo": "acme/web", "job": "build", "url": PAGE, "phase": "Starting",
            "reason": "", "since": null, "message": "",
        })
    };
    let runs: Vec<Value> = runs.iter().map(run).collect();
    Answer(200, None, json!({ "attention": [], "runs": runs, "job": null }))
}

/// A run with a past attempt, whose last lines were kept, and a current one.
fn run(id: i64) -> Value {
    let at = "2026-01-01T12:00:00Z";
    let answered = |id: &str| json!([{ "answered": { "id": id, "at": at } }]);
    let mut current = answered(MACHINE);
    current[0]["machine"] = json!({ "kind": "process" });
    json!({
        "name": format!("job-{id}"), "uid": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "version": 5,
        "created_at": at,
        "spec": {
            "job": { "repo": "acme/web", "repo_id": 7, "job_id": id },
            "runs_on": ["linux"],
            "about": { "url": PAGE },
        },
        "status": {
            "phase": "Starting", "next": 3, "waiting_since": at, "due": at,
            "attempt": {
                "number": 2, "decided_at": at, "class": "linux",
                "runner": { "id": 8, "uuid": "u", "name": "tq-job-2-0a1b2c3d-2", "labels": [] },
                "boot": { "deadline": at, "idle_within": "2m", "instance_url": "https://f" },
                "placements": current,
            },
            "past": [{
                "number": 1, "decided_at": at, "class": "linux", "registration": 7,
                "placements": answered(BEFORE),
                "ended": { "why": "MachineGone", "at": at },
                "log": "tinqs-ci: first\ntinqs-ci: no runner",
            }],
        },
    })
}

fn with_phase(phase: &str, outcome: Option<&str>) -> Value {
    let mut run = run(2);
    run["status"]["phase"] = json!(phase);
    if let Some(outcome) = outcome {
        run["status"]["outcome"] = json!(outcome);
    }
    run
}

fn log(text: &str) -> Answer {
    Answer(200, None, json!(text))
}

const LOG: &str = "GET /v1/machines/tq-job-2-0a1b2c3d-2-0/log?tail=1048576";
const FOLLOWED: &str = "GET /v1/machines/tq-job-2-0a1b2c3d-2-0/log?tail=262144";

/// Returns the server's answer about a job's ID or URL.
fn found(line: &str) -> Answer {
    let what = line.strip_prefix("GET /v1/why?what=").unwrap_or_default();
    let page = what.strip_prefix("https%3A%2F%2Fforge.example%2Facme%2Fweb%2Factions%2Fruns%2F");
    match page.unwrap_or(what) {
        "2" | "%232" | "8%2Fjobs%2F0" => job(Some("job-2")),
        "6" => jobs(&["job-2"]),
        "8" => jobs(&["job-2", "job-3"]),
        "9" => job(None),
        "0" => problem(400, "a job ID is a positive number"),
        _ => problem(404, "none of its jobs has a run here"),
    }
}

fn machines() -> Server {
    Server::new(|asked, before| match (asked.line.as_str(), before) {
        ("GET /v1/runs/job-2", _) => Answer(200, Some("\"5\""), run(2)),
        ("GET /v1/runs/job-9", _) => problem(404, "run `job-9` not found"),
        (line, _) if line.starts_with("GET /v1/why?what=") => found(line),
        (LOG, _) => log("one\n\u{1b}[2Jtwo\r\n\u{202e}three\n"),
        (FOLLOWED, 0) => log("one\n\u{1b}[2Jtwo\r\n\u{202e}three\nfour\n"),
        (FOLLOWED, _) => Answer(200, Some("gone"), json!("\u{202e}three\nfour\n")),
        ("GET /v1/machines/m-1/log?tail=1048576", _) => Answer(204, None, Value::Null),
        (line, _) if line.starts_with("GET /v1/machines/") => {
            problem(404, "this installation has no machine with this ID")
        }
        (line, _) => panic!("unexpected request {line}"),
    })
}

#[test]
fn a_log_is_found_by_machine_run_and_url_and_cannot_control_the_terminal() {
    let server = machines();
    let of_machine = format!("machine/{MACHINE}");
    let workflow_run = "https://forge.example/acme/web/actions/runs/6";
    for what in [MACHINE, of_machine.as_str(), "job-2", "run/job-2", PAGE, "2", "#2", workflow_run]
    {
        let said = ask(&server, &["logs", what]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{what}");
        assert_eq!(said.out, "one\n\\u{1b}[2Jtwo\n\\u{202e}three\n", "{what}");
    }
    let said = ask(&server, &["logs", "job-2", "--tail", "1"]);
    assert_eq!(said.out, "\\u{202e}three\n");
    let said = ask(&server, &["logs", "job-2", "--raw"]);
    assert_eq!(said.out, "one\n\u{1b}[2Jtwo\r\n\u{202e}three\n");
}

#[test]
fn a_log_is_followed_until_the_machine_has_ended() {
    let server = machines();
    let said = ask(&server, &["logs", "-f", "job-2"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "one\n\\u{1b}[2Jtwo\n\\u{202e}three\nfour\n");
}

#[test]
fn a_line_without_an_end_is_printed_as_it_grows() {
    let bar = |percent: usize| "#".repeat(percent);
    let server = Server::new(move |asked, before| match (asked.line.as_str(), before) {
        ("GET /v1/runs/job-2", _) => Answer(200, Some("\"5\""), run(2)),
        (LOG, 0) => log("0%"),
        (LOG, _) => log(&format!("0%{}", bar(100_000))),
        (FOLLOWED, 0) => log("0%..50%"),
        (FOLLOWED, _) => Answer(200, Some("gone"), json!("0%..50%\u{1b}[2K..100%")),
        (line, _) => panic!("unexpected request {line}"),
    });
    let said = ask(&server, &["logs", "-f", "job-2"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "0%..50%\\u{1b}[2K..100%");
    let said = ask(&server, &["logs", "job-2", "--tail", "1"]);
    assert_eq!((said.code, said.out.len()), (0, 100_002), "{}", said.err);
}

#[test]
fn what_is_gone_or_not_there_yet_is_said() {
    let server = machines();
    let said = ask(&server, &["logs", "--previous", "job-2"]);
    assert_eq!((said.code, said.out.as_str()), (0, "tinqs-ci: first\ntinqs-ci: no runner\n"));
    assert!(said.err.contains(&format!("the log of machine {BEFORE} is gone")), "{}", said.err);

    let cases: [(&[&str], i32, &str); 9] = [
        (&["logs", "machine/.."], 2, "`machine/..` is not a machine ID"),
        (&["logs", "m-2"], 3, "machine `m-2` not found"),
        (&["logs", "job-9"], 3, "run `job-9` not found"),
        (&["logs", "m-1"], 1, "machine/m-1 has printed nothing yet"),
        (&["logs", "m-1", "--previous"], 2, "`--previous` needs a run"),
        (&["logs", "https://forge.example/acme/web/actions/runs/7"], 3, "none of its jobs"),
        (&["logs", "https://forge.example/acme/web/actions/runs/8"], 2, "has several jobs"),
        (&["logs", "9"], 3, "9 has no run: the job was just queued"),
        (&["watch", "0"], 2, "a job ID is a positive number"),
    ];
    for (args, code, message) in cases {
        let said = ask(&server, args);
        assert_eq!(said.code, code, "{args:?}: {}", said.err);
        assert!(said.err.contains(message), "{args:?}: {}", said.err);
        assert!(said.err.contains("hint:") && said.out.is_empty(), "{args:?}: {}", said.err);
    }
}

/// An ended machine of which EC2 gives no console any more, because its tags are gone.
#[test]
fn an_ended_machine_without_output_shows_what_the_record_kept_or_says_so() {
    let empty = |line: &str| {
        line.starts_with(&format!("GET /v1/machines/{BEFORE}/log?"))
            || line.starts_with(&format!("GET /v1/machines/{MACHINE}/log?"))
    };
    let server = Server::new(move |asked, _| match asked.line.as_str() {
        "GET /v1/runs/job-2" => Answer(200, Some("\"5\""), run(2)),
        line if empty(line) => Answer(204, Some("gone"), json!("")),
        line => panic!("unexpected request {line}"),
    });
    for args in [&["logs", "--previous", "job-2"][..], &["logs", "-f", "--previous", "job-2"]] {
        let said = ask(&server, args);
        assert_eq!((said.code, said.out.as_str()), (0, "tinqs-ci: first\ntinqs-ci: no runner\n"));
        assert!(said.err.contains(&format!("the log of machine {BEFORE} is gone")), "{}", said.err);
    }
    let ended = format!("machine/{MACHINE} has ended and shows no output (any more)");
    for args in [&["logs", "job-2"][..], &["logs", "-f", "job-2"], &["logs", MACHINE]] {
        let said = ask(&server, args);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains(&ended), "{args:?}: {}", said.err);
        assert!(said.err.contains("some minutes after it in EC2"), "{args:?}: {}", said.err);
    }
}

#[test]
fn following_ends_with_a_machine_that_shows_no_output_any_more() {
    // What it prints before it ends, the exit code, and what is said then.
    for (text, code, message) in [("", 1, "has ended and shows no output"), ("one\n", 0, "")] {
        let server = Server::new(move |asked, before| match (asked.line.as_str(), before) {
            ("GET /v1/runs/job-2", _) => Answer(200, Some("\"5\""), run(2)),
            (LOG, _) if text.is_empty() => Answer(204, Some("booting"), json!("")),
            (LOG, _) => log(text),
            (FOLLOWED, 0) => Answer(204, Some("gone"), json!("")),
            (line, _) => panic!("unexpected request {line}"),
        });
        let said = ask(&server, &["logs", "-f", "job-2"]);
        assert_eq!((said.code, said.out.as_str()), (code, text), "{}", said.err);
        assert!(said.err.contains(message), "{}", said.err);
        assert_eq!(said.err.is_empty(), message.is_empty(), "{}", said.err);
    }
}

/// Runs `watch` while the run goes through these answers. Returns its output without the times.
fn watched(args: &[&str], answers: Vec<Answer>) -> CommandOutput {
    let server = Server::new(move |asked, before| match asked.line.as_str() {
        "GET /v1/runs/job-2" => answers[before.min(answers.len() - 1)].clone(),
        line if line.starts_with("GET /v1/why?what=") => found(line),
        line => panic!("unexpected request {line}"),
    });
    let mut said = ask(&server, args);
    let lines: Vec<&str> =
        said.out.lines().map(|line| line.split_once("  ").expect("a time").1).collect();
    said.out = lines.join("\n");
    said
}

#[test]
fn each_change_of_a_run_is_one_line() {
    let ok = |run: Value| Answer(200, None, run);
    let mut waiting = with_phase("Waiting", None);
    waiting["status"]["conditions"] = json!([{
        "reason": "AtLimit", "since": "2026-01-01T12:00:00Z", "message": "full \u{1b}[2J",
    }]);
    let story = |end: &str| {
        vec![
            ok(waiting.clone()),
            ok(with_phase("Starting", None)),
            ok(with_phase("Starting", None)),
            ok(with_phase("Finished", Some(end))),
        ]
    };
    let said = watched(&["watch", "job-2", "--exit-status"], story("Succeeded"));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out,
        format!(
            "Waiting   AtLimit: full \\u{{1b}}[2J\nStarting  machine {MACHINE}\n\
             Finished  Succeeded"
        )
    );
    let failed = || vec![ok(with_phase("Finished", Some("Failed")))];
    for what in ["job-2", "2", PAGE] {
        assert_eq!(watched(&["watch", what], failed()).code, 0, "{what}");
    }
    let said = watched(&["watch", "job-2", "--exit-status"], failed());
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "Finished  Failed", ""));
    let gone = vec![ok(with_phase("Running", None)), problem(404, "run `job-2` not found")];
    let said = watched(&["watch", "job-2"], gone);
    assert_eq!(said.code, 3);
    assert!(said.err.contains("run/job-2 is gone before it finished"), "{}", said.err);
}
