//! The role `ingest`: it writes the inbox and wakes a reader, in each mode of demand, and the
//! reader makes the runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tinqs_ci::push::{Pushes, inbox_wake};
use tinqs_ci::server::http::Deadlines;
use tinqs_ci::server::{Intervals, Listeners, Parts, Role, serve};
use tinqs_ci::settings::Settings;
use tinqs_ci_gitea::Demand;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::demand::DemandConfig;
use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_reconciler::model::{Phase, RunName};
use tinqs_ci_testing::TestWorld;

use crate::asking::{TestServer, queued, settings};
use crate::world::{add_run, name, world};

/// Settings of a mode, with a forge that nobody can reach.
fn of(demand: Demand) -> Settings {
    let mut settings = settings();
    settings.forge.demand = demand;
    settings
}

/// Returns the parts of a replica, as the program builds them.
fn parts(world: &Arc<TestWorld>, demand: Demand, role: Role) -> (Parts, Arc<Pushes>) {
    let settings = of(demand);
    let client = Client::new(&settings.forge, world.clone()).expect("a client");
    let source = DemandSource::new(Arc::new(client), DemandConfig::of(&settings.forge));
    source.assume();
    let parts = Parts::over(settings, world.ports(), "replica-1");
    let parts = match role {
        Role::Ingest => parts.probing(world.clone(), "replica-1"),
        Role::All | Role::Reconcile => parts,
    };
    let pushes = Pushes::new(Arc::new(source), world.clone(), parts.controller.clone());
    let pushes = Arc::new(pushes);
    (Parts { pushes: Some(pushes.clone()), ..parts }, pushes)
}

fn ingest(world: &Arc<TestWorld>, demand: Demand) -> TestServer {
    let (parts, _) = parts(world, demand, Role::Ingest);
    TestServer::of(world.clone(), &parts, Role::Ingest, true, Deadlines::default())
}

fn push() -> Vec<u8> {
    let payload = json!({
        "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40),
        "repository": { "id": 1, "full_name": "a/b" },
    });
    payload.to_string().into_bytes()
}

/// A delivery of a job that a runner executes.
fn in_progress(id: i64, runner: &str) -> Vec<u8> {
    let mut payload: Value = serde_json::from_slice(&queued(id, "x")).expect("JSON");
    payload["action"] = "in_progress".into();
    payload["workflow_job"]["runner_name"] = runner.into();
    payload.to_string().into_bytes()
}

#[tokio::test]
async fn the_role_writes_the_inbox_and_wakes_and_calls_nothing_else() {
    for demand in [Demand::Jobs, Demand::Auto, Demand::Push] {
        let world = world();
        let ingest = ingest(&world, demand);
        let mut stored = 0;
        for (event, body) in [
            ("workflow_job", queued(7, "x")),
            ("workflow_job", in_progress(8, "tq-job-7-0a1b2c3d-1")),
            ("push", push()),
        ] {
            let answer = ingest.deliver(event, &body).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{demand:?} {event}: {answer:?}");
            // A waiting job is demand in the other modes only.
            let ignored = demand == Demand::Push && body == queued(7, "x");
            let result = if ignored { "ignored" } else { "accepted" };
            assert_eq!(answer.json()["result"], result, "{demand:?} {event}");
            stored += usize::from(!ignored);
        }
        assert_eq!(ingest.get("/readyz").await.status, StatusCode::OK);
        assert_eq!(ingest.get("/metrics").await.status, StatusCode::OK);
        let calls = world.state().calls.clone();
        let expected =
            BTreeMap::from([("take_in", stored), ("wake", stored), ("inbox_writable", 1)]);
        assert_eq!(calls, expected, "{demand:?}");
        let woken: Vec<RunName> = world.state().queue.iter().cloned().collect();
        assert_eq!(woken, vec![inbox_wake(); stored]);
        assert_eq!(world.state().inbox.len(), stored);
    }
}

