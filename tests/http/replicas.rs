//! Several replicas over one store tell the same, before and after one restarts. What a replica
//! reports about itself is listed here, and in `docs/reference/http.md`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{About, Condition, Reason};
use tinqs_ci_testing::make;

use crate::asking::{TestServer, queued, settings};
use crate::events::{Followed, list, told};
use crate::status::sweep;
use crate::world::{add_run, name};

/// The longest wait until a replica tells what another one wrote.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lists, which every replica reads where all do.
const LISTS: [&str; 4] = ["/v1/runs?limit=500", "/v1/machines", "/v1/registrations", "/v1/classes"];

/// The parts of `/v1/status` that a replica reports about itself: when it started and answers, what
/// it has reached and received, and what it alone has polled, launched or reconciled.
const OWN: [&str; 10] = [
    "now",
    "started_at",
    "machines_listed_at",
    "services",
    "webhooks",
    "waits",
    "unserved_jobs",
    "unserved",
    "breakers",
    "failing_runs",
];

/// The parts of drift with the time of the answer.
const TIMED: [&str; 2] = ["message", "by"];

async fn get(server: &TestServer, path: &str) -> Value {
    let answer = server.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
    answer.json()
}

async fn post(server: &TestServer, path: &str) {
    let answer = server.ask("POST", path, &[], Body::empty()).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
}

fn without(value: &mut Value, keys: &[&str]) {
    let object = value.as_object_mut().expect("an object");
    object.retain(|key, _| !keys.contains(&key.as_str()));
}

fn items(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().expect("a list")
}

/// Returns what every replica must tell: the lists, the status, the drift, and why jobs wait.
async fn shared(server: &TestServer) -> Value {
    let mut all = json!({});
    for path in LISTS {
        all[path] = get(server, path).await;
    }
    let mut usage = get(server, "/v1/usage").await;
    without(&mut usage, &["now"]);
    let mut status = get(server, "/v1/status").await;
    without(&mut status, &OWN);
    for class in items(&mut status["classes"]) {
        without(class, &["waits"]);
    }
    let mut drift = get(server, "/v1/drift").await["items"].take();
    for one in items(&mut drift).iter_mut().chain(items(&mut status["drift"])) {
        without(one, &TIMED);
    }
    let mut job = get(server, "/v1/why?what=job-7").await["job"].take();
    // Both say how long it has waited.
    without(&mut job, &["state", "next"]);
    all["usage"] = usage;
    all["status"] = status;
    all["drift"] = drift;
    all["why"] = get(server, "/v1/why").await["runs"].take();
    all["job"] = job;
    all
}

/// Returns the events of runs, without the IDs of this process and in an order that both have.
async fn events(server: &TestServer) -> Vec<String> {
    let mut all = list(server, "?limit=2000").await;
    let of_runs = items(&mut all["items"]).iter_mut().filter(|e| e["object"]["kind"] == "run");
    let mut events: Vec<String> = of_runs
        .map(|event| {
            without(event, &["id"]);
            event.to_string()
        })
        .collect();
    events.sort();
    events
}

/// Waits until both tell the same events, at least so many.
async fn same_events(one: &TestServer, other: &TestServer, at_least: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let (of_one, of_other) = (events(one).await, events(other).await);
        if of_one == of_other && of_one.len() >= at_least {
            return;
        }
        assert!(Instant::now() < end, "{of_one:#?}\n{of_other:#?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Puts a run that waits for capacity, a machine without a run, and deliveries to both replicas.
async fn furnish(first: &TestServer, second: &TestServer) {
    let world = &first.world;
    add_run(world, 7, About { job: "e2e".to_owned(), ..About::default() });
    let condition = Condition {
        reason: Reason::NoCapacity,
        since: Timestamp::now() - SignedDuration::from_secs(300),
        message: "no capacity for any machine of class linux".to_owned(),
    };
    world.state().runs.get_mut(&name(7)).expect("a run").status.conditions = vec![condition];
    let gone = add_run(world, 3, About::default());
    let deadline = Timestamp::now() - SignedDuration::from_mins(3);
    let attempt = make::attempt(&gone.attempt_id(1), "linux", 1, deadline);
    let launched = world.ports().compute.launch(&gone.attempt_id(1), 0, &attempt).await;
    assert!(launched.is_ok(), "{launched:?}");
    world.state().runs.remove(&name(3));
    for (server, id) in [(first, 20), (second, 21)] {
        let answer = server.deliver("workflow_job", &queued(id, "x")).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    }
    // The first one gets the lease; the second one lists for what it shows.
    sweep(first).await;
    sweep(second).await;
}

#[tokio::test]
async fn replicas_tell_the_same_whichever_is_asked_and_after_one_restarts() {
    let first = TestServer::new(settings());
    let second = first.beside(settings(), "replica-2");
    furnish(&first, &second).await;
    let before = shared(&first).await;
    assert_eq!(before, shared(&second).await);
    let of_drift = before["drift"].as_array().expect("a list").iter().map(|one| &one["kind"]);
    let of_drift: Vec<&Value> = of_drift.collect();
    assert!(of_drift.contains(&&json!("RunWithoutMachine")), "{before:#}");
    assert!(of_drift.contains(&&json!("MachineWithoutRun")), "{before:#}");
    let linux = &before["status"]["classes"][0];
    assert_eq!((&linux["waiting"], &linux["machines"]), (&json!(3), &json!(1)), "{linux}");
    same_events(&first, &second, 2).await;

    // Changes, each through another replica.
    post(&second, "/v1/classes/linux/pause").await;
    post(&first, "/v1/runs/job-7/retry").await;
    let deleted = second.ask("DELETE", "/v1/runs/job-20", &[], Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED, "{deleted:?}");
    let after = shared(&first).await;
    assert_eq!(after, shared(&second).await);
    assert_ne!(after, before);
    assert_eq!(after["status"]["pauses"][0]["class"], "linux");
    same_events(&first, &second, 4).await;

    // The second one restarts under its name.
    drop(second);
    let again = first.beside(settings(), "replica-2");
    sweep(&again).await;
    assert_eq!(shared(&first).await, shared(&again).await);
    // Its own list begins now, and the timeline outlasts it.
    assert_eq!(told(&list(&again, "?limit=2000").await), [""; 0]);
    for run in ["job-7", "job-20", "job-21"] {
        let query = format!("?run={run}");
        let (of_first, of_again) = (list(&first, &query).await, list(&again, &query).await);
        assert_eq!(told(&of_first), told(&of_again), "{run}");
    }
    let mut stream = Followed::new(&first, "?run=job-21", "").await;
    post(&again, "/v1/runs/job-21/retry").await;
    let (id, event) = stream.event().await;
    assert_eq!((&event["reason"], &event["by"]), (&json!("Retried"), &json!("ops")), "{event}");
    assert!(id.starts_with("replica-1:"), "{id}");
    assert_eq!(shared(&first).await, shared(&again).await);
}

#[tokio::test]
async fn what_a_replica_tells_of_itself_is_a_part_of_every_status() {
    let first = TestServer::new(settings());
    let status = get(&first, "/v1/status").await;
    for key in OWN {
        assert!(status.get(key).is_some(), "{key}: {status}");
    }
    let page = include_str!("../../docs/reference/http.md");
    let (_, section) = page.split_once("### Several replicas").expect("a section");
    let section = section.split("\n##").next().expect("a text");
    for key in OWN.into_iter().filter(|key| *key != "now") {
        assert!(section.contains(&format!("`{key}`")), "{key} is not in the reference");
    }
}
