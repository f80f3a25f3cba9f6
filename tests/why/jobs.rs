//! Situations of one job.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::{Line, Status};
use tinqs_ci_test_host::{Host, Options};

use crate::{CLASS, all_is_well, flat, host, needs_a_person, no_longer_says, printed, says};

async fn running(host: &Host, job: i64) {
    host.until("the job runs", 60, async |host| host.status(job) == Status::Running).await;
}

pub(crate) async fn no_class_serves_the_labels() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux", "gpu"], "true")[0];
    let name = job.to_string();
    let told = says(&host, &["why", &name], &["NoClass", "gpu", "[[class]]"]).await;
    assert!(told.text.contains("linux"), "the nearest class is named: {}", told.text);
    says(&host, &["get", "runs"], &[&format!("job-{job}"), "NoClass"]).await;
    needs_a_person(&host, &["NoClass", "gpu"]).await;
    host.forge().cancel(Timestamp::now(), job);
    no_longer_says(&host, &["status"], &["NoClass"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn a_class_is_at_its_limit() {
    let class = "labels = [\"linux\"]\nlimit = 1\nboot_within = \"20s\"\nidle_within = \"4s\"";
    let mut host = host(&Options { class, ..Options::default() });
    host.start().await;
    let jobs = host.push(2, &["linux"], "sleep 10");
    says(&host, &["why"], &["AtLimit", "limit"]).await;
    host.all_done(&jobs, 90).await;
    no_longer_says(&host, &["why"], &["AtLimit"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn a_running_job_says_since_when() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], &host.until_released())[0];
    let name = format!("job-{job}");
    running(&host, job).await;
    says(&host, &["why", &name], &["unning", "linux"]).await;
    host.release_jobs();
    host.all_done(&[job], 60).await;
    says(&host, &["why", &name], &["ucceeded"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn a_job_is_cancelled_while_it_runs() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 30")[0];
    running(&host, job).await;
    host.forge().cancel(Timestamp::now(), job);
    says(&host, &["why", &job.to_string()], &["ancel"]).await;
    host.settles(90).await;
    all_is_well(&host).await;
}

/// Starts a job, and kills its machine while it runs. Returns the job's ID.
async fn killed_mid_job(host: &Host, script: &str) -> i64 {
    let job = host.push(1, &["linux"], script)[0];
    running(host, job).await;
    host.kill_machines().await;
    job
}

pub(crate) async fn the_machine_of_a_running_job_is_killed() {
    // Also a busy host tells the loss before.
    let zombie_after = SignedDuration::from_secs(20);
    let class =
        "labels = [\"linux\"]\nboot_within = \"20s\"\nidle_within = \"4s\"\nrerun = \"never\"";
    let mut host = host(&Options { class, zombie_after, ..Options::default() });
    host.start().await;
    let job = killed_mid_job(&host, "sleep 60").await;
    let name = job.to_string();
    let why = "class linux has `rerun = \"never\"`: re-run it there";
    says(&host, &["why", &name], &["MachineLost", why]).await;
    host.all_done(&[job], 60).await;
    assert_eq!(host.status(job), Status::Done(Conclusion::Failure));
    let why = "the job is not run again: its class has `rerun = \"never\"`";
    says(&host, &["why", &name], &[why, "re-run the job at the forge"]).await;
    says(&host, &["describe", &format!("job-{job}")], &[why]).await;
    host.settles(90).await;
    let run = host.get(&format!("/v1/runs/job-{job}")).await;
    assert_eq!(run["status"]["outcome"], "MachineLost", "{run}");
    all_is_well(&host).await;
}

pub(crate) async fn a_lost_job_runs_again() {
    runs_again_on(Line::V1_26).await;
}

pub(crate) async fn a_lost_job_runs_again_under_another_id() {
    runs_again_on(Line::V1_27).await;
}

/// Up to 1.26 the job keeps its ID; since 1.27 each attempt has its own.
async fn runs_again_on(line: Line) {
    // On a busy host, too, the loss is told before the forge fails the job.
    let zombie_after = SignedDuration::from_secs(20);
    let mut host = host(&Options { class: CLASS, line, zombie_after, ..Options::default() });
    host.start().await;
    let job = killed_mid_job(&host, "sleep 20").await;
    let name = job.to_string();
    says(&host, &["why", &name], &["AwaitsRerun", "is run again then"]).await;
    let again = if line == Line::V1_26 { job } else { job + 1 };
    says(&host, &["why", &again.to_string()], &["2nd attempt of the job"]).await;
    host.all_done(&[again], 90).await;
    host.settles(90).await;
    assert_eq!(host.status(again), Status::Done(Conclusion::Success), "{line:?}");
    if line == Line::V1_27 {
        host.until("the former attempt is over", 120, async |host| {
            let run = host.get(&format!("/v1/runs/job-{job}")).await;
            run["status"]["outcome"] == "MachineLost"
        })
        .await;
    }
    let told = says(&host, &["why", &name], &["the forge runs the job again"]).await;
    let told = flat(&told.text);
    assert!(!told.contains("e-run the job"), "{line:?}: nobody needs to do that: {told}");
    all_is_well(&host).await;
}

pub(crate) async fn before_1_26_a_lost_job_is_said_at_once_not_to_run_again() {
    let (line, zombie_after) = (Line::V1_25, SignedDuration::from_secs(15));
    let mut host = host(&Options { class: CLASS, line, zombie_after, ..Options::default() });
    host.start().await;
    let job = killed_mid_job(&host, "sleep 60").await;
    let name = job.to_string();
    let texts = ["MachineLost", "this version cannot run it again by its API (1.26 can)", "e-run"];
    says(&host, &["why", &name], &texts).await;
    host.all_done(&[job], 60).await;
    assert_eq!(host.status(job), Status::Done(Conclusion::Failure));
    let told = says(&host, &["why", &name], &["the job is not run again"]).await;
    assert!(!told.text.contains("AwaitsRerun"), "{}", told.text);
    host.settles(90).await;
    let run = host.get(&format!("/v1/runs/job-{job}")).await;
    assert_eq!(run["status"]["outcome"], "MachineLost", "{run}");
    all_is_well(&host).await;
}

pub(crate) async fn a_job_outlasts_max_age() {
    let class =
        "labels = [\"linux\"]\nboot_within = \"20s\"\nidle_within = \"4s\"\nmax_age = \"1m\"";
    // On a busy host a runner may be silent for a while.
    let zombie_after = SignedDuration::from_secs(20);
    let mut host = host(&Options { class, zombie_after, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], "sleep 600")[0];
    host.all_done(&[job], 120).await;
    host.settles(90).await;
    says(&host, &["why", &job.to_string()], &["max_age", "linux"]).await;
}

pub(crate) async fn a_killed_controller_tells_the_same_story() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], &host.until_released())[0];
    let name = job.to_string();
    running(&host, job).await;
    says(&host, &["why", &name], &["unning"]).await;
    host.kill();
    let down = printed(&host, &["why", &name]).await;
    assert_eq!(down.code, Some(4), "the server is down: {}", down.text);
    host.start().await;
    says(&host, &["why", &name], &["unning"]).await;
    host.release_jobs();
    host.all_done(&[job], 60).await;
    says(&host, &["why", &name], &["ucceeded"]).await;
    assert_eq!(host.machines_ever().len(), 1);
}

pub(crate) async fn the_runner_is_missing() {
    let class = "labels = [\"linux\"]\nboot_within = \"5s\"\nidle_within = \"4s\"";
    let mut host = host(&Options { class, ..Options::default() });
    host.remove_runner();
    host.start().await;
    let job = host.push(1, &["linux"], "true")[0];
    let name = job.to_string();
    // The reason ends with the last line that the machine printed.
    let missing = ["BackingOff", "neither gitea-runner nor act_runner", "PATH"];
    says(&host, &["why", &name], &missing).await;
    host.install_runner();
    host.all_done(&[job], 120).await;
    says(&host, &["why", &name], &["ucceeded"]).await;
    all_is_well(&host).await;
}

pub(crate) async fn a_cancelled_job_is_run_again() {
    let mut host = host(&Options { class: CLASS, ..Options::default() });
    host.start().await;
    let job = host.push(1, &["linux"], &host.until_released())[0];
    running(&host, job).await;
    host.forge().cancel(Timestamp::now(), job);
    says(&host, &["why", &job.to_string()], &["ancel"]).await;
    host.release_jobs();
    let again = host.forge().rerun(Timestamp::now(), job);
    let told = says(&host, &["why", &again.to_string()], &[]).await;
    assert!(!told.text.contains("MachineReassigned"), "{}", told.text);
    host.all_done(&[again], 90).await;
    says(&host, &["why", &again.to_string()], &["ucceeded"]).await;
    all_is_well(&host).await;
}
