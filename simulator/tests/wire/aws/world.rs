//! Requirements 5 to 8, 10, 11 and 15: limits, lag and failures of the cloud.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::Market;
use tinqs_ci_reconciler::ports::Clock as _;
use tinqs_ci_simulator::aws_wire::Latency;
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::cloud::admission::Stock;
use tinqs_ci_simulator::ec2_wire::{Bucket, Buckets, Ec2Options, EventFaults};

use super::{Cloud, EC2, ON_DEMAND, Wakes, recipe};
use crate::until;

#[tokio::test]
async fn a_new_machine_is_hidden_from_readings_for_a_while() {
    let hidden = SignedDuration::from_mins(10);
    let cloud = Cloud::new(Ec2Options { visible_within: hidden, seed: 3, ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    assert_eq!(cloud.list().await.all("instanceId").len(), 0);
    let by_id = cloud.describe(&id).await;
    assert_eq!(by_id.error(), (400, "InvalidInstanceID.NotFound".to_owned()));
    assert_eq!(cloud.terminate(&id).await.one("Code"), "InvalidInstanceID.NotFound");
    assert_eq!(cloud.launch("t-1", &[]).await.one("instanceId"), id, "its token returns it");

    let cloud =
        Cloud::new(Ec2Options { visible_within: hidden, speed: 2_000, ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    cloud.until(&id, "running").await;
    assert_eq!(cloud.list().await.all("instanceId"), [id]);
}

#[tokio::test]
async fn lists_have_the_configured_age() {
    let cloud = Cloud::new(Ec2Options::instant());
    let id = cloud.machine("t-1", &[]).await;
    cloud.until(&id, "running").await;
    cloud.wire.cloud(|cloud| cloud.config.list_lag = SignedDuration::from_secs(600));
    assert_eq!(cloud.describe(&id).await.one("Code"), "InvalidInstanceID.NotFound");
    cloud.wire.cloud(|cloud| cloud.config.list_lag = SignedDuration::ZERO);
    assert_eq!(cloud.describe(&id).await.one("name"), "running");
}

#[tokio::test]
async fn an_impaired_zone_affects_lists_and_its_own_machines_only() {
    let cloud = Cloud::new(Ec2Options::instant());
    let here = cloud.machine("t-1", &[]).await;
    let there = cloud.machine("t-2", &[("SubnetId", "subnet-b")]).await;
    cloud.wire.impair("us-east-1b", true);
    let down = (503, "Unavailable".to_owned());
    assert_eq!(cloud.list().await.error(), down);
    assert_eq!(cloud.describe(&there).await.error(), down);
    assert_eq!(cloud.describe(&here).await.status, 200);
    let both = [("InstanceId.1", here.as_str()), ("InstanceId.2", &there)];
    assert_eq!(cloud.call("TerminateInstances", &both).await.error(), down);
    assert_eq!(cloud.terminate(&here).await.status, 200);
    cloud.wire.impair("us-east-1b", false);
    assert_eq!(cloud.list().await.status, 200);
}

#[tokio::test]
async fn with_a_given_clock_time_passes_only_when_it_moves() {
    let clock = Virtual::starting_at(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    let second = SignedDuration::from_secs(1);
    let cloud = Cloud::new(Ec2Options {
        clock: Some(Arc::new(clock.clone())),
        boots_in: second * 16,
        ends_within: second * 5,
        buckets: Buckets::usual(),
        ..Ec2Options::instant()
    });
    let id = cloud.machine("t-1", &[]).await;
    assert_eq!(cloud.describe(&id).await.one("launchTime"), "1970-01-01T01:00:00.000Z");
    for n in 2..=5 {
        assert_eq!(cloud.launch(&format!("t-{n}"), &[]).await.status, 200);
    }
    assert_eq!(cloud.launch("t-6", &[]).await.one("Code"), "RequestLimitExceeded");
    clock.set(clock.now() + second * 15);
    assert_eq!(cloud.describe(&id).await.one("name"), "pending");
    assert_eq!(cloud.launch("t-6", &[]).await.status, 200, "the bucket refills by the given clock");
    clock.set(clock.now() + second);
    assert_eq!(cloud.describe(&id).await.one("name"), "running");
    cloud.terminate(&id).await;
    assert_eq!(cloud.describe(&id).await.one("name"), "shutting-down");
    clock.set(clock.now() + second * 5);
    assert_eq!(cloud.describe(&id).await.one("name"), "terminated");
    clock.set(clock.now() + SignedDuration::from_hours(1) + second);
    assert_eq!(cloud.describe(&id).await.one("Code"), "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn an_ended_machine_loses_its_tags_before_it_is_forgotten() {
    let clock = Virtual::starting_at(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    let minutes = |minutes| clock.set(clock.now() + SignedDuration::from_mins(minutes));
    let cloud =
        Cloud::new(Ec2Options { clock: Some(Arc::new(clock.clone())), ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    let listed_by = async |name: &str, value: &str| {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        cloud.call("DescribeInstances", &filter).await.all("instanceId")
    };
    cloud.terminate(&id).await;
    minutes(10);
    assert_eq!(cloud.describe(&id).await.all("key"), ["tinqs-ci", "tinqs-ci/attempt"]);
    minutes(1);
    let shown = cloud.describe(&id).await;
    assert_eq!(shown.one("name"), "terminated");
    assert_eq!(shown.one("clientToken"), "t-1");
    assert!(shown.all("key").is_empty(), "{}", shown.body);
    assert!(listed_by("tag:tinqs-ci", "x").await.is_empty());
    assert!(listed_by("tag-key", "tinqs-ci*").await.is_empty());
    assert_eq!(listed_by("client-token", "t-1").await, [id]);
}

#[tokio::test]
async fn an_ended_machine_is_listed_for_an_hour() {
    let cloud = Cloud::new(Ec2Options { speed: 1_000, ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    let start = Instant::now();
    let mut last = cloud.terminate(&id).await;
    loop {
        let answer = cloud.describe(&id).await;
        if answer.status != 200 {
            break;
        }
        last = answer;
        assert!(start.elapsed() < Duration::from_secs(20), "listed forever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(start.elapsed() > Duration::from_millis(3_600), "an hour is 3.6 s here");
    assert_eq!(
        (last.one("name"), last.one("privateIpAddress")),
        ("terminated".into(), String::new())
    );
    let reason = last.one("reason");
    let is_dated = reason.starts_with("User initiated shutdown (") && reason.ends_with(" GMT)");
    assert!(is_dated, "{reason}");
}

#[tokio::test]
async fn callers_share_buckets_and_a_refused_call_has_no_effect() {
    let cloud = Cloud::new(Ec2Options { buckets: Buckets::usual(), ..Ec2Options::instant() });
    // The bucket must not refill while a slow host makes the calls.
    let slow = Bucket { capacity: 5.0, refill: 0.000_1 };
    let mut buckets = Buckets::usual();
    buckets.requests.insert("RunInstances".to_owned(), slow);
    cloud.wire.buckets(buckets);
    let mut throttled = 0;
    for n in 0..20 {
        let caller = if n % 2 == 0 { "AKIDA" } else { "AKIDB" };
        let token = format!("t-{n}");
        let answer = cloud.ask(caller, EC2, "RunInstances", &recipe(&token, &[])).await.unwrap();
        if answer.status != 200 {
            assert_eq!(answer.error(), (503, "RequestLimitExceeded".to_owned()));
            throttled += 1;
        }
    }
    assert_eq!((throttled, cloud.wire.machines().len()), (15, 5));
    let ledger = cloud.wire.ledger();
    assert_eq!((ledger.throttled(), ledger.count("RunInstances")), (15, 20));
    let taken: u32 = ledger.of("RunInstances").map(|entry| entry.tokens.0).sum();
    assert_eq!(taken, 5);
    assert_eq!(cloud.list().await.status, 200, "readings have their own buckets");
    cloud.wire.buckets(Buckets::none());
    assert_eq!(cloud.launch("t-20", &[]).await.status, 200);
    let mut few = Buckets::usual();
    few.resources.insert("RunInstances".to_owned(), Bucket { capacity: 2.0, refill: 0.000_1 });
    cloud.wire.buckets(few);
    let three = [("MaxCount", "3")];
    assert_eq!(cloud.launch("t-21", &three).await.one("Code"), "RequestLimitExceeded");
    assert_eq!(cloud.launch("t-21", &[("MaxCount", "2")]).await.status, 200);
}

#[tokio::test]
async fn capacity_belongs_to_zone_and_market_and_changes_over_time() {
    let cloud = Cloud::new(Ec2Options::instant());
    let place = |market| ("t3.small".to_owned(), "us-east-1a".to_owned(), market);
    cloud.wire.cloud(|cloud| {
        cloud.config.stock.insert(place(Market::Spot), Stock::of(1));
        cloud.config.stock.insert(place(Market::OnDemand), Stock::of(0));
    });
    cloud.machine("t-1", &[]).await;
    let full = (500, "InsufficientInstanceCapacity".to_owned());
    assert_eq!(cloud.launch("t-2", &[("SubnetId", "subnet-a2")]).await.error(), full);
    assert_eq!(cloud.launch("t-2", &ON_DEMAND).await.error(), full);
    cloud.machine("t-3", &[("InstanceType", "t3a.small")]).await;
    cloud.machine("t-4", &[("SubnetId", "subnet-b")]).await;
    let opens = Timestamp::now() + SignedDuration::from_millis(300);
    let stock = Stock::of(1).then(opens, 2);
    cloud.wire.cloud(|cloud| cloud.config.stock.insert(place(Market::Spot), stock));
    let start = Instant::now();
    while cloud.launch("t-2", &[]).await.status != 200 {
        assert!(start.elapsed() < Duration::from_secs(20), "capacity never returns");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(Timestamp::now() >= opens);
    assert_eq!(cloud.launch("t-5", &[]).await.error(), full);
}

#[tokio::test]
async fn quotas_count_processors_until_machines_are_gone() {
    let ends_within = SignedDuration::from_hours(1);
    let cloud = Cloud::new(Ec2Options { ends_within, ..Ec2Options::instant() });
    cloud.wire.cloud(|cloud| {
        cloud.config.vcpu_quota.insert(Market::Spot, 5);
        cloud.config.vcpu_quota.insert(Market::OnDemand, 0);
    });
    let first = cloud.machine("t-1", &[]).await;
    let second = cloud.machine("t-2", &[]).await;
    let limit = (400, "MaxSpotInstanceCountExceeded".to_owned());
    assert_eq!(cloud.launch("t-3", &[]).await.error(), limit, "2 of 5 processors are too few");
    let one = [("InstanceType", "c7a.medium")];
    cloud.machine("t-3", &one).await;
    let on_demand = cloud.launch("t-4", &ON_DEMAND).await;
    assert_eq!(on_demand.error(), (400, "VcpuLimitExceeded".to_owned()));
    cloud.terminate(&first).await;
    assert_eq!(cloud.launch("t-5", &[]).await.error(), limit, "it is not gone yet");
    cloud.wire.cloud(|cloud| cloud.config.ends_within = SignedDuration::ZERO);
    cloud.terminate(&second).await;
    cloud.until(&second, "terminated").await;
    cloud.machine("t-5", &[]).await;
}

#[tokio::test]
async fn states_and_latencies_scale_with_the_speed() {
    let slow = Cloud::new(Ec2Options { speed: 1, ..Ec2Options::default() });
    let quick = Cloud::new(Ec2Options { speed: 50, ..Ec2Options::default() });
    let start = Instant::now();
    let id = quick.machine("t-1", &[]).await;
    quick.until(&id, "running").await;
    assert!(start.elapsed() >= Duration::from_millis(320), "16 s are 320 ms");
    quick.wire.power_off(&Ec2Id::from(&id).0);
    let ended = quick.until(&id, "terminated").await;
    assert_eq!(ended.all("code"), ["48", "Client.InstanceInitiatedShutdown"]);
    let launch = slow.try_launch("t-1", &[]);
    let waited = tokio::time::timeout(Duration::from_millis(700), launch).await;
    assert!(waited.is_err(), "a launch takes 1.5 s");
    until("the launch whose caller is gone", || slow.wire.machines().first().map(|_| ())).await;
}

/// Converts an ID for the wire's methods.
struct Ec2Id(tinqs_ci_reconciler::model::MachineId);

impl From<&String> for Ec2Id {
    fn from(id: &String) -> Self {
        Self(tinqs_ci_reconciler::model::MachineId(id.clone()))
    }
}

#[tokio::test]
async fn each_operation_has_its_latency() {
    let latency = Latency {
        of: vec![("DescribeSubnets".to_owned(), Duration::from_millis(400))],
        other: Duration::ZERO,
    };
    let cloud = Cloud::new(Ec2Options { latency, ..Ec2Options::instant() });
    let start = Instant::now();
    cloud.call("DescribeSubnets", &[]).await;
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn ended_machines_show_their_reason() {
    let cloud = Cloud::new(Ec2Options::instant());
    for (token, reason) in [
        ("t-1", "Server.InternalError"),
        ("t-2", "Client.VolumeLimitExceeded"),
        ("t-3", "Server.InsufficientInstanceCapacity"),
    ] {
        let id = cloud.machine(token, &[]).await;
        cloud.wire.end_by_cloud(&Ec2Id::from(&id).0, reason);
        assert_eq!(cloud.until(&id, "terminated").await.all("code"), ["48", reason]);
    }
    cloud.wire.fail_launches(1, "Client.InternalError");
    let accepted = cloud.launch("t-4", &[]).await;
    assert_eq!((accepted.status, accepted.one("name")), (200, "pending".to_owned()));
    let ended = cloud.until(&accepted.one("instanceId"), "terminated").await;
    assert_eq!(ended.all("code")[1], "Client.InternalError");
    let id = cloud.machine("t-5", &[]).await;
    cloud.until(&id, "running").await;
}

fn details(wakes: &Wakes, kind: &str) -> Vec<Value> {
    let bodies = wakes.wire.bodies("wake").into_iter();
    let events = bodies.map(|body| serde_json::from_str::<Value>(&body).unwrap());
    events
        .filter(|event| event["detail-type"] == kind)
        .map(|event| event["detail"].clone())
        .collect()
}

const CHANGE: &str = "EC2 Instance State-change Notification";
const WARNING: &str = "EC2 Spot Instance Interruption Warning";
const REBALANCE: &str = "EC2 Instance Rebalance Recommendation";

#[tokio::test]
async fn an_interruption_has_a_two_minute_warning_or_none() {
    let wakes = Wakes::usual();
    let cloud = Cloud::new(Ec2Options { speed: 200, ..Ec2Options::instant() });
    cloud.wire.send_events(wakes.wire.target("wake"), EventFaults::default());
    let (warned, sudden) = (cloud.machine("t-1", &[]).await, cloud.machine("t-2", &[]).await);
    cloud.until(&warned, "running").await;
    cloud.wire.recommend_rebalance(&Ec2Id::from(&warned).0);
    let start = Instant::now();
    cloud.wire.interrupt(&Ec2Id::from(&warned).0);
    cloud.wire.interrupt_unwarned(&Ec2Id::from(&sudden).0);
    let ended = cloud.until(&warned, "terminated").await;
    assert!(start.elapsed() >= Duration::from_millis(600), "120 s are 600 ms");
    assert_eq!(ended.all("code")[1], "Server.SpotInstanceTermination");
    assert_eq!(
        cloud.until(&sudden, "terminated").await.all("code")[1],
        "Server.SpotInstanceTermination"
    );
    let told = json!({"instance-id": warned, "instance-action": "terminate"});
    until("the warning", || (details(&wakes, WARNING) == [told.clone()]).then_some(())).await;
    until("the recommendation", || details(&wakes, REBALANCE).first().cloned()).await;
    until("the end of the other machine", || {
        let wanted = json!({"instance-id": sudden, "state": "terminated"});
        details(&wakes, CHANGE).contains(&wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn spot_machines_are_interrupted_at_the_configured_rate() {
    let quick = Ec2Options { interrupted: 1.0, speed: 5_000, ..Ec2Options::instant() };
    let cloud = Cloud::new(quick);
    let (spot, own) = (cloud.machine("t-1", &[]).await, cloud.machine("t-2", &ON_DEMAND).await);
    assert_eq!(
        cloud.until(&spot, "terminated").await.all("code")[1],
        "Server.SpotInstanceTermination"
    );
    assert_eq!(cloud.describe(&own).await.one("name"), "running");
}

#[tokio::test]
async fn events_cover_every_state_change_in_the_account() {
    let wakes = Wakes::usual();
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.wire.send_events(wakes.wire.target("wake"), EventFaults::default());
    let id = cloud.machine("t-1", &[]).await;
    let foreign = cloud.wire.add_foreign([("Name".to_owned(), "db".to_owned())].into()).unwrap();
    cloud.until(&id, "running").await;
    cloud.terminate(&id).await;
    let states = |of: &str| -> Vec<Value> {
        let mut all = details(&wakes, CHANGE);
        all.retain(|detail| detail["instance-id"] == of);
        all.into_iter().map(|detail| detail["state"].clone()).collect()
    };
    until("all four states", || (states(&id).len() == 4).then_some(())).await;
    for state in ["pending", "running", "shutting-down", "terminated"] {
        assert!(states(&id).contains(&json!(state)), "{state}");
    }
    until("the foreign machine", || (states(&foreign.0).len() == 2).then_some(())).await;
    let bodies = wakes.wire.bodies("wake");
    let event: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(event["source"], "aws.ec2");
    assert_eq!(event["account"], "123456789012");
    let arn = event["resources"][0].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:ec2:us-east-1:123456789012:instance/i-"), "{arn}");
}

#[tokio::test]
async fn events_are_lost_and_duplicated_as_configured() {
    for (lost, doubled, copies) in [(1.0, 0.0, 0), (0.0, 1.0, 2)] {
        let wakes = Wakes::usual();
        let cloud = Cloud::new(Ec2Options::instant());
        let event_faults = EventFaults { lost, doubled, ..EventFaults::default() };
        cloud.wire.send_events(wakes.wire.target("wake"), event_faults);
        let id = cloud.machine("t-1", &[]).await;
        cloud.until(&id, "running").await;
        let running = json!({"instance-id": id, "state": "running"});
        let count = details(&wakes, CHANGE).iter().filter(|detail| **detail == running).count();
        assert_eq!(count, copies, "lost {lost} doubled {doubled}");
    }
}
