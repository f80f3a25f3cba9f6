//! Makers of runs, classes, attempts and machines, and helpers to wait for something.

use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, Class, ClassName, Happened, JobRef, MachineId, MachineOptions,
    MachineSpec, Market, Milestone, Outcome, Phase, Placement, Run, RunName, Runner, Secret,
    SeenBy, Spec, Times,
};

/// Returns the name of a job's run.
pub fn name(id: i64) -> RunName {
    RunName::job(id)
}

/// Returns a fixed moment and so many seconds.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// Returns the run of a job, made at second `id` of [`at`].
pub fn run(id: i64, repo: &str) -> Run {
    let job = JobRef { repo: repo.to_owned(), repo_id: 5, job_id: id };
    let spec = Spec { job, runs_on: vec!["linux".to_owned()], ..Spec::default() };
    Run::new("conformance", name(id), spec, SeenBy::Webhook, at(id))
}

/// Returns the same run with this timeline, by seconds of [`at`].
pub fn with_timeline(mut run: Run, timeline: Vec<(i64, Happened)>) -> Run {
    let milestones = timeline.into_iter().map(|(second, what)| Milestone::new(at(second), what));
    run.status.timeline = milestones.collect();
    run
}

/// Returns the timeline of a job that got a machine and succeeded, by seconds of [`at`].
pub fn timeline() -> Vec<(i64, Happened)> {
    let machine = MachineId("m-1".to_owned());
    vec![
        (0, Happened::Seen { by: SeenBy::Webhook }),
        (3, Happened::Registered { attempt: 1 }),
        (5, Happened::Launched { attempt: 1, machine }),
        (25, Happened::Started { runner: "r".to_owned(), attempt: Some(1), job_attempt: None }),
        (85, Happened::Finished { outcome: Outcome::Succeeded }),
    ]
}

/// Returns the same run, finished with success.
pub fn finished(mut run: Run, due: Timestamp) -> Run {
    run.status.phase = Phase::Finished;
    run.status.outcome = Some(Outcome::Succeeded);
    run.status.finished_at = Some(run.created_at);
    run.status.due = due;
    run
}

/// Returns the ID of an attempt of a job's run.
pub fn attempt_id(id: i64, number: u32) -> AttemptId {
    run(id, "o/r").attempt_id(number)
}

/// Returns the ID of an attempt that no other process uses: machines may be processes of one host, or
/// outlast a test in a cloud. `id` is below 10,000.
pub fn own_attempt_id(id: i64) -> AttemptId {
    attempt_id(i64::from(std::process::id()) * 10_000 + id, 1)
}

/// Returns a machine that is a group of processes.
pub fn process() -> MachineSpec {
    MachineSpec {
        kind: "process".to_owned(),
        subnet: String::new(),
        market: Market::OnDemand,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    }
}

/// Returns a class without limits that serves one label, its name.
pub fn class(name: &str, machines: Vec<MachineSpec>) -> Class {
    Class {
        name: ClassName(name.to_owned()),
        labels: vec![name.to_owned()],
        serves_unlabeled: false,
        machines,
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    }
}

/// Returns an attempt of a class that may ask for so many machines. Its credentials contain `SECRET`.
pub fn attempt(
    attempt_id: &AttemptId,
    class: &str,
    placements: usize,
    deadline: Timestamp,
) -> Attempt {
    let placement = Placement::new(process());
    Attempt {
        number: attempt_id.number,
        decided_at: deadline.checked_sub(SignedDuration::from_hours(1)).unwrap(),
        class: ClassName(class.to_owned()),
        runner: Runner {
            id: 4711,
            repo_id: 5,
            uuid: "a-uuid".to_owned(),
            name: attempt_id.to_string(),
            labels: vec!["linux:host".to_owned()],
            token: Secret::new("runner-SECRET"),
        },
        boot: Boot {
            deadline,
            idle_within: SignedDuration::from_mins(2),
            start_by: Some(deadline),
            hold: SignedDuration::ZERO,
            instance_url: "http://127.0.0.1:3000".to_owned(),
            git_token: Some(Secret::new("git-SECRET")),
        },
        placements: vec![placement; placements],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

/// Drives all futures at once, each polled in turn, and returns their results in order.
pub async fn at_once<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut results: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, result) in futures.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if results.iter().any(Option::is_none) {
            return Poll::Pending;
        }
        Poll::Ready(results.drain(..).flatten().collect())
    })
    .await
}

/// Waits until `so` returns a value, for 30 s at most.
pub async fn until<T>(what: &str, mut so: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = so().await {
            return value;
        }
        assert!(Instant::now() < end, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
