//! The loops, over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tinqs_ci::server::{Error, Intervals, Listeners, Parts, Role, serve};
use tinqs_ci::settings::Settings;
use tinqs_ci_reconciler::model::{About, JobRef, Phase};
use tinqs_ci_reconciler::ports::{Queue as _, WaitingJob};
use tinqs_ci_testing::TestWorld;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::asking::{SECRET, TOKEN, queued, settings, sign};
use crate::world::{add_run, name, world};

/// The longest wait for an expected event.
const PATIENCE: Duration = Duration::from_secs(20);

struct Serving {
    /// Of webhooks.
    address: SocketAddr,
    api: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

fn intervals() -> Intervals {
    Intervals {
        poll: Duration::from_hours(1),
        sweep: Duration::from_hours(1),
        due: Duration::from_millis(50),
        hint_gap: Duration::from_millis(50),
        conflict: Duration::from_millis(5),
        workers: 4,
        grace: Duration::from_secs(8),
    }
}

async fn start(world: Arc<TestWorld>, settings: Settings, intervals: Intervals) -> Serving {
    let listeners = Listeners::bind(&settings.server).await.expect("two ports");
    let parts = Parts::over(settings, world.ports(), "replica-1");
    let address = listeners.webhooks.local_addr().expect("bound");
    let api = listeners.api.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(parts, listeners, intervals, Role::All, shutdown));
    Serving { address, api, stop, task }
}

