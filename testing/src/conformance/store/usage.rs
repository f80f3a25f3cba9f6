//! The laws of usage: it changes with the write of a run, or not at all.

use jiff::civil::Date;
use tinqs_ci_reconciler::model::{Amount, ClassName, MicroUsd, Run, Seconds, Usage, UsageKey};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, RunStore};

use super::kind;
use crate::make::{at, at_once, finished, run, until};

/// The first of the days that these laws use.
const DAY: Date = Date::constant(2026, 3, 1);

pub(super) async fn all(store: &dyn RunStore) {
    usage_is_counted_with_its_write(store).await;
    a_refused_write_counts_nothing(store).await;
    all_of_many_writes_count(store).await;
    keys_are_apart(store).await;
    thirteen_months_are_kept(store).await;
}

fn used(day: Date, class: &str, repo: &str, workflow: &str) -> Usage {
    let key = UsageKey {
        day,
        class: ClassName(class.to_owned()),
        repo: repo.to_owned(),
        workflow: workflow.to_owned(),
    };
    let seconds = Seconds { boot: 21, idle: 3, busy: 64, lost: 1 };
    let amount = Amount { jobs: 1, seconds, cost: MicroUsd(507), unpriced: 2, unknown_end: 5 };
    Usage { key, amount }
}

fn times(usage: &Usage, count: u64) -> Usage {
    let mut amount = Amount::default();
    for _ in 0..count {
        amount += usage.amount;
    }
    Usage { key: usage.key.clone(), amount }
}

/// Waits until the usage of a repository in some days is this: it may lag.
async fn counted(store: &dyn RunStore, days: (Date, Date), repo: &str, expected: &[Usage]) {
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    until(&format!("the usage of {repo} is {expected:?}"), async || {
        let mut found = store.usage(days.0, days.1).await.unwrap();
        found.retain(|usage| usage.key.repo == repo);
        found.sort_by(|a, b| a.key.cmp(&b.key));
        (found == expected).then_some(())
    })
    .await;
}

async fn usage_is_counted_with_its_write(store: &dyn RunStore) {
    let run = run(3_000, "o/usage");
    let usage = used(DAY, "linux", "o/usage", "test.yml");
    store.put(&run, Expect::Absent).await.unwrap();
    counted(store, (DAY, DAY), "o/usage", &[]).await;
    let over = finished(run, at(100_000));
    let version = store.put_counting(&over, Expect::At(over.uid, 1), &usage).await.unwrap();
    assert_eq!(version, 2);
    let kept = store.get(&over.name).await.unwrap();
    assert_eq!(kept, Some(Run { version: 2, ..over.clone() }));
    counted(store, (DAY, DAY), "o/usage", std::slice::from_ref(&usage)).await;
    store.put_counting(&over, Expect::At(over.uid, 2), &usage).await.unwrap();
    counted(store, (DAY, DAY), "o/usage", &[times(&usage, 2)]).await;
    // The removal of the run changes nothing.
    store.remove(&over.name, over.uid, 3).await.unwrap();
    counted(store, (DAY, DAY), "o/usage", &[times(&usage, 2)]).await;
}

async fn a_refused_write_counts_nothing(store: &dyn RunStore) {
    let run = finished(run(3_100, "o/refused"), at(100_000));
    let usage = used(DAY, "linux", "o/refused", "test.yml");
    let expected = Expect::At(run.uid, 1);
    assert_eq!(kind(store.put_counting(&run, expected, &usage).await), ErrorKind::Conflict);
    assert_eq!(store.put_counting(&run, Expect::Absent, &usage).await.unwrap(), 1);
    assert_eq!(kind(store.put_counting(&run, Expect::Absent, &usage).await), ErrorKind::Conflict);
    let expected = Expect::At(run.uid, 2);
    assert_eq!(kind(store.put_counting(&run, expected, &usage).await), ErrorKind::Conflict);
    counted(store, (DAY, DAY), "o/refused", &[usage]).await;
}

/// Many runs of one workflow end at once, and two replicas write each.
async fn all_of_many_writes_count(store: &dyn RunStore) {
    let runs: Vec<Run> =
        (3_200..3_220).map(|id| finished(run(id, "o/many"), at(100_000))).collect();
    let usage = used(DAY, "linux", "o/many", "test.yml");
    let twice = runs.iter().chain(&runs);
    let writes = twice.map(|run| store.put_counting(run, Expect::Absent, &usage)).collect();
    let (written, lost): (Vec<_>, Vec<_>) =
        at_once(writes).await.into_iter().partition(Result::is_ok);
    assert_eq!((written.len(), lost.len()), (20, 20));
    for lost in lost {
        assert_eq!(kind(lost), ErrorKind::Conflict);
    }
    counted(store, (DAY, DAY), "o/many", &[times(&usage, 20)]).await;
}

async fn keys_are_apart(store: &dyn RunStore) {
    let next = DAY.tomorrow().unwrap();
    let odd = "'\"`$(x)\u{202e}\u{1f600} ".repeat(10);
    let all = [
        used(DAY, "linux", "o/keys", "test.yml"),
        used(DAY, "gpu", "o/keys", "test.yml"),
        used(DAY, "linux", "o/keys", ""),
        used(DAY, "linux", "o/keys", &odd),
        used(next, "linux", "o/keys", "test.yml"),
    ];
    for (id, usage) in (3_300..).zip(&all) {
        let run = finished(run(id, "o/keys"), at(100_000));
        store.put_counting(&run, Expect::Absent, usage).await.unwrap();
    }
    counted(store, (DAY, next), "o/keys", &all).await;
    counted(store, (DAY, DAY), "o/keys", &all[..4]).await;
    counted(store, (next, next), "o/keys", &all[4..]).await;
    let before = DAY.yesterday().unwrap();
    counted(store, (before, before), "o/keys", &[]).await;
}

async fn thirteen_months_are_kept(store: &dyn RunStore) {
    let first = Date::constant(2026, 5, 2);
    let last = Date::constant(2027, 6, 1);
    let days = [first, last];
    let usage = days.map(|day| used(day, "linux", "o/year", "test.yml"));
    for (id, usage) in (3_400..).zip(&usage) {
        let run = finished(run(id, "o/year"), at(100_000));
        store.put_counting(&run, Expect::Absent, usage).await.unwrap();
    }
    counted(store, (first, last), "o/year", &usage).await;
}
