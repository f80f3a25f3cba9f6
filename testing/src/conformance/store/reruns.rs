//! The laws of requests to run jobs again: written by compare-and-set, one item for each job.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{RerunKey, Reruns};
use tinqs_ci_reconciler::ports::{ErrorKind, RunStore};

use super::kind;
use crate::make::{at, at_once};

fn key(run_id: i64, job: &str) -> RerunKey {
    RerunKey { repo_id: 5, run_id, job: job.to_owned() }
}

fn first(key: RerunKey) -> Reruns {
    Reruns { key, version: 0, count: 1, asked_at: at(60), failed_at: at(30) }
}

pub(super) async fn all(store: &dyn RunStore) {
    writes_are_compare_and_set(store).await;
    one_of_many_requests_is_recorded(store).await;
}

async fn writes_are_compare_and_set(store: &dyn RunStore) {
    let job = "test (a, \"b\"\u{202e})";
    assert_eq!(store.reruns(&key(41, job)).await.unwrap(), None);
    let request = first(key(41, job));
    assert_eq!(store.put_reruns(&request).await.unwrap(), 1);
    let stored = Reruns { version: 1, ..request.clone() };
    assert_eq!(store.reruns(&key(41, job)).await.unwrap(), Some(stored.clone()));
    assert_eq!(kind(store.put_reruns(&request).await), ErrorKind::Conflict);
    let asked_at = at(200);
    let second = Reruns { count: 2, asked_at, failed_at: at(150), ..stored };
    assert_eq!(store.put_reruns(&second).await.unwrap(), 2);
    assert_eq!(kind(store.put_reruns(&second).await), ErrorKind::Conflict);
    let read = store.reruns(&key(41, job)).await.unwrap().expect("just written");
    assert_eq!(read, Reruns { version: 2, ..second });
    for other in [key(42, job), key(41, "test (a)")] {
        assert_eq!(store.reruns(&other).await.unwrap(), None, "another job");
    }
}

async fn one_of_many_requests_is_recorded(store: &dyn RunStore) {
    let request = |n: i64| Reruns {
        asked_at: at(n) + SignedDuration::from_secs(1),
        ..first(key(43, "build"))
    };
    let requests: Vec<Reruns> = (0..8).map(request).collect();
    let results = at_once(requests.iter().map(|request| store.put_reruns(request)).collect()).await;
    let recorded = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(recorded, 1, "{results:?}");
    let stored = store.reruns(&key(43, "build")).await.unwrap().expect("one of them");
    assert_eq!(stored.version, 1);
}
