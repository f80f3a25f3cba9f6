//! Unreadable records do not affect others.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue::{self, B, N, S};
use jiff::SignedDuration;
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::model::{RepoRef, RerunKey, Reruns, Run, RunName};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter, NewerRecord, OpenRun, RunStore as _};
use tinqs_ci_testing::make::{at, run};

use crate::wire::Wire;

async fn write(wire: &Wire, name: &str, change: impl FnOnce(&mut HashMap<String, AttributeValue>)) {
    let mut item = HashMap::from([
        ("run_id".to_owned(), S(name.to_owned())),
        ("uid".to_owned(), B(Blob::new([7; 16]))),
        ("version".to_owned(), N("3".to_owned())),
        ("created".to_owned(), N("1700000000000000".to_owned())),
        ("kind".to_owned(), S("run".to_owned())),
        ("open".to_owned(), S("1".to_owned())),
        ("body".to_owned(), S("{\"name\": \"SECRET".to_owned())),
    ]);
    change(&mut item);
    let put = wire.client().await.put_item().table_name("runs").set_item(Some(item));
    put.send().await.expect("written");
}

async fn names(store: &DynamoStore) -> Vec<String> {
    let filter = Filter { limit: 100, ..Filter::default() };
    let page = store.page(&filter, None).await.expect("a page");
    page.items.iter().map(|run| run.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_record_is_skipped_and_counted() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let good = run(1, "o/r");
    store.put(&good, Expect::Absent).await.expect("written");
    write(&wire, "job-2", |_| {}).await;
    write(&wire, "job-3", |item| drop(item.remove("body"))).await;
    write(&wire, "job-4", |item| drop(item.remove("version"))).await;
    write(&wire, "job-5", |item| drop(item.insert("body".to_owned(), B(Blob::new([1, 2, 3])))))
        .await;
    write(&wire, "job-6", |item| drop(item.insert("uid".to_owned(), S("x".to_owned())))).await;
    write(&wire, "nonsense", |_| {}).await;
    // A valid record under another run's name.
    let client = wire.client().await;
    let read =
        |name: &str| client.get_item().table_name("runs").key("run_id", S(name.to_owned())).send();
    let copy = read("job-1").await.expect("read").item.expect("there");
    write(&wire, "job-7", |item| {
        *item = copy;
        item.insert("run_id".to_owned(), S("job-7".to_owned()));
    })
    .await;

    assert_eq!(store.open(at(0)).await.expect("a list"), [OpenRun::of(&good)]);
    assert_eq!(store.unreadable(), 7);
    assert_eq!(names(&store).await, ["job-1"]);
    for id in 2..=7 {
        let error = store.get(&RunName::job(id)).await.expect_err("it cannot be read");
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
        let mut run = run(id, "o/r");
        run.name = RunName::job(id);
        let refused = store
            .put(&run, Expect::Absent)
            .await
            .expect_err("an unreadable record is not overwritten");
        assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    }
    assert_eq!(store.unreadable(), 7, "each is counted once");

    // An operator repairs one and removes another.
    let gone = client.delete_item().table_name("runs");
    gone.key("run_id", S("job-2".to_owned())).send().await.expect("removed");
    assert_eq!(store.get(&RunName::job(2)).await.expect("read"), None);
    let gone = client.delete_item().table_name("runs");
    gone.key("run_id", S("job-3".to_owned())).send().await.expect("removed");
    store.put(&run(3, "o/r"), Expect::Absent).await.expect("written");
    assert!(store.get(&RunName::job(3)).await.expect("read").is_some());
    assert_eq!(store.unreadable(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_newer_format_is_named() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let newer = Run { format: 99, ..run(1, "o/r") };
    store.put(&newer, Expect::Absent).await.expect("written");
    assert!(store.open(at(0)).await.expect("a list").is_empty());
    let refused = store.get(&newer.name).await.expect_err("it cannot be read");
    assert!(refused.message.contains("upgrade this replica"), "{refused}");
    let expected = NewerRecord { name: "job-1".to_owned(), format: 99 };
    assert_eq!((store.unreadable(), store.newer()), (1, vec![expected]));
    store.put(&newer, Expect::At(newer.uid, 1)).await.expect("nobody has changed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_announce_what_they_read() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let ttl = SignedDuration::from_mins(30);
    let announced = async |replica: &str, reads: u32, second: i64| {
        let all = store.announce(replica, reads, at(second), ttl).await.expect("announced");
        (all.format, all.silent)
    };
    assert_eq!(announced("new", 3, 0).await, (3, None));
    assert_eq!(announced("old", 2, 10).await, (2, None));
    assert_eq!(announced("new", 3, 20).await, (2, None), "each replaces its own");
    assert!(store.lease("sweep", "silent", at(20), ttl).await.expect("asked"));
    assert_eq!(announced("new", 3, 30).await, (1, Some("silent".to_owned())));
    // Both have ended, and the announcement of one is removed an hour later.
    assert_eq!(announced("new", 3, 20 + 1_800).await, (3, None));
    assert_eq!(announced("new", 3, 10 + 1_800 + 3_601).await, (3, None));
    let item = wire.client().await.get_item().table_name("runs");
    let item = item.key("run_id", S("lease#formats".to_owned())).send().await.expect("read");
    let item = item.item.expect("there");
    assert!(item.contains_key("replica#new") && !item.contains_key("replica#old"), "{item:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_seats_are_skipped() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let class = tinqs_ci_reconciler::model::ClassName("odd".to_owned());
    let attempt_id = tinqs_ci_testing::make::attempt_id(1, 1);
    let limits = tinqs_ci_reconciler::model::SeatLimits::default();
    assert!(store.seat(&class, &attempt_id, RepoRef::named("o/r"), limits).await.expect("asked"));
    let change = wire.client().await.update_item().table_name("runs");
    let change = change
        .key("run_id", S("seats-page#0#odd".to_owned()))
        .update_expression("SET #odd = :text, #number = :number")
        .expression_attribute_names("#odd", "no attempt ID")
        .expression_attribute_names("#number", "tq-job-9-00000000-1")
        .expression_attribute_values(":text", S("o/r".to_owned()))
        .expression_attribute_values(":number", N("5".to_owned()));
    change.send().await.expect("written");
    let seats = store.seats(&class).await.expect("read");
    assert_eq!(seats.iter().map(|seat| &seat.attempt_id).collect::<Vec<_>>(), [&attempt_id]);
    store.unseat(&class, &tinqs_ci_testing::make::attempt_id(9, 1)).await.expect("not held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_requests_for_re_runs_count_as_none_and_are_replaced() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let key = RerunKey { repo_id: 5, run_id: 41, job: "build".to_owned() };
    let first =
        Reruns { key: key.clone(), version: 0, count: 2, asked_at: at(60), failed_at: at(30) };
    assert_eq!(store.put_reruns(&first).await.expect("written"), 1);
    let change = wire.client().await.update_item().table_name("runs");
    let change = change
        .key("run_id", S(format!("reruns#{}", key.text())))
        .update_expression("SET #body = :text")
        .expression_attribute_names("#body", "body")
        .expression_attribute_values(":text", S("{\"count\": \"many\"".to_owned()));
    change.send().await.expect("written");
    let read = store.reruns(&key).await.expect("read").expect("there");
    assert_eq!(read, Reruns::unreadable(key.clone(), 1));
    let next = Reruns { count: 1, asked_at: at(90), failed_at: at(80), ..read };
    assert_eq!(store.put_reruns(&next).await.expect("written"), 2);
    let read = store.reruns(&key).await.expect("read");
    assert_eq!(read, Some(Reruns { version: 2, ..next }));
}
