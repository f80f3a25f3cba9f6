//! The depth of the queue and of its dead-letter queue, as the adapter tells it.

use std::time::Duration;

use tinqs_ci_aws::queue::Options;
use tinqs_ci_reconciler::ports::{ErrorKind, Queue as _, QueueDepth};
use tinqs_ci_simulator::aws_wire::{Kind, Rules, When};
use tinqs_ci_testing::make::name;

use super::{DEAD, NAME, QUICK, STRANGE, over, rule, wire, with_dead_letters};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_what_it_and_its_dead_letter_queue_hold() {
    let wire = wire(with_dead_letters);
    let options = Options { again_after: Duration::from_mins(1), ..QUICK };
    let queue = over(&wire, options, None).await;
    let told = async || queue.depth().await.expect("an answer").expect("it may be read");
    assert_eq!(told().await, QueueDepth { dead_letters: Some(0), ..QueueDepth::default() });
    wire.post(DEAD, STRANGE[0], Duration::ZERO);
    queue.wake(&name(1)).await.unwrap();
    wire.post(NAME, "job-2", Duration::from_mins(10));
    let first = told().await;
    let counts = (first.visible, first.in_flight, first.dead_letters);
    assert_eq!(counts, (1, 0, Some(1)), "the run of a delayed one is not due");
    let later = told().await;
    assert!(first.oldest_age.is_some() && later.oldest_age > first.oldest_age, "{later:?}");
    let taken = queue.next(10).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!((told().await.visible, told().await.in_flight), (0, 1));
    for delivery in taken {
        queue.done(delivery).await.unwrap();
    }
    assert_eq!((told().await.visible, told().await.in_flight), (0, 0));
    assert_eq!(wire.bodies(NAME), ["job-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_always_holds_a_message_is_no_older_than_what_is_received() {
    const LONG: Duration = Duration::from_secs(5);
    let wire = wire(with_dead_letters);
    let queue = over(&wire, QUICK, None).await;
    let age = async || {
        let depth = queue.depth().await.expect("an answer").expect("it may be read");
        Duration::try_from(depth.oldest_age.expect("one waits")).expect("not negative")
    };
    // Each is taken after the next one was sent, so that one always waits.
    let take = async |sent: i64| {
        queue.wake(&name(sent + 1)).await.unwrap();
        let taken = queue.next(1).await.unwrap().remove(0);
        assert_eq!(taken.name, name(sent));
        queue.done(taken).await.unwrap();
    };
    queue.wake(&name(1)).await.unwrap();
    assert!(age().await < LONG);
    tokio::time::sleep(LONG).await;
    assert!(age().await >= LONG, "nothing was received");
    take(1).await;
    assert!(age().await >= LONG, "one of long ago was received");
    take(2).await;
    assert!(age().await < LONG, "it is busy");
    tokio::time::sleep(LONG).await;
    take(3).await;
    assert!(age().await >= LONG, "it is behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_its_messages_once_a_minute() {
    let wire = wire(with_dead_letters);
    let queue = over(&wire, Options::default(), None).await;
    let first = queue.depth().await.unwrap();
    let calls = wire.ledger().count("GetQueueAttributes");
    assert_eq!(calls, 3, "the policy, and the counts of two queues");
    for id in 0..5 {
        queue.wake(&name(id)).await.unwrap();
        assert_eq!(queue.depth().await.unwrap(), first, "of the same minute");
    }
    assert_eq!(wire.ledger().count("GetQueueAttributes"), calls);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_may_not_count_is_not_known_and_is_no_error() {
    let wire = wire(with_dead_letters);
    let queue = over(&wire, QUICK, None).await;
    let denied = || Kind::Error { code: "AccessDenied".to_owned(), status: 403 };
    rule(&wire, "GetQueueAttributes", When::Always, denied());
    assert_eq!(queue.depth().await.unwrap(), None);
    wire.faults(Rules::clear);
    rule(&wire, "GetQueueUrl", When::Always, denied());
    queue.wake(&name(1)).await.unwrap();
    let told = queue.depth().await.unwrap().expect("of the queue itself");
    assert_eq!((told.visible, told.dead_letters), (1, None));
    wire.faults(Rules::clear);
    let broken = Kind::Error { code: "InternalFailure".to_owned(), status: 500 };
    rule(&wire, "GetQueueAttributes", When::Always, broken);
    assert_eq!(queue.depth().await.unwrap_err().kind, ErrorKind::Unavailable);
    wire.faults(Rules::clear);
    wire.remove_queue(DEAD);
    assert_eq!(queue.depth().await.unwrap().expect("it").dead_letters, None, "it is not there");
}
