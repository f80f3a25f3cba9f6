//! Runs the suggested commands as printed, against a server with one job that runs.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tinqs_ci_test_host::{Host, OWN_TOKEN, Options, SECRET, TOKEN};

use super::{Suggestion, Values, Words, suggestions, words};

/// Commands that are not run: their first words, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("serve", "it serves until it is stopped"),
    ("lambda", "it needs the runtime of AWS"),
    ("demo", "it has a test of its own"),
    ("init", "it asks questions and writes files; tests/cli/init.rs"),
    ("backup", "it writes a file; tests/cli/backup.rs"),
    ("restore", "the server must be stopped; tests/cli/backup.rs"),
    ("rebuild", "the server must be stopped; tests/black_box/lost_store.rs"),
    ("webhook add", "it needs an address that the forge reaches; tests/cli/webhook.rs"),
    ("webhook test", "it waits for a delivery; tests/cli/webhook.rs"),
    ("webhook remove", "it ends the webhook of the host; tests/cli/webhook.rs"),
];
/// Options with which a command does not end by itself.
const ENDLESS: &[&str] = &["-w", "--watch", "-f", "--follow", "--stay"];
/// Commands that change what others read: they run last, in this order.
const LAST: &[&str] = &["pause", "resume", "sweep", "reload", "retry", "terminate", "delete"];
/// Commands with another exit code than 0: their first words, the code, and why.
const OTHER_CODES: &[(&str, i32, &str)] =
    &[("explain push", 3, "the simulated forge of the host has jobs without commits")];
/// The longest time that a command may take.
const PATIENCE: Duration = Duration::from_mins(1);

fn begins(words: &Words, with: &str) -> bool {
    let Words(words) = words;
    let with: Vec<&str> = with.split(' ').collect();
    words.len() >= with.len() && words.iter().zip(&with).all(|(word, wanted)| word == wanted)
}

fn is_run(words: &Words) -> bool {
    let endless = words.0.iter().any(|word| ENDLESS.contains(&word.as_str()));
    !endless && NOT_RUN.iter().all(|(verb, _)| !begins(words, verb))
}

/// Starts a server whose class is full: a job runs and another waits.
async fn host() -> (Host, Values) {
    let class = "labels = [\"linux\"]\nlimit = 1\nboot_within = \"20s\"";
    let program = env!("CARGO_BIN_EXE_tinqs-ci");
    let mut host = Host::new(program, &Options { class, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 300")[0];
    host.until("the job runs", 60, async |host| {
        let machines = host.get("/v1/machines").await;
        machines["items"][0]["doing"] == "job"
    })
    .await;
    let machines = host.get("/v1/machines").await;
    let machine = machines["items"][0]["id"].as_str().expect("an ID").to_owned();
    let values = Values {
        run: format!("job-{job}"),
        machine,
        class: "linux".to_owned(),
        repo: "acme/widget".to_owned(),
        branch: "main".to_owned(),
        server: host.url(""),
    };
    (host, values)
}

fn run(host: &Host, words: &Words) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_tinqs-ci"))
        .args(&words.0)
        .current_dir(host.dir.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", host.dir.path().join("bin").display()))
        .env("HOME", host.dir.path())
        .env("TINQS_CI_URL", host.url(""))
        .env("TINQS_CI_API_TOKEN", OWN_TOKEN)
        .env("OWN_TOKEN", OWN_TOKEN)
        .env("FORGE_TOKEN", TOKEN)
        .env("HOOK_SECRET", SECRET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let id = Pid::from_child(&child);
    // Its output is read while it runs: a schema is larger than a pipe.
    let (send, ended) = mpsc::channel();
    std::thread::spawn(move || send.send(child.wait_with_output()));
    let output = ended.recv_timeout(PATIENCE).or_else(|_| {
        let _ = kill_process(id, Signal::KILL);
        ended.recv_timeout(PATIENCE)
    });
    output.expect("it ends").expect("its output")
}

#[tokio::test(flavor = "multi_thread")]
async fn suggested_commands_do_what_they_say() {
    let (host, values) = host().await;
    let all = suggestions();
    let all: BTreeSet<Words> =
        all.iter().map(|Suggestion { text, .. }| words(text, &values)).filter(is_run).collect();
    let mut all: Vec<Words> = all.into_iter().collect();
    let place = |words: &Words| LAST.iter().position(|verb| begins(words, verb));
    all.sort_by_key(|words| place(words).map_or(0, |place| place + 1));
    assert!(all.len() > 20, "commands are found: {all:?}");
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for words in &all {
        let other = OTHER_CODES.iter().find(|(verb, ..)| begins(words, verb));
        used.extend(other.map(|(verb, ..)| *verb));
        let expected = other.map_or(0, |(_, code, _)| *code);
        let output = tokio::task::block_in_place(|| run(&host, words));
        if output.status.code() != Some(expected) {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            wrong.push(format!("tinqs-ci {}: {}: {told}", words.0.join(" "), output.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (verb, _, why) in OTHER_CODES {
        assert!(used.contains(verb) && why.len() > 10, "{verb} is no exception any more");
    }
}

#[test]
fn every_command_that_is_not_run_is_suggested() {
    let values = Values::well_formed();
    let all: Vec<Words> = suggestions().iter().map(|s| words(&s.text, &values)).collect();
    for (verb, why) in NOT_RUN {
        assert!(why.len() > 10 && all.iter().any(|words| begins(words, verb)), "{verb} is not");
    }
}