impl Serving {
    async fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.send(()).expect("it serves");
        let served = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops in time");
        served.expect("no panic").expect("it ends well");
        began.elapsed()
    }

    /// Sends a request and reads the response until the connection ends.
    async fn send(&self, head: &str, body: &[u8]) -> String {
        let address = if head.contains(" /metrics ") { self.api } else { self.address };
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let length = body.len();
        let head = format!(
            "{head}\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.write_all(body).await.expect("written: the server reads a large body");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn webhook_head(body: &[u8]) -> String {
    let signature = sign(SECRET, body);
    format!(
        "POST /webhook HTTP/1.1\r\ncontent-type: application/json\r\nx-gitea-event: workflow_job\r\n\
         x-gitea-signature: {signature}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_launches_a_machine() {
    let world = world();
    world.state().jobs.insert(7, tinqs_ci_reconciler::model::Job::Waiting);
    let serving = start(world.clone(), settings(), intervals()).await;
    let body = queued(7, "build");
    let answer = serving.send(&webhook_head(&body), &body).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    until("a machine", || !world.state().machines.is_empty()).await;
    until("the record", || world.state().runs[&name(7)].status.phase == Phase::Starting).await;
    until("the wake-up is done", || world.state().in_flight.is_empty()).await;
    let metrics = serving.send("GET /metrics HTTP/1.1", b"").await;
    let line =
        "tinqs_ci_launch_attempts_total{class=\"linux\",market=\"on_demand\",result=\"ok\"} 1";
    assert!(metrics.lines().any(|shown| shown == line), "{metrics}");
    assert!(serving.stop().await < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_events_sees_a_machine_start_and_ends_with_the_server() {
    let world = world();
    world.state().jobs.insert(7, tinqs_ci_reconciler::model::Job::Waiting);
    let serving = start(world, settings(), intervals()).await;
    let mut stream = TcpStream::connect(serving.api).await.expect("it listens");
    let head = format!(
        "GET /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut told = String::new();
    let read = async |stream: &mut TcpStream, told: &mut String, wanted: &str| {
        let mut buffer = [0; 4096];
        while !told.contains(wanted) {
            let count = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
            let count = count.expect("in time").expect("a connection");
            assert!(count > 0, "it ended: {told}");
            told.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    };
    read(&mut stream, &mut told, "events follow").await;
    let body = queued(7, "build");
    serving.send(&webhook_head(&body), &body).await;
    read(&mut stream, &mut told, "\"reason\":\"Launched\"").await;
    assert!(told.contains("\"reason\":\"Seen\""), "{told}");
    assert!(serving.stop().await < Duration::from_secs(8));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("the connection ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_body_gets_a_response_over_a_socket() {
    let serving = start(world(), settings(), intervals()).await;
    let body = vec![b'x'; 11 << 20];
    let head = "POST /webhook HTTP/1.1\r\ncontent-type: application/json";
    let answer = serving.send(head, &body).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_trigger_polls_but_no_more_often_than_the_gap() {
    let world = world();
    let job = JobRef { repo: "a/b".to_owned(), repo_id: 1, job_id: 9 };
    let runs_on = vec!["linux".to_owned()];
    let mut settings = settings();
    settings.forge.webhook_secret = None;
    let gap = Duration::from_millis(400);
    let serving = start(world.clone(), settings, Intervals { hint_gap: gap, ..intervals() }).await;
    until("the first poll", || world.calls("waiting") == 1).await;
    let waiting = WaitingJob { job, runs_on, about: About::default(), created_at: None };
    world.state().waiting = Some(vec![waiting]);
    let began = Instant::now();
    let head = "POST /webhook HTTP/1.1\r\ncontent-type: application/json";
    for _ in 0..20 {
        let answer = serving.send(head, b"{\"any\":\"thing\"}").await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    }
    until("the job is found", || world.state().runs.contains_key(&name(9))).await;
    let polls = world.calls("waiting");
    let most = 2 + began.elapsed().as_millis() / gap.as_millis();
    assert!(polls >= 2 && (polls as u128) <= most, "{polls} polls in {:?}", began.elapsed());
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_reconcile_ends_neither_the_process_nor_other_reconciles() {
    let world = world();
    add_run(&world, 1, About::default());
    add_run(&world, 2, About::default());
    world.state().poisoned = Some(name(1));
    let serving = start(world.clone(), settings(), intervals()).await;
    world.wake(&name(1)).await.expect("up");
    until("the panic", || world.calls("get") > 0).await;
    world.wake(&name(2)).await.expect("up");
    until("the other run's machine", || !world.state().machines.is_empty()).await;
    let counted = "tinqs_ci_reconcile_panics_total{controller=\"run\"} ";
    let began = Instant::now();
    loop {
        let metrics = serving.send("GET /metrics HTTP/1.1", b"").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(counted)).expect("shown");
        if line != "0" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the panic is not counted");
    }
    assert!(
        world.state().in_flight.values().any(|(run, _)| *run == name(1)),
        "its wake-up is delivered again"
    );
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_reconciled_by_one_task_and_again_if_woken_meanwhile() {
    let world = world();
    add_run(&world, 1, About::default());
    world.state().held = Some(name(1));
    let serving = start(world.clone(), settings(), intervals()).await;
    world.wake(&name(1)).await.expect("up");
    until("the reconcile has begun", || world.state().held_now == 1).await;
    for _ in 0..3 {
        world.wake(&name(1)).await.expect("up");
    }
    until("they are taken", || world.state().queue.is_empty()).await;
    let taken = world.state().in_flight.len();
    assert!(taken >= 4, "no wake-up is done before the reconcile: {taken}");
    assert_eq!(world.state().held_at_most, 1);
    world.let_through(1_000);
    until("all are done", || world.state().in_flight.is_empty()).await;
    assert_eq!(world.state().held_at_most, 1, "one at a time");
    let reconciled = world.calls("get");
    assert!(reconciled >= 2, "the run was reconciled again: {reconciled}");
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_failing_queue_is_polled_again() {
    let world = world();
    let serving = start(world.clone(), settings(), intervals()).await;
    until("the queue is polled repeatedly", || world.calls("next") > 3).await;
    world.state().down.insert("queue");
    let asked = world.calls("next");
    until("the queue is polled while it is down", || world.calls("next") > asked).await;
    world.state().down.clear();
    add_run(&world, 1, About::default());
    world.wake(&name(1)).await.expect("up");
    until("a machine", || !world.state().machines.is_empty()).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_conflict_is_followed_by_another_reconcile() {
    let world = world();
    add_run(&world, 1, About::default());
    world.state().conflicts = 2;
    let serving = start(world.clone(), settings(), intervals()).await;
    world.wake(&name(1)).await.expect("up");
    until("a machine after the conflicts", || !world.state().machines.is_empty()).await;
    until("the wake-up is done", || world.state().in_flight.is_empty()).await;
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_reconciles_and_requests_and_accepts_nothing_new() {
    let world = world();
    add_run(&world, 1, About::default());
    world.state().held = Some(name(1));
    let serving = start(world.clone(), settings(), intervals()).await;
    let address = serving.address;
    world.wake(&name(1)).await.expect("up");
    until("the reconcile has begun", || world.state().held_now == 1).await;
    // Half of a webhook.
    let body = queued(7, "build");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!(
        "{}\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        webhook_head(&body),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(&body[..10]).await.expect("written");
    // An answered request after it was accepted tells that the half was too.
    let alive = serving.send("GET /healthz HTTP/1.1", b"").await;
    assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
    let stopping = tokio::spawn(serving.stop());
    let began = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "it still listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.wake(&name(2)).await.expect("up");
    stream.write_all(&body[10..]).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(world.state().runs.contains_key(&name(7)), "it is durable");
    world.let_through(1_000);
    let took = stopping.await.expect("no panic");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(world.state().machines.len(), 1, "the reconcile in progress finished");
    assert!(world.state().queue.contains(&name(2)), "no new wake-up was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_does_not_end_is_dropped_after_the_grace_period() {
    let world = world();
    add_run(&world, 1, About::default());
    world.state().held = Some(name(1));
    let grace = Duration::from_millis(200);
    let serving = start(world.clone(), settings(), Intervals { grace, ..intervals() }).await;
    world.wake(&name(1)).await.expect("up");
    until("the reconcile has begun", || world.state().held_now == 1).await;
    let took = serving.stop().await;
    assert!(took >= grace && took < Duration::from_secs(5), "{took:?}");
    assert!(!world.state().in_flight.is_empty(), "its wake-up was never done");
}

#[test]
fn unsigned_webhooks_have_a_longer_gap() {
    let mut settings = settings();
    settings.forge.poll_every = SignedDuration::from_secs(7);
    assert_eq!(Intervals::of(&settings).hint_gap, Duration::from_secs(1));
    assert_eq!(Intervals::of(&settings).poll, Duration::from_secs(7));
    settings.forge.webhook_secret = None;
    assert_eq!(Intervals::of(&settings).hint_gap, Duration::from_secs(5));
    assert!(Intervals::of(&settings).grace < Duration::from_secs(10));
}

/// Another replica holds the lease: machines are listed again only once somebody has read that runs
/// are open.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_does_not_lead_lists_machines_while_there_is_something_to_show() {
    let world = world();
    world.state().led_by_another = true;
    let sweep = Duration::from_millis(10);
    let serving = start(world.clone(), settings(), Intervals { sweep, ..intervals() }).await;
    until("some sweeps", || world.calls("lease") > 20).await;
    assert_eq!((world.calls("list"), world.calls("registrations")), (1, 1), "nothing was shown");
    add_run(&world, 1, About::default());
    let metrics = serving.send("GET /metrics HTTP/1.1", b"").await;
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    until("lists of machines", || world.calls("list") > 3).await;
    until("lists of registrations", || world.calls("registrations") > 3).await;
    serving.stop().await;
}
