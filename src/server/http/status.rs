//! `GET /v1/status`: what is well and what is not, from what this process knows. Calls neither forge
//! nor cloud, but in a Lambda function, which lists the machines if its process has not of late.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    BootStop, Class, ClassName, Condition, DaySpend, Machine, OpenBreaker, Pause, Run, RunName,
    SpotBreaker, serving,
};
use tinqs_ci_reconciler::ports::{OpenRun, PortError};

use super::spend::{spend, today};
use super::{App, Ctx, sides};
use crate::api::status::{
    Breaker, RunReason, Service, ServiceFailure, StatusView, Unserved, Webhooks,
};
use crate::telemetry::{Listing, Polled};
use crate::words::services::{ServiceReason, service_name};

mod attention;
mod classes;
mod lost;
mod open_drift;

pub(super) use crate::words::unserved::sentence as unserved_sentence;
pub(super) use attention::all as attention;
pub(super) use open_drift::open_drift;

/// The maximum number of runs whose reasons are read, for each phase.
const RUNS: usize = 500;
/// The maximum number of entries in `attention`, and in `drift`.
const ATTENTION: usize = 100;

/// The data from which an answer is built.
pub(super) struct StatusData {
    pub(super) now: Timestamp,
    /// The open runs; the error if the store cannot be read.
    pub(super) open: Result<Listing, PortError>,
    /// The newest waiting runs.
    pub(super) waiting: Vec<Run>,
    /// The running runs whose machine was lost.
    lost: Vec<Run>,
    pub(super) machines_listed_at: Option<Timestamp>,
    machines: Vec<Machine>,
    pub(super) unserved: Option<Polled>,
    breakers: Vec<(ClassName, OpenBreaker)>,
    boot_stops: Vec<(ClassName, BootStop)>,
    spot_breakers: Vec<(ClassName, SpotBreaker)>,
    pauses: Vec<Pause>,
    /// Of one moment for the whole answer.
    spend: DaySpend,
}

/// `GET /v1/status`.
pub(super) async fn status(State(app): Ctx) -> Json<StatusView> {
    Json(read_status(&app).await)
}

/// Returns the state of the installation.
pub(super) async fn read_status(app: &App) -> StatusView {
    let mut known = read(app).await;
    // Otherwise the store has just failed.
    if known.open.is_ok() {
        known.spend = today(app).await;
    }
    let mut status = answer(app, &known);
    status.spend = Some(spend(app, &known.spend));
    if let Some(found) = open_drift(app, &known).await {
        status.open_drift = Some(found.count());
        status.drift = found.views(known.now, ATTENTION);
    }
    status
}

/// Reads the open runs and the last listings.
pub(super) async fn read(app: &App) -> StatusData {
    sides::list_if_late(app).await;
    let store = &app.controller.ports().store;
    let now = app.telemetry.now();
    let telemetry = &app.telemetry;
    let open = telemetry.open_runs(store).await;
    let waiting = match &open {
        Ok(open) => telemetry.waiting_runs(store, open, RUNS).await,
        Err(_) => Vec::new(),
    };
    let (listed, machines) = telemetry.seen.machines();
    // If the store cannot be read, show the last ones.
    let pauses = app.controller.read_pauses().await;
    let pauses = pauses.unwrap_or_else(|_| app.controller.known_pauses());
    let of_open = open.as_deref().unwrap_or_default();
    let lost = lost::runs(store, of_open, listed.map(|_| machines.as_slice())).await;
    StatusData {
        now,
        open,
        waiting,
        lost,
        machines_listed_at: listed,
        machines,
        unserved: telemetry.unserved.last(),
        breakers: app.controller.open_breakers(),
        boot_stops: app.controller.boot_stops(),
        spot_breakers: app.controller.spot_breakers(),
        pauses,
        spend: app.controller.spend(),
    }
}

fn answer(app: &App, known: &StatusData) -> StatusView {
    let telemetry = &app.telemetry;
    let classes = &app.controller.settings().classes;
    let unserved = known.unserved.as_ref();
    let sets = unserved.map(|last| last.sets.as_slice()).unwrap_or_default();
    StatusView {
        now: known.now,
        started_at: telemetry.started_at,
        attention: attention::all(app, known),
        services: ["forge", "store", "compute", "queue"].map(|name| service(app, name)).to_vec(),
        webhooks: app.role.ingests().then(|| webhooks(app)),
        classes: classes::all(app, classes, known),
        waits: telemetry.waits.of_all(known.now).map(classes::waits),
        machines_listed_at: known.machines_listed_at,
        spend: None,
        unserved_jobs: unserved.map(|last| last.jobs),
        unserved: sets
            .iter()
            .map(|(set, since)| Unserved { set: set.clone(), since: *since })
            .collect(),
        lost_machines: known.lost.iter().map(|run| of_condition(run, run.status.lost())).collect(),
        pauses: known.pauses.clone(),
        breakers: breakers(known),
        failing_runs: failing_runs(app, known),
        open_drift: None,
        drift: Vec::new(),
    }
}

