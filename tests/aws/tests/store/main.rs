//! Runs in `DynamoDB`: the laws of every store, and what is specific to this one.

mod life;
mod quarantine;
mod retries;
mod seat_forms;
mod seats;
mod sizes;
mod table;
#[path = "../wire/mod.rs"]
mod wire;

use tinqs_ci_aws::client;
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_testing::conformance::{archive, inbox, store as suite};
use wire::Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_laws_hold_without_faults() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    suite::all(&store).await;
    let kept = suite::write_some(&store).await;
    suite::find_them(&wire.store("runs", "b").await, &kept).await;
    assert_eq!(wire.struck(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_laws_hold_if_half_of_all_first_tries_fail() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    wire.storm();
    suite::all(&store).await;
    assert!(wire.struck() > 100, "{}", wire.struck());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_laws_hold() {
    let wire = Wire::start().await;
    inbox::all(&wire.store("inbox", "a").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_moves_between_a_table_and_a_file() {
    let wire = Wire::start().await;
    archive::all(&wire.store("here", "a").await, &wire.store("there", "a").await).await;
    let file = || tinqs_ci_local::store::Store::memory().expect("a store");
    archive::all(&wire.store("to-a-file", "a").await, &file()).await;
    archive::all(&file(), &wire.store("of-a-file", "a").await).await;
}

/// Runs against AWS, or against `AWS_ENDPOINT_URL`: makes a table `<name>-<seconds>` and removes it
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_laws_on_aws() {
    let Ok(name) = std::env::var("TINQS_CI_TEST_DYNAMODB_TABLE") else {
        println!("skipped: TINQS_CI_TEST_DYNAMODB_TABLE is not set");
        return;
    };
    let config = client::load(None).await.expect("a region and credentials");
    let client = client::dynamodb(&config);
    let table = format!("{name}-{}", jiff::Timestamp::now().as_second());
    let store = DynamoStore::new(client.clone(), &*table, "test");
    let made = store.ensure_table().await.expect("a table");
    println!("{table}: {made:?}");
    // A separate task, so that the table is removed even after a panic.
    let local = tokio::task::LocalSet::new();
    let laws = local.spawn_local(async move {
        suite::all(&store).await;
        let kept = suite::write_some(&store).await;
        suite::find_them(&store, &kept).await;
        println!("{:?}", store.units());
    });
    let kept = local.run_until(laws).await;
    client.delete_table().table_name(table).send().await.expect("the table is removed");
    kept.expect("the laws are kept");
}
