//! The times and the attempts of jobs, and the jobs of workflow runs, on each server line.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::{Config as Settings, Scope};
use tinqs_ci_reconciler::model::{Conclusion, Job, JobTimes, Secret};
use tinqs_ci_reconciler::ports::Forge as _;
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};

use crate::script::{client, settings};

const REPO: &str = "acme/widget";

struct Site {
    wire: Wire,
    client: Client,
    /// The time at the forge.
    now: Arc<Mutex<Timestamp>>,
}

impl Site {
    fn new(line: Line) -> Self {
        let mut forge = Forge::new(Config { line, ..Config::default() });
        forge.add_repo(REPO);
        let now = Arc::new(Mutex::new(Timestamp::from_second(1_800_000_000).expect("a time")));
        let clock = now.clone();
        let wire = Wire::start(
            Arc::new(Mutex::new(forge)),
            Arc::new(move || *clock.lock()),
            WireOptions::default(),
        )
        .expect("a server");
        let token = Some(Secret::new("api-token"));
        let settings = Settings { token, scope: Scope::All, ..settings(&wire.url()) };
        Self { client: client(&settings), wire, now }
    }

    fn pass(&self, seconds: i64) -> Timestamp {
        let mut now = self.now.lock();
        *now += SignedDuration::from_secs(seconds);
        *now
    }

    /// Returns what the forge tells about the only waiting job: its creation and its times.
    async fn waiting(&self) -> (Option<Timestamp>, JobTimes) {
        let waiting = self.client.waiting().await.expect("answers").expect("jobs mode");
        let [job] = &waiting[..] else { panic!("{waiting:?}") };
        let seen = self.client.job(&job.job).await.expect("answers");
        assert_eq!(seen.state, Job::Waiting);
        (job.created_at, seen.times)
    }

    /// A runner takes the job, which then fails. Returns its times while it runs, and after it
    /// without its end.
    async fn fails(&self, id: i64) -> (JobTimes, JobTimes) {
        let now = self.pass(9);
        let row = self.wire.forge().register(now, "laptop", &["linux".to_owned()], true);
        let task = self.wire.forge().fetch(now, &row.uuid, &row.token, 0).expect("a runner");
        let task = task.task.expect("the job").id;
        let running = self.times(id).await;
        let now = self.pass(60);
        let failed = Some(Conclusion::Failure);
        self.wire.forge().report(now, &row.uuid, &row.token, task, failed).expect("reports");
        let over = self.times(id).await;
        assert_eq!(over.completed_at, Some(now));
        (running, JobTimes { completed_at: None, ..over })
    }

    async fn times(&self, id: i64) -> JobTimes {
        let job =
            tinqs_ci_reconciler::model::JobRef { repo: REPO.to_owned(), repo_id: 1, job_id: id };
        self.client.job(&job).await.expect("answers").times
    }
}

#[tokio::test]
async fn a_job_and_its_re_run_are_dated_and_numbered_on_every_server_line() {
    for line in [Line::V1_25, Line::V1_26, Line::V1_27] {
        let site = Site::new(line);
        let created = site.pass(0);
        let id = site.wire.forge().push(created, REPO, &[JobSpec::new("build", &["linux"])])[0];
        let first = JobTimes { attempt: Some(1), ..JobTimes::default() };
        assert_eq!(site.waiting().await, (Some(created), first), "{line:?}");
        let started_at = Some(created + SignedDuration::from_secs(9));
        let started = JobTimes { started_at, ..first };
        assert_eq!(site.fails(id).await, (started, started), "{line:?}");
        let again_at = site.pass(600);
        let again = site.wire.forge().rerun(again_at, id);
        // Up to 1.26 the row keeps its first creation, which does not date the re-run.
        let dated = (line == Line::V1_27).then_some(again_at);
        let second = JobTimes { attempt: Some(2), ..JobTimes::default() };
        assert_eq!(site.waiting().await, (dated, second), "{line:?}");
        let started_at = Some(again_at + SignedDuration::from_secs(9));
        let started = JobTimes { started_at, ..second };
        assert_eq!(site.fails(again).await, (started, started), "{line:?}");
        let versions = site.wire.counters().calls.get("GET /version").copied().unwrap_or_default();
        assert!(versions <= 1, "the version is asked once: {versions}");
    }
}

#[tokio::test]
async fn a_workflow_run_is_read_with_its_jobs() {
    let site = Site::new(Line::V1_26);
    let jobs: Vec<JobSpec> =
        (0..60).map(|n| JobSpec::new(format!("job {n}"), &["linux"])).collect();
    let ids = site.wire.forge().push_held(site.pass(0), REPO, "pull_request", &jobs);
    let job = site.client.run_job(REPO, ids[0]).await.expect("answers").expect("a job");
    assert_eq!((job.run_id, job.name.as_str(), job.state), (1, "job 0", Some(Job::Blocked)));
    let (run, jobs) = site.client.run_and_jobs(REPO, 1).await.expect("answers").expect("a run");
    assert_eq!((run.event.as_str(), run.workflow()), ("pull_request", "ci.yml"));
    assert_eq!(jobs.len(), 60, "two pages");
    assert_eq!(site.client.run_and_jobs(REPO, 2).await.expect("answers"), None);
    assert_eq!(site.client.run_job(REPO, 999).await.expect("answers"), None);
    assert_eq!(site.client.run_job("no repository", 1).await.expect("asks nobody"), None);
}

#[tokio::test]
async fn a_workflow_run_is_found_by_its_number_in_few_reads() {
    let site = Site::new(Line::V1_25);
    let job = [JobSpec::new("job", &["linux"])];
    let mut ids = Vec::new();
    for n in 0..400 {
        site.wire.forge().push(site.pass(0), "acme/other", &job);
        let jobs = site.wire.forge().push(site.pass(0), REPO, &job);
        ids.push(site.wire.forge().job(jobs[0]).expect("a job").run_id);
        // Every second one of the older half is deleted: numbers have gaps.
        if n % 2 == 0 && n < 200 {
            site.wire.forge().delete_run(ids[n]);
        }
    }
    let reads = || {
        let calls = site.wire.counters().calls;
        calls.get("GET /repos/{owner}/{repo}/actions/runs").copied().unwrap_or_default()
    };
    for (number, most) in [(400, 1), (350, 2), (202, 2), (200, 3), (100, 6), (2, 6)] {
        let before = reads();
        let found = site.client.workflow_run_id(REPO, number).await.expect("answers");
        let index = usize::try_from(number - 1).expect("a number");
        assert_eq!(found, Some(ids[index]), "number {number}");
        assert!(reads() - before <= most, "number {number}: {} reads", reads() - before);
    }
    for gone in [401, 1, 99, 0] {
        let found = site.client.workflow_run_id(REPO, gone).await.expect("answers");
        assert_eq!(found, None, "number {gone}");
    }
    assert_eq!(site.client.workflow_run_id("acme/none", 1).await.expect("answers"), None);
}
