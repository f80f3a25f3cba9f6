//! The laws of each port, over each adapter. The suites lie in `testing/src/conformance`, where the
//! test world is held to them too.

mod formats;
mod processes;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::ports::{Archive as _, Expect, Queue as _, RunStore as _};
use tinqs_ci_testing::conformance::{archive, inbox, queue, store};
use tinqs_ci_testing::make;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_in_memory() {
    let memory = Store::memory().unwrap();
    store::all(&memory).await;
    store::expiry(&memory).await;
    inbox::all(&memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = Store::open(dir.path()).unwrap();
    store::all(&file).await;
    store::expiry(&file).await;
    let kept = store::write_some(&file).await;
    drop(file);
    store::find_them(&Store::open(dir.path()).unwrap(), &kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_file_keeps_another_keeps_after_it() {
    let dir = tempfile::tempdir().unwrap();
    archive::all(&Store::open(dir.path()).unwrap(), &Store::memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_file_is_of_one_moment() {
    let store = Store::memory().unwrap();
    for id in 0..500 {
        store.put(&make::run(id, "o/r"), Expect::Absent).await.unwrap();
    }
    let mut snapshot = store.snapshot().await.unwrap();
    let first = snapshot.next().await.unwrap().expect("a part");
    for id in 500..600 {
        store.put(&make::run(id, "o/r"), Expect::Absent).await.unwrap();
    }
    for id in 0..500 {
        let run = make::run(id, "o/r");
        store.remove(&run.name, run.uid, 1).await.unwrap();
    }
    let mut items = first.items.len();
    while let Some(part) = snapshot.next().await.unwrap() {
        items += part.items.len();
    }
    assert_eq!(items, 500, "neither what came nor what went meanwhile");
    assert_eq!(archive::items(&store).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_has_ten_thousand_seats() {
    store::many_seats(&Store::memory().unwrap(), 10_000).await;
}

#[tokio::test]
async fn queue_in_memory() {
    let again = Duration::from_millis(200);
    queue::all(&MemoryQueue::again_after(again), again).await;
}

#[tokio::test]
async fn queue_in_memory_holds_a_waiting_name_once() {
    let queue = MemoryQueue::new();
    for _ in 0..1_000 {
        queue.wake(&make::name(7)).await.unwrap();
    }
    assert_eq!(queue.waiting(), 1);
    assert_eq!(queue.next(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn queue_in_memory_loses_nothing_when_a_taker_gives_up() {
    let queue = MemoryQueue::new();
    for id in 0..50 {
        // A taker is dropped while it waits, just before and after a wake-up arrives.
        let gave_up = tokio::time::timeout(Duration::from_millis(id % 3), queue.next(1)).await;
        // On a busy host it may wait for its whole patience.
        assert!(gave_up.is_err() || gave_up.is_ok_and(|taken| taken.unwrap().is_empty()));
        queue.wake(&make::name(7)).await.unwrap();
        let taken = queue.next(1).await.unwrap();
        assert_eq!(taken.len(), 1);
        queue.done(taken[0].clone()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_in_memory_serves_several_takers() {
    let queue = std::sync::Arc::new(MemoryQueue::new());
    let taken = std::sync::Arc::new(AtomicUsize::new(0));
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (queue, taken) = (std::sync::Arc::clone(&queue), std::sync::Arc::clone(&taken));
        takers.spawn(async move {
            let mut names = Vec::new();
            while taken.load(Ordering::Relaxed) < 500 {
                for delivery in queue.next(1).await.unwrap() {
                    names.push(delivery.name.to_string());
                    queue.done(delivery).await.unwrap();
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            }
            names
        });
    }
    for id in 0..500 {
        queue.wake(&make::name(id)).await.unwrap();
    }
    let all = tokio::time::timeout(Duration::from_mins(1), takers.join_all()).await;
    let mut all: Vec<String> = all.expect("each name is taken").concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 500);
}
