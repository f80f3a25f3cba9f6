//! Sizes of records and the cost of their writes.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::model::{
    About, Answer, Attempt, Boot, ClassName, Condition, End, Ended, Happened, JobRef, MachineId,
    MachineOptions, MachineSpec, Market, Milestone, Outcome, Phase, Placement, Reason, Refusal,
    Refused, Run, RunName, Runner, Secret, SeenBy, Spec,
};
use tinqs_ci_reconciler::ports::{Expect, RunStore as _};

use crate::wire::Wire;

/// Returns digits that do not compress.
fn hex(seed: u64, digits: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digit = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit(u32::try_from(state >> 60).unwrap_or(0), 16).unwrap_or('0')
    };
    (0..digits).map(digit).collect()
}

fn placement(seed: u64, answered: Option<Timestamp>, refused: Option<Timestamp>) -> Placement {
    Placement {
        machine: MachineSpec {
            kind: "c7a.2xlarge".to_owned(),
            subnet: format!("subnet-{}", hex(seed, 17)),
            market: Market::Spot,
            image: format!("ami-{}", hex(seed + 1, 17)),
            security_groups: vec![format!("sg-{}", hex(seed + 2, 17))],
            instance_profile: "tinqs-ci-runner".to_owned(),
            runner: None,
            options: MachineOptions::default(),
        },
        asked_again: refused.is_some(),
        answered: answered
            .map(|at| Answer { id: MachineId(format!("i-{}", hex(seed + 3, 17))), at }),
        refused: refused.map(|at| Refused { why: Refusal::NoCapacity, at }),
        chosen: None,
    }
}

fn attempt(run: &Run, number: u32, now: Timestamp, placements: Vec<Placement>) -> Attempt {
    let seed = u64::from(number) * 100;
    let uuid = hex(seed, 32);
    let part = |from: usize, to: usize| &uuid[from..to];
    Attempt {
        number,
        decided_at: now,
        class: ClassName("linux-large".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: 48_151_623,
            uuid: [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"),
            name: run.attempt_id(number).to_string(),
            labels: vec![
                "ubuntu-latest:docker://node:22-bookworm".to_owned(),
                "linux:host".to_owned(),
            ],
            token: Secret::new(hex(seed + 5, 40)),
        },
        boot: Boot {
            deadline: now + SignedDuration::from_hours(6),
            idle_within: SignedDuration::from_mins(2),
            start_by: Some(now + SignedDuration::from_mins(10)),
            hold: SignedDuration::ZERO,
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: Some(Secret::new(hex(7, 40))),
        },
        placements,
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

fn new(job: i64, now: Timestamp) -> Run {
    let repo = "platform-team/checkout-service".to_owned();
    let spec = Spec {
        job: JobRef { repo: repo.clone(), repo_id: 1_234, job_id: job },
        runs_on: vec!["ubuntu-latest".to_owned()],
        about: About {
            repo,
            workflow: "build-and-test.yaml".to_owned(),
            job: "integration (postgres-16, node 22)".to_owned(),
            branch: "feature/PAY-1234-retry-the-webhook".to_owned(),
            commit: hex(9, 40),
            run_id: 98_765,
            url: format!(
                "https://gitea.example.com/platform-team/checkout-service/actions/runs/{job}/jobs/0"
            ),
        },
        ..Spec::default()
    };
    Run::new("production", RunName::job(job), spec, SeenBy::Webhook, now)
}

/// Returns the size of a value as `DynamoDB` counts it.
fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(blob) => blob.as_ref().len(),
        other => panic!("a run has no such attribute: {other:?}"),
    }
}

/// Overwrites a run with itself. Returns its bytes and the write units.
async fn cost(wire: &Wire, store: &DynamoStore, run: &Run) -> (usize, f64) {
    store.put(run, Expect::Absent).await.expect("written");
    let before = store.units().written;
    store.put(run, Expect::At(run.uid, 1)).await.expect("written");
    let units = store.units().written - before;
    let key = AttributeValue::S(run.name.to_string());
    let asked = wire.client().await.get_item().table_name("runs").key("run_id", key);
    let item = asked.send().await.expect("read").item.expect("there");
    let kept = store.get(&run.name).await.expect("read").expect("there");
    assert_eq!(kept, Run { version: 2, ..run.clone() }, "the record is complete");
    (item.iter().map(|(name, value)| name.len() + bytes(value)).sum(), units)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_takes_one_write_unit() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let now = Timestamp::from_second(1_767_225_600).expect("a time");
    let later = now + SignedDuration::from_secs(40);

    let waiting = new(1_000_001, now);
    let mut starting = new(1_000_002, now);
    starting.status.phase = Phase::Starting;
    starting.status.attempt =
        Some(attempt(&starting, 1, now, vec![placement(1, Some(later), None)]));
    let mut running = Run { name: RunName::job(1_000_003), ..starting.clone() };
    running.status.phase = Phase::Running;
    running.status.runner = Some(running.attempt_id(1).to_string());
    let mut over = Run { name: RunName::job(1_000_004), ..running.clone() };
    over.status.phase = Phase::Finished;
    over.status.outcome = Some(Outcome::Succeeded);
    over.status.finished_at = Some(later);
    let ended = Ended { why: End::Consumed, at: later };
    over.status.attempt = over.status.attempt.map(|a| Attempt { ended: Some(ended), ..a });
    let machine = MachineId(format!("i-{}", hex(4, 17)));
    let runner = over.attempt_id(1).to_string();
    let steps = [
        (198, Happened::Registered { attempt: 1 }),
        (1_748, Happened::Launched { attempt: 1, machine }),
        (40_444, Happened::Started { runner, attempt: Some(1), job_attempt: None }),
        (131_611, Happened::Finished { outcome: Outcome::Succeeded }),
    ];
    over.status.timeline.extend(
        steps.map(|(after, what)| Milestone::new(now + SignedDuration::from_millis(after), what)),
    );
    for (what, run) in
        [("waiting", &waiting), ("starting", &starting), ("running", &running), ("over", &over)]
    {
        let (bytes, units) = cost(&wire, &store, run).await;
        println!("{what}: {bytes} bytes, {units} write units");
        assert!(
            bytes <= 1024 && (units - 1.0).abs() < 0.01,
            "{what}: {bytes} bytes, {units} units"
        );
    }

    // The worst case: five past attempts with all placements, and a message.
    let mut worst = new(1_000_005, now);
    let all = |seed: u64| {
        vec![
            placement(seed, None, Some(later)),
            placement(seed + 10, None, Some(later)),
            placement(seed + 20, Some(later), None),
        ]
    };
    worst.status.past = (1..=5)
        .map(|n| attempt(&worst, n, now, all(u64::from(n) * 1_000)).into_past(ended))
        .collect();
    worst.status.attempt = Some(attempt(&worst, 6, now, all(9_000)));
    worst.status.conditions = vec![Condition {
        reason: Reason::NoCapacity,
        since: now,
        message: format!("every machine of class linux-large is out of capacity: {}", hex(3, 200)),
    }];
    let (bytes, units) = cost(&wire, &store, &worst).await;
    println!("worst: {bytes} bytes, {units} write units");
    assert!(bytes <= 4096, "{bytes} bytes");
}
