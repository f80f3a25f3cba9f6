//! Notes the drift of the last poll, for metrics and the log.

use tinqs_ci_reconciler::controller::Controller;

use super::guarded::guarded;
use crate::telemetry::Telemetry;

/// Notes the drift of the last lists. Reads only records of runs that wait for too long.
pub(crate) async fn note(controller: &Controller, telemetry: &Telemetry) {
    let report = guarded(controller.polled_drift(telemetry.failing())).await;
    match report {
        Ok(report) => telemetry.note_drift(report.as_ref().map(|report| &report.drift[..])),
        Err(_) => telemetry.metrics.panicked("demand"),
    }
}
