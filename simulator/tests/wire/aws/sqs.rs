//! The guarantees of SQS, and their limits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tinqs_ci_simulator::sqs_wire::{QueueFaults, QueueSettings, SqsOptions};

use super::Wakes;
use crate::until;

async fn receive(wakes: &Wakes, body: Value) -> Vec<Value> {
    let answer = wakes.done("ReceiveMessage", &body).await;
    answer["Messages"].as_array().cloned().unwrap_or_default()
}

fn ten() -> Value {
    let all = ["All"];
    json!({"MaxNumberOfMessages": 10, "AttributeNames": all, "MessageAttributeNames": all})
}

#[tokio::test]
async fn a_received_message_is_hidden_and_a_deleted_one_is_gone() {
    let wakes = Wakes::usual();
    let sent = wakes.done("SendMessage", &json!({"MessageBody": "job-1"})).await;
    let got = receive(&wakes, ten()).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0]["Body"], "job-1");
    assert_eq!(got[0]["MessageId"], sent["MessageId"]);
    assert_eq!(got[0]["MD5OfBody"], sent["MD5OfMessageBody"]);
    assert_eq!(got[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert!(receive(&wakes, ten()).await.is_empty());
    let again = json!({"ReceiptHandle": got[0]["ReceiptHandle"], "VisibilityTimeout": 0});
    wakes.done("ChangeMessageVisibility", &again).await;
    let second = receive(&wakes, ten()).await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    let old = json!({"ReceiptHandle": got[0]["ReceiptHandle"]});
    wakes.done("DeleteMessage", &old).await;
    assert_eq!(wakes.wire.bodies("wake").len(), 1, "an old handle deletes nothing and returns 200");
    let current = json!({"ReceiptHandle": second[0]["ReceiptHandle"]});
    wakes.done("DeleteMessage", &current).await;
    assert!(wakes.wire.bodies("wake").is_empty());
    wakes.done("DeleteMessage", &current).await;
    let nothing = json!({"ReceiptHandle": "nonsense"});
    assert_eq!(wakes.refused("DeleteMessage", &nothing).await, "ReceiptHandleIsInvalid");
    let gone = json!({"ReceiptHandle": second[0]["ReceiptHandle"], "VisibilityTimeout": 5});
    assert_eq!(wakes.refused("ChangeMessageVisibility", &gone).await, "MessageNotInflight");
}

#[tokio::test]
async fn digests_match_those_of_the_service() {
    let wakes = Wakes::usual();
    let body = json!({
        "MessageBody": "hello world",
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}},
    });
    let sent = wakes.done("SendMessage", &body).await;
    assert_eq!(sent["MD5OfMessageBody"], "5eb63bbbe01eeed093cb22bb8f5acdc3");
    let got = receive(&wakes, ten()).await;
    assert_eq!(got[0]["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"]);
    assert_eq!(got[0]["MessageAttributes"]["a"]["StringValue"], "b");
    assert_eq!(sent["MD5OfMessageAttributes"], "bef8bf215374a0a228d67533b1a488be");
}

#[tokio::test]
async fn an_undeleted_message_returns_after_its_visibility_timeout() {
    let held = Wakes::usual();
    held.done("SendMessage", &json!({"MessageBody": "a", "DelaySeconds": 900})).await;
    assert!(receive(&held, ten()).await.is_empty());
    let wakes = Wakes::new(SqsOptions { speed: 100, ..SqsOptions::with_queue("wake") });
    let start = Instant::now();
    wakes.done("SendMessage", &json!({"MessageBody": "a", "DelaySeconds": 30})).await;
    let wait = json!({"WaitTimeSeconds": 20, "VisibilityTimeout": 40});
    assert_eq!(receive(&wakes, wait.clone()).await.len(), 1);
    assert!(start.elapsed() >= Duration::from_millis(300), "30 s are 300 ms");
    assert_eq!(receive(&wakes, wait).await.len(), 1);
    assert!(start.elapsed() >= Duration::from_millis(700), "40 s are 400 ms");
}

