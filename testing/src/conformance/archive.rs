//! The laws of an `Archive`, over two stores of any kind: what one keeps, the other keeps after it.

use jiff::Timestamp;
use jiff::civil::Date;
use tinqs_ci_reconciler::model::{
    Amount, ClassName, MicroUsd, Pause, Phase, RepoRef, Run, SeatLimits, Seconds, Usage, UsageKey,
};
use tinqs_ci_reconciler::ports::{
    Archive, ErrorKind, Expect, Inbox, InboxItem, OpenRun, RunStore, StoreItem,
};

use crate::make::{at, attempt, finished, run, until};

/// More than one part of any store.
const RUNS: i64 = 450;
/// The day of the usage.
const DAY: Date = Date::constant(2026, 3, 1);

/// A store with all that it keeps.
pub trait Whole: RunStore + Inbox + Archive {}

impl<S: RunStore + Inbox + Archive> Whole for S {}

/// Asserts every law over two empty stores.
pub async fn all(from: &dyn Whole, to: &dyn Whole) {
    assert!(from.is_empty().await.unwrap() && to.is_empty().await.unwrap());
    assert!(items(from).await.is_empty());
    let runs = fill(from).await;
    until("what was written is listed", async || (items(from).await.len() >= 455).then_some(()))
        .await;
    let kept = items(from).await;
    assert_eq!(kept.len(), 455, "450 runs, 2 pauses, 1 usage, 1 delivery, 1 seat");
    for part in kept.chunks(100) {
        to.insert(part.to_vec()).await.unwrap();
    }
    until("the other store lists the same", async || {
        let mut there = items(to).await;
        let mut expected = kept.clone();
        for all in [&mut there, &mut expected] {
            all.sort_by_key(|item| format!("{item:?}"));
        }
        (there == expected).then_some(())
    })
    .await;
    assert!(!to.is_empty().await.unwrap());
    works(to, &runs).await;
    let is_there =
        |item: &StoreItem| matches!(item, StoreItem::Run(run) if run.name == runs[1].name);
    let again = kept.into_iter().find(is_there).unwrap();
    let refused = to.insert(vec![again]).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
}

/// Reads all items.
pub async fn items(store: &dyn Whole) -> Vec<StoreItem> {
    let mut snapshot = store.snapshot().await.unwrap();
    let mut all = Vec::new();
    while let Some(part) = snapshot.next().await.unwrap() {
        assert_eq!(part.unreadable, 0);
        all.extend(part.items);
    }
    all
}

fn linux() -> ClassName {
    ClassName("linux".to_owned())
}

fn used() -> Usage {
    let (repo, workflow) = ("o/archive".to_owned(), "test.yml".to_owned());
    let seconds = Seconds { boot: 21, idle: 3, busy: 64, lost: 1 };
    let amount = Amount { jobs: 1, seconds, cost: MicroUsd(507), unpriced: 2, unknown_end: 5 };
    Usage { key: UsageKey { day: DAY, class: linux(), repo, workflow }, amount }
}

/// Writes items of every kind. Returns the runs as they are stored.
async fn fill(store: &dyn Whole) -> Vec<Run> {
    let mut runs = Vec::new();
    for id in 8_000..8_000 + RUNS {
        let mut made = run(id, "o/archive");
        store.put(&made, Expect::Absent).await.unwrap();
        // One with credentials, one that is counted, the others as they were made.
        let version = match id {
            8_000 => {
                let own = attempt(&made.attempt_id(1), "linux", 1, at(90_000));
                (made.status.attempt, made.status.next) = (Some(own), 2);
                made.status.phase = Phase::Starting;
                store.put(&made, Expect::At(made.uid, 1)).await.unwrap()
            }
            8_001 => {
                // Far ahead, so that no store removes it.
                made = finished(made, "2100-01-01T00:00:00Z".parse().unwrap());
                store.put_counting(&made, Expect::At(made.uid, 1), &used()).await.unwrap()
            }
            _ => 1,
        };
        runs.push(Run { version, ..made });
    }
    let seated = runs[0].attempt_id(1);
    assert!(
        store
            .seat(&linux(), &seated, RepoRef::named("o/archive"), SeatLimits::default())
            .await
            .unwrap()
    );
    for class in [None, Some(linux())] {
        let pause = Pause { class, since: at(5), by: "ops".to_owned() };
        store.pause(&pause).await.unwrap();
    }
    let delivery = InboxItem::new(at(20), "digest", b"{\"any\":\"\xff bytes\"}".to_vec());
    assert!(store.take_in(&delivery).await.unwrap());
    runs
}

/// Asserts that the calls of the other ports find what was inserted, and can change it.
async fn works(store: &dyn Whole, runs: &[Run]) {
    for run in &runs[..3] {
        assert_eq!(store.get(&run.name).await.unwrap().as_ref(), Some(run), "with its secrets");
    }
    until("the open runs are listed", async || {
        let mut open = store.open(Timestamp::MIN).await.unwrap();
        open.sort_by_key(|run| run.waiting_since);
        let expected = runs.iter().filter(|run| run.is_open()).map(OpenRun::of);
        (open == expected.collect::<Vec<_>>()).then_some(())
    })
    .await;
    let seats = store.seats(&linux()).await.unwrap();
    assert_eq!(seats.len(), 1, "{seats:?}");
    let limits = SeatLimits { class: Some(1), ..SeatLimits::default() };
    let other = runs[2].attempt_id(1);
    assert!(
        !store.seat(&linux(), &other, RepoRef::named("o/archive"), limits).await.unwrap(),
        "the seat counts"
    );
    assert_eq!(store.pauses().await.unwrap().len(), 2);
    until("the usage is listed", async || {
        (store.usage(DAY, DAY).await.unwrap() == [used()]).then_some(())
    })
    .await;
    until("the delivery is listed", async || {
        (store.oldest("", 9).await.unwrap().len() == 1).then_some(())
    })
    .await;
    let first = &runs[0];
    let changed = store.put(first, Expect::At(first.uid, first.version)).await.unwrap();
    assert_eq!(changed, first.version + 1);
    store.remove(&first.name, first.uid, changed).await.unwrap();
}
