//! Wake-ups in SQS, through the real SDK against SQS's wire on loopback.

#[path = "../cloud/mod.rs"]
mod cloud;
mod depth;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::SignedDuration;
use tinqs_ci_aws::client;
use tinqs_ci_aws::events::Owners;
use tinqs_ci_aws::queue::{Clients, Options, Sqs};
use tinqs_ci_reconciler::ports::{Compute as _, Delivery, ErrorKind, Queue as _};
use tinqs_ci_simulator::aws_wire::{Kind, Rule, Rules, When};
use tinqs_ci_simulator::ec2_wire::EventFaults;
use tinqs_ci_simulator::sqs_wire::{QueueFaults, QueueSettings, SqsOptions, SqsWire};
use tinqs_ci_testing::conformance::queue;
use tinqs_ci_testing::make::{at_once, name, until};

const NAME: &str = "wakes";
const DEAD: &str = "dead";

/// The shortest times that whole seconds allow.
const QUICK: Options = Options {
    again_after: Duration::from_secs(2),
    patience: Duration::from_secs(1),
    depth_every: Duration::ZERO,
};

fn wire(change: impl FnOnce(&mut SqsOptions)) -> SqsWire {
    let mut options = SqsOptions::with_queue(NAME);
    change(&mut options);
    SqsWire::start(options).expect("a port")
}

fn with_dead_letters(options: &mut SqsOptions) {
    let dead_letters = Some((DEAD.to_owned(), 5));
    options.queues = vec![
        (NAME.to_owned(), QueueSettings { dead_letters, ..QueueSettings::default() }),
        (DEAD.to_owned(), QueueSettings::default()),
    ];
}

async fn over(wire: &SqsWire, options: Options, owners: Option<Arc<dyn Owners>>) -> Sqs {
    let config = client::load(Some("us-east-1")).await.expect("a configuration");
    let credentials = Credentials::new("ACCESS", "SECRET", None, None, "test");
    let config = config
        .into_builder()
        .endpoint_url(wire.url())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let clients = Clients { receive: client::sqs_receive(&config), send: client::sqs(&config) };
    Sqs::new(clients, &wire.queue_url(NAME), options, owners)
}

