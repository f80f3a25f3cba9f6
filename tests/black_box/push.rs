//! Demand from pushes: only a push webhook is installed, and the job list is never read.

use jiff::Timestamp;
use serde_json::Value;
use tinqs_ci_simulator::forge::{JobSpec, PullRequest, Push, Status};

use crate::SUCCESS;
use tinqs_ci_test_host::{Host, Options};

const REPO: &str = "acme/widget";
const MAIN: &str = "refs/heads/main";
const FILE: &str = ".gitea/workflows/ci.yml";

/// A workflow with one job for pushes that change `src/`.
const FILTERED: &str = "\
on:
  push:
    branches: [main]
    paths: ['src/**']
jobs:
  build:
    runs-on: linux
    steps:
      - run: true
";

/// A workflow with a job that needs another one.
const TWO_WAVES: &str = "\
on: push
jobs:
  test:
    runs-on: linux
    needs: build
    steps:
      - run: true
  build:
    runs-on: linux
    steps:
      - run: true
";

fn options() -> Options {
    Options { demand: "push", ..Options::default() }
}

fn job(name: &str, script: &str, needs: &[usize]) -> JobSpec {
    JobSpec {
        script: Some(script.to_owned()),
        needs: needs.to_vec(),
        ..JobSpec::new(name, &["linux"])
    }
}

/// Starts a host whose repository already contains this workflow.
async fn host_with(workflow: &str) -> Host {
    let mut host = crate::host(&options());
    {
        let mut forge = host.forge();
        let changes = [(FILE, Some(workflow)), ("README.md", Some("hello"))];
        let push = Push { git_ref: MAIN, changes: &changes, message: "begin", runs: &[] };
        forge.push_commit(Timestamp::now(), REPO, &push);
        forge.take_webhooks();
    }
    host.start().await;
    host
}

/// Pushes to the main branch. Returns the commit and the forge's jobs.
fn commit(
    host: &Host,
    changes: &[(&str, Option<&str>)],
    runs: &[Vec<JobSpec>],
) -> (String, Vec<i64>) {
    let push = Push { git_ref: MAIN, changes, message: "a change", runs };
    host.forge().push_commit(Timestamp::now(), REPO, &push)
}

/// Returns the number of evaluated pushes from the log.
fn evaluated(host: &Host) -> usize {
    let log = std::fs::read_to_string(host.log()).unwrap_or_default();
    log.lines().filter(|line| line.contains("evaluated push")).count()
}

async fn until_evaluated(host: &Host, count: usize) {
    host.until("the push is evaluated", 60, async |host| evaluated(host) >= count).await;
}

async fn runs(host: &Host) -> Vec<Value> {
    let runs = host.get("/v1/runs?limit=500").await;
    runs["items"].as_array().cloned().unwrap_or_default()
}

/// Asserts that the job list was never polled.
fn assert_no_list_read(host: &Host) {
    let calls = host.wire.counters().calls;
    // The server reads it only at its start, to check the token's rights.
    let lists = calls.iter().filter(|(call, _)| call.ends_with("/actions/jobs"));
    assert!(lists.map(|(_, count)| count).sum::<u64>() <= 2, "{calls:?}");
}

