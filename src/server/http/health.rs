//! `/healthz`, `/readyz`, `/metrics`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tinqs_ci_reconciler::controller::ClockReading;
use tinqs_ci_reconciler::model::Machine;

use super::{Ctx, Refusal};
use crate::api::{Health, Part, Problem, Ready};
use crate::telemetry::{SERVICES, labels};
use crate::words::services::is_being_completed;

/// The services that the role `ingest` calls.
const USED_BY_INGEST: [&str; 2] = ["store", "queue"];

/// `GET /healthz`: the process is alive.
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// The answer of `/readyz` if not ready: a problem document with the state of each service.
#[derive(Serialize)]
struct NotReady {
    #[serde(flatten)]
    problem: Problem,
    #[serde(flatten)]
    ready: Ready,
}

/// `GET /readyz`: 200 if the store can be used, independent of cloud and forge. The role
/// `ingest` only writes the inbox, and has no other part to be ready for.
pub(super) async fn ready(State(app): Ctx) -> Response {
    let written = app.probe.check().await;
    let now = app.telemetry.now();
    let used = |service: &&str| app.role.reconciles() || USED_BY_INGEST.contains(service);
    let parts = SERVICES.iter().copied().filter(used).map(|service| {
        let contact = app.telemetry.contacts.of(service);
        let mut part = Part {
            state: contact.health(),
            last_contact: contact.good,
            age_seconds: contact.good.map(|at| now.duration_since(at).as_secs().max(0)),
            error: contact.failing().map(|failure| labels::error_kind(failure.kind).to_owned()),
        };
        if service == "store" {
            part.state = if written.is_ok() { Health::Ok } else { Health::Failing };
            part.error =
                written.as_ref().err().map(|error| labels::error_kind(error.kind).to_owned());
        }
        (service.to_owned(), part)
    });
    let parts = parts.collect();
    let ClockReading { check: clock, ahead } = app.controller.clock();
    let clock_ahead_seconds = ahead.map(|ahead| ahead.as_secs());
    let ready = Ready { ready: written.is_ok(), parts, clock, clock_ahead_seconds };
    let Err(error) = written else { return Json(ready).into_response() };
    let detail = if is_being_completed(&error.message) {
        "an index of the store's table is being created: this process goes on by itself once it is \
         there, which takes minutes over many items"
    } else {
        "cannot write to the store: webhooks are rejected until it recovers"
    };
    let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(5);
    let body = NotReady { problem: refusal.problem(), ready };
    refusal.answer(&body)
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(app): Ctx) -> Response {
    let machines = app.telemetry.seen.machines().1;
    let price = |m: &Machine| app.controller.price(&m.kind, m.market, &m.zone);
    app.telemetry.metrics.hourly_cost(&machines, price);
    app.telemetry.metrics.daily_spend(&app.controller.spend().budgets);
    // Another role may read neither the store nor the queue.
    let text = if app.role.reconciles() {
        app.telemetry.scrape(&app.controller).await
    } else {
        app.telemetry.metrics_text(&app.controller)
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
