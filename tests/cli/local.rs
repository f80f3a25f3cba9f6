//! Commands that call no server, and usage errors.

use std::io::Write as _;
use std::process::Stdio;

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::{command, failure_in_log, said, tinqs, tinqs_in};

#[track_caller]
fn wrong(args: &[&str], expected: &Expect) {
    let said = tinqs(args);
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{}", said.err);
    expected.assert_eq(&said.err);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn usage_errors_have_a_message_and_a_hint() {
    wrong(
        &["gett"],
        &expect![[r#"
        error: unrecognized subcommand 'gett'
        hint: a similar subcommand exists: 'get'; usage: tinqs-ci <COMMAND>
    "#]],
    );
    wrong(
        &["get", "--outputt", "json"],
        &expect![[r#"
        error: unexpected argument '--outputt' found
        hint: a similar argument exists: '--output'; usage: tinqs-ci get --output <OUTPUT> [KIND] [NAME]
    "#]],
    );
    wrong(
        &["get", "-o", "xml"],
        &expect![[r#"
        error: invalid value 'xml' for '--output <OUTPUT>' [possible values: table, wide, json, yaml, name]
        hint: a similar value exists: 'yaml'
    "#]],
    );
    wrong(
        &["get", "pods"],
        &expect![[r#"
            error: unknown kind `pods`
            hint: expected runs, machines, registrations, classes, events, or KIND/NAME
        "#]],
    );
    wrong(
        &["get", "machines", "--phase", "running"],
        &expect![[r#"
            error: --phase, --repo and --limit are for runs
            hint: remove them, or use `tinqs-ci get runs`
        "#]],
    );
    wrong(
        &["get", "classes", "--class", "x"],
        &expect![[r#"
            error: --class is for runs and machines
            hint: remove it
        "#]],
    );
    wrong(
        &["get", "--limit", "0"],
        &expect![[r#"
        error: invalid value '0' for '--limit <N>': 0 is not in 1..=4294967295
        hint: see `tinqs-ci --help`
    "#]],
    );
    wrong(
        &["describe"],
        &expect![[r#"
        error: the following required arguments were not provided: <NAME>
        hint: usage: tinqs-ci describe <NAME>
    "#]],
    );
    wrong(
        &["plan"],
        &expect![[r#"
        error: the following required arguments were not provided: <NAME>
        hint: usage: tinqs-ci plan <NAME>
    "#]],
    );
    wrong(
        &["terminate", "machine/"],
        &expect![[r#"
            error: `machine/` is not a machine ID
            hint: `tinqs-ci get machines -o name` lists the machines
        "#]],
    );
    wrong(
        &["eval", "nonsense"],
        &expect![[r#"
            error: unknown rule `nonsense`: expected one of patterns, trigger, notify, jobs, labels, changed-files, signature, workflow-path
            hint: for example `tinqs-ci eval labels < cases.ndjson`
        "#]],
    );
    wrong(
        &["eval", "labels", "--server", "1.24"],
        &expect![[r#"
        error: invalid value '1.24' for '--server <LINE>' [possible values: 1.25, 1.26, 1.27]
        hint: a similar value exists: '1.27'
    "#]],
    );
    wrong(
        &["schema", "tables"],
        &expect![[r#"
        error: invalid value 'tables' for '<KIND>' [possible values: config, run, observation, table, metrics]
        hint: a similar value exists: 'table'
    "#]],
    );
    wrong(
        &["completion", "cmd"],
        &expect![[r#"
        error: invalid value 'cmd' for '<SHELL>' [possible values: bash, elvish, fish, powershell, zsh]
        hint: see `tinqs-ci --help`
    "#]],
    );
    wrong(
        &["demo", "--speed", "0"],
        &expect![[r#"
            error: --speed 0 is not valid: expected 0.01 to 100
            hint: 1 is the default
        "#]],
    );
    wrong(
        &["get", "--server", "localhost"],
        &expect![[r#"
            error: `localhost` is not a server address: expected one such as http://127.0.0.1:8081
            hint: set --server or TINQS_CI_URL to the server's address
        "#]],
    );
}

#[test]
fn no_arguments_show_the_help() {
    let said = tinqs(&[]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("Usage: tinqs-ci"), "{}", said.err);
    let said = tinqs(&["--version"]);
    assert_eq!((said.code, said.out.as_str()), (0, "tinqs-ci 0.1.0\n"));
}

#[test]
fn version_prints_name_version_and_features() {
    let said = tinqs(&["version"]);
    assert_eq!((said.code, said.out.as_str()), (0, "tinqs-ci 0.1.0\n"));
    let said = tinqs(&["version", "-o", "json"]);
    let version: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&version["name"], &version["version"]), (&"tinqs-ci".into(), &"0.1.0".into()));
    assert!(version["features"].is_array());
}

#[test]
fn printed_schemas_are_valid() {
    for kind in ["config", "run", "observation"] {
        let said = tinqs(&["schema", kind]);
        assert_eq!(said.code, 0, "{}", said.err);
        let schema: Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{kind}");
        jsonschema::validator_for(&schema).expect("a schema");
    }
    let table = tinqs(&["schema", "table"]);
    assert_eq!((table.code, table.err.as_str()), (0, ""));
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/table.json");
    assert_eq!(table.out, std::fs::read_to_string(committed).expect("it is there"));
    let table: Value = serde_json::from_str(&table.out).expect("JSON");
    assert_eq!(table["create_table"]["KeySchema"][0]["AttributeName"], "run_id");
    let metrics = tinqs(&["schema", "metrics"]);
    assert_eq!(metrics.code, 0, "{}", metrics.err);
    assert!(metrics.out.contains("tinqs_ci_"), "{}", metrics.out);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = tinqs(&["completion", shell]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert!(said.out.contains("TINQS_CI_COMPLETE"), "{shell}: {}", said.out);
    }
}

#[test]
fn all_configuration_mistakes_are_reported_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tinqs-ci.toml");
    std::fs::write(&file, "stor = 1\n[forge]\nurl = \"x\"\npoll_every = 3\n").expect("written");
    let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], &[]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    expect![[r#"
        ./tinqs-ci.toml:1: stor: is not a known key; did you mean `store`?
        ./tinqs-ci.toml:3: forge.url: "x" is not valid: expected an address such as "https://git.example.com"
        ./tinqs-ci.toml:4: forge.poll_every: expected a duration such as "90s", "5m" or "1h 30m", not a number
        hint: fix the lines above; `tinqs-ci schema config` lists every key
    "#]].assert_eq(&failure_in_log(&said.err));
    let said =
        tinqs_in(folder.path(), &["serve", "--insecure-root", "--config", "other.toml"], &[]);
    assert_eq!(said.code, 2);
    expect![[r#"
        other.toml: cannot read the configuration: No such file or directory (os error 2)
        hint: create one with `tinqs-ci init`, or name another with `--config FILE`
    "#]]
    .assert_eq(&failure_in_log(&said.err));
    let said = tinqs_in(folder.path(), &["doctor", "--offline", "-o", "json"], &[]);
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(report["failed"], 3);
    let empty = tempfile::tempdir().expect("a folder");
    let said = tinqs_in(empty.path(), &["serve", "--insecure-root"], &[]);
    assert_eq!(said.code, 2);
    expect![[r#"
        no configuration: ./tinqs-ci.toml does not exist, and neither TINQS_CI_FORGE__URL nor GITEA_URL is set
        hint: create one with `tinqs-ci init`, or name one with `--config FILE`; `tinqs-ci demo` needs none
    "#]].assert_eq(&failure_in_log(&said.err));
}

#[test]
fn doctor_checks_this_host() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("tinqs-ci.toml"),
        "[forge]\nurl = \"http://127.0.0.1:9\"\ntoken = { env = \"T\" }\n[server]\nwebhooks = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\n",
    )
    .expect("written");
    let said =
        tinqs_in(folder.path(), &["doctor", "--offline"], &[("T", "x-long-token"), ("PATH", "")]);
    assert_eq!(said.code, 1, "{}", said.out);
    for line in [
        "✓ configuration           ./tinqs-ci.toml, 1 class\n",
        "✗ runner                  neither gitea-runner nor act_runner is in PATH\n",
        "✗ bash                    not in PATH\n",
    ] {
        assert!(said.out.contains(line), "{}", said.out);
    }
    assert!(!said.out.contains("forge.url"), "the forge was not asked: {}", said.out);
    let said = tinqs_in(folder.path(), &["doctor"], &[("T", "x-long-token"), ("PATH", "")]);
    assert!(
        said.out.contains("✗ forge                   cannot reach http://127.0.0.1:9"),
        "{}",
        said.out
    );
}

#[test]
fn plan_of_a_file_needs_no_server() {
    let observation = r#"{"now":"2026-11-24T12:00:00Z","name":"job-1","job":"Absent",
        "registrations":"Unknown","room":true}"#;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("seen.json"), observation).expect("written");
    let said = tinqs_in(folder.path(), &["plan", "-f", "seen.json", "--exit-code"], &[]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "settled: nothing to do; no record\n");

    let mut child = command(&["plan", "-f", "-", "-o", "json"], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(observation.as_bytes()).expect("it reads");
    let answer = said_of(child);
    assert_eq!(answer.code, 0);
    assert_eq!(serde_json::from_str::<Value>(&answer.out).expect("JSON")["settled"], true);

    std::fs::write(folder.path().join("bad.json"), "{\n\"now\": 3}").expect("written");
    let said = tinqs_in(folder.path(), &["plan", "-f", "bad.json"], &[]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("line 2"), "{}", said.err);
    assert_eq!(tinqs_in(folder.path(), &["plan", "-f", "none.json"], &[]).code, 2);
}

/// An observation of a finished run with this stored `due`, as input of `plan -f`.
fn finished(due: &str) -> String {
    format!(
        r#"{{
        "now": "2026-11-24T12:00:00Z", "name": "job-1", "job": {{"Done": {{"conclusion": "Success"}}}},
        "registrations": {{"Seen": []}}, "room": true,
        "run": {{
            "name": "job-1", "uid": "0a1b2c3d-0000-5000-8000-000000000000", "version": 3,
            "created_at": "2026-11-24T11:50:00Z",
            "spec": {{
                "job": {{"repo": "acme/site", "repo_id": 7, "job_id": 1}}, "runs_on": ["linux"]
            }},
            "status": {{
                "phase": "Finished", "next": 2, "waiting_since": "2026-11-24T11:50:00Z",
                "finished_at": "2026-11-24T11:55:00Z", "outcome": "Succeeded", "due": "{due}"
            }}
        }}}}"#
    )
}

#[test]
fn a_plan_is_settled_only_if_the_controller_would_write_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = |due: &str| {
        std::fs::write(folder.path().join("seen.json"), finished(due)).expect("written");
        tinqs_in(folder.path(), &["plan", "-f", "seen.json", "--exit-code"], &[])
    };
    // Kept for a week after its end.
    let said = plan("2026-12-01T11:55:00Z");
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        settled in Finished: nothing to do; job done
    "#]]
    .assert_eq(&said.out);
    // The run would never be reconciled again: the controller corrects the due time.
    let said = plan("9999-12-01T00:00:00Z");
    assert_eq!((said.code, said.err.as_str()), (2, ""), "{}", said.out);
    expect![[r#"
        ~ run                write       stays Finished: due 9999-12-01T00:00:00Z becomes 2026-12-01T11:55:00Z
        1 change
    "#]]
    .assert_eq(&said.out);
}

fn said_of(child: std::process::Child) -> crate::CommandOutput {
    said(child.wait_with_output().expect("it ends"))
}

#[test]
fn eval_answers_each_line() {
    let mut child = command(&["eval", "labels"], &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let cases = "{\"id\":1,\"runner\":[\"linux\"],\"runs_on\":[\"linux\"]}\nno JSON\n";
    child.stdin.take().expect("piped").write_all(cases.as_bytes()).expect("it reads");
    let answer = said_of(child);
    assert_eq!(answer.code, 1);
    let lines: Vec<Value> =
        answer.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["match"]), (&1.into(), &true.into()));
    assert!(lines[1]["problem"].is_string());
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = command(&["schema", "observation"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let answer = said_of(child);
    assert_eq!((answer.code, answer.err.as_str()), (0, ""));
}
