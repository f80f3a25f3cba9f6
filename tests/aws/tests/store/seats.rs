//! Concurrent seats.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue::{N, S};
use tinqs_ci_reconciler::model::{ClassName, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::{ErrorKind, RunStore as _};
use tinqs_ci_testing::conformance::store as suite;
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
                match store.seat(&class, &attempt_id, RepoRef::named(repo), LIMITS).await {
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

    // Nothing of the seats is left in their page.
    let key = S("seats-page#0#crowd".to_owned());
    let asked = wire.client().await.get_item().table_name("runs").key("run_id", key);
    let item = asked.consistent_read(true).send().await.expect("read").item.expect("it stays");
    let mut names: Vec<_> = item.into_keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["run_id", "version"]);

    for (id, repo) in (0..).zip(REPOS.into_iter().cycle().take(30)) {
        let _ = stores[0]
            .seat(&class, &attempt_id(id, 1), RepoRef::named(repo), LIMITS)
            .await
            .expect("asked");
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
        let had = store
            .seat(&class, &attempt_id(1, 1), RepoRef::named("a/a"), limits)
            .await
            .expect("asked");
        assert_eq!(had, limits == LIMITS, "{limits:?}");
    }
    let none = SeatLimits { class: Some(9), repo: Some(0), owner: None };
    assert!(
        !store.seat(&class, &attempt_id(2, 1), RepoRef::named("c/c"), none).await.expect("asked"),
        "a limit of zero refuses later, too"
    );
}

/// Writes a class with so many seats, of one repository, as a process would have.
async fn fill(client: &Client, class: &str, count: i64) {
    const IN_A_PAGE: i64 = 20;
    let pages = count.div_euclid(IN_A_PAGE);
    assert_eq!(pages * IN_A_PAGE, count, "whole pages");
    let id = |id: i64| attempt_id(id, 1).to_string();
    for page in 0..pages {
        let key = S(format!("seats-page#{page}#{class}"));
        let mut put = client.put_item().table_name("runs").item("run_id", key);
        put = put.item("version", N("7".to_owned()));
        for seat in page * IN_A_PAGE..(page + 1) * IN_A_PAGE {
            put = put.item(id(seat), S("some-owner/some-name".to_owned()));
        }
        put.send().await.expect("written");
    }
    let head = client.put_item().table_name("runs").item("run_id", S(format!("seats#{class}")));
    let head = head.item("version", N("7".to_owned())).item("pages", N(pages.to_string()));
    let head = head.item("attempt", S(id(count - 1))).item("page", N((pages - 1).to_string()));
    head.item("repo", S("some-owner/some-name".to_owned())).send().await.expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_of_ten_thousand_costs_as_much_as_the_first() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    for held in [0, 100, 10_000] {
        let class = ClassName(format!("of-{held}"));
        if held > 0 {
            fill(&wire.client().await, &class.0, held).await;
        }
        assert_eq!(i64::try_from(store.seats(&class).await.expect("read").len()), Ok(held));
        let most = u32::try_from(held).expect("some") + 1;
        let limits = SeatLimits { class: Some(most), repo: Some(1), owner: Some(1) };
        let take = async |id: i64, repo: &str| {
            let before = store.units().written;
            let taken = store
                .seat(&class, &attempt_id(id, 2), RepoRef::named(repo), limits)
                .await
                .expect("asked");
            (taken, store.units().written - before)
        };
        let (taken, units) = take(1, "a/a").await;
        assert!(taken && (units - 2.0).abs() < 0.01, "{held} held: {units}");
        let (taken, units) = take(2, "b/b").await;
        assert!(!taken && units < 0.01, "a refusal writes nothing: {units}");
        let before = store.units().written;
        store.unseat(&class, &attempt_id(1, 2)).await.expect("given back");
        let units = store.units().written - before;
        assert!((units - 1.0).abs() < 0.01, "{held} held: {units} to give one back");
        if held > 0 {
            // Another process, which has read nothing yet.
            let other = wire.store("runs", "b").await;
            other.unseat(&class, &attempt_id(held / 2, 1)).await.expect("given back");
            assert!(take(2, "b/b").await.0, "two seats are free");
            assert!(take(3, "c/c").await.0, "two seats are free");
        } else {
            assert!(take(2, "b/b").await.0, "a seat is free");
        }
        assert!(!take(4, "d/d").await.0, "{held} held: it is full");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_are_no_longer_used_are_not_read() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    suite::many_seats(&store, 200).await;
    let many = ClassName("many".to_owned());
    let read = async || {
        let before = store.units().read;
        let seats = store.seats(&many).await.expect("read").len();
        (seats, store.units().read - before)
    };
    let (seats, units) = read().await;
    assert!(seats == 201 && units > 5.0, "{seats} seats, {units} read units");
    for seat in store.seats(&many).await.expect("read") {
        store.unseat(&many, &seat.attempt_id).await.expect("given back");
    }
    let limits = SeatLimits { class: Some(1), repo: None, owner: None };
    assert!(
        store.seat(&many, &attempt_id(1, 9), RepoRef::named("a/a"), limits).await.expect("asked")
    );
    let (seats, units) = read().await;
    assert!(seats == 1 && units < 3.0, "{seats} seats, {units} read units");
}