#[tokio::test]
async fn a_reader_makes_the_run_that_the_role_announced() {
    let world = world();
    let ingest = ingest(&world, Demand::Auto);
    ingest.deliver("workflow_job", &queued(7, "x")).await;
    ingest.deliver("push", &push()).await;
    assert!(world.state().runs.is_empty(), "the role writes no run");
    let (_, reader) = parts(&world, Demand::Jobs, Role::Reconcile);
    let pass = reader.pass().await;
    assert!(pass.error.is_none(), "{:?}", pass.error);
    assert_eq!((pass.created, pass.waiting, pass.given_up), (1, 0, 0));
    assert!(pass.poll_soon && pass.quiet);
    let state = world.state();
    assert_eq!(state.runs.keys().collect::<Vec<_>>(), [&name(7)]);
    assert!(state.inbox.is_empty(), "the job list shows the demand of the push");
    assert_eq!(state.queue.back(), Some(&name(7)), "woken");
}

#[tokio::test]
async fn a_reader_in_push_mode_wakes_the_runs_of_a_changed_job_and_makes_none() {
    let world = world();
    let run = add_run(&world, 7, tinqs_ci_reconciler::model::About::default());
    let ingest = ingest(&world, Demand::Auto);
    ingest.deliver("workflow_job", &queued(9, "x")).await;
    let runner = run.attempt_id(1).to_string();
    ingest.deliver("workflow_job", &in_progress(8, &runner)).await;
    world.state().queue.clear();
    let (_, reader) = parts(&world, Demand::Push, Role::Reconcile);
    let pass = reader.pass().await;
    assert_eq!((pass.created, pass.waiting, pass.told.len()), (0, 0, 0));
    let state = world.state();
    assert_eq!(state.runs.len(), 1);
    assert_eq!(state.queue.iter().collect::<Vec<_>>(), [&name(7)], "its runner has another job");
}

/// A store that fails keeps the delivery for the next pass, and it is read then.
#[tokio::test]
async fn what_a_reader_cannot_store_stays_in_the_inbox() {
    let world = world();
    ingest(&world, Demand::Jobs).deliver("workflow_job", &queued(7, "x")).await;
    let (_, reader) = parts(&world, Demand::Jobs, Role::Reconcile);
    let kind = tinqs_ci_reconciler::ports::ErrorKind::Unavailable;
    world.fail_next("put", kind);
    let pass = reader.pass().await;
    assert_eq!((pass.created, pass.waiting), (0, 1));
    assert!(!pass.quiet, "it is read again soon");
    assert_eq!(world.state().inbox.len(), 1);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(reader.pass().await.created, 1);
    assert!(world.state().inbox.is_empty());
}

#[tokio::test]
async fn a_store_or_an_inbox_that_cannot_be_written_is_told_and_a_queue_that_fails_is_not() {
    let world = world();
    let ingest = ingest(&world, Demand::Jobs);
    world.state().down.insert("queue");
    let answer = ingest.deliver("workflow_job", &queued(7, "x")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "it is durable: {answer:?}");
    world.state().down = ["store"].into();
    let answer = ingest.deliver("workflow_job", &queued(8, "x")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let answer = ingest.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let ready = answer.json();
    let parts: Vec<&String> = ready["parts"].as_object().expect("parts").keys().collect();
    assert_eq!(parts, ["queue", "store"], "it calls no other service: {ready}");
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The loops of a replica that reconciles, which polls and sweeps once, before the webhook comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_alone_leads_from_the_webhook_to_a_machine() {
    let world = world();
    let (parts, _) = parts(&world, Demand::Jobs, Role::Reconcile);
    let hour = Duration::from_hours(1);
    let intervals = Intervals { poll: hour, sweep: hour, ..Intervals::of(&of(Demand::Jobs)) };
    let listeners = Listeners::bind(&settings().server).await.expect("free ports");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve(parts, listeners, intervals, Role::Reconcile, shutdown));
    until("the first pass over the inbox", || world.calls("oldest") > 0).await;
    world.state().jobs.insert(7, tinqs_ci_reconciler::model::Job::Waiting);
    ingest(&world, Demand::Jobs).deliver("workflow_job", &queued(7, "x")).await;
    until("the launch", || world.state().launches.len() == 1).await;
    let phase = world.state().runs[&name(7)].status.phase;
    assert_ne!(phase, Phase::Finished);
    until("the delivery is taken out", || world.state().inbox.is_empty()).await;
    stop.send(()).expect("the server runs");
    task.await.expect("no panic").expect("no error");
}
