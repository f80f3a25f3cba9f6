//! The laws of a `Queue`: it delivers names, at least once, in any order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tinqs_ci_reconciler::ports::{Delivery, Queue};

use crate::make::{name, until};

/// Asserts every law. `again`: how long a delivery that is not done stays away.
pub async fn all(queue: &dyn Queue, again: Duration) {
    of_delivery(queue, again).await;
    what_it_tells_of_its_depth_is_true(queue).await;
}

/// The same without what the queue tells of its depth, for a service whose counts are approximate.
pub async fn of_delivery(queue: &dyn Queue, again: Duration) {
    every_name_comes(queue).await;
    no_more_than_asked_for(queue).await;
    an_empty_queue_answers_in_time(queue).await;
    what_is_not_done_comes_again(queue, again).await;
    a_wake_while_it_is_out_comes_too(queue).await;
    an_unknown_handle_is_done(queue).await;
}

/// Takes deliveries until none comes, and marks each as done.
async fn drain(queue: &dyn Queue, max: usize) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let taken = queue.next(max).await.unwrap();
        if taken.is_empty() {
            return names;
        }
        assert!(taken.len() <= max, "{} of {max}", taken.len());
        for delivery in taken {
            names.push(delivery.name.to_string());
            queue.done(delivery).await.unwrap();
        }
    }
}

async fn every_name_comes(queue: &dyn Queue) {
    for id in 0..100 {
        queue.wake(&name(id)).await.unwrap();
    }
    let came: BTreeSet<String> = drain(queue, 10).await.into_iter().collect();
    let expected: BTreeSet<String> = (0..100).map(|id| format!("job-{id}")).collect();
    assert_eq!(came, expected);
}

async fn no_more_than_asked_for(queue: &dyn Queue) {
    for id in 0..5 {
        queue.wake(&name(id)).await.unwrap();
    }
    assert_eq!(drain(queue, 1).await.into_iter().collect::<BTreeSet<_>>().len(), 5);
}

async fn an_empty_queue_answers_in_time(queue: &dyn Queue) {
    let begun = Instant::now();
    assert_eq!(queue.next(10).await.unwrap(), []);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "waited {took:?}");
}

async fn what_is_not_done_comes_again(queue: &dyn Queue, again: Duration) {
    queue.wake(&name(1)).await.unwrap();
    // From before it is handed out.
    let (begun, first) = until("a delivery", async || {
        let begun = Instant::now();
        Some((begun, queue.next(1).await.unwrap().pop()?))
    })
    .await;
    let second = take(queue).await;
    assert_eq!(second.name, first.name);
    assert!(begun.elapsed() + Duration::from_millis(20) >= again, "{:?}", begun.elapsed());
    // The first handle is no longer valid, and does no harm.
    queue.done(first).await.unwrap();
    queue.done(second).await.unwrap();
    tokio::time::sleep(again).await;
    assert_eq!(drain(queue, 10).await, [] as [String; 0], "done is done");
}

async fn take(queue: &dyn Queue) -> Delivery {
    until("a delivery", async || queue.next(1).await.unwrap().pop()).await
}

async fn a_wake_while_it_is_out_comes_too(queue: &dyn Queue) {
    queue.wake(&name(2)).await.unwrap();
    let out = take(queue).await;
    queue.wake(&name(2)).await.unwrap();
    queue.done(out).await.unwrap();
    assert_eq!(drain(queue, 10).await, ["job-2"], "what woke it may have come after the reconcile");
}

async fn an_unknown_handle_is_done(queue: &dyn Queue) {
    for handle in ["", "nonsense", "18446744073709551615"] {
        queue.done(Delivery { name: name(3), handle: handle.to_owned() }).await.unwrap();
    }
    assert_eq!(drain(queue, 10).await, [] as [String; 0]);
}

async fn what_it_tells_of_its_depth_is_true(queue: &dyn Queue) {
    let told = async || queue.depth().await.unwrap();
    // A queue need not tell.
    let Some(before) = told().await else { return };
    assert_eq!((before.visible, before.in_flight, before.oldest_age), (0, 0, None));
    for id in 0..3 {
        queue.wake(&name(id)).await.unwrap();
    }
    let out = take(queue).await;
    let depth = told().await.expect("it tells");
    assert_eq!((depth.visible, depth.in_flight), (2, 1));
    let age = depth.oldest_age.expect("two wait");
    assert!(!age.is_negative() && age < jiff::SignedDuration::from_secs(30), "{age:?}");
    queue.done(out).await.unwrap();
    drain(queue, 10).await;
}