/// Returns the open breakers: those of refusals, then those of machines that never come online.
fn breakers(known: &StatusData) -> Vec<Breaker> {
    let refused = known.breakers.iter().map(|(class, breaker)| Breaker {
        class: class.to_string(),
        since: breaker.since,
        until: breaker.until,
        message: breaker.message.clone(),
    });
    let never_online = known.boot_stops.iter().map(|(class, stop)| Breaker {
        class: class.to_string(),
        since: stop.since,
        until: stop.until,
        message: stop.detail(),
    });
    refused.chain(never_online).collect()
}

fn service(app: &App, name: &str) -> Service {
    let contact = app.telemetry.contacts.of(name);
    let failure = contact.failing().and_then(|failure| {
        let reason = ServiceReason::of(name, failure.kind)?;
        Some(ServiceFailure {
            reason: reason.as_str().to_owned(),
            since: failure.since,
            operation: failure.operation.to_owned(),
            message: reason.sentence(&failure.message),
            fix: reason.fix(&failure.message).to_owned(),
        })
    });
    Service {
        name: service_name(name).to_owned(),
        state: contact.health(),
        last_contact: contact.good,
        failure,
    }
}

fn webhooks(app: &App) -> Webhooks {
    let counts = app.telemetry.deliveries.counts();
    let refused = counts.last_refused;
    Webhooks {
        accepted: counts.accepted,
        ignored: counts.ignored,
        refused: counts.refused,
        unsigned: counts.unsigned,
        failed: counts.failed,
        found_by_polling: app.telemetry.metrics.found_by_polling(),
        last_accepted: counts.last_accepted,
        last_refused: refused.as_ref().map(|refused| refused.at),
        refused_because: refused.map(|refused| refused.why),
    }
}

/// Returns the open runs whose last reconcile failed at a service.
fn failing_runs(app: &App, known: &StatusData) -> Vec<RunReason> {
    let failing = app.telemetry.failing_runs.all();
    if failing.is_empty() {
        return Vec::new();
    }
    let open = known.open.as_ref().ok().map(|open| {
        let names: HashSet<&RunName> = failing.iter().map(|(name, _)| name).collect();
        let runs = open.iter().filter(|run| names.contains(&run.name));
        runs.map(|run| (run.name.clone(), run)).collect::<HashMap<RunName, &OpenRun>>()
    });
    let failing = failing.into_iter().filter_map(|(name, failing)| {
        let run = open.as_ref().map(|open| open.get(&name));
        // A run that is not open any more needs nothing.
        if matches!(run, Some(None)) {
            return None;
        }
        let run = run.flatten();
        Some(RunReason {
            run: name.to_string(),
            repo: run.map(|run| run.repo.to_string()).unwrap_or_default(),
            job: String::new(),
            url: String::new(),
            phase: run.map(|run| run.phase),
            reason: failing.reason.as_str().to_owned(),
            since: Some(failing.since),
            message: failing.reason.sentence(&failing.message),
        })
    });
    failing.take(RUNS).collect()
}

/// Returns a run with the reason why it makes no progress.
pub(super) fn reason_of(app: &App, run: &Run) -> RunReason {
    let known = of_condition(run, run.status.conditions.first());
    match app.telemetry.failing_runs.of(&run.name).filter(|_| run.is_open()) {
        Some(failing) => RunReason {
            reason: failing.reason.as_str().to_owned(),
            since: Some(failing.since),
            message: failing.reason.sentence(&failing.message),
            ..known
        },
        None => known,
    }
}

/// Returns a run with a condition that holds for it.
fn of_condition(run: &Run, condition: Option<&Condition>) -> RunReason {
    let about = &run.spec.about;
    RunReason {
        run: run.name.to_string(),
        repo: if about.repo.is_empty() { run.spec.job.repo.clone() } else { about.repo.clone() },
        job: about.job.clone(),
        url: about.url.clone(),
        phase: Some(run.status.phase),
        reason: condition.map(|c| c.reason.to_string()).unwrap_or_default(),
        since: condition.map(|c| c.since),
        message: condition.map(|c| c.message.clone()).unwrap_or_default(),
    }
}

/// Returns the name of the class that serves a run.
pub(super) fn class_of<'a>(classes: &'a [Class], run: &Run) -> Option<&'a ClassName> {
    serving(classes, &run.spec.job.repo, &run.spec.runs_on).map(|class| &class.name)
}
