//! A simulated forge and cloud, and the controller and the server over them, moved by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::Value;
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tinqs_ci::settings::Settings;
use tinqs_ci_reconciler::model::{
    Class, ClassName, MachineId, MachineSpec, Market, MicroUsd, Pause,
};
use tinqs_ci_reconciler::ports::Clock as _;
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::cloud::{UNPRICED, price};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::ports::SimulatedPorts;
use tinqs_ci_simulator::world::{Shared, World};
use tinqs_ci_testing::make;
use tower::ServiceExt as _;

use crate::asking::{TOKEN, settings};

const JSON: &str = "application/json";
pub(super) const HTML: &str = "text/html,application/xhtml+xml";
/// The classes: each of the test's labels is the name of one.
pub(super) const CLASSES: [&str; 2] = ["linux", "deploy"];
/// The interval in which the loops of the server run.
const BEAT: SignedDuration = SignedDuration::from_secs(5);

/// The next step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Somebody pushes a workflow with so many jobs, each of which runs so long.
    Push { label: &'static str, jobs: usize, seconds: i64 },
    /// So many seconds pass.
    Pass(i64),
    /// A person cancels a job at the forge.
    Cancel(usize),
    /// The cloud takes a machine back.
    Interrupt(usize),
    /// A person pauses a class.
    Pause(&'static str),
    /// A person ends every pause.
    Resume,
    /// A person deletes a run.
    Delete(usize),
}

/// The world and what runs over it.
pub(super) struct History {
    clock: Virtual,
    world: Shared,
    parts: Parts,
    router: Router,
    jobs: Vec<i64>,
}

fn class(name: &str, limit: u32, kind: &str, market: Market) -> Class {
    let machine = MachineSpec { kind: kind.to_owned(), market, ..make::process() };
    Class { limit: Some(limit), ..make::class(name, vec![machine]) }
}

/// Returns the server over a world.
pub(super) fn server(world: &Shared, classes: Vec<Class>) -> (Parts, Router) {
    let clock = world.lock().clock.clone();
    let simulated = SimulatedPorts::live(world.clone()).ports(clock);
    let kinds = classes.iter().flat_map(|class| &class.machines).map(|machine| &machine.kind);
    let on_demand = |kind: &String| Some((kind.clone(), price(kind, Market::OnDemand)?));
    let prices = kinds.filter_map(on_demand).collect();
    let parts = Parts::over(Settings { classes, prices, ..settings() }, simulated, "replica-1");
    let address = Some(([127, 0, 0, 1], 8081).into());
    let app = App::new(&parts, Arc::new(PollSignal::default()), Role::All, address);
    let router = everything(&app, Deadlines::default());
    (parts, router)
}

/// Returns the answer of a server to a request.
pub(super) async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    accept: &str,
) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:8080")
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("accept", accept)
        .body(Body::empty())
        .expect("a request");
    let answer = router.clone().oneshot(request).await.expect("infallible");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), 64 << 20).await.expect("a body");
    (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
}

impl History {
    pub(super) fn begin() -> Self {
        let clock = Virtual::starting_at(Timestamp::constant(1_800_000_000, 0));
        let forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        let world = World::new(7, Arc::new(clock.clone()), Arc::new(Mutex::new(forge)));
        let world: Shared = Arc::new(Mutex::new(world));
        let linux = class("linux", 6, "c7a.large", Market::Spot);
        // Nobody knows the price of the second class.
        let classes = vec![
            // More than any history spends.
            Class { budget: Some(MicroUsd(100_000_000)), ..linux },
            class("deploy", 2, UNPRICED, Market::OnDemand),
        ];
        let (parts, router) = server(&world, classes);
        Self { clock, world, parts, router, jobs: Vec::new() }
    }

    /// Plays a step, and lets the controller do what follows at once.
    pub(super) async fn play(&mut self, step: &Step) {
        let now = self.clock.now();
        match *step {
            Step::Push { label, jobs, seconds } => {
                let made = |index: usize| JobSpec {
                    work: SignedDuration::from_secs(seconds),
                    ..JobSpec::new(format!("{label} {index}"), &[label])
                };
                let jobs: Vec<JobSpec> = (0..jobs).map(made).collect();
                let pushed = self.world.lock().forge().push(now, "acme/widget", &jobs);
                self.jobs.extend(pushed);
            }
            Step::Pass(seconds) => {
                let end = now + SignedDuration::from_secs(seconds);
                while self.clock.now() < end {
                    self.clock.set(end.min(self.clock.now() + BEAT));
                    self.world.lock().advance();
                    self.beat().await;
                }
            }
            Step::Cancel(index) => {
                if let Some(id) = self.jobs.get(index) {
                    self.world.lock().forge().cancel(now, *id);
                }
            }
            Step::Interrupt(index) => {
                let mut world = self.world.lock();
                let id: Option<MachineId> = world.cloud.live().nth(index).map(|m| m.id.clone());
                if let Some(id) = id {
                    world.cloud.interrupt(now, &id);
                }
            }
            Step::Pause(class) => {
                let class = Some(ClassName(class.to_owned()));
                let pause = Pause { class, since: now, by: "ops".to_owned() };
                self.parts.controller.pause(&pause).await.expect("paused");
            }
            Step::Resume => {
                self.parts.controller.resume(None).await.expect("resumed");
            }
            Step::Delete(index) => {
                let path = self.jobs.get(index).map(|id| format!("/v1/runs/job-{id}"));
                if let Some(path) = path {
                    let (status, _) = self.ask("DELETE", &path, "application/json").await;
                    let known = [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NOT_FOUND];
                    assert!(known.contains(&status), "{path}: {status}");
                }
            }
        }
        self.beat().await;
        // What the first beat did shows in the lists of the second.
        self.beat().await;
    }

    /// Runs each loop of the server once, and every reconcile that is asked for.
    async fn beat(&self) {
        let Parts { controller, telemetry, .. } = &self.parts;
        telemetry.record_sweep("demand", &controller.poll().await, Duration::ZERO);
        telemetry.record_sweep("sweep", &controller.sweep().await, Duration::ZERO);
        controller.wake_due().await;
        let queue = controller.ports().queue.clone();
        // An empty queue waits for a wake-up, which nobody sends meanwhile.
        while let Some(deliveries) = queue.next(10).now_or_never() {
            for delivery in deliveries.expect("the queue answers") {
                telemetry.record(&controller.reconcile(&delivery.name).await, Duration::ZERO);
                queue.done(delivery).await.expect("the queue answers");
            }
        }
        telemetry.record_sweep("demand", &controller.poll().await, Duration::ZERO);
        let drift = controller.polled_drift(telemetry.failing()).await;
        telemetry.note_drift(drift.as_ref().map(|report| &report.drift[..]));
    }

    /// Returns the answer to a request.
    pub(super) async fn ask(&self, method: &str, path: &str, accept: &str) -> (StatusCode, String) {
        ask(&self.router, method, path, accept).await
    }
}

/// Returns the body of an answer that is fine.
pub(super) async fn text(history: &History, path: &str, accept: &str) -> String {
    let (status, text) = history.ask("GET", path, accept).await;
    assert_eq!(status, StatusCode::OK, "{path}: {text}");
    text
}

/// Returns the same as JSON.
pub(super) async fn json(history: &History, path: &str) -> Value {
    let text = text(history, path, JSON).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
}