fn rule(wire: &SqsWire, op: &str, when: When, kind: Kind) {
    wire.faults(|rules| rules.add(Rule::new("sqs", op, when, kind)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_laws_hold() {
    let wire = wire(|_| {});
    // What is out does not come again while the suite looks at it, on a busy host too.
    let again_after = Duration::from_secs(6);
    queue::all(&over(&wire, Options { again_after, ..QUICK }, None).await, again_after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_body_is_the_run_name() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    queue.wake(&name(7)).await.unwrap();
    assert_eq!(wire.bodies(NAME), ["job-7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_wakes_are_batched() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    let names: Vec<_> = (0..200).map(name).collect();
    for sent in at_once(names.iter().map(|name| queue.wake(name)).collect()).await {
        sent.unwrap();
    }
    let bodies: BTreeSet<String> = wire.bodies(NAME).into_iter().collect();
    assert_eq!(bodies.len(), 200);
    let sends = wire.ledger().count("SendMessageBatch");
    assert!(sends <= 100, "{sends} calls for 200 messages");
    let mut left = 200;
    while left > 0 {
        let taken = queue.next(50).await.unwrap();
        assert!(taken.len() <= 10);
        left -= taken.len();
        for done in at_once(taken.into_iter().map(|one| queue.done(one)).collect()).await {
            done.unwrap();
        }
    }
    assert_eq!(wire.bodies(NAME), [] as [String; 0]);
    let deletes = wire.ledger().count("DeleteMessageBatch");
    assert!(deletes <= 100, "{deletes} calls for 200 messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_queue_makes_one_long_poll() {
    let wire = wire(|_| {});
    let queue = over(&wire, Options::default(), None).await;
    let waiting = async { queue.next(10).await.unwrap() };
    let waking = async {
        until("it waits", async || (wire.polls() == 1).then_some(())).await;
        queue.wake(&name(1)).await.unwrap();
    };
    let begun = std::time::Instant::now();
    let (taken, ()) = tokio::join!(waiting, waking);
    assert_eq!(taken.len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(15), "it wakes early");
    assert_eq!(wire.ledger().count("ReceiveMessage"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_entries_of_a_batch_are_sent_again() {
    let wire = wire(|options| options.batch_failures = 0.2);
    let queue = over(&wire, QUICK, None).await;
    let names: Vec<_> = (0..100).map(name).collect();
    let sent = at_once(names.iter().map(|name| queue.wake(name)).collect()).await;
    let told: BTreeSet<String> = names
        .iter()
        .zip(&sent)
        .filter(|(_, sent)| sent.is_ok())
        .map(|(name, _)| name.to_string())
        .collect();
    let there: BTreeSet<String> = wire.bodies(NAME).into_iter().collect();
    assert_eq!(told, there, "exactly the acknowledged wakes are queued");
    assert!(told.len() > 80, "{}", told.len());
    for error in sent.into_iter().filter_map(Result::err) {
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_classified_and_pass() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    rule(&wire, "SendMessageBatch", When::First(1), Kind::DropBefore);
    queue.wake(&name(1)).await.expect("the SDK tries again");
    wire.faults(Rules::clear);
    rule(&wire, "*", When::Always, Kind::Throttle);
    assert_eq!(queue.wake(&name(2)).await.unwrap_err().kind, ErrorKind::Throttled);
    assert_eq!(queue.next(1).await.unwrap_err().kind, ErrorKind::Throttled);
    wire.faults(Rules::clear);
    assert_eq!(queue.next(1).await.unwrap()[0].name, name(1));
    wire.remove_queue(NAME);
    let error = queue.wake(&name(3)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.message.contains("when they are due"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicate_and_stale_messages_are_harmless() {
    let wire = wire(|options| {
        options.queue_faults = QueueFaults { doubled: 1.0, ..QueueFaults::default() };
    });
    let queue = over(&wire, QUICK, None).await;
    for id in 0..20 {
        queue.wake(&name(id)).await.unwrap();
    }
    let mut came = BTreeSet::new();
    loop {
        let taken = queue.next(10).await.unwrap();
        if taken.is_empty() {
            break;
        }
        for delivery in taken {
            came.insert(delivery.name.to_string());
            queue.done(delivery.clone()).await.unwrap();
            queue.done(delivery).await.expect("done twice is done");
        }
    }
    assert_eq!(came.len(), 20);
}

/// Message bodies that are not valid.
const STRANGE: [&str; 5] = [
    "job-1; touch pwned SECRET",
    "{\"detail-type\": 7, \"SECRET\": 1}",
    "{",
    "i-0123456789abcdef0",
    "[\"job-1\"]",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_become_dead_letters_and_block_nothing() {
    let wire = wire(with_dead_letters);
    let queue = over(&wire, QUICK, None).await;
    for body in STRANGE {
        wire.post(NAME, body, Duration::ZERO);
    }
    queue.wake(&name(5)).await.unwrap();
    let taken = until("the name among them", async || queue.next(10).await.unwrap().pop()).await;
    assert_eq!(taken.name, name(5));
    queue.done(taken).await.unwrap();
    until("all is taken out", async || {
        assert_eq!(queue.next(10).await.unwrap(), []);
        wire.bodies(NAME).is_empty().then_some(())
    })
    .await;
    let buried: BTreeSet<String> = wire.bodies(DEAD).into_iter().collect();
    assert_eq!(buried, STRANGE.into_iter().map(str::to_owned).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dead_letter_queue_unreadable_messages_are_dropped() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    for body in STRANGE {
        wire.post(NAME, body, Duration::ZERO);
    }
    until("all is taken out", async || {
        assert_eq!(queue.next(10).await.unwrap(), []);
        wire.bodies(NAME).is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_stay_while_the_dead_letter_queue_is_unknown() {
    let wire = wire(with_dead_letters);
    let queue = over(&wire, QUICK, None).await;
    rule(
        &wire,
        "GetQueueAttributes",
        When::Always,
        Kind::Error { code: "InternalFailure".to_owned(), status: 500 },
    );
    wire.post(NAME, STRANGE[0], Duration::ZERO);
    assert_eq!(queue.next(10).await.unwrap(), []);
    assert_eq!(wire.bodies(NAME), [STRANGE[0]]);
    wire.faults(Rules::clear);
    until("it is buried", async || {
        assert_eq!(queue.next(10).await.unwrap(), []);
        (wire.bodies(DEAD) == [STRANGE[0]]).then_some(())
    })
    .await;
}

/// EC2's events of our machines wake their runs; those of foreign instances wake none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_our_machines_wake_their_runs() {
    let wire = wire(|_| {});
    let ec2 = cloud::wire(|options| options.warning = SignedDuration::from_millis(300));
    let machines = Arc::new(cloud::machines(&ec2, cloud::UNPACED).await);
    // Another replica launches, so this one has to describe the machines.
    let other = cloud::machines(&ec2, cloud::UNPACED).await;
    let mut launched = Vec::new();
    for id in 1..=3 {
        let (attempt_id, attempt) = cloud::ask(id);
        launched.push((
            attempt_id.run.clone(),
            other.launch(&attempt_id, 0, &attempt).await.unwrap().id,
        ));
    }
    let stranger = ec2.add_foreign([("Name".to_owned(), "web".to_owned())].into()).unwrap();
    let quick = EventFaults {
        median: SignedDuration::ZERO,
        p99: SignedDuration::ZERO,
        ..EventFaults::default()
    };
    ec2.send_events(wire.target(NAME), quick);
    ec2.interrupt(&launched[0].1);
    ec2.power_off(&launched[1].1);
    ec2.power_off(&stranger);
    let queue = over(&wire, QUICK, Some(machines)).await;
    let mut woken = BTreeSet::new();
    until("both are woken", async || {
        for delivery in queue.next(10).await.unwrap() {
            woken.insert(delivery.name.clone());
            queue.done(delivery).await.unwrap();
        }
        (woken.len() == 2).then_some(())
    })
    .await;
    assert_eq!(woken, launched[..2].iter().map(|(run, _)| run.clone()).collect());
    until("nothing is left", async || {
        for delivery in queue.next(10).await.unwrap() {
            assert!(woken.contains(&delivery.name), "{delivery:?}");
            queue.done(delivery).await.unwrap();
        }
        wire.bodies(NAME).is_empty().then_some(())
    })
    .await;
    cloud::is_clean(&ec2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_redelivered_if_its_machine_cannot_be_described() {
    let wire = wire(|_| {});
    let ec2 = cloud::wire(|_| {});
    let machines = Arc::new(cloud::machines(&ec2, cloud::UNPACED).await);
    let other = cloud::machines(&ec2, cloud::UNPACED).await;
    let (attempt_id, attempt) = cloud::ask(1);
    let machine = other.launch(&attempt_id, 0, &attempt).await.unwrap();
    let body = format!(
        r#"{{"detail-type":"EC2 Instance State-change Notification","detail":{{"instance-id":"{}","state":"terminated"}}}}"#,
        machine.id
    );
    wire.post(NAME, &body, Duration::ZERO);
    ec2.faults(|rules| {
        let broken = Kind::Error { code: "InternalError".to_owned(), status: 500 };
        rules.add(Rule::new("ec2", "DescribeInstances", When::Always, broken));
    });
    let queue = over(&wire, QUICK, Some(machines)).await;
    assert_eq!(queue.next(10).await.unwrap(), [] as [Delivery; 0]);
    ec2.faults(Rules::clear);
    let delivery = until("it comes", async || queue.next(10).await.unwrap().pop()).await;
    assert_eq!(delivery.name, attempt_id.run);
    queue.done(delivery).await.unwrap();
    assert_eq!(wire.bodies(NAME), [] as [String; 0]);
}

/// A run that is due later is woken then, to the whole second, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_wake_up_comes_after_its_delay() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    let begun = std::time::Instant::now();
    queue.wake_later(&name(1), SignedDuration::from_millis(5_200)).await.unwrap();
    queue.wake(&name(2)).await.unwrap();
    assert_eq!(wire.bodies(NAME), ["job-1", "job-2"]);
    let first = until("the other", async || queue.next(10).await.unwrap().pop()).await;
    assert_eq!(first.name, name(2), "it is not behind the delayed one");
    queue.done(first).await.unwrap();
    let later = until("the delayed one", async || queue.next(10).await.unwrap().pop()).await;
    assert_eq!(later.name, name(1));
    assert!(begun.elapsed() >= Duration::from_secs(6), "{:?}", begun.elapsed());
    queue.done(later).await.unwrap();
    assert_eq!(wire.bodies(NAME), [] as [String; 0]);
}

/// SQS refuses more than 900 seconds, and with that the wake-up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_are_within_what_the_service_takes() {
    let wire = wire(|_| {});
    let queue = over(&wire, QUICK, None).await;
    for delay in [SignedDuration::from_secs(-5), SignedDuration::ZERO] {
        queue.wake_later(&name(1), delay).await.unwrap();
        let taken = until("it", async || queue.next(10).await.unwrap().pop()).await;
        queue.done(taken).await.unwrap();
    }
    for delay in [SignedDuration::from_mins(15), SignedDuration::MAX] {
        queue.wake_later(&name(2), delay).await.unwrap();
    }
    assert_eq!(queue.next(10).await.unwrap(), [], "they come later");
    assert_eq!(wire.bodies(NAME), ["job-2", "job-2"]);
    rule(&wire, "SendMessageBatch", When::Always, Kind::Throttle);
    let error = queue.wake_later(&name(3), SignedDuration::from_secs(9)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled, "{error}");
}
