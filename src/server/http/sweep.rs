//! Polls and sweeps on request, for a person or a schedule.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tinqs_ci_reconciler::controller::SweepReport;

use super::{App, Ctx, Refusal};
use crate::server::drift;
use crate::server::pass::{self, pass};

/// `POST /v1/sweep`.
pub(super) async fn sweep(State(app): Ctx) -> Result<Json<SweepReport>, Refusal> {
    now(&app).await
}

/// Polls and sweeps, and returns one report of both.
pub(super) async fn now(app: &Arc<App>) -> Result<Json<SweepReport>, Refusal> {
    if !app.role.reconciles() {
        let detail = "this replica only accepts webhooks (role `ingest`): ask one that reconciles";
        return Err(Refusal::new(StatusCode::FORBIDDEN, detail));
    }
    let bug = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log");
    let (controller, telemetry) = (&app.controller, &app.telemetry);
    controller.forget_idle();
    let polled = pass("demand", telemetry, controller.poll()).await.ok_or_else(bug)?;
    let swept = pass::sweep(controller, telemetry).await.ok_or_else(bug)?;
    drift::note(controller, telemetry).await;
    Ok(Json(both(polled, swept)))
}

/// Combines the two reports.
fn both(polled: SweepReport, swept: SweepReport) -> SweepReport {
    let SweepReport { leader, waiting_jobs, unserved_jobs, unserved, created, woken, .. } = polled;
    let mut errors = polled.errors;
    errors.extend(swept.errors);
    SweepReport {
        leader: leader || swept.leader,
        waiting_jobs,
        unserved_jobs,
        unserved,
        created: created + swept.created,
        woken: woken + swept.woken,
        machines: swept.machines,
        registrations: swept.registrations,
        seats: swept.seats,
        errors,
    }
}
