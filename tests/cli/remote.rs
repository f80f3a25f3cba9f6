//! Commands that call a server.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use expect_test::expect;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{About, JobRef, Phase, Run, RunName, SeenBy, Spec};
use tinqs_ci_test_host::free_port;

use crate::scripted::{Answer, Server, problem};
use crate::{CommandOutput, command, said};

fn run(id: i64) -> Value {
    let spec = Spec {
        job: JobRef { repo: "acme/web".into(), repo_id: 7, job_id: id },
        runs_on: vec!["linux".into()],
        about: About {
            repo: "acme/web".into(),
            job: format!("test\u{1b}[31m\u{202e} {id}"),
            run_id: 812,
            ..About::default()
        },
        ..Spec::default()
    };
    let created = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(190);
    let mut run = Run::new("tinqs-ci", RunName::job(id), spec, SeenBy::Webhook, created);
    run.status.phase = Phase::Waiting;
    serde_json::to_value(run).expect("JSON")
}

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str()), ("TINQS_CI_API_TOKEN", "word")];
    said(command(args, &env).output().expect("it runs"))
}

/// Starts a server with three runs on two pages.
fn pages() -> Server {
    Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/runs?limit=200" => {
            Answer(200, None, json!({ "items": [run(3), run(2)], "next": "c/1 &" }))
        }
        "GET /v1/runs?limit=200&after=c%2F1+%26" => {
            Answer(200, None, json!({ "items": [run(1)], "next": null }))
        }
        "GET /v1/runs?limit=2" => {
            Answer(200, None, json!({ "items": [run(3), run(2)], "next": "c" }))
        }
        "GET /v1/runs/job-2" => Answer(200, Some("\"5\""), run(2)),
        "GET /v1/runs/job-9" | "GET /v1/runs/job-9/plan" => problem(404, "run `job-9` not found"),
        "POST /v1/machines/i-1/terminate" => problem(404, "its attempt ID is not ours"),
        "GET /v1/machines"
        | "GET /v1/registrations"
        | "GET /v1/classes"
        | "GET /v1/runs?limit=200&phase=Running&repo=acme%2Fweb" => {
            Answer(200, None, json!({ "items": [], "next": null }))
        }
        // An older server does not know it.
        "GET /v1/status" => problem(404, "this path does not exist"),
        line => panic!("unexpected request {line}"),
    })
}