#[tokio::test]
async fn a_long_poll_returns_early_on_a_message_and_empty_on_timeout() {
    let wakes = Wakes::usual();
    let start = Instant::now();
    let long = json!({"WaitTimeSeconds": 20});
    let (got, ()) = tokio::join!(receive(&wakes, long), async {
        until("the poll", || (wakes.wire.polls() == 1).then_some(())).await;
        wakes.wire.post("wake", "job-1", Duration::ZERO);
    });
    assert_eq!(got[0]["Body"], "job-1");
    assert!(start.elapsed() < Duration::from_secs(15), "it should return early");
    let start = Instant::now();
    assert_eq!(wakes.done("ReceiveMessage", &json!({"WaitTimeSeconds": 1})).await, json!({}));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_poll_whose_caller_is_gone_takes_no_message() {
    let wakes = Wakes::usual();
    let long = json!({"WaitTimeSeconds": 20});
    let poll = wakes.try_call("ReceiveMessage", &long);
    let waits = until("the poll", || (wakes.wire.polls() == 1).then_some(()));
    tokio::select! {
        answer = poll => panic!("the queue should be empty: {answer:?}"),
        () = waits => {}
    }
    until("its end", || (wakes.wire.polls() == 0).then_some(())).await;
    wakes.wire.post("wake", "job-1", Duration::ZERO);
    assert_eq!(receive(&wakes, json!({"WaitTimeSeconds": 5})).await.len(), 1);
}

#[tokio::test]
async fn a_batch_has_at_most_ten_entries_that_fail_independently() {
    let wakes = Wakes::usual();
    let entries = |count: usize, body: &str| -> Vec<Value> {
        (0..count).map(|n| json!({"Id": format!("e{n}"), "MessageBody": body})).collect()
    };
    let send = |entries: Vec<Value>| json!({"Entries": entries});
    let op = "SendMessageBatch";
    assert_eq!(wakes.refused(op, &send(entries(11, "x"))).await, "TooManyEntriesInBatchRequest");
    assert_eq!(wakes.refused(op, &send(Vec::new())).await, "EmptyBatchRequest");
    let same = vec![json!({"Id": "a", "MessageBody": "x"}); 2];
    assert_eq!(wakes.refused(op, &send(same)).await, "BatchEntryIdsNotDistinct");
    let bad = vec![json!({"Id": "a b", "MessageBody": "x"})];
    assert_eq!(wakes.refused(op, &send(bad)).await, "InvalidBatchEntryId");
    let long = "x".repeat(600_000);
    assert_eq!(wakes.refused(op, &send(entries(2, &long))).await, "BatchRequestTooLong");
    assert!(wakes.wire.bodies("wake").is_empty());
    let late = vec![
        json!({"Id": "most", "MessageBody": "job-9", "DelaySeconds": 900}),
        json!({"Id": "more", "MessageBody": "job-9", "DelaySeconds": 901}),
        json!({"Id": "less", "MessageBody": "job-9", "DelaySeconds": -1}),
    ];
    let answer = wakes.done(op, &send(late)).await;
    assert_eq!(answer["Successful"][0]["Id"], "most");
    let failed = answer["Failed"].as_array().unwrap();
    let told = |one: &Value| format!("{} {}", one["Id"], one["Code"]).replace('"', "");
    let failed: Vec<String> = failed.iter().map(told).collect();
    assert_eq!(failed, ["more InvalidParameterValue", "less InvalidParameterValue"]);
    assert_eq!(wakes.wire.bodies("wake"), ["job-9"]);
    assert!(receive(&wakes, ten()).await.is_empty(), "it is delayed");
    let mut mixed = entries(10, "job-1");
    mixed[3]["MessageBody"] = "a\u{0}b".into();
    let answer = wakes.done(op, &send(mixed)).await;
    assert_eq!(answer["Successful"].as_array().unwrap().len(), 9);
    assert_eq!(answer["Failed"][0]["Id"], "e3");
    assert_eq!(answer["Failed"][0]["Code"], "InvalidMessageContents");
    let got = receive(&wakes, ten()).await;
    assert_eq!(got.len(), 9);
    let mut entries: Vec<Value> = got
        .iter()
        .zip(0..)
        .map(|(m, n)| json!({"Id": format!("e{n}"), "ReceiptHandle": m["ReceiptHandle"]}))
        .collect();
    entries[0]["ReceiptHandle"] = "nonsense".into();
    let answer = wakes.done("DeleteMessageBatch", &send(entries)).await;
    assert_eq!(answer["Successful"].as_array().unwrap().len(), 8);
    assert_eq!(answer["Failed"][0]["Code"], "ReceiptHandleIsInvalid");
    assert_eq!(wakes.wire.bodies("wake").len(), 2);
}

#[tokio::test]
async fn batch_entries_fail_at_the_configured_rate() {
    let options = SqsOptions { batch_failures: 0.5, ..SqsOptions::with_queue("wake") };
    let wakes = Wakes::new(options);
    let (mut done, mut failed) = (0, 0);
    for _ in 0..20 {
        let entries: Vec<Value> =
            (0..10).map(|n| json!({"Id": format!("e{n}"), "MessageBody": "x"})).collect();
        let answer = wakes.done("SendMessageBatch", &json!({"Entries": entries})).await;
        done += answer["Successful"].as_array().unwrap().len();
        failed += answer["Failed"].as_array().unwrap().len();
    }
    assert_eq!(done + failed, 200);
    assert!((70..130).contains(&failed), "{failed} of 200 at 50 %");
    assert_eq!(wakes.wire.bodies("wake").len(), done);
}

#[tokio::test]
async fn limits_of_messages_and_calls_are_enforced() {
    let wakes = Wakes::usual();
    let most = "x".repeat(1 << 20);
    wakes.done("SendMessage", &json!({"MessageBody": most})).await;
    let more = format!("{most}x");
    assert_eq!(
        wakes.refused("SendMessage", &json!({"MessageBody": more})).await,
        "InvalidParameterValue"
    );
    for (op, body, code) in [
        ("SendMessage", json!({}), "MissingParameter"),
        ("SendMessage", json!({"MessageBody": ""}), "MissingParameter"),
        ("SendMessage", json!({"MessageBody": "\u{1}"}), "InvalidMessageContents"),
        ("SendMessage", json!({"MessageBody": "x", "DelaySeconds": 901}), "InvalidParameterValue"),
        ("ReceiveMessage", json!({"MaxNumberOfMessages": 11}), "InvalidParameterValue"),
        ("ReceiveMessage", json!({"MaxNumberOfMessages": 0}), "InvalidParameterValue"),
        ("ReceiveMessage", json!({"WaitTimeSeconds": 21}), "InvalidParameterValue"),
        ("ReceiveMessage", json!({"VisibilityTimeout": 43_201}), "InvalidParameterValue"),
        ("PurgeQueue", json!({}), "InvalidAction"),
        ("GetQueueUrl", json!({"QueueName": "nobodys"}), "QueueDoesNotExist"),
        (
            "SendMessage",
            json!({"QueueUrl": "http://x/1/wake", "MessageBody": "x"}),
            "QueueDoesNotExist",
        ),
    ] {
        assert_eq!(wakes.refused(op, &body).await, code, "{op} {body}");
    }
    let url = wakes.wire.url();
    let odd = wakes.http.post(url).header("Authorization", super::signed_by("AKID"));
    let odd = odd.header("X-Amz-Target", "AmazonSQS.GetQueueUrl").body("{\"QueueName\":\"x\"}");
    let odd = odd.send().await.unwrap();
    let old = "AWS.SimpleQueueService.NonExistentQueue;Sender";
    assert_eq!(odd.headers()["x-amzn-query-error"], old);
    wakes.wire.remove_queue("wake");
    assert_eq!(wakes.refused("ReceiveMessage", &json!({})).await, "QueueDoesNotExist");
    let unsigned =
        wakes.http.post(wakes.wire.url()).header("X-Amz-Target", "AmazonSQS.SendMessage");
    assert_eq!(unsigned.body("{}").send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn too_many_messages_in_flight_fail_only_short_polls() {
    let settings = QueueSettings { most_in_flight: 1, ..QueueSettings::default() };
    let mut options = SqsOptions::with_queue("other");
    options.queues.push(("wake".to_owned(), settings));
    let wakes = Wakes::new(options);
    for body in ["a", "b"] {
        wakes.wire.post("wake", body, Duration::ZERO);
    }
    let got = receive(&wakes, json!({})).await;
    assert_eq!(wakes.refused("ReceiveMessage", &json!({})).await, "OverLimit");
    assert!(receive(&wakes, json!({"WaitTimeSeconds": 1})).await.is_empty());
    wakes.done("DeleteMessage", &json!({"ReceiptHandle": got[0]["ReceiptHandle"]})).await;
    assert_eq!(receive(&wakes, json!({})).await[0]["Body"], "b");
}

#[tokio::test]
async fn queues_are_created_once_and_described() {
    let wakes = Wakes::usual();
    let create = |attributes: Value| json!({"QueueName": "other", "Attributes": attributes});
    let arn = wakes.wire.queue_arn("wake");
    let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": "3"}).to_string();
    let settings = json!({"VisibilityTimeout": "60", "RedrivePolicy": policy});
    let url = wakes.done("CreateQueue", &create(settings.clone())).await["QueueUrl"].clone();
    assert_eq!(url, json!(wakes.wire.queue_url("other")));
    assert_eq!(wakes.done("CreateQueue", &create(settings)).await["QueueUrl"], url);
    assert_eq!(
        wakes.refused("CreateQueue", &create(json!({"DelaySeconds": "1"}))).await,
        "QueueNameExists"
    );
    assert_eq!(
        wakes.refused("CreateQueue", &json!({"QueueName": "a b"})).await,
        "InvalidParameterValue"
    );
    let nowhere = json!({"deadLetterTargetArn": format!("{arn}-dead"), "maxReceiveCount": 3});
    for (attributes, code) in [
        (json!({"RedrivePolicy": nowhere.to_string()}), "InvalidParameterValue"),
        (json!({"Policy": "events"}), "InvalidAttributeValue"),
        (json!({"Policy": "{}"}), "InvalidAttributeValue"),
    ] {
        let asked = json!({"QueueName": "third", "Attributes": attributes});
        assert_eq!(wakes.refused("CreateQueue", &asked).await, code, "{attributes}");
    }
    assert_eq!(wakes.done("GetQueueUrl", &json!({"QueueName": "other"})).await["QueueUrl"], url);
    for asked in [
        json!({"QueueName": "third"}),
        json!({"QueueName": "other", "QueueOwnerAWSAccountId": "210987654321"}),
    ] {
        assert_eq!(wakes.refused("GetQueueUrl", &asked).await, "QueueDoesNotExist", "{asked}");
    }
    let policy = json!({"Version": "2012-10-17", "Statement": []}).to_string();
    let shared = json!({"QueueName": "shared", "Attributes": {"Policy": policy}});
    let shared = wakes.done("CreateQueue", &shared).await["QueueUrl"].clone();
    let asked = json!({"QueueUrl": shared, "AttributeNames": ["Policy", "RedrivePolicy"]});
    let told = wakes.done("GetQueueAttributes", &asked).await;
    assert_eq!(told["Attributes"], json!({"Policy": policy}));
    wakes.wire.post("other", "a", Duration::ZERO);
    wakes.wire.post("other", "b", Duration::ZERO);
    wakes.wire.post("other", "c", Duration::from_mins(10));
    wakes.done("ReceiveMessage", &json!({"QueueUrl": url})).await;
    let all = json!({"QueueUrl": url, "AttributeNames": ["All"]});
    let all = wakes.done("GetQueueAttributes", &all).await["Attributes"].clone();
    for (name, value) in [
        ("ApproximateNumberOfMessages", "1"),
        ("ApproximateNumberOfMessagesNotVisible", "1"),
        ("ApproximateNumberOfMessagesDelayed", "1"),
        ("VisibilityTimeout", "60"),
        ("MaximumMessageSize", "1048576"),
    ] {
        assert_eq!(all[name], value, "{name}");
    }
    assert!(all["RedrivePolicy"].as_str().unwrap().contains(&arn));
    let one = json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let one = wakes.done("GetQueueAttributes", &one).await;
    assert_eq!(one["Attributes"], json!({"QueueArn": wakes.wire.queue_arn("other")}));
    let odd = json!({"QueueUrl": url, "AttributeNames": ["Color"]});
    assert_eq!(wakes.refused("GetQueueAttributes", &odd).await, "InvalidAttributeName");
    let other = json!({"QueueUrl": url});
    wakes.done("DeleteQueue", &other).await;
    assert_eq!(wakes.refused("DeleteQueue", &other).await, "QueueDoesNotExist");
}

#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue() {
    let dead_letters = Some(("dead".to_owned(), 2));
    let settings = QueueSettings { dead_letters, ..QueueSettings::default() };
    let mut options = SqsOptions::with_queue("dead");
    options.queues.push(("wake".to_owned(), settings));
    let wakes = Wakes::new(options);
    wakes.wire.post("wake", "poison", Duration::ZERO);
    for _ in 0..2 {
        assert_eq!(receive(&wakes, json!({"VisibilityTimeout": 0})).await.len(), 1);
    }
    assert!(receive(&wakes, ten()).await.is_empty());
    assert_eq!(wakes.wire.bodies("dead"), ["poison"]);
    assert!(wakes.wire.bodies("wake").is_empty());
}

#[tokio::test]
async fn message_faults_occur_as_configured() {
    let with = |queue_faults| {
        Wakes::new(SqsOptions { queue_faults, speed: 10_000, ..SqsOptions::with_queue("wake") })
    };
    let lost = with(QueueFaults { lost: 1.0, ..QueueFaults::default() });
    let sent = lost.done("SendMessage", &json!({"MessageBody": "a"})).await;
    assert!(sent["MessageId"].is_string() && lost.wire.bodies("wake").is_empty());

    let doubled = with(QueueFaults { doubled: 1.0, ..QueueFaults::default() });
    doubled.done("SendMessage", &json!({"MessageBody": "a"})).await;
    let got = receive(&doubled, ten()).await;
    assert_eq!(got.len(), 5);
    assert!(got.iter().all(|message| message["MessageId"] == got[0]["MessageId"]));

    let undeleted = with(QueueFaults { undeleted: 1.0, ..QueueFaults::default() });
    undeleted.wire.post("wake", "a", Duration::ZERO);
    let got = receive(&undeleted, ten()).await;
    undeleted.done("DeleteMessage", &json!({"ReceiptHandle": got[0]["ReceiptHandle"]})).await;
    assert_eq!(receive(&undeleted, ten()).await.len(), 1, "the deleted message should return");

    let late = with(QueueFaults { late: 1.0, ..QueueFaults::default() });
    late.wire.post("wake", "a", Duration::ZERO);
    assert_eq!(
        receive(&late, json!({"WaitTimeSeconds": 20})).await.len(),
        1,
        "15 min should take 90 ms"
    );

    let shuffled = with(QueueFaults { shuffled: true, ..QueueFaults::default() });
    let sent: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    for body in &sent {
        shuffled.wire.post("wake", body, Duration::ZERO);
    }
    let got = receive(&shuffled, ten()).await;
    let got: Vec<String> = got.iter().map(|m| m["Body"].as_str().unwrap().to_owned()).collect();
    assert_ne!(got, sent);
    let sorted: BTreeSet<String> = got.into_iter().collect();
    assert_eq!(sorted, sent.into_iter().collect());
}

#[tokio::test]
async fn a_message_expires_after_the_retention_period() {
    let retention = SignedDuration::from_secs(60);
    let settings = QueueSettings { retention, ..QueueSettings::default() };
    let mut options = SqsOptions { speed: 1_000, ..SqsOptions::with_queue("other") };
    options.queues.push(("wake".to_owned(), settings));
    let wakes = Wakes::new(options);
    wakes.wire.post("wake", "a", Duration::from_millis(100));
    let start = Instant::now();
    until("60 s, accelerated to 60 ms", || {
        (start.elapsed() > Duration::from_millis(150)).then_some(())
    })
    .await;
    assert!(receive(&wakes, ten()).await.is_empty());
    assert!(wakes.wire.bodies("wake").is_empty());
}
