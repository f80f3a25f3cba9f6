//! Requirement 4: client tokens, with the four behaviors that any EC2 emulation must show first.

use std::time::Duration;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::Market;
use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};
use tinqs_ci_simulator::ec2_wire::Ec2Options;

use super::Cloud;

#[tokio::test]
async fn a_token_returns_its_machine_and_a_different_request_is_a_mismatch() {
    let cloud = Cloud::new(Ec2Options::instant());
    let first = cloud.launch("t-1", &[]).await;
    let again = cloud.launch("t-1", &[]).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.one("instanceId"), again.one("instanceId"));
    assert_eq!(first.one("reservationId"), again.one("reservationId"));
    let other = cloud.launch("t-1", &[("InstanceType", "t3a.small")]).await;
    assert_eq!(other.error(), (400, "IdempotentParameterMismatch".to_owned()));
    assert_eq!(cloud.rules_broken(), ["same token, same bytes"]);
    assert_ne!(
        cloud.machine("T-1", &[]).await,
        first.one("instanceId"),
        "tokens are case-sensitive"
    );
    assert_eq!(cloud.wire.machines().len(), 2);
}

#[tokio::test]
async fn tokens_belong_to_a_zone() {
    let cloud = Cloud::new(Ec2Options::instant());
    let first = cloud.machine("t-1", &[]).await;
    let elsewhere = cloud.machine("t-1", &[("SubnetId", "subnet-b")]).await;
    assert_ne!(first, elsewhere, "another zone launches another machine without an error");
    let same_zone = cloud.launch("t-1", &[("SubnetId", "subnet-a2")]).await;
    assert_eq!(same_zone.one("Code"), "IdempotentParameterMismatch");
    assert_eq!(cloud.wire.machines().len(), 2);
}

#[tokio::test]
async fn a_retry_after_a_lost_reply_launches_one_machine() {
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.wire.faults(|rules| {
        rules.add(Rule::new("ec2", "RunInstances", When::Nth(1), Kind::DropAfter));
        rules.add(Rule::new("ec2", "RunInstances", When::Nth(2), Kind::DropBefore));
    });
    assert!(cloud.try_launch("t-1", &[]).await.is_err());
    let made: Vec<_> = cloud.wire.machines().into_iter().map(|m| m.id.0).collect();
    assert_eq!(made.len(), 1, "the response was lost, but the machine exists");
    assert!(cloud.try_launch("t-2", &[]).await.is_err());
    assert_eq!(cloud.wire.machines().len(), 1, "the call had no effect");
    assert_eq!(cloud.machine("t-1", &[]).await, made[0]);
}

#[tokio::test]
async fn no_capacity_returns_500_and_a_quota_400() {
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.wire.run_short("t3.small", "us-east-1a", Market::Spot, Duration::from_mins(10));
    let none = cloud.launch("t-1", &[]).await;
    assert_eq!(none.error(), (500, "InsufficientInstanceCapacity".to_owned()));
    assert_eq!(cloud.launch("t-2", &[("SubnetId", "subnet-a2")]).await.status, 500);
    cloud.machine("t-3", &[("SubnetId", "subnet-b")]).await;
    cloud.machine("t-4", &super::ON_DEMAND).await;
    cloud.wire.cloud(|cloud| cloud.config.vcpu_quota.insert(Market::Spot, 2));
    let limit = cloud.launch("t-5", &[("SubnetId", "subnet-b")]).await;
    assert_eq!(limit.error(), (400, "MaxSpotInstanceCountExceeded".to_owned()));
    assert_eq!(cloud.wire.ledger().count("RunInstances"), 5);
    assert_eq!(
        cloud.machine("t-3", &[("SubnetId", "subnet-b")]).await.len(),
        19,
        "the machines of the token"
    );
}

#[tokio::test]
async fn a_token_returns_its_machine_in_its_current_state() {
    let cloud =
        Cloud::new(Ec2Options { boots_in: SignedDuration::from_hours(1), ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    assert_eq!(cloud.launch("t-1", &[]).await.one("name"), "pending");
    cloud.terminate(&id).await;
    cloud.until(&id, "terminated").await;
    let dead = cloud.launch("t-1", &[]).await;
    assert_eq!((dead.one("instanceId"), dead.one("name")), (id, "terminated".to_owned()));
    assert_eq!(dead.all("code")[1], "Client.UserInitiatedShutdown");
    assert_eq!(cloud.wire.machines().len(), 1);
}

#[tokio::test]
async fn a_token_expires_only_after_the_end_of_its_machine() {
    let kept = SignedDuration::from_secs(60);
    let cloud = Cloud::new(Ec2Options { token_kept: kept, speed: 100, ..Ec2Options::instant() });
    let id = cloud.machine("t-1", &[]).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(cloud.machine("t-1", &[]).await, id, "the time counts from the end");
    cloud.terminate(&id).await;
    for _ in 0..1_000 {
        if cloud.machine("t-1", &[]).await != id {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the token is kept forever");
}

#[tokio::test]
async fn twenty_concurrent_launches_share_one_machine_only_with_a_token() {
    let at_once = async |honored: bool| {
        let options = Ec2Options { tokens: honored, ..Ec2Options::instant() };
        let cloud = std::sync::Arc::new(Cloud::new(options));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let cloud = std::sync::Arc::clone(&cloud);
            tasks.spawn(async move { cloud.machine("t-1", &[]).await });
        }
        let ids: std::collections::BTreeSet<String> = tasks.join_all().await.into_iter().collect();
        (ids.len(), cloud.wire.machines().len())
    };
    assert_eq!(at_once(true).await, (1, 1));
    assert_eq!(at_once(false).await, (20, 20));
}
