//! The role `ingest`: it stores a delivery in the inbox and wakes a replica that reconciles. It
//! reads nothing, neither in the store nor at the forge, so it needs no other right.

use std::time::Instant;

use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::webhook::Event;
use tinqs_ci_reconciler::controller::ReconcileOutcome;

use super::super::{App, Refusal};
use super::{in_time, not_durable, take_push};
use crate::push::Pushes;

/// Stores a verified delivery. Returns `false` if it does not concern demand.
pub(super) async fn store(
    app: &App,
    event: &str,
    payload: &[u8],
    events: Vec<Event>,
) -> Result<bool, Refusal> {
    // Always there in a server; without it nothing can be stored.
    let Some(pushes) = &app.pushes else { return Err(not_durable()) };
    let began = Instant::now();
    let stored = write(pushes, event, payload, events).await;
    let result = match &stored {
        Ok(true) => ReconcileOutcome::Acted,
        Ok(false) => ReconcileOutcome::Settled,
        Err(_) => ReconcileOutcome::Error,
    };
    app.telemetry.metrics.pass("ingest", result, began.elapsed(), app.telemetry.now());
    let stored = stored?;
    if stored && let Err(error) = pushes.wake_reader().await {
        // Counted by the port's decorator. The delivery is durable: a reader's next pass finds it.
        tracing::debug!(error = %error, "cannot wake a reader of the inbox");
    }
    Ok(stored)
}

async fn write(
    pushes: &Pushes,
    event: &str,
    payload: &[u8],
    events: Vec<Event>,
) -> Result<bool, Refusal> {
    if pushes.wants(event) {
        return Box::pin(take_push(pushes, event, payload)).await;
    }
    let events = of_use(events, pushes.demand().known());
    if events.is_empty() {
        return Ok(false);
    }
    in_time(pushes.take_in_jobs(events)).await.map(|()| true)
}

/// Returns the events that a replica in this mode uses; `None`: not known here.
fn of_use(mut events: Vec<Event>, mode: Option<Mode>) -> Vec<Event> {
    if mode == Some(Mode::Push) {
        events.retain(|event| matches!(event, Event::Job { .. } | Event::Blocked { .. }));
    }
    events
}
