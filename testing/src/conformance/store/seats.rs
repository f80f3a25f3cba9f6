//! Seats: their limits hold, one by one and all at once.

use tinqs_ci_reconciler::model::{ClassName, SeatLimits};
use tinqs_ci_reconciler::ports::RunStore;

use crate::make::{at_once, attempt_id};

pub(super) async fn are_limited(store: &dyn RunStore) {
    let (class, other) = (ClassName("seats".to_owned()), ClassName("seats2".to_owned()));
    let both = SeatLimits { class: Some(3), repo: Some(2), owner: None };
    let take = async |class: &ClassName, id: i64, repo: &str, limits| {
        store.seat(class, &attempt_id(id, 1), repo, limits).await.unwrap()
    };
    assert!(take(&class, 1, "a/a", both).await);
    assert!(take(&class, 2, "a/a", both).await);
    assert!(!take(&class, 3, "a/a", both).await, "the repository has its two");
    assert!(take(&class, 4, "b/b", both).await);
    assert!(!take(&class, 5, "c/c", both).await, "the class has its three");
    assert!(take(&class, 1, "a/a", both).await, "who has a seat has it");
    let none = SeatLimits { class: Some(0), repo: Some(0), owner: None };
    assert!(take(&class, 1, "a/a", none).await, "even where limits were lowered meanwhile");
    assert!(take(&other, 5, "c/c", both).await, "classes count apart");
    assert!(take(&class, 6, "a/a", SeatLimits::default()).await, "no limit");

    let mut seats = store.seats(&class).await.unwrap();
    seats.sort_by_key(|seat| seat.attempt_id.to_string());
    let held: Vec<_> =
        seats.iter().map(|seat| (seat.attempt_id.clone(), seat.repo.as_str())).collect();
    let expected = [(1, "a/a"), (2, "a/a"), (4, "b/b"), (6, "a/a")];
    assert_eq!(held, expected.map(|(id, repo)| (attempt_id(id, 1), repo)));

    store.unseat(&class, &attempt_id(6, 1)).await.unwrap();
    store.unseat(&class, &attempt_id(6, 1)).await.expect("what is not held is given back");
    store.unseat(&class, &attempt_id(5, 1)).await.expect("of this class");
    assert_eq!(store.seats(&other).await.unwrap().len(), 1);
    store.unseat(&class, &attempt_id(2, 1)).await.unwrap();
    assert!(take(&class, 3, "a/a", both).await, "a freed seat can be taken");
}

pub(super) async fn are_limited_by_owner(store: &dyn RunStore) {
    let class = ClassName("owners".to_owned());
    let limits = SeatLimits { class: Some(5), repo: Some(2), owner: Some(3) };
    let take = async |id: i64, repo: &str, limits| {
        store.seat(&class, &attempt_id(id, 1), repo, limits).await.unwrap()
    };
    assert!(take(1, "a/x", limits).await);
    assert!(take(2, "a/x", limits).await);
    assert!(!take(3, "a/x", limits).await, "the repository has its two");
    assert!(take(3, "A/y", limits).await, "another repository of the owner");
    assert!(!take(4, "a/z", limits).await, "the owner has its three, however it is written");
    assert!(take(5, "b/x", limits).await, "another owner");
    assert!(take(3, "A/y", SeatLimits { owner: Some(0), ..limits }).await, "it has a seat");
    assert!(!take(6, "c/x", SeatLimits { owner: Some(0), ..limits }).await, "none is allowed");

    let counts_nothing = SeatLimits { owner: None, ..limits };
    assert!(take(6, "a/z", counts_nothing).await, "without the limit, up to the class's");
    assert!(!take(7, "c/x", limits).await, "the class has its five");
    store.unseat(&class, &attempt_id(6, 1)).await.unwrap();
    assert!(!take(7, "a/z", limits).await, "the owner still has its three");
    store.unseat(&class, &attempt_id(1, 1)).await.unwrap();
    store.unseat(&class, &attempt_id(1, 1)).await.expect("what is not held is given back");
    assert!(take(7, "a/z", limits).await, "a freed seat of the owner can be taken");
    assert!(!take(8, "a/w", limits).await, "and by one only");
    for id in [2, 3, 5, 7] {
        store.unseat(&class, &attempt_id(id, 1)).await.unwrap();
    }
    assert_eq!(store.seats(&class).await.unwrap(), []);
    assert!(take(9, "a/x", limits).await, "every seat of the owner is free again");
}

pub(super) async fn are_taken_one_by_one(store: &dyn RunStore) {
    let class = ClassName("crowd".to_owned());
    let limits = SeatLimits { class: Some(5), repo: Some(3), owner: Some(4) };
    let attempt_ids: Vec<_> = (0..30).map(|id| attempt_id(id, 1)).collect();
    let repo = |at: usize| if at.is_multiple_of(2) { "a/a" } else { "b/b" };
    let tries = attempt_ids.iter().enumerate();
    let asked =
        tries.map(|(at, attempt_id)| store.seat(&class, attempt_id, repo(at), limits)).collect();
    let taken = at_once(asked).await.into_iter().filter(|taken| *taken.as_ref().unwrap()).count();
    let seats = store.seats(&class).await.unwrap();
    assert_eq!((taken, seats.len()), (5, 5));
    for repo in ["a/a", "b/b"] {
        assert!(seats.iter().filter(|seat| seat.repo == repo).count() <= 3, "{seats:?}");
    }
}