#[test]
fn lists_read_all_pages() {
    let server = pages();
    let said = ask(&server, &["get", "runs", "-o", "name"]);
    assert_eq!((said.code, said.out.as_str()), (0, "run/job-3\nrun/job-2\nrun/job-1\n"));
    assert_eq!(server.asked()[0].authorization.as_deref(), Some("Bearer word"));
    assert_eq!(server.lines().len(), 2, "the status is for tables");

    let said = ask(&server, &["get"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(!said.out.contains(['\u{1b}', '\u{202e}']), "{:?}", said.out);
    expect![[r#"
        NAME   JOB                                STATUS     WAIT  AGE  REASON
        job-3  acme/web test\u{1b}[31m\u{202e} 3  ○ waiting  3h    3h
        job-2  acme/web test\u{1b}[31m\u{202e} 2  ○ waiting  3h    3h
        job-1  acme/web test\u{1b}[31m\u{202e} 1  ○ waiting  3h    3h
    "#]]
    .assert_eq(&said.out);

    let said = ask(&server, &["get", "runs", "--limit", "2", "-o", "json"]);
    let list: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((list["items"].as_array().map(Vec::len), &list["next"]), (Some(2), &"c".into()));

    let said = ask(&server, &["get", "runs", "--phase", "running", "--repo", "acme/web"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", "no runs found\n"));
    let said = ask(&server, &["get", "classes"]);
    assert_eq!((said.code, said.err.as_str()), (0, "no classes found\n"));
}

#[test]
fn an_unknown_class_is_an_error_with_the_nearest_name() {
    let class = |name: &str| {
        json!({
            "name": name, "labels": ["linux"], "limit": null, "repo_limit": null,
            "seats": 0, "machines": 0, "open_runs": 0, "waiting_runs": 0, "blocked_by": [],
        })
    };
    let server = Server::new(move |asked, _| {
        let used = asked.line.contains("class=removed");
        let items = match asked.line.as_str() {
            "GET /v1/classes" => json!([class("linux"), class("big")]),
            _ if used => json!([run(1)]),
            _ => json!([]),
        };
        Answer(200, None, json!({ "items": items, "next": null }))
    });
    let get = |kind: &str, class: &str| ask(&server, &["get", kind, "--class", class]);
    for kind in ["runs", "machines"] {
        let said = get(kind, "linus");
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{kind}");
        assert!(said.err.contains("class `linus` not found"), "{}", said.err);
        assert!(said.err.contains("did you mean `linux`?"), "{}", said.err);
        let said = get(kind, "linux");
        assert_eq!((said.code, said.out.as_str()), (0, ""), "{kind}: {}", said.err);
    }
    assert_eq!(get("runs", "removed").code, 0, "a run still has it");
    assert_eq!(get("machines", "removed").code, 3);
}

#[test]
fn a_single_object_is_printed_without_a_list() {
    let server = pages();
    for args in [["get", "run/job-2"], ["get", "job-2"], ["get", "runs/job-2"]] {
        let said = ask(&server, &[&args[..], &["-o", "json"]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(!said.out.contains(['\u{1b}', '\u{202e}']), "{:?}", said.out);
        let thing: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(thing["spec"]["about"]["job"], "test\u{1b}[31m\u{202e} 2");
        assert_eq!(thing["name"], "job-2");
    }
    let said = ask(&server, &["get", "runs", "job-2", "-o", "yaml"]);
    assert!(said.out.contains("\nname: job-2\n"), "{}", said.out);
    let back: Value = serde_saphyr::from_str(&said.out).expect("YAML");
    assert_eq!(back["spec"]["job"]["job_id"], 2);
    let said = ask(&server, &["describe", "run/job-2"]);
    assert!(said.out.starts_with("Name:           job-2\n"), "{}", said.out);
    let internals = ["UID:", "Version:", "Due:"];
    assert!(internals.iter().all(|title| !said.out.contains(title)), "{}", said.out);
    let said = ask(&server, &["describe", "run/job-2", "--verbose"]);
    assert!(internals.iter().all(|title| said.out.contains(title)), "{}", said.out);
}

#[test]
fn a_missing_object_exits_with_3() {
    let server = pages();
    let not_found = |args: &[&str]| {
        let said = ask(&server, args);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {}", said.err);
        said.err
    };
    let run = expect![[r#"
        error: run `job-9` not found
        hint: `tinqs-ci get runs -o name` lists the runs
    "#]];
    for args in [
        &["get", "run", "job-9"][..],
        &["get", "runs", "job-9"],
        &["get", "run/job-9"],
        &["get", "job-9"],
        &["describe", "job-9"],
        &["describe", "run/job-9"],
        &["plan", "job-9"],
        &["delete", "job-9"],
        &["retry", "job-9"],
    ] {
        run.assert_eq(&not_found(args));
    }
    expect![[r#"
        error: machine `i-\u{1b}1` not found
        hint: `tinqs-ci get machines -o name` lists the machines
    "#]]
    .assert_eq(&not_found(&["get", "machine/i-\u{1b}1"]));
    expect![[r#"
        error: class `linux` not found
        hint: `tinqs-ci get classes -o name` lists the classes
    "#]]
    .assert_eq(&not_found(&["get", "class", "linux"]));
    expect![[r#"
        error: registration `7` not found
        hint: `tinqs-ci get registrations -o name` lists the registrations
    "#]]
    .assert_eq(&not_found(&["get", "registration", "7"]));
    let machine = expect![[r#"
        error: machine `i-1` not found
        hint: `tinqs-ci get machines -o name` lists the machines
    "#]];
    machine.assert_eq(&not_found(&["terminate", "i-1", "--dry-run"]));
    // Details from the server are printed.
    expect![[r#"
        error: machine `i-1` not found: its attempt ID is not ours
        hint: `tinqs-ci get machines -o name` lists the machines
    "#]]
    .assert_eq(&not_found(&["terminate", "i-1"]));
}

#[test]
fn an_invalid_run_name_exits_with_3_without_a_request() {
    let server = Server::new(|asked, _| panic!("unexpected request {}", asked.line));
    let expected = expect![[r#"
        error: run `web` not found
        hint: a run is named `job-<number>` or `push-<16 hex digits>`; `tinqs-ci get runs -o name` lists the runs
    "#]];
    for args in [
        &["get", "run", "web"][..],
        &["get", "runs", "web"],
        &["get", "run/web"],
        &["describe", "web"],
        &["describe", "run/web"],
        &["plan", "web"],
        &["delete", "web"],
        &["retry", "web"],
    ] {
        let said = ask(&server, args);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {}", said.err);
        expected.assert_eq(&said.err);
    }
    for (name, shown) in [("../x", "../x"), ("job-\u{1b}[2J", "job-\\u{1b}[2J"), ("", "")] {
        let said = ask(&server, &["describe", name]);
        assert_eq!(said.code, 3, "{}", said.err);
        let line = format!("error: run `{shown}` not found\n");
        assert!(said.err.starts_with(&line), "{}", said.err);
    }
}

#[test]
fn an_unreachable_server_exits_with_4() {
    let url = format!("http://127.0.0.1:{}", free_port());
    for args in [&["get"][..], &["describe", "job-1"], &["plan", "job-1"], &["sweep"]] {
        let said =
            said(command(&[args, &["--server", &url]].concat(), &[]).output().expect("runs"));
        assert_eq!((said.code, said.out.as_str()), (4, ""), "{args:?}");
        let expected = format!(
            "error: cannot reach the server at {url}/: Connection refused (os error 111)\n\
             hint: start it with `tinqs-ci serve`, or name another with --server or TINQS_CI_URL\n"
        );
        assert_eq!(said.err, expected);
    }
}

#[test]
fn rejections_of_the_server_are_printed() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/machines" => problem(401, "the API token is missing or wrong"),
        "GET /v1/classes" => problem(503, "cannot reach the store\u{1b}[2J"),
        "GET /v1/registrations" => Answer(404, None, json!("no such page")),
        _ => Answer(200, None, json!({ "hello": "world" })),
    });
    let errors = ["machines", "classes", "registrations", "runs"].map(|kind| {
        let said = ask(&server, &["get", kind]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{kind}");
        said.err.replace(&server.url, "URL")
    });
    expect![[r#"
        error: the server rejected the request: 401 Unauthorized: the API token is missing or wrong
        hint: give a token of the server's `server.token` with --token-file or TINQS_CI_API_TOKEN
        error: the server rejected the request: 503 Service Unavailable: cannot reach the store\u{1b}[2J
        hint: see the server's log, or run `tinqs-ci doctor` on its host
        error: unexpected response from URL/: 404 Not Found without a problem document
        hint: check that --server or TINQS_CI_URL names a tinqs-ci server
        error: unexpected response from URL/: missing field `items` at line 1 column 17
        hint: check that --server or TINQS_CI_URL names a tinqs-ci server
    "#]].assert_eq(&errors.concat());
}

#[test]
fn changes_name_the_version_that_was_read() {
    let server = Server::new(|asked, before| match (asked.line.as_str(), before) {
        ("GET /v1/runs/job-2", 0) => Answer(200, Some("\"5\""), run_at(5)),
        ("GET /v1/runs/job-2", _) => Answer(200, Some("\"6\""), run_at(6)),
        ("DELETE /v1/runs/job-2?now=true" | "POST /v1/runs/job-2/retry", _) => {
            match asked.if_match.as_deref() {
                Some("\"6\"") => Answer(202, None, Value::Null),
                _ => problem(412, "it has changed"),
            }
        }
        (line, _) => panic!("unexpected request {line}"),
    });
    let said = ask(&server, &["delete", "run/job-2", "--now"]);
    assert_eq!((said.code, said.out.as_str()), (0, "run/job-2 deleted\n"), "{}", said.err);
    assert_eq!(
        server.lines(),
        [
            "GET /v1/runs/job-2",
            "DELETE /v1/runs/job-2?now=true",
            "GET /v1/runs/job-2",
            "DELETE /v1/runs/job-2?now=true",
        ]
    );
    let said = ask(&server, &["retry", "job-2"]);
    assert_eq!((said.code, said.out.as_str()), (0, "run/job-2 retried\n"));
    let asked = server.asked().len();
    let said = ask(&server, &["delete", "job-2", "--dry-run"]);
    assert_eq!((said.code, said.out.as_str()), (0, "run/job-2 deleted (dry run)\n"));
    assert_eq!(server.asked().len(), asked + 1, "it was only read");
}

#[test]
fn a_retry_of_a_finished_run_says_where_to_re_run_its_job() {
    let url = "https://git.example.com/acme/web/actions/runs/812/jobs/2";
    let server = Server::new(move |asked, _| match asked.line.as_str() {
        "GET /v1/runs/job-2" => {
            let mut run = run_at(5);
            run["status"]["phase"] = "Finished".into();
            run["status"]["outcome"] = "Failed".into();
            run["spec"]["about"]["url"] = url.into();
            Answer(200, Some("\"5\""), run)
        }
        line => panic!("unexpected request {line}"),
    });
    for args in [&["retry", "job-2"][..], &["retry", "job-2", "--dry-run"]] {
        let said = ask(&server, args);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
        let expected = format!(
            "error: run/job-2 is finished (Failed): there is nothing to retry\n\
             hint: re-run its job at the forge: {url}\n"
        );
        assert_eq!(said.err, expected);
    }
}

#[test]
fn a_retry_of_a_run_that_gave_up_or_is_deleted_is_sent() {
    for (field, value) in [("/status/outcome", "GaveUp"), ("/deleted_at", "2026-11-24T12:00:00Z")] {
        let server = Server::new(move |asked, _| match asked.line.as_str() {
            "GET /v1/runs/job-2" => {
                let mut run = run_at(5);
                run["status"]["phase"] = "Finished".into();
                run["status"]["outcome"] = "Failed".into();
                run["deleted_at"] = Value::Null;
                *run.pointer_mut(field).expect("a field") = value.into();
                Answer(200, Some("\"5\""), run)
            }
            "POST /v1/runs/job-2/retry" => Answer(202, None, Value::Null),
            line => panic!("unexpected request {line}"),
        });
        let said = ask(&server, &["retry", "job-2"]);
        assert_eq!((said.code, said.out.as_str()), (0, "run/job-2 retried\n"), "{}", said.err);
    }
}

#[test]
fn delete_says_what_it_does_not_do() {
    let notes = |phase: &'static str, runner: Option<&'static str>, args: &[&str]| {
        let server = Server::new(move |asked, _| match asked.line.as_str() {
            "GET /v1/runs/job-2" => {
                let mut run = run_at(5);
                run["status"]["phase"] = phase.into();
                run["status"]["runner"] = runner.into();
                Answer(200, Some("\"5\""), run)
            }
            "DELETE /v1/runs/job-2" | "DELETE /v1/runs/job-2?now=true" => {
                Answer(202, None, Value::Null)
            }
            line => panic!("unexpected request {line}"),
        });
        let said = ask(&server, &[&["delete", "job-2"], args].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.err
    };
    let own = Some("tq-job-2-15fec04f-1");
    expect![[r#"
        note: its job goes on; the machine ends itself after it; use --now to end the machine at once
        note: its job loses its machine: Gitea usually fails it 10 to 15 min later
        note: its job goes on: it runs on the machine of job-5
        note: its job stays queued at the forge and gets no machine
    "#]]
    .assert_eq(
        &[
            notes("Running", own, &["--dry-run"]),
            notes("Running", own, &["--now"]),
            notes("Running", Some("tq-job-5-15fec04f-1"), &["--now"]),
            notes("Waiting", None, &[]),
        ]
        .concat(),
    );
    assert_eq!(notes("Finished", own, &[]), "");
}

/// A machine as the API shows it.
fn machine(id: &str, doing: &str) -> Value {
    let job = json!({
        "run": "job-5", "repo": "acme/shop", "name": "test\u{1b}[2J",
        "url": "https://git.example.com/acme/shop/actions/runs/5/jobs/5",
    });
    let state = if doing == "gone" { "gone" } else { "up" };
    json!({
        "id": id, "attempt_id": "tq-job-5-15fec04f-1", "run": "job-5", "class": "linux",
        "kind": "process", "zone": "", "market": "on-demand", "state": state, "doing": doing,
        "job": if doing == "job" { job } else { Value::Null },
        "launched_at": "2026-11-24T12:00:00Z", "deadline": "2036-11-24T18:00:00Z",
    })
}

#[test]
fn terminate_says_what_follows() {
    let all = ["busy", "idle", "gone"];
    let server = Server::new(move |asked, _| match asked.line.as_str() {
        "GET /v1/machines" => {
            let items = [machine("busy", "job"), machine("idle", "idle"), machine("gone", "gone")];
            Answer(200, None, json!({ "items": items, "next": null }))
        }
        "POST /v1/machines/busy/terminate" => Answer(202, None, machine("busy", "job")),
        "POST /v1/machines/idle/terminate" => Answer(202, None, machine("idle", "idle")),
        "POST /v1/machines/gone/terminate" => problem(404, "this machine is gone already"),
        "POST /v1/machines/a%2Fb%3Fc/terminate" => Answer(202, None, machine("a/b?c", "up")),
        line => panic!("unexpected request {line}"),
    });
    let mut texts = String::new();
    for more in [&[][..], &["--dry-run"]] {
        for id in all {
            let said = ask(&server, &[&["terminate", id], more].concat());
            assert_eq!(said.code, if id == "gone" { 3 } else { 0 }, "{}", said.err);
            texts += &said.out;
            texts += &said.err;
        }
    }
    expect![[r#"
        machine/busy terminated
        note: its job acme/shop test\u{1b}[2J is running: Gitea usually fails it 10 to 15 min later
        machine/idle terminated
        note: it had no job; job-5 gets another machine if its job still waits
        error: machine `gone` not found: this machine is gone already
        hint: `tinqs-ci get machines -o name` lists the machines
        machine/busy terminated (dry run)
        note: its job acme/shop test\u{1b}[2J is running: Gitea usually fails it 10 to 15 min later
        machine/idle terminated (dry run)
        note: it had no job; job-5 gets another machine if its job still waits
        error: machine `gone` is gone already
        hint: `tinqs-ci get machines -o name` lists the machines
    "#]]
    .assert_eq(&texts);
    let said = ask(&server, &["terminate", "machine/a/b?c"]);
    assert_eq!((said.code, said.out.as_str()), (0, "machine/a/b?c terminated\n"), "{}", said.err);
}

#[test]
fn names_are_cut_to_the_width_that_columns_says() {
    let server = pages();
    let env = |columns| [("TINQS_CI_URL", server.url.as_str()), ("COLUMNS", columns)];
    let get = |columns| said(command(&["get", "runs"], &env(columns)).output().expect("it runs"));
    let narrow = get("60");
    assert_eq!(narrow.code, 0, "{}", narrow.err);
    assert!(narrow.out.lines().any(|line| line.contains('…')), "{}", narrow.out);
    assert!(narrow.out.lines().all(|line| line.chars().count() <= 60), "{}", narrow.out);
    for odd in ["0", "-1", "x", ""] {
        assert!(!get(odd).out.contains('…'), "COLUMNS={odd}");
    }
    assert_eq!(get("1").out.lines().count(), 4);
}

/// The same run at some version.
fn run_at(version: u64) -> Value {
    let mut run = run(2);
    run["uid"] = "15fec04f-9728-5b63-a2bc-98ae0eefc2af".into();
    run["version"] = version.into();
    run
}

#[test]
fn a_replaced_run_is_not_changed() {
    let server = Server::new(|asked, _| match asked.line.as_str() {
        "GET /v1/runs/job-2" => {
            let mut run = run(2);
            // Every read finds a new run.
            run["uid"] = format!("15fec04f-9728-5b63-a2bc-{:012x}", nanos()).into();
            Answer(200, Some("\"1\""), run)
        }
        _ => problem(412, "it has changed"),
    });
    let said = ask(&server, &["delete", "job-2"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("replaced meanwhile, nothing was changed"), "{}", said.err);
}

fn nanos() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn plan_exits_with_2_if_changes_are_planned() {
    let server = Server::new(|asked, _| {
        let settled = asked.line == "GET /v1/runs/job-1/plan";
        let change = json!({
            "sign": "-", "what": "registration 4711", "verb": "retire",
            "why": "its machine is gone", "rule": "registration spent (rule 23)",
        });
        let changes = if settled { json!([]) } else { json!([change]) };
        let plan = json!({
            "name": "job-1", "settled": settled, "phase": "Running", "next_phase": "Running",
            "rule": "job running (rule 5)", "changes": changes, "observation": null,
        });
        Answer(200, None, plan)
    });
    let said = ask(&server, &["plan", "job-1", "--exit-code"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (0, "settled in Running: nothing to do; job running\n")
    );
    let said = ask(&server, &["plan", "job-2", "--exit-code"]);
    assert_eq!(said.code, 2);
    expect![[r#"
        - registration 4711  retire      its machine is gone
        1 change
    "#]]
    .assert_eq(&said.out);
    let said = ask(&server, &["plan", "job-2", "-v"]);
    assert!(
        said.out.contains("its machine is gone; registration spent (rule 23)\n"),
        "{}",
        said.out
    );
    assert_eq!(ask(&server, &["plan", "job-2"]).code, 0);
    let said = ask(&server, &["plan", "job-2", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).expect("JSON")["settled"], false);
}

#[test]
fn sweep_prints_its_report() {
    let server = Server::new(|_, before| {
        let errors: &[&str] = if before == 0 { &[] } else { &["forge waiting: unavailable: x"] };
        let report = json!({
            "leader": true, "waiting_jobs": 3, "unserved_jobs": 1, "created": 2, "woken": 4,
            "machines": 5, "registrations": 6, "seats": 0, "errors": errors,
        });
        Answer(200, None, report)
    });
    let said = ask(&server, &["sweep"]);
    assert_eq!(said.code, 0, "{}", said.err);
    expect![[r#"
        waiting jobs    3, 1 without a matching class
        machines        5
        registrations   6
        seats           0
        runs            2 created, 4 woken
    "#]]
    .assert_eq(&said.out);
    let said = ask(&server, &["sweep"]);
    assert_eq!(said.code, 1);
    assert!(said.out.ends_with("! forge waiting: unavailable: x\n"), "{}", said.out);
}

#[test]
fn reload_prints_what_changed_and_what_needs_a_restart() {
    let server = Server::new(|asked, before| {
        assert_eq!(asked.line, "POST /v1/reload");
        let reloaded = match before {
            0 => json!({
                "changed": ["forge.token", "class linux: changed limit"],
                "restart": ["server.api"],
                "warnings": ["ci.toml:3: class \"a\": labels: never match a job"],
            }),
            _ => json!({ "changed": [], "restart": [], "warnings": [] }),
        };
        Answer(200, None, reloaded)
    });
    let said = ask(&server, &["reload"]);
    assert_eq!(said.code, 0, "{}", said.err);
    expect![[r#"
        forge.token
        class linux: changed limit
        server.api: restart to apply
        ! ci.toml:3: class "a": labels: never match a job
    "#]]
    .assert_eq(&said.out);
    assert_eq!(ask(&server, &["reload"]).out, "nothing has changed\n");
    let said = ask(&server, &["reload", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).expect("JSON")["changed"], json!([]));
}

#[test]
fn reload_of_a_broken_configuration_exits_with_2() {
    let server = Server::new(|_, _| {
        let detail = "ci.toml:1: stor: is not a known key\nci.toml:4: forge.url: is missing";
        let problem = json!({
            "type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": detail,
        });
        Answer(422, None, problem)
    });
    let said = ask(&server, &["reload"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    expect![[r#"
        error: ci.toml:1: stor: is not a known key
        error: ci.toml:4: forge.url: is missing
        hint: fix it on the server's host; the former configuration stays in force
    "#]]
    .assert_eq(&said.err);
}

#[test]
fn watch_prints_changes() {
    let server = Server::new(|_, before| {
        let (mut first, mut second) = (run_at(1), run_at(1));
        first["name"] = "job-1".into();
        second["version"] = before.into();
        Answer(200, None, json!({ "items": [first, second], "next": null }))
    });
    let env = [("TINQS_CI_URL", server.url.as_str())];
    let mut child = command(&["get", "runs", "-w", "-o", "name"], &env)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    // `created_at` of the scripted run moves with each answer, so both rows change each time; the
    // first four lines prove that it keeps running.
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines: Vec<String> = lines.take(4).map(|line| line.expect("a line")).collect();
    assert_eq!(lines, ["run/job-1", "run/job-2", "run/job-1", "run/job-2"]);
    child.kill().expect("it was still watching");
    child.wait().expect("it ends");
}
