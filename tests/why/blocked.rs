//! A job that the forge blocks: needs, approval and concurrency groups are told apart.

use jiff::Timestamp;
use tinqs_ci_simulator::forge::{JobSpec, Line, Push, Status};
use tinqs_ci_test_host::{Host, Options};

use crate::{CLASS, host, says};

fn job(name: &str, script: &str, needs: &[usize]) -> JobSpec {
    let (script, needs) = (Some(script.to_owned()), needs.to_vec());
    JobSpec { script, needs, ..JobSpec::new(name, &["linux"]) }
}

fn on(line: Line) -> Host {
    host(&Options { class: CLASS, line, ..Options::default() })
}

/// Returns the URL of a job's page. The forge lists no blocked job, but the page names the
/// repository.
fn page(host: &Host, job: i64) -> String {
    let forge = host.forge();
    forge.job_page(forge.job(job).expect("a job"))
}

pub(crate) async fn a_job_waits_for_its_needs() {
    let mut host = on(Line::V1_26);
    host.start().await;
    let file = "on: push\njobs:\n  compile:\n    runs-on: linux\n  lint:\n    runs-on: linux\n  \
                test:\n    runs-on: linux\n    needs: compile\n";
    let compile = job("compile", &host.until_released(), &[]);
    let jobs = [compile, job("lint", "true", &[]), job("test", "true", &[0])];
    let push = Push {
        git_ref: "refs/heads/main",
        changes: &[(".gitea/workflows/ci.yml", Some(file))],
        message: "ci",
        runs: &[jobs.to_vec()],
    };
    let jobs = host.forge().push_commit(Timestamp::now(), "acme/widget", &push).1;
    let page = page(&host, jobs[2]);
    let needed = format!("blocked by `compile` (job-{}, ", jobs[0]);
    let told = says(&host, &["why", &page], &["Blocked", &needed]).await;
    assert!(!told.text.contains("lint"), "it does not need that job: {}", told.text);
    says(&host, &["why", &page], &["(job-1, running"]).await;
    host.release_jobs();
    host.all_done(&jobs, 90).await;
    says(&host, &["why", &jobs[2].to_string()], &["the job succeeded"]).await;
}

pub(crate) async fn without_the_workflow_file_both_causes_are_named() {
    let mut host = on(Line::V1_26);
    host.start().await;
    let jobs = [job("build", "sleep 15", &[]), job("test", "true", &[0])];
    let jobs = host.forge().push(Timestamp::now(), "acme/widget", &jobs);
    let either = ["blocked by `build` (job-1", "or by its concurrency group", "does not tell"];
    says(&host, &["why", &page(&host, jobs[1])], &either).await;
    host.all_done(&jobs, 90).await;
    says(&host, &["why", &jobs[1].to_string()], &["the job succeeded"]).await;
}

pub(crate) async fn before_1_26_a_job_that_is_not_held_back_waits_for_its_needs() {
    let mut host = on(Line::V1_25);
    host.start().await;
    let jobs = [job("build", "sleep 15", &[]), job("test", "true", &[0])];
    let jobs = host.forge().push(Timestamp::now(), "acme/widget", &jobs);
    let told = says(&host, &["why", &page(&host, jobs[1])], &["blocked by `build` (job-1"]).await;
    assert!(!told.text.contains("concurrency"), "there were no groups: {}", told.text);
    host.all_done(&jobs, 90).await;
}

/// Pages of Gitea 1.25 have the number of the workflow run in its repository and the index of the
/// job; IDs count over all repositories.
pub(crate) async fn before_1_26_pages_name_no_ids() {
    let mut host = on(Line::V1_25);
    host.start().await;
    let now = Timestamp::now();
    let before = [job("before", "true", &[]), job("after", "true", &[0])];
    let before = host.forge().push(now, "acme/widget", &before);
    let other = host.forge().push(now, "acme/other", &[job("other", "true", &[])]);
    let held = [job("first", "true", &[]), job("second", "true", &[])];
    let jobs = host.forge().push_held(now, "acme/widget", "pull_request", &held);
    let shown = page(&host, jobs[1]);
    assert!(shown.ends_with("/acme/widget/actions/runs/2/jobs/1"), "{shown}");
    says(&host, &["why", &shown], &["second", "a person approves"]).await;
    let run = shown.strip_suffix("/jobs/1").expect("a job's page");
    says(&host, &["why", run], &[&format!("job-{}", jobs[1]), "Blocked"]).await;
    for (page, text) in [
        (format!("{run}/jobs/2"), "has 2 jobs, none with index 2"),
        (run.replace("runs/2", "runs/3/jobs/0"), "no workflow run 3 in acme/widget"),
        (run.replace("runs/2", "runs/3"), "no such workflow run"),
    ] {
        let told = says(&host, &["why", &page], &[text]).await;
        assert_eq!(told.code, Some(3), "{page}: {}", told.text);
    }
    let run_id = host.forge().job(jobs[0]).expect("a job").run_id;
    host.forge().unblock(now, run_id);
    let all: Vec<i64> = [before, other, jobs.clone()].concat();
    host.all_done(&all, 90).await;
    says(&host, &["why", &shown], &["second", "the job succeeded"]).await;
}

pub(crate) async fn a_workflow_run_waits_for_its_approval() {
    for (line, event, texts) in [
        (Line::V1_25, "pull_request", &["a person approves", "approve the workflow run"][..]),
        (Line::V1_26, "pull_request", &["a person approves", "concurrency group", "which"][..]),
        (Line::V1_26, "push", &["blocked by its concurrency group", "cancel it"][..]),
    ] {
        let mut host = on(line);
        host.start().await;
        let jobs = [job("build", "true", &[])];
        let jobs = host.forge().push_held(Timestamp::now(), "acme/widget", event, &jobs);
        let told = says(&host, &["why", &page(&host, jobs[0])], texts).await;
        assert!(!told.text.contains("needs"), "{line:?} {event}: {}", told.text);
        assert_eq!(host.status(jobs[0]), Status::Blocked);
        host.forge().unblock(Timestamp::now(), 1);
        host.all_done(&jobs, 90).await;
        says(&host, &["why", &jobs[0].to_string()], &["the job succeeded"]).await;
    }
}

pub(crate) async fn the_page_of_a_workflow_run_without_a_run_here_tells_its_jobs() {
    let mut host = on(Line::V1_26);
    host.start().await;
    let run = |id: i64| format!("{}/acme/widget/actions/runs/{id}", host.wire.url());
    let now = Timestamp::now();
    host.forge().push_held(now, "acme/widget", "push", &[job("build", "true", &[])]);
    host.forge().push_held(now, "acme/widget", "push", &[]);
    says(&host, &["why", &run(1)], &["job-1", "Blocked"]).await;
    says(&host, &["why", &run(2)], &["no jobs", "explain push acme/widget"]).await;
    says(&host, &["why", &run(3)], &["no such workflow run", "explain push acme/widget"]).await;
    host.forge().unblock(now, 1);
    host.all_done(&[1], 90).await;
    says(&host, &["why", &run(1)], &["job-1", "Finished"]).await;
}