pub(crate) async fn a_matching_push_runs_one_job_and_others_none() {
    let host = host_with(FILTERED).await;
    // A push outside of the filter makes neither a job nor a run.
    commit(&host, &[("README.md", Some("changed"))], &[]);
    until_evaluated(&host, 1).await;
    assert_eq!(runs(&host).await.len(), 0);
    let before = host.wire.counters().calls;
    let (sha, jobs) = commit(&host, &[("src/a", Some("1"))], &[vec![job("build", "true", &[])]]);
    until_evaluated(&host, 2).await;
    let contents = |calls: &std::collections::BTreeMap<String, u64>| -> u64 {
        let about = ["/git/", "/file-contents", "/branches", "/contents", "/raw"];
        let of = calls.iter().filter(|(call, _)| about.iter().any(|part| call.contains(part)));
        of.map(|(_, count)| count).sum()
    };
    let calls = contents(&host.wire.counters().calls) - contents(&before);
    assert!((1..=3).contains(&calls), "{calls} calls for one push");
    host.all_done(&jobs, 60).await;
    assert_eq!(host.status(jobs[0]), SUCCESS);
    host.settles(150).await;
    assert_eq!(host.machines_ever().len(), 1);
    let all = runs(&host).await;
    assert_eq!(all.len(), 1, "{all:?}");
    let run = &all[0];
    assert!(run["name"].as_str().is_some_and(|name| name.starts_with("push-")), "{run}");
    assert_eq!(run["status"]["outcome"], "MachineEnded");
    assert_eq!(run["spec"]["about"]["commit"], sha.as_str());
    assert_eq!(run["spec"]["about"]["workflow"], "ci.yml");
    assert_no_list_read(&host);
    host.assert_no_secret_told();
}

pub(crate) async fn a_redelivered_push_changes_nothing() {
    let host = host_with(FILTERED).await;
    let (pushed, jobs) = {
        let mut forge = host.forge();
        let runs = [vec![job("build", "true", &[])]];
        let changes = [("src/a", Some("1"))];
        let push = Push { git_ref: MAIN, changes: &changes, message: "a change", runs: &runs };
        let (_, jobs) = forge.push_commit(Timestamp::now(), REPO, &push);
        let owed = forge.owed_webhooks().iter().find(|webhook| webhook.event == "push");
        (owed.expect("a push").clone(), jobs)
    };
    // Redelivers once during the launch and once at the end. Waits for the first, because two
    // deliveries in the same microsecond count as one.
    until_evaluated(&host, 1).await;
    host.forge().redeliver(pushed.clone());
    host.all_done(&jobs, 60).await;
    host.settles(150).await;
    host.forge().redeliver(pushed);
    until_evaluated(&host, 3).await;
    host.settles(30).await;
    assert_eq!(runs(&host).await.len(), 1);
    assert_eq!(host.machines_ever().len(), 1);
}

pub(crate) async fn a_blocked_job_gets_its_machine_after_its_needs() {
    let host = host_with(TWO_WAVES).await;
    let waves = vec![job("build", &host.until_released(), &[]), job("test", "true", &[0])];
    let (_, jobs) = commit(&host, &[("a", Some("1"))], &[waves]);
    until_evaluated(&host, 1).await;
    assert_eq!(runs(&host).await.len(), 2);
    host.until("the first job runs", 60, async |host| host.status(jobs[0]) == Status::Running)
        .await;
    host.until("the second run waits", 30, async |host| {
        runs(host).await.iter().any(|run| run["status"]["conditions"][0]["reason"] == "Blocked")
    })
    .await;
    assert_eq!(host.machines_ever().len(), 1, "no machine is launched for a blocked job");
    host.release_jobs();
    host.all_done(&jobs, 150).await;
    assert!(jobs.iter().all(|job| host.status(*job) == SUCCESS));
    host.settles(150).await;
    assert_eq!(host.machines_ever().len(), 2, "{:?}", host.machines_ever());
}

pub(crate) async fn a_push_during_an_outage_of_the_forge_is_not_lost() {
    let mut host = host_with(FILTERED).await;
    host.wire.faults(|faults| faults.down = true);
    let (_, jobs) = commit(&host, &[("src/a", Some("1"))], &[vec![job("build", "true", &[])]]);
    host.until("the webhook is accepted", 30, async |host| host.wire.counters().sent == 1).await;
    assert_eq!((host.wire.counters().failed, evaluated(&host)), (0, 0));
    // The controller is killed after it accepted the webhook and before it evaluates it.
    host.kill();
    host.start().await;
    host.wire.faults(|faults| faults.down = false);
    host.all_done(&jobs, 90).await;
    host.settles(150).await;
    assert_eq!(runs(&host).await.len(), 1);
    assert_eq!(host.machines_ever().len(), 1);
}

