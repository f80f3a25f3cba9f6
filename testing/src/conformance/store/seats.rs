//! Seats: their limits hold, one by one and all at once.

use tinqs_ci_reconciler::model::{ClassName, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::{PortError, RunStore};

use crate::make::{at_once, attempt_id};

pub(super) async fn are_limited(store: &dyn RunStore) {
    let (class, other) = (ClassName("seats".to_owned()), ClassName("seats2".to_owned()));
    let both = SeatLimits { class: Some(3), repo: Some(2), owner: None };
    let take = async |class: &ClassName, id: i64, repo: &str, limits| {
        store.seat(class, &attempt_id(id, 1), RepoRef::named(repo), limits).await.unwrap()
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
        store.seat(&class, &attempt_id(id, 1), RepoRef::named(repo), limits).await.unwrap()
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
    let asked = tries
        .map(|(at, attempt_id)| store.seat(&class, attempt_id, RepoRef::named(repo(at)), limits))
        .collect();
    let taken = at_once(asked).await.into_iter().filter(|taken| *taken.as_ref().unwrap()).count();
    let seats = store.seats(&class).await.unwrap();
    assert_eq!((taken, seats.len()), (5, 5));
    for repo in ["a/a", "b/b"] {
        assert!(seats.iter().filter(|seat| seat.repo == repo).count() <= 3, "{seats:?}");
    }
}

/// Two askers with one attempt take one seat, and two give it back once.
pub(super) async fn are_taken_once(store: &dyn RunStore) {
    let class = ClassName("once".to_owned());
    let limits = SeatLimits { class: Some(3), repo: Some(2), owner: Some(2) };
    let take = async |id: i64, repo: &str| {
        store.seat(&class, &attempt_id(id, 1), RepoRef::named(repo), limits).await.unwrap()
    };
    let id = attempt_id(1, 1);
    let asked = (0..8).map(|_| store.seat(&class, &id, RepoRef::named("a/a"), limits)).collect();
    for taken in at_once(asked).await {
        assert!(taken.unwrap());
    }
    assert_eq!(store.seats(&class).await.unwrap().len(), 1, "one seat for eight askers");
    assert!(take(2, "a/a").await, "its repository still has one");
    assert!(!take(3, "a/a").await);

    let given = at_once((0..8).map(|_| store.unseat(&class, &id)).collect()).await;
    assert!(given.iter().all(Result::is_ok), "{given:?}");
    assert_eq!(store.seats(&class).await.unwrap().len(), 1);
    assert!(take(3, "a/a").await, "one seat is free");
    assert!(!take(4, "a/a").await, "and one only");
    store.unseat(&class, &attempt_id(3, 1)).await.unwrap();
    assert!(take(1, "a/a").await, "an attempt may take a seat again");
    assert!(!take(3, "a/a").await);
    for id in [1, 2] {
        store.unseat(&class, &attempt_id(id, 1)).await.unwrap();
    }
    assert_eq!(store.seats(&class).await.unwrap(), []);
}

pub(super) async fn are_limited_in_a_burst(store: &dyn RunStore) {
    let class = ClassName("burst".to_owned());
    let limits = SeatLimits { class: Some(20), repo: Some(15), owner: None };
    let attempt_ids: Vec<_> = (0..50).map(|id| attempt_id(id, 1)).collect();
    let count = |asked: Vec<Result<bool, PortError>>| {
        asked.into_iter().filter(|taken| *taken.as_ref().unwrap()).count()
    };
    let asked = attempt_ids
        .iter()
        .map(|id| store.seat(&class, id, RepoRef::named("a/a"), limits))
        .collect();
    assert_eq!(count(at_once(asked).await), 15, "of the repository");
    let free = SeatLimits { repo: None, ..limits };
    let asked =
        attempt_ids.iter().map(|id| store.seat(&class, id, RepoRef::named("b/b"), free)).collect();
    assert_eq!(count(at_once(asked).await), 20, "fifteen have theirs, and five are new");
    let mut seats = store.seats(&class).await.unwrap();
    assert_eq!(seats.len(), 20);

    // A limit below what is held grants none until enough are given back.
    let lowered = SeatLimits { class: Some(10), ..SeatLimits::default() };
    for left in (0..20).rev() {
        let seat = seats.pop().expect("one is left");
        store.unseat(&class, &seat.attempt_id).await.unwrap();
        let taken =
            store.seat(&class, &attempt_id(90, 1), RepoRef::named("c/c"), lowered).await.unwrap();
        assert_eq!(taken, left < 10, "{left} are held");
        store.unseat(&class, &attempt_id(90, 1)).await.unwrap();
    }
    assert_eq!(store.seats(&class).await.unwrap(), []);
}

/// A renamed repository keeps its seats, also for the limit of its owner, and a repository that got
/// the name of another has none. Of a seat without an ID only the name is known.
pub(super) async fn count_for_the_repository(store: &dyn RunStore) {
    let class = ClassName("renamed".to_owned());
    let limits = SeatLimits { class: None, repo: Some(2), owner: Some(3) };
    let take = async |id: i64, repo_id: i64, name: &str| {
        let repo = RepoRef { id: repo_id, name };
        store.seat(&class, &attempt_id(id, 1), repo, limits).await.unwrap()
    };
    assert!(take(1, 7, "a/old").await);
    assert!(take(1, 7, "a/new").await, "the attempt has its seat");
    let seat = store.seats(&class).await.unwrap().pop().expect("one is held");
    assert_eq!((seat.repo.as_str(), seat.repo_id), ("a/old", 7));
    assert!(take(2, 7, "a/new").await, "its second");
    assert!(!take(3, 7, "a/newer").await, "a renamed repository has its two");
    assert!(!take(3, 7, "b/given").await, "one that another owner got, too");
    assert!(take(4, 8, "a/old").await, "another repository has the former name");
    assert!(!take(5, 8, "a/old").await, "its owner has its three");
    assert!(take(5, 8, "b/old").await, "the owner that it was given to has one of three");
    store.unseat(&class, &attempt_id(1, 1)).await.unwrap();
    assert!(take(3, 7, "b/given").await, "a freed seat of the repository");

    // An earlier release knew no ID.
    assert!(take(6, 0, "c/c").await);
    assert!(take(7, 9, "C/c").await, "of two, the same by its name");
    assert!(!take(8, 9, "c/c").await);
    assert!(!take(8, 0, "c/C").await, "however it is written");
    assert!(take(8, 9, "c/renamed").await, "a seat without an ID counts for its name alone");
    for id in 2..=8 {
        store.unseat(&class, &attempt_id(id, 1)).await.unwrap();
    }
    assert_eq!(store.seats(&class).await.unwrap(), []);
}

/// Takes so many seats of one class: its limits hold as those of a small one.
pub async fn are_many(store: &dyn RunStore, count: i64) {
    let class = ClassName("many".to_owned());
    let free = SeatLimits::default();
    let repo = |id: i64| if id == 0 { "a/first" } else { "b/others" };
    let attempt_ids: Vec<_> = (0..count).map(|id| (id, attempt_id(id, 1))).collect();
    for some in attempt_ids.chunks(50) {
        let asked = some
            .iter()
            .map(|(id, at)| store.seat(&class, at, RepoRef::named(repo(*id)), free))
            .collect();
        assert!(at_once(asked).await.into_iter().all(Result::unwrap));
    }
    let seats = store.seats(&class).await.unwrap();
    assert_eq!(i64::try_from(seats.len()), Ok(count));

    let class_limit = u32::try_from(count).unwrap() + 1;
    let limits = SeatLimits { class: Some(class_limit), repo: Some(2), owner: Some(2) };
    let take = async |id: i64, repo: &str| {
        store.seat(&class, &attempt_id(id, 2), RepoRef::named(repo), limits).await.unwrap()
    };
    assert!(!take(1, "b/others").await, "the repository has more than two");
    assert!(!take(1, "B/new").await, "the owner has more than two");
    assert!(take(1, "a/first").await, "the repository had one, and the class has one left");
    assert!(!take(2, "c/new").await, "the class is full");
    store.unseat(&class, &attempt_id(count / 2, 1)).await.unwrap();
    assert!(!take(3, "a/first").await, "the repository has its two");
    assert!(take(2, "c/new").await, "the freed seat");
    assert!(!take(3, "d/new").await, "and it alone");
    assert_eq!(i64::try_from(store.seats(&class).await.unwrap().len()), Ok(count + 1));
}
