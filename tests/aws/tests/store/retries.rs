//! Lost replies, refusals, and their errors.

use tinqs_ci_reconciler::model::{ClassName, Pause, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter, RunStore as _};
use tinqs_ci_testing::make::{at, attempt, attempt_id, run};

use crate::wire::{Fault, Wire};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_lost_reply_is_recognized() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let mut run = run(1, "o/r");
    wire.fail("PutItem", Fault::LoseReply, 1);
    assert_eq!(store.put(&run, Expect::Absent).await.expect("it was written"), 1);
    assert_eq!(wire.calls("PutItem"), 2);
    run.status.failures = 7;
    wire.fail("PutItem", Fault::LoseReply, 3);
    assert_eq!(store.put(&run, Expect::At(run.uid, 1)).await.expect("it was written"), 2);
    assert_eq!(wire.calls("PutItem"), 6);
    let kept = store.get(&run.name).await.expect("read").expect("there");
    assert_eq!((kept.version, kept.status.failures), (2, 7), "written once, not four times");

    wire.fail("DeleteItem", Fault::LoseReply, 1);
    store.remove(&run.name, run.uid, 2).await.expect("it was removed");
    assert_eq!(store.get(&run.name).await.expect("read"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_write_by_another_writer_is_a_conflict() {
    let wire = Wire::start().await;
    let (one, other) = (wire.store("runs", "a").await, wire.store("runs", "a").await);
    let run = run(1, "o/r");
    one.put(&run, Expect::Absent).await.expect("written");
    // The same bytes from another writer, whose first reply is lost too.
    wire.fail("PutItem", Fault::LoseReply, 1);
    let refused = other.put(&run, Expect::Absent).await.expect_err("it is not its own");
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    wire.fail("PutItem", Fault::LoseReply, 1);
    one.put(&run, Expect::At(run.uid, 1)).await.expect("written");
    let refused = other.put(&run, Expect::At(run.uid, 1)).await.expect_err("too late");
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    let own = one.put(&run, Expect::At(run.uid, 1)).await.expect_err("its own earlier one");
    assert_eq!(own.kind, ErrorKind::Conflict, "a repeated write conflicts: {own}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_and_leases_survive_lost_replies() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let (class, limits) =
        (ClassName("c".to_owned()), SeatLimits { class: Some(2), repo: Some(1), owner: None });
    for (id, repo) in [(1, "a/a"), (2, "b/b")] {
        // The second try of the head is refused, and the next read finds the seat.
        wire.fail("UpdateItem", Fault::LoseReply, 1);
        assert!(
            store
                .seat(&class, &attempt_id(id, 1), RepoRef::named(repo), limits)
                .await
                .expect("asked")
        );
    }
    assert_eq!(store.seats(&class).await.expect("read").len(), 2);
    wire.fail("UpdateItem", Fault::LoseReply, 1);
    store.unseat(&class, &attempt_id(1, 1)).await.expect("given back");
    wire.fail("UpdateItem", Fault::LoseReply, 5);
    let lost = store
        .seat(&class, &attempt_id(3, 1), RepoRef::named("a/a"), limits)
        .await
        .expect_err("no reply");
    assert_eq!(lost.kind, ErrorKind::Unavailable, "it may have happened: {lost}");
    assert!(
        store.seat(&class, &attempt_id(3, 1), RepoRef::named("a/a"), limits).await.expect("asked"),
        "counted once"
    );
    assert!(
        !store.seat(&class, &attempt_id(4, 1), RepoRef::named("b/b"), limits).await.expect("asked")
    );
    let ttl = jiff::SignedDuration::from_secs(30);
    wire.fail("PutItem", Fault::LoseReply, 1);
    assert!(store.lease("sweep", "a", at(0), ttl).await.expect("asked"));
    assert!(!store.lease("sweep", "b", at(1), ttl).await.expect("asked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ended_pauses_are_named_after_a_lost_reply() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let pause = |class: Option<&str>| Pause {
        class: class.map(|class| ClassName(class.to_owned())),
        since: at(1),
        by: "ops".to_owned(),
    };
    for (paused, resumed) in [(Some("c"), Some("c")), (Some("c"), None), (None, None)] {
        let pause = pause(paused);
        store.pause(&pause).await.expect("paused");
        wire.fail("UpdateItem", Fault::LoseReply, 1);
        wire.fail("DeleteItem", Fault::LoseReply, 1);
        let class = resumed.map(|class| ClassName(class.to_owned()));
        let ended = store.resume(class.as_ref()).await.expect("resumed");
        assert_eq!(ended, [pause], "{paused:?} by {resumed:?}");
        assert_eq!(store.pauses().await.expect("read"), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_classified_and_contain_no_secret() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let mut run = run(1, "o/r");
    run.status.attempt = Some(attempt(&run.attempt_id(1), "linux", 1, at(9_000)));
    store.put(&run, Expect::Absent).await.expect("written");
    let mut told = Vec::new();
    for (fault, kind) in [
        (Fault::Throttle, ErrorKind::Throttled),
        (Fault::Broken, ErrorKind::Unavailable),
        (Fault::LoseReply, ErrorKind::Unavailable),
        (Fault::LoseCall, ErrorKind::Unavailable),
        (Fault::Deny, ErrorKind::Denied),
    ] {
        // Exactly the number of tries of the client.
        let tries = if fault == Fault::Deny { 1 } else { 5 };
        for operation in ["PutItem", "GetItem", "Query"] {
            wire.fail(operation, fault, tries);
        }
        let put = store.put(&run, Expect::At(run.uid, 9)).await.expect_err("it fails");
        let get = store.get(&run.name).await.expect_err("it fails");
        let open = store.open(at(0)).await.expect_err("it fails");
        let page = Filter { limit: 1, ..Filter::default() };
        for (error, operation) in [(put, "put"), (get, "get"), (open, "open")] {
            assert_eq!((error.kind, error.operation), (kind, operation), "{fault:?}: {error}");
            told.push(format!("{error} {error:?}"));
        }
        assert!(store.page(&page, None).await.is_ok(), "{fault:?} is over");
    }
    let lost = store.put(&run, Expect::Absent).await.expect_err("it is there");
    told.push(format!("{lost} {lost:?}"));
    let none = tinqs_ci_aws::store::DynamoStore::new(wire.client().await, "nobody", "a");
    let missing = none.get(&run.name).await.expect_err("there is no such table");
    assert_eq!(missing.kind, ErrorKind::Invalid, "{missing}");
    told.push(format!("{missing} {missing:?}"));
    for line in told {
        assert!(!line.contains("SECRET") && !line.contains('\n') && line.len() < 900, "{line}");
    }
    let gone = wire.client().await;
    drop(wire);
    let store = tinqs_ci_aws::store::DynamoStore::new(gone, "runs", "a");
    let error = store.get(&run.name).await.expect_err("nobody answers");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}
