//! The test runner as a process.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::{Line, Status};
use tinqs_ci_simulator::gitea_wire::Hook;
use tokio::process::{Child, Command};

use super::receiver::{SECRET, receiver};
use super::{Site, script, until, work};

/// A runner process with its files.
struct Runner {
    child: Child,
    folder: PathBuf,
}

impl Runner {
    /// Writes `.runner` and the configuration from a registration, and starts the daemon.
    fn spawn(
        site: &Site,
        row: &Value,
        shutdown_timeout: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("runner {}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let id: i64 = row["id"].as_str().unwrap().parse().unwrap();
        let identity = json!({
            "WARNING": "", "id": id, "uuid": row["uuid"], "name": row["name"],
            "token": row["token"], "address": site.wire.url(), "labels": ["linux:host"],
            "ephemeral": true,
        });
        let file = folder.join("identity.json");
        std::fs::write(&file, identity.to_string()).unwrap();
        let config = folder.join("config.yaml");
        let text = format!(
            "runner:\n  file: \"{}\"\n  shutdown_timeout: {shutdown_timeout}\n",
            file.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new(tinqs_ci_test_runner::program())
            .args(["daemon", "-c"])
            .arg(&config)
            .env("TINQS_CI_TEST_RUNNER_FETCH_MS", "20")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn terminate(&self) {
        let id = self.child.id().expect("it still runs");
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Returns the exit code within 20 s.
    async fn exit_code(&mut self) -> Option<i32> {
        let end = tokio::time::timeout(Duration::from_secs(20), self.child.wait());
        end.await.expect("the runner did not end").unwrap().code()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn online(site: &Site) -> Option<()> {
    let forge = site.wire.forge();
    let seen = forge.runners().any(|row| row.last_online.is_some());
    seen.then_some(())
}

fn status(site: &Site, job: i64) -> Status {
    site.wire.forge().job(job).expect("there").status
}

#[tokio::test]
async fn a_runner_completes_a_job_with_three_webhooks() {
    let site = Site::new(Line::V1_26);
    let (url, received) = receiver().await;
    site.wire.add_hook(Hook::system(url, SECRET));
    let row = site.register(&["linux"]).await;
    let job = site.push(&[script("echo out; echo err >&2; echo \"$MARK\"")])[0];
    let (_, queued) = site.get("/admin/actions/jobs?status=queued").await;
    assert_eq!(queued["total_count"], 1);
    let mut runner = Runner::spawn(&site, &row, "3h", &[("MARK", "inherited")]);
    assert_eq!(runner.exit_code().await, Some(0));
    assert_eq!(status(&site, job), Status::Done(Conclusion::Success));
    assert_eq!(site.wire.forge().runners().count(), 0, "the row is gone");
    let task = site.wire.forge().job(job).and_then(|j| j.task_id).expect("a task");
    let mut log = site.wire.log(task);
    log.sort();
    assert_eq!(log, ["err", "inherited", "out"]);
    until("three webhooks", || (site.wire.counters().sent == 3).then_some(())).await;
    let mut actions = received.actions();
    actions.sort();
    assert_eq!(actions, ["completed", "in_progress", "queued"]);
    let all = received.all();
    let done = all.iter().find(|p| p["action"] == "completed").expect("told");
    assert_eq!(done["workflow_job"]["conclusion"], "success");
    assert_eq!(done["workflow_job"].get("runner_name"), None);
    assert_eq!(done["repository"]["full_name"], "acme/widget");
}

#[tokio::test]
async fn a_failing_script_exits_0_and_fails_the_job() {
    let site = Site::new(Line::V1_27);
    let row = site.register(&["linux"]).await;
    let job = site.push(&[script("exit 3")])[0];
    let mut runner = Runner::spawn(&site, &row, "0s", &[]);
    assert_eq!(runner.exit_code().await, Some(0));
    assert_eq!(status(&site, job), Status::Done(Conclusion::Failure));
}

#[tokio::test]
async fn sigterm_ends_an_idle_runner_but_keeps_its_row() {
    let site = Site::new(Line::V1_26);
    let row = site.register(&["linux"]).await;
    let mut runner = Runner::spawn(&site, &row, "3h", &[]);
    until("contact", || online(&site)).await;
    runner.terminate();
    // It exits within 20 s, not after its three hours.
    assert_eq!(runner.exit_code().await, Some(0));
    assert_eq!(site.wire.forge().runners().count(), 1);
}

#[tokio::test]
async fn sigterm_lets_a_busy_runner_finish_within_its_timeout() {
    for (timeout, expected) in [("3h", Conclusion::Success), ("50ms", Conclusion::Cancelled)] {
        let site = Site::new(Line::V1_26);
        let row = site.register(&["linux"]).await;
        let spec = if timeout == "3h" { work(600) } else { script("sleep 60") };
        let job = site.push(&[spec])[0];
        let mut runner = Runner::spawn(&site, &row, timeout, &[]);
        // A signal during the fetch would lose the task, so wait for the first report.
        until("the runner's first report", || {
            let calls = site.wire.counters().calls;
            calls.keys().any(|call| call.ends_with("/UpdateTask")).then_some(())
        })
        .await;
        runner.terminate();
        assert_eq!(runner.exit_code().await, Some(0));
        assert_eq!(status(&site, job), Status::Done(expected));
        assert_eq!(site.wire.forge().runners().count(), 0);
    }
}

#[tokio::test]
async fn an_unregistered_runner_exits_at_start_but_keeps_polling_later() {
    let site = Site::new(Line::V1_26);
    let row = site.register(&["linux"]).await;
    let mut polling = Runner::spawn(&site, &row, "0s", &[]);
    until("contact", || online(&site)).await;
    let strict = [("TINQS_CI_TEST_RUNNER_EXIT_UNREGISTERED", "1")];
    let second = site.register(&["linux"]).await;
    let mut exiting = Runner::spawn(&site, &second, "0s", &strict);
    until("contact", || {
        let forge = site.wire.forge();
        let all = forge.runners().all(|row| row.last_online.is_some());
        all.then_some(())
    })
    .await;
    for id in [1, 2] {
        assert!(site.wire.forge().delete_runner(id));
    }
    assert_eq!(exiting.exit_code().await, Some(1));
    let calls = || {
        let path = "POST /api/actions/runner.v1.RunnerService/FetchTask";
        site.wire.counters().calls.get(path).copied().unwrap_or_default()
    };
    let before = calls();
    until("more fetches", || (calls() > before + 3).then_some(())).await;
    assert_eq!(polling.child.try_wait().unwrap(), None, "gitea-runner 1.0.8 continues to poll");
    polling.terminate();
    assert_eq!(polling.exit_code().await, Some(0));
    let mut late = Runner::spawn(&site, &row, "0s", &[]);
    assert_eq!(late.exit_code().await, Some(1), "declare is rejected");
}

#[tokio::test]
async fn two_daemons_with_one_identity_run_one_job() {
    let site = Site::new(Line::V1_26);
    let row = site.register(&["linux"]).await;
    let mut a = Runner::spawn(&site, &row, "0s", &[]);
    let mut b = Runner::spawn(&site, &row, "0s", &[]);
    let declared = || {
        let path = "POST /api/actions/runner.v1.RunnerService/Declare";
        let calls = site.wire.counters().calls.get(path).copied();
        (calls == Some(2)).then_some(())
    };
    until("both to declare", declared).await;
    let jobs = site.push(&[work(10), work(10)]);
    let done = |job: i64| status(&site, job).is_done();
    until("one job", || jobs.iter().any(|&j| done(j)).then_some(())).await;
    let exited = |runner: &mut Runner| runner.child.try_wait().unwrap().is_some();
    until("one exit", || (exited(&mut a) || exited(&mut b)).then_some(())).await;
    assert_eq!(jobs.iter().filter(|&&j| done(j)).count(), 1);
    assert!(exited(&mut a) != exited(&mut b), "the other continues to poll");
}

#[tokio::test]
async fn the_zombie_timer_fails_the_job_of_a_killed_runner() {
    let site = Site::new(Line::V1_26);
    site.wire.forge().config.zombie_after = jiff::SignedDuration::from_millis(2_500);
    let row = site.register(&["linux"]).await;
    let job = site.push(&[work(60_000)])[0];
    let mut runner = Runner::spawn(&site, &row, "0s", &[]);
    until("the job to run", || (status(&site, job) == Status::Running).then_some(())).await;
    runner.child.kill().await.unwrap();
    until("the job to fail", || status(&site, job).is_done().then_some(())).await;
    assert_eq!(status(&site, job), Status::Done(Conclusion::Failure));
    assert_eq!(site.wire.forge().runners().count(), 0);
    assert!(site.wire.forge().waiting().is_empty());
}
