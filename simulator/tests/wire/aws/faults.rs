//! Requirements 12 and 13: every kind of fault by rule, and every call in the ledger.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};
use tinqs_ci_simulator::ec2_wire::Ec2Options;

use super::{Cloud, EC2, Wakes, recipe};
use crate::until;

fn always(cloud: &Cloud, op: &str, kind: Kind) {
    cloud.wire.faults(|rules| {
        rules.clear();
        rules.add(Rule::new("ec2", op, When::Always, kind));
    });
}

#[tokio::test]
async fn errors_and_throttling_have_no_effect() {
    let cloud = Cloud::new(Ec2Options::instant());
    for (code, status) in
        [("InternalError", 500), ("ExpiredToken", 403), ("PendingVerification", 400)]
    {
        always(&cloud, "RunInstances", Kind::Error { code: code.to_owned(), status });
        assert_eq!(cloud.launch("t-1", &[]).await.error(), (status, code.to_owned()));
    }
    always(&cloud, "*", Kind::Throttle);
    let throttled = (503, "RequestLimitExceeded".to_owned());
    assert_eq!(cloud.launch("t-1", &[]).await.error(), throttled);
    assert_eq!(cloud.list().await.error(), throttled);
    assert!(cloud.wire.machines().is_empty());
    cloud.wire.faults(tinqs_ci_simulator::aws_wire::Rules::clear);
    cloud.machine("t-1", &[]).await;
}

#[tokio::test]
async fn a_dropped_call_has_an_effect_or_not_according_to_its_kind() {
    let cloud = Cloud::new(Ec2Options::instant());
    for (kind, made) in [(Kind::DropBefore, 0), (Kind::DropAfter, 1), (Kind::ResetMidBody, 2)] {
        always(&cloud, "RunInstances", kind.clone());
        assert!(cloud.try_launch(&format!("{kind:?}"), &[]).await.is_err(), "{kind:?}");
        assert_eq!(cloud.wire.machines().len(), made, "{kind:?}");
    }
    let statuses: Vec<u16> = cloud.wire.ledger().entries.iter().map(|e| e.status).collect();
    assert_eq!(statuses, [0, 0, 200]);
}

#[tokio::test]
async fn a_delayed_call_takes_effect_even_if_its_caller_is_gone() {
    let cloud = Cloud::new(Ec2Options::instant());
    let wait = Duration::from_millis(600);
    always(&cloud, "RunInstances", Kind::Delay(wait));
    let start = Instant::now();
    let launch = cloud.try_launch("t-1", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(200), launch).await.is_err());
    until("the late launch", || cloud.wire.machines().first().map(|_| ())).await;
    assert!(start.elapsed() >= wait);
    always(&cloud, "RunInstances", Kind::DelayReply(Duration::from_mins(10)));
    let second = until("the second launch", || cloud.wire.machines().get(1).map(|_| ()));
    tokio::select! {
        answer = cloud.try_launch("t-2", &[]) => panic!("the response should be late: {answer:?}"),
        () = second => {}
    }
}

#[tokio::test]
async fn readings_are_stale_or_incomplete() {
    let cloud = Cloud::new(Ec2Options::instant());
    let mut ids = Vec::new();
    for n in 0..12 {
        let subnet = if n < 9 { "subnet-a" } else { "subnet-b" };
        ids.push(cloud.machine(&format!("t-{n}"), &[("SubnetId", subnet)]).await);
    }
    let count = async || cloud.list().await.all("instanceId").len();
    always(&cloud, "DescribeInstances", Kind::Stale(SignedDuration::from_secs(600)));
    assert_eq!(count().await, 0);
    always(&cloud, "DescribeInstances", Kind::Omit);
    assert_eq!(count().await, 11);
    always(&cloud, "DescribeInstances", Kind::OmitZone("us-east-1b".to_owned()));
    assert_eq!(count().await, 9);
    always(&cloud, "DescribeInstances", Kind::PageError(2));
    let page = [("Filter.1.Name", "tag:tinqs-ci"), ("Filter.1.Value.1", "x"), ("MaxResults", "5")];
    let first = cloud.call("DescribeInstances", &page).await;
    assert_eq!(first.all("instanceId"), ids[..5]);
    let token = first.one("nextToken");
    let second = [&page[..], &[("NextToken", token.as_str())]].concat();
    let second = cloud.call("DescribeInstances", &second).await;
    assert_eq!(second.error(), (500, "InternalError".to_owned()));
}

