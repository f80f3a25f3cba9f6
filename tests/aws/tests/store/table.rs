//! The table: creation, completion, refusal, description and expiry.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue::S;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tinqs_ci_aws::store::{DynamoStore, TableError, description};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter, OpenRun, RunStore as _};
use tinqs_ci_testing::make::{at, finished, run};

use crate::wire::{Fault, Wire, until};

async fn plain_table(wire: &Wire, name: &str, keys: &[(&str, KeyType)]) {
    let mut asked = wire.client().await.create_table().table_name(name);
    for (name, kind) in keys {
        let definition = AttributeDefinition::builder().attribute_name(*name);
        let definition = definition.attribute_type(ScalarAttributeType::S).build();
        let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone()).build();
        asked =
            asked.attribute_definitions(definition.expect("whole")).key_schema(key.expect("whole"));
    }
    asked.billing_mode(BillingMode::PayPerRequest).send().await.expect("a table");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_made_once() {
    let wire = Wire::start().await;
    let store = DynamoStore::new(wire.client().await, "runs", "a");
    let made = store.ensure_table().await.expect("a table");
    assert!(made.made && made.expires && made.indexes.is_empty(), "{made:?}");
    let again = store.ensure_table().await.expect("the same table");
    assert_eq!(again, tinqs_ci_aws::store::Ensured::default());
    assert_eq!((wire.calls("CreateTable"), wire.calls("UpdateTimeToLive")), (1, 1));

    // Two replicas that start concurrently.
    let other = DynamoStore::new(wire.client().await, "both", "a");
    let another = DynamoStore::new(wire.client().await, "both", "b");
    let (one, two) = tokio::join!(other.ensure_table(), another.ensure_table());
    let made = [one, two].map(|made| made.expect("a table").made);
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_predecessors_table_gets_its_indexes_and_keeps_its_items() {
    let wire = Wire::start().await;
    plain_table(&wire, "ci-runs", &[("run_id", KeyType::Hash)]).await;
    let client = wire.client().await;
    let old =
        [("run_id", "4711"), ("repo", "o/old"), ("instance_id", "i-1"), ("status", "running")];
    let item = old.map(|(name, value)| (name.to_owned(), S(value.to_owned())));
    let put = client.put_item().table_name("ci-runs").set_item(Some(item.into()));
    put.send().await.expect("written");

    let store = DynamoStore::new(client.clone(), "ci-runs", "a");
    let done = store.ensure_table().await.expect("completed");
    assert_eq!((done.made, &*done.indexes, done.expires), (false, &["open", "created"][..], true));
    let run = run(1, "o/r");
    store.put(&run, Expect::Absent).await.expect("written");
    until("the run is listed", async || {
        let open = store.open(at(0)).await.expect("a list");
        (open == [OpenRun::of(&run)]).then_some(())
    })
    .await;
    let page = store.page(&Filter { limit: 9, ..Filter::default() }, None).await.expect("a page");
    assert_eq!(page.items.len(), 1);
    let kept = client.get_item().table_name("ci-runs").key("run_id", S("4711".to_owned()));
    assert!(kept.send().await.expect("read").item.is_some());
    assert_eq!(store.unreadable(), 0);

    // Attributes for people are at the top level.
    let seen = client.get_item().table_name("ci-runs").key("run_id", S("job-1".to_owned()));
    let seen = seen.send().await.expect("read").item.expect("there");
    assert_eq!((&seen["repo"], &seen["status"]), (&S("o/r".to_owned()), &S("pending".to_owned())));
}

/// The predecessor's table has many items. A store that is opened says what it waits for, and works
/// once both indexes are there, which are made one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_that_take_minutes_are_awaited_in_the_background() {
    let wire = Wire::start().await;
    plain_table(&wire, "ci-runs", &[("run_id", KeyType::Hash)]).await;
    wire.indexes_take(Duration::from_secs(16));
    let store = Arc::new(DynamoStore::new(wire.client().await, "ci-runs", "a"));
    let another = DynamoStore::new(wire.client().await, "ci-runs", "b");
    let later = async {
        until("it is being made", async || (wire.calls("UpdateTable") == 1).then_some(())).await;
        another.open_table().await
    };
    let (opened, found) = tokio::join!(store.open_table(), later);
    let (opened, found) = (opened.expect("opened"), found.expect("opened"));
    assert_eq!((opened.awaited, &*opened.indexes), (Some("open"), &["open"][..]));
    assert_eq!((found.awaited, found.indexes.len()), (Some("open"), 0), "it is being made");
    assert!(!opened.expires && !found.expires);
    assert_eq!(wire.calls("UpdateTable"), 1);

    let run = run(1, "o/r");
    store.put(&run, Expect::Absent).await.expect("a key needs no index");
    let says = "index `open` of table ci-runs is being created, for 0 min so far";
    let open = store.open(at(0)).await.expect_err("not yet");
    let ready = store.writable("a", at(0)).await.expect_err("not yet");
    let page = store.page(&Filter { limit: 9, ..Filter::default() }, None).await;
    for error in [open, ready, page.expect_err("not yet")] {
        assert_eq!((error.kind, &*error.message), (ErrorKind::Unavailable, says));
    }
    assert_eq!(wire.calls("Query"), 0, "it is not tried");

    let completing = tokio::spawn({
        let store = store.clone();
        async move { store.complete_table().await }
    });
    until("the second one is made", async || {
        let error = store.open(at(0)).await.expect_err("not yet");
        error.message.starts_with("index `created`").then_some(())
    })
    .await;
    let done = completing.await.expect("no panic");
    assert_eq!((&*done.indexes, done.expires), (&["created"][..], true));
    store.writable("a", at(0)).await.expect("ready");
    assert_eq!(store.open(at(0)).await.expect("a list"), [OpenRun::of(&run)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_table_is_refused() {
    let wire = Wire::start().await;
    plain_table(&wire, "users", &[("user_id", KeyType::Hash)]).await;
    plain_table(&wire, "ranged", &[("run_id", KeyType::Hash), ("at", KeyType::Range)]).await;
    for name in ["users", "ranged"] {
        let store = DynamoStore::new(wire.client().await, name, "a");
        let error = store.ensure_table().await.expect_err("not ours");
        assert!(matches!(error, TableError::Foreign { .. }), "{error}");
        assert_eq!(wire.calls("UpdateTable"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_named_with_its_fix() {
    let wire = Wire::start().await;
    let store = DynamoStore::new(wire.client().await, "runs", "a");
    wire.fail("CreateTable", Fault::Deny, 1);
    let error = store.ensure_table().await.expect_err("may not").to_string();
    assert!(error.contains("dynamodb:CreateTable") && error.contains("init --aws"), "{error}");

    plain_table(&wire, "runs", &[("run_id", KeyType::Hash)]).await;
    wire.fail("UpdateTable", Fault::Deny, 1);
    let error = store.ensure_table().await.expect_err("may not").to_string();
    assert!(error.contains("dynamodb:UpdateTable") && error.contains("index `open`"), "{error}");

    // A missing right that `serve` does not need is only a warning.
    wire.fail("UpdateTimeToLive", Fault::Deny, 1);
    let done = store.ensure_table().await.expect("completed");
    assert!(done.warnings[0].contains("dynamodb:UpdateTimeToLive"), "{done:?}");
    wire.fail("DescribeTable", Fault::Deny, 1);
    let done = store.ensure_table().await.expect("taken as it is");
    assert!(done.warnings[0].contains("dynamodb:DescribeTable"), "{done:?}");
}

/// Compares the committed description with the code. `UPDATE_EXPECT=1` rewrites it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_matches_its_description() {
    let described = description();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/table.json");
    let text = format!("{described:#}\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == text,
        "schemas/table.json is not current: UPDATE_EXPECT=1 cargo test -p tinqs-ci-aws-tests"
    );

    let wire = Wire::start().await;
    let _made = wire.store("tinqs-ci", "a").await;
    let asked = wire.client().await.describe_table().table_name("tinqs-ci");
    let table = asked.send().await.expect("there").table.expect("described");
    let wanted = &described["create_table"];
    let keys = |keys: &[KeySchemaElement]| -> Vec<(String, String)> {
        let pair = |key: &KeySchemaElement| {
            (key.attribute_name().to_owned(), key.key_type().as_str().to_owned())
        };
        keys.iter().map(pair).collect()
    };
    let wanted_keys = |value: &serde_json::Value| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let keys = value["KeySchema"].as_array().expect("a list").iter();
        keys.map(|key| (text(&key["AttributeName"]), text(&key["KeyType"]))).collect()
    };
    assert_eq!(keys(table.key_schema()), wanted_keys(wanted));
    let indexes = wanted["GlobalSecondaryIndexes"].as_array().expect("a list");
    assert_eq!(table.global_secondary_indexes().len(), indexes.len());
    for index in indexes {
        let name = index["IndexName"].as_str();
        let mut there = table.global_secondary_indexes().iter();
        let there = there.find(|there| there.index_name() == name).expect("it is there");
        assert_eq!(keys(there.key_schema()), wanted_keys(index));
    }
    assert_eq!(table.attribute_definitions().len(), 4);

    // The description has every attribute of a run.
    let store = wire.store("tinqs-ci", "b").await;
    let mut over = finished(run(1, "o/r"), at(9));
    over.status.attempt =
        Some(tinqs_ci_testing::make::attempt(&over.attempt_id(1), "linux", 1, at(9_000)));
    store.put(&over, Expect::Absent).await.expect("written");
    store.put(&run(2, "o/r"), Expect::Absent).await.expect("written");
    let known = described["items"]["job-<id>, push-<hash>"].as_object().expect("a table");
    for name in ["job-1", "job-2"] {
        let client = wire.client().await;
        let asked = client.get_item().table_name("tinqs-ci").key("run_id", S(name.to_owned()));
        let item = asked.send().await.expect("read").item.expect("there");
        assert!(item.keys().all(|attribute| known.contains_key(attribute)), "{:?}", item.keys());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finished_runs_expire() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let long_ago = finished(run(1, "o/r"), at(0));
    let much_later =
        finished(run(2, "o/r"), jiff::Timestamp::now() + jiff::SignedDuration::from_hours(9));
    let waiting = run(3, "o/r");
    for run in [&long_ago, &much_later, &waiting] {
        store.put(run, Expect::Absent).await.expect("written");
    }
    // A run that is reopened in time stays.
    let reopened = finished(run(4, "o/r"), at(0));
    store.put(&reopened, Expect::Absent).await.expect("written");
    let reopened = tinqs_ci_reconciler::model::Run { status: waiting.status.clone(), ..reopened };
    store.put(&reopened, Expect::At(reopened.uid, 1)).await.expect("written");
    assert!(store.get(&long_ago.name).await.expect("read").is_some(), "until it is removed");
    assert_eq!(wire.database.sweep_ttl().expect("swept"), 1);
    assert_eq!(store.get(&long_ago.name).await.expect("read"), None);
    for run in [&much_later, &waiting, &reopened] {
        assert!(store.get(&run.name).await.expect("read").is_some(), "{}", run.name);
    }
    assert_eq!(store.open(at(0)).await.expect("a list").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_batch_of_open_runs_is_listed() {
    let wire = Wire::start().await;
    let store = Arc::new(wire.store("runs", "a").await);
    let mut writes = tokio::task::JoinSet::new();
    for id in 1..=1_050 {
        let store = store.clone();
        writes.spawn(async move { store.put(&run(id, "o/r"), Expect::Absent).await });
        if writes.len() >= 32 {
            writes.join_next().await.expect("one").expect("no panic").expect("written");
        }
    }
    while let Some(written) = writes.join_next().await {
        written.expect("no panic").expect("written");
    }
    let before = (store.units().read, wire.calls("Query"), wire.calls("BatchGetItem"));
    assert_eq!(store.open(at(0)).await.expect("a list").len(), 1_050);
    println!(
        "1,050 open runs: {} read units, {} queries, {} batches",
        store.units().read - before.0,
        wire.calls("Query") - before.1,
        wire.calls("BatchGetItem") - before.2
    );
    assert_eq!(wire.calls("BatchGetItem") - before.2, 11);
}
