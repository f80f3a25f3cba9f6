//! Seats that an earlier release gave, and takers that died between the two writes of a seat.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue::{self, M, N, S};
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::model::{ClassName, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::RunStore as _;
use tinqs_ci_testing::make::attempt_id;

use crate::wire::{Fault, Wire};

const LIMITS: SeatLimits = SeatLimits { class: Some(4), repo: Some(3), owner: Some(3) };

/// A process of the earlier release, which keeps all seats of a class in one item.
struct EarlierRelease {
    client: Client,
    key: AttributeValue,
}

impl EarlierRelease {
    async fn of(wire: &Wire, class: &ClassName) -> Self {
        Self { client: wire.client().await, key: S(format!("seats#{class}")) }
    }

    /// Writes the item of the first seat, on the condition that there is none.
    async fn first_seat(&self, id: i64, repo: &str) -> bool {
        let one = |name: &str, value| M([(name.to_owned(), value)].into());
        let (owner, _) = repo.split_once('/').expect("an owner");
        let put = self.client.put_item().table_name("runs").item("run_id", self.key.clone());
        let put = put.item("seats", one(&attempt_id(id, 1).to_string(), S(repo.to_owned())));
        let put = put.item("repos", one(repo, N("1".to_owned())));
        let put = put.item("owners", one(owner, N("1".to_owned())));
        put.condition_expression("attribute_not_exists(run_id)").send().await.is_ok()
    }

    /// Takes a seat by the earlier release's conditional write, without the limits.
    async fn take(&self, id: i64, repo: &str) -> bool {
        let (owner, _) = repo.split_once('/').expect("an owner");
        let asked = self
            .client
            .update_item()
            .table_name("runs")
            .key("run_id", self.key.clone())
            .update_expression(
                "SET #seats.#attempt = :repo, \
                 #repos.#repo = if_not_exists(#repos.#repo, :none) + :one, \
                 #owners.#owner = if_not_exists(#owners.#owner, :none) + :one",
            )
            .condition_expression(
                "attribute_exists(run_id) AND attribute_exists(#owners) AND \
                 attribute_not_exists(#seats.#attempt)",
            )
            .expression_attribute_names("#seats", "seats")
            .expression_attribute_names("#repos", "repos")
            .expression_attribute_names("#owners", "owners")
            .expression_attribute_names("#attempt", attempt_id(id, 1).to_string())
            .expression_attribute_names("#repo", repo)
            .expression_attribute_names("#owner", owner)
            .expression_attribute_values(":repo", S(repo.to_owned()))
            .expression_attribute_values(":none", N("0".to_owned()))
            .expression_attribute_values(":one", N("1".to_owned()));
        asked.send().await.is_ok()
    }

    /// Counts the owners again, as the earlier release does where they are missing.
    async fn count_owners(&self) -> bool {
        let asked = self.client.update_item().table_name("runs").key("run_id", self.key.clone());
        let asked = asked
            .update_expression("SET owners = :owners")
            .condition_expression("seats = :seats")
            .expression_attribute_values(":owners", M([].into()))
            .expression_attribute_values(":seats", M([].into()));
        asked.send().await.is_ok()
    }

    async fn seats(&self) -> usize {
        let asked = self.client.get_item().table_name("runs").key("run_id", self.key.clone());
        let item = asked.consistent_read(true).send().await.expect("read").item;
        item.as_ref().and_then(|item| item.get("seats")?.as_m().ok()).map_or(0, HashMap::len)
    }
}

async fn take(store: &DynamoStore, class: &ClassName, id: i64, repo: &str) -> bool {
    store.seat(class, &attempt_id(id, 1), RepoRef::named(repo), LIMITS).await.expect("asked")
}

async fn held(store: &DynamoStore, class: &ClassName) -> Vec<i64> {
    let seats = store.seats(class).await.expect("read");
    let id = |id: &i64| seats.iter().any(|seat| seat.attempt_id == attempt_id(*id, 1));
    let held: Vec<i64> = (0..20).filter(id).collect();
    assert_eq!(held.len(), seats.len(), "{seats:?}");
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seats_of_an_earlier_release_count_and_can_be_given_back() {
    let wire = Wire::start().await;
    let store = wire.store("runs", "a").await;
    let class = ClassName("old".to_owned());
    let earlier = EarlierRelease::of(&wire, &class).await;
    assert!(earlier.first_seat(1, "acme/a").await);
    assert!(earlier.take(2, "acme/a").await);
    assert_eq!(held(&store, &class).await, [1, 2], "a list changes nothing");
    assert_eq!(earlier.seats().await, 2);

    // Two releases side by side: the earlier one gives seats until this one gives the first.
    assert!(earlier.take(3, "acme/b").await);
    wire.fail("UpdateItem", Fault::LoseReply, 1);
    assert!(!take(&store, &class, 4, "Acme/c").await, "the owner has its three");
    assert!(take(&store, &class, 4, "other/c").await);
    assert!(!earlier.take(5, "third/a").await, "no more seats by the earlier form");
    assert!(!earlier.count_owners().await);
    assert!(!earlier.first_seat(5, "third/a").await);
    assert_eq!(earlier.seats().await, 0, "and none to give back");
    assert!(!take(&store, &class, 5, "third/a").await, "the class has its four");
    assert!(take(&store, &class, 2, "acme/a").await, "who has a seat has it");
    assert_eq!(held(&store, &class).await, [1, 2, 3, 4]);

    let other = wire.store("runs", "b").await;
    for id in [2, 4] {
        other.unseat(&class, &attempt_id(id, 1)).await.expect("given back");
        other.unseat(&class, &attempt_id(id, 1)).await.expect("given back twice");
    }
    assert_eq!(held(&store, &class).await, [1, 3]);
    assert!(take(&store, &class, 5, "acme/a").await);
    assert!(!take(&store, &class, 6, "acme/b").await, "the owner has its three again");
    assert!(take(&other, &class, 6, "third/a").await);
    assert!(!take(&other, &class, 7, "fourth/a").await, "the class has its four");
    for id in [1, 3, 5, 6] {
        store.unseat(&class, &attempt_id(id, 1)).await.expect("given back");
    }
    assert_eq!(held(&other, &class).await, [] as [i64; 0], "none is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_switch_the_form_once() {
    let wire = Wire::start().await;
    let (a, b) = (wire.store("runs", "a").await, wire.store("runs", "b").await);
    for round in 0..10 {
        let class = ClassName(format!("old-{round}"));
        let earlier = EarlierRelease::of(&wire, &class).await;
        assert!(earlier.first_seat(1, "acme/a").await);
        let (one, other, late) = tokio::join!(
            take(&a, &class, 2, "b/b"),
            take(&b, &class, 3, "c/c"),
            earlier.take(4, "d/d"),
        );
        assert!(one && other, "{round}");
        let expected = if late { vec![1, 2, 3, 4] } else { vec![1, 2, 3] };
        assert_eq!(held(&a, &class).await, expected, "{round}");
        assert_eq!(take(&b, &class, 5, "e/e").await, !late, "the class has four");
        b.unseat(&class, &attempt_id(1, 1)).await.expect("given back");
        assert!(take(&a, &class, 6, "f/f").await, "one is free");
    }
}

/// Writes the head as a process does that dies before it writes the page.
async fn dies_after_the_head(client: &Client, class: &ClassName, id: i64, repo: &str) -> i64 {
    let key = S(format!("seats#{class}"));
    let asked = client.get_item().table_name("runs").key("run_id", key.clone());
    let head = asked.consistent_read(true).send().await.expect("read").item.expect("a head");
    let version: i64 = head["version"].as_n().expect("a number").parse().expect("a number");
    let asked = client.update_item().table_name("runs").key("run_id", key);
    let asked = asked
        .update_expression("SET version = :version, attempt = :attempt, repo = :repo, page = :page")
        .expression_attribute_values(":version", N((version + 1).to_string()))
        .expression_attribute_values(":attempt", S(attempt_id(id, 1).to_string()))
        .expression_attribute_values(":repo", S(repo.to_owned()))
        .expression_attribute_values(":page", N("0".to_owned()));
    asked.send().await.expect("written");
    version + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_whose_taker_died_is_held_until_it_is_given_back() {
    let wire = Wire::start().await;
    let (a, b) = (wire.store("runs", "a").await, wire.store("runs", "b").await);
    let client = wire.client().await;
    let class = ClassName("died".to_owned());
    let limits = SeatLimits { class: Some(2), repo: Some(2), owner: None };
    let take = async |store: &DynamoStore, id: i64| {
        store.seat(&class, &attempt_id(id, 1), RepoRef::named("a/a"), limits).await.expect("asked")
    };
    assert!(take(&a, 1).await);
    dies_after_the_head(&client, &class, 2, "a/a").await;
    assert_eq!(held(&b, &class).await, [1, 2], "it is listed");
    assert!(!take(&a, 3).await, "it counts, also for a process that kept the seats in memory");
    assert!(take(&b, 2).await, "the attempt has it");
    b.unseat(&class, &attempt_id(2, 1)).await.expect("given back");
    assert_eq!(held(&a, &class).await, [1]);

    // Given back by a process that finds it in the head alone, while its taker wakes up later.
    let version = dies_after_the_head(&client, &class, 3, "a/a").await;
    a.unseat(&class, &attempt_id(3, 1)).await.expect("given back");
    let late = client.update_item().table_name("runs");
    let late = late
        .key("run_id", S(format!("seats-page#0#{class}")))
        .update_expression("SET version = :version, #attempt = :repo")
        .condition_expression("attribute_not_exists(version) OR version < :version")
        .expression_attribute_names("#attempt", attempt_id(3, 1).to_string())
        .expression_attribute_values(":version", N(version.to_string()))
        .expression_attribute_values(":repo", S("a/a".to_owned()));
    let refused = late.send().await.expect_err("the page has a newer version").into_service_error();
    assert!(refused.is_conditional_check_failed_exception(), "{refused}");
    assert_eq!(held(&b, &class).await, [1], "it does not come back");
    assert!(take(&b, 4).await);
    assert!(!take(&a, 5).await);
}
