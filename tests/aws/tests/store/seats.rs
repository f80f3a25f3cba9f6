//! Concurrent seats.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use tinqs_ci_reconciler::model::{ClassName, SeatLimits};
use tinqs_ci_reconciler::ports::{ErrorKind, RunStore as _};
use tinqs_ci_testing::make::attempt_id;
use tokio::task::JoinSet;

use crate::wire::Wire;

const LIMITS: SeatLimits = SeatLimits { class: Some(6), repo: Some(2), owner: None };
const REPOS: [&str; 5] = ["a/a", "b/b", "", "#odd", "ü/ü"];

/// Asserts that both limits hold now. Returns the number of seats.
async fn watch(store: &impl tinqs_ci_reconciler::ports::RunStore, class: &ClassName) -> usize {
    let seats = store.seats(class).await.expect("read");
    assert!(seats.len() <= 6, "{seats:?}");
    for repo in REPOS {
        assert!(seats.iter().filter(|seat| seat.repo == repo).count() <= 2, "{seats:?}");
    }
    seats.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_concurrent_writers_never_exceed_the_limits() {
    let wire = Wire::start().await;
    let stores = [wire.store("runs", "a").await, wire.store("runs", "b").await].map(Arc::new);
    let class = ClassName("crowd".to_owned());
    let mut crowd = JoinSet::new();
    for member in 0..16_i64 {
        let (store, class) = (stores[usize::from(member % 2 == 1)].clone(), class.clone());
        crowd.spawn(async move {
            let (mut had, mut most) = (0, 0);
            for round in 0..12_u32 {
                let attempt_id = attempt_id(member, round + 1);
                let repo = REPOS[usize::try_from(member + i64::from(round)).unwrap_or(0) % 5];
                match store.seat(&class, &attempt_id, repo, LIMITS).await {
                    Ok(true) => {
                        had += 1;
                        most = most.max(watch(&*store, &class).await);
                        store.unseat(&class, &attempt_id).await.expect("given back");
                    }
                    Ok(false) => {}
                    // Too many concurrent writers; the controller reconciles again.
                    Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error}"),
                }
            }
            (had, most)
        });
    }
    let ended = crowd.join_all().await;
    let (had, most): (Vec<u32>, Vec<usize>) = ended.into_iter().unzip();
    println!("seats taken: {had:?}, at once: {most:?}");
    assert!(had.iter().sum::<u32>() > 16 && most.iter().max() > Some(&1));
    assert_eq!(watch(&*stores[0], &class).await, 0, "every seat is released");

    // The counts of repositories and owners are gone with the seats.
    let key = AttributeValue::S("seats#crowd".to_owned());
    let asked = wire.client().await.get_item().table_name("runs").key("run_id", key);
    let item = asked.consistent_read(true).send().await.expect("read").item.expect("it stays");
    for counts in ["repos", "owners"] {
        let counts = item[counts].as_m().expect("a map");
        assert!(counts.is_empty(), "{counts:?}");
    }

    for (id, repo) in (0..).zip(REPOS.into_iter().cycle().take(30)) {
        let _ = stores[0].seat(&class, &attempt_id(id, 1), repo, LIMITS).await.expect("asked");
    }
    assert_eq!(watch(&*stores[1], &class).await, 6, "every seat can be taken again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_zero_gives_no_seat() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let class = ClassName("none".to_owned());
    for limits in [
        SeatLimits { class: Some(0), repo: None, owner: None },
        SeatLimits { class: None, repo: Some(0), owner: None },
        LIMITS,
    ] {
        let had = store.seat(&class, &attempt_id(1, 1), "a/a", limits).await.expect("asked");
        assert_eq!(had, limits == LIMITS, "{limits:?}");
    }
    let none = SeatLimits { class: Some(9), repo: Some(0), owner: None };
    assert!(
        !store.seat(&class, &attempt_id(2, 1), "c/c", none).await.expect("asked"),
        "a limit of zero refuses later, too"
    );
}

/// An item of a release without `owner_limit` has no counts of owners.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_an_earlier_release_are_counted() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let class = ClassName("old".to_owned());
    let limits = SeatLimits { class: Some(9), repo: None, owner: Some(2) };
    for (id, repo) in [(1, "acme/a"), (2, "Acme/b")] {
        assert!(store.seat(&class, &attempt_id(id, 1), repo, limits).await.expect("asked"));
    }
    let key = || AttributeValue::S("seats#old".to_owned());
    let asked = wire.client().await.update_item().table_name("runs").key("run_id", key());
    asked.update_expression("REMOVE owners").send().await.expect("changed");

    assert!(!store.seat(&class, &attempt_id(3, 1), "acme/c", limits).await.expect("asked"));
    let asked = wire.client().await.update_item().table_name("runs").key("run_id", key());
    asked.update_expression("REMOVE owners").send().await.expect("changed");
    store.unseat(&class, &attempt_id(1, 1)).await.expect("given back without counts");
    assert!(store.seat(&class, &attempt_id(3, 1), "acme/c", limits).await.expect("asked"));
    assert!(!store.seat(&class, &attempt_id(4, 1), "acme/d", limits).await.expect("asked"));
    assert!(store.seat(&class, &attempt_id(5, 1), "other/a", limits).await.expect("asked"));
}
