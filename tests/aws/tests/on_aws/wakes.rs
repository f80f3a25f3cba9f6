//! Wake-ups in the real SQS.

use std::time::Duration;

use tinqs_ci_aws::client;
use tinqs_ci_aws::queue::{Clients, Options, Sqs};
use tinqs_ci_reconciler::ports::Queue as _;
use tinqs_ci_testing::conformance::queue;

pub(crate) const QUEUE: &str = "TINQS_CI_TEST_SQS_QUEUE";

/// Long enough for a poll to query all SQS servers.
const OPTIONS: Options = Options {
    again_after: Duration::from_secs(5),
    patience: Duration::from_secs(3),
    depth_every: Duration::ZERO,
};

/// Makes a queue `<name>-<seconds>` and removes it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_laws_on_sqs() {
    let Ok(name) = std::env::var(QUEUE) else {
        println!("skipped: {QUEUE} is not set");
        return;
    };
    let config = client::load(None).await.expect("a region and credentials");
    let clients = Clients { receive: client::sqs_receive(&config), send: client::sqs(&config) };
    let name = format!("{name}-{}", jiff::Timestamp::now().as_second());
    let made = clients.send.create_queue().queue_name(&name).send().await.expect("a queue");
    let url = made.queue_url.expect("its address");
    println!("made queue {name}");
    // A separate task, so that the queue is removed even after a panic.
    let (client, of) = (clients.send.clone(), url.clone());
    let local = tokio::task::LocalSet::new();
    let laws = local.spawn_local(async move {
        let queue = Sqs::new(clients, &of, OPTIONS, None);
        queue::of_delivery(&queue, OPTIONS.again_after).await;
        // Its counts are right a minute after the last message.
        assert!(queue.depth().await.expect("an answer").is_some());
    });
    let kept = local.run_until(laws).await;
    client.delete_queue().queue_url(url).send().await.expect("the queue is removed");
    println!("removed queue {name}");
    kept.expect("the laws are kept");
}