#[tokio::test]
async fn a_server_can_be_down() {
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.machine("t-1", &[]).await;
    cloud.wire.faults(|rules| rules.down = true);
    assert!(cloud.try_launch("t-2", &[]).await.is_err());
    cloud.wire.faults(|rules| rules.down = false);
    cloud.machine("t-2", &[]).await;
    assert_eq!(cloud.wire.machines().len(), 2);
}

#[tokio::test]
async fn the_ledger_has_every_call_in_process_and_over_http() {
    let cloud = Cloud::new(Ec2Options::instant());
    cloud.ask("AKIDA", EC2, "RunInstances", &recipe("t-1", &[("MaxCount", "3")])).await.unwrap();
    cloud.launch("t-2", &[("ImageId", "ami-9")]).await;
    cloud.list().await;
    cloud.ask("AKIDB", "2011-06-15", "GetCallerIdentity", &[]).await.unwrap();
    let ledger = cloud.wire.ledger();
    let ops: Vec<_> = ledger.entries.iter().map(|e| (e.service.as_str(), e.op.as_str())).collect();
    let wanted = [
        ("ec2", "RunInstances"),
        ("ec2", "RunInstances"),
        ("ec2", "DescribeInstances"),
        ("sts", "GetCallerIdentity"),
    ];
    assert_eq!(ops, wanted);
    let [launch, refused, list, who] = &ledger.entries[..] else { panic!("{ledger:?}") };
    assert_eq!((launch.caller.as_str(), launch.items, launch.status), ("AKIDA", 3, 200));
    assert_eq!(launch.tokens, (1, 3));
    assert!(launch.bytes_in > 500 && launch.bytes_out > 1_000);
    assert_eq!((refused.status, refused.code.as_str()), (400, "InvalidAMIID.NotFound"));
    assert_eq!((list.items, who.caller.as_str()), (3, "AKIDB"));
    let url = format!("{}/_ledger", cloud.wire.url());
    let told: Value = cloud.http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(told["entries"].as_array().unwrap().len(), 4);
    assert_eq!(told["entries"][1]["code"], "InvalidAMIID.NotFound");
}

#[tokio::test]
async fn the_sqs_wire_has_the_same_faults_and_ledger() {
    let wakes = Wakes::usual();
    let send = json!({"MessageBody": "job-1"});
    let rule = |when, kind| Rule::new("sqs", "SendMessage", when, kind);
    wakes.wire.faults(|rules| {
        rules.add(rule(When::Nth(1), Kind::DropBefore));
        rules.add(rule(When::Nth(2), Kind::DropAfter));
        rules.add(rule(When::Nth(3), Kind::Throttle));
        let error = Kind::Error { code: "InvalidSecurity".to_owned(), status: 403 };
        rules.add(rule(When::Nth(4), error));
    });
    assert!(wakes.try_call("SendMessage", &send).await.is_err());
    assert!(wakes.try_call("SendMessage", &send).await.is_err());
    assert_eq!(wakes.refused("SendMessage", &send).await, "RequestThrottled");
    assert_eq!(wakes.call("SendMessage", &send).await.0, 403);
    assert_eq!(wakes.wire.bodies("wake"), ["job-1"], "one call should have had an effect");
    let ledger = wakes.wire.ledger();
    let statuses: Vec<u16> = ledger.of("SendMessage").map(|e| e.status).collect();
    assert_eq!((statuses, ledger.throttled()), (vec![0, 0, 400, 403], 1));
    wakes.wire.faults(|rules| {
        rules.clear();
        rules.add(Rule::new("sqs", "ReceiveMessage", When::Nth(1), Kind::Omit));
    });
    assert_eq!(
        wakes.done("ReceiveMessage", &json!({})).await,
        json!({}),
        "a short poll may miss a message"
    );
    assert_eq!(wakes.done("ReceiveMessage", &json!({})).await["Messages"][0]["Body"], "job-1");
}