pub(crate) async fn a_pull_request_runs_the_workflow_of_its_head() {
    const ON_PULL: &str =
        "on: pull_request\njobs:\n  check:\n    runs-on: linux\n    steps:\n      - run: true\n";
    let host = host_with(FILTERED).await;
    let changes = [(".gitea/workflows/pull.yml", Some(ON_PULL))];
    let push =
        Push { git_ref: "refs/heads/topic", changes: &changes, message: "a topic", runs: &[] };
    host.forge().push_commit(Timestamp::now(), REPO, &push);
    // The branch's creation and its push, which make no run.
    until_evaluated(&host, 2).await;
    assert_eq!(runs(&host).await.len(), 0);
    let pull =
        PullRequest { number: 1, action: "opened", title: "A topic", head: "topic", base: "main" };
    let made = [vec![job("check", "true", &[])]];
    let jobs = host.forge().pull_request(Timestamp::now(), REPO, &pull, &made);
    host.all_done(&jobs, 60).await;
    host.settles(150).await;
    let all = runs(&host).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["spec"]["about"]["branch"], "refs/pull/1/head");
    assert_eq!(host.machines_ever().len(), 1);
}

/// Runs `tinqs-ci explain`, which must succeed. Returns its output.
fn explain(host: &Host, arguments: &[&str]) -> String {
    let out = host.run(&[&["explain"], arguments].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "explain {arguments:?}: {said}");
    String::from_utf8(out.stdout).expect("text")
}

pub(crate) async fn explain_says_why_a_push_started_a_machine_or_not() {
    let host = host_with(FILTERED).await;
    let (no, _) = commit(&host, &[("README.md", Some("changed"))], &[]);
    let (yes, jobs) = commit(&host, &[("src/a", Some("1"))], &[vec![job("build", "true", &[])]]);
    host.all_done(&jobs, 60).await;
    // The page tells the phase of the run, which now changes no more.
    host.settles(150).await;
    let page = explain(&host, &["push", REPO, &yes]);
    for part in ["ci.yml", "✓ push", "`src/a` is included by `src/**`", "run push-", "class linux"]
    {
        assert!(page.contains(part), "`{part}` is missing:\n{page}");
    }
    assert!(page.contains("] starts at once, class linux"), "{page}");
    // The last commit is the tip of its branch.
    let by_branch = explain(&host, &["push", REPO, "main"]);
    assert_eq!(by_branch, page, "a branch names its tip");
    let page = explain(&host, &["push", REPO, &no]);
    for part in ["✗ push", "✗ paths", "README.md", "0 machines needed at once"] {
        assert!(page.contains(part), "`{part}` is missing:\n{page}");
    }
    let json: Value =
        serde_json::from_str(&explain(&host, &["push", REPO, &yes, "-o", "json"])).expect("JSON");
    assert_eq!(json["workflows"][0]["jobs"][0]["job"], "build");
    assert_eq!(json["machines_at_once"], 1);
}

pub(crate) async fn explain_shows_the_state_of_a_job() {
    let mut host = crate::host(&Options::default());
    host.start().await;
    let jobs = host.push(1, &["linux"], "true");
    host.all_done(&jobs, 60).await;
    let id = jobs[0].to_string();
    let page = explain(&host, &["job", &id]);
    for part in ["at the forge: success", "class: linux", "Finished", "attempts:", "machine "] {
        assert!(page.contains(part), "`{part}` is missing:\n{page}");
    }
    let unserved = host.push(1, &["gpu"], "true")[0].to_string();
    let json: Value =
        serde_json::from_str(&explain(&host, &["job", &unserved, "-o", "json"])).expect("JSON");
    assert_eq!((&json["at_forge"], &json["run"]), (&"waiting".into(), &Value::Null));
    assert!(json["why"][0].as_str().is_some_and(|why| why.contains("[gpu]")), "{json}");
    let unknown = explain(&host, &["job", "9999"]);
    assert!(unknown.contains("at the forge: unknown"), "{unknown}");
    host.settles(60).await;
}
