//! Runs and stores filled with them before a measurement.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::model::{
    About, Answer, Attempt, Boot, ClassName, Condition, End, Ended, JobRef, MachineId,
    MachineOptions, MachineSpec, Market, Outcome, Phase, Placement, Reason, Run, RunName, Runner,
    Secret, SeenBy, Spec,
};
use tinqs_ci_reconciler::ports::{Expect, RunStore};
use tokio::task::JoinSet;

use crate::figure::Result;

/// Concurrent writes: as many as the store puts into one commit.
const AT_ONCE: usize = 512;

/// Returns a run that waits for a seat and is due within the next nine minutes.
pub(crate) fn waiting(job: i64, now: Timestamp) -> Run {
    let mut run = new(job, now);
    run.status.conditions.push(Condition {
        reason: Reason::AtLimit,
        since: now,
        message: "class linux has as many machines as it may".to_owned(),
    });
    run.status.due = now + SignedDuration::from_secs(240 + job % 300);
    run
}

/// Returns a finished run of a successful job.
pub(crate) fn finished(job: i64, now: Timestamp) -> Run {
    let mut run = new(job, now);
    let attempt_id = run.attempt_id(1);
    let machine = MachineSpec {
        kind: "process".to_owned(),
        subnet: String::new(),
        market: Market::default(),
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    let answered = Some(Answer { id: MachineId(attempt_id.token(0)), at: now });
    let placement = Placement { answered, ..Placement::new(machine) };
    let status = &mut run.status;
    status.attempt = Some(Attempt {
        number: 1,
        decided_at: now,
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: job,
            uuid: "0e4f5b1c-8f4f-4b8e-9d59-6a1a7f0c2a11".to_owned(),
            name: attempt_id.to_string(),
            labels: vec!["self-hosted:host".to_owned(), "linux:host".to_owned()],
            token: Secret::new("0123456789abcdef0123456789abcdef01234567"),
        },
        boot: Boot {
            deadline: now + SignedDuration::from_hours(6),
            idle_within: SignedDuration::from_mins(2),
            start_by: Some(now + SignedDuration::from_mins(10)),
            hold: SignedDuration::ZERO,
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: None,
        },
        placements: vec![placement],
        ended: Some(Ended { why: End::Consumed, at: now }),
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    });
    status.phase = Phase::Finished;
    status.next = 4;
    status.outcome = Some(Outcome::Succeeded);
    status.runner = Some(attempt_id.to_string());
    status.finished_at = Some(now);
    status.due = now + SignedDuration::from_hours(7 * 24);
    run
}

fn new(job: i64, now: Timestamp) -> Run {
    let repo = "acme/widget".to_owned();
    let spec = Spec {
        job: JobRef { repo: repo.clone(), repo_id: 1, job_id: job },
        runs_on: vec!["self-hosted".to_owned(), "linux".to_owned()],
        about: About {
            repo,
            workflow: "ci.yml".to_owned(),
            job: "build (linux)".to_owned(),
            branch: "main".to_owned(),
            commit: "2222222222222222222222222222222222222222".to_owned(),
            run_id: job,
            url: format!("https://gitea.example.com/acme/widget/actions/runs/{job}/jobs/0"),
        },
        ..Spec::default()
    };
    Run::new("bench", RunName::job(job), spec, SeenBy::Webhook, now)
}

/// Fills the store in this directory and closes it.
pub(crate) async fn fill(dir: &Path, runs: impl IntoIterator<Item = Run>) -> Result<()> {
    put_all(Arc::new(Store::open(dir)?), runs, AT_ONCE).await
}

/// Writes new runs with this many concurrent writes.
pub(crate) async fn put_all(
    store: Arc<dyn RunStore>,
    runs: impl IntoIterator<Item = Run>,
    at_once: usize,
) -> Result<()> {
    let mut under_way = JoinSet::new();
    for run in runs {
        if under_way.len() >= at_once
            && let Some(written) = under_way.join_next().await
        {
            written??;
        }
        let store = store.clone();
        under_way.spawn(async move { store.put(&run, Expect::Absent).await });
    }
    while let Some(written) = under_way.join_next().await {
        written??;
    }
    Ok(())
}
