//! Runs a poll or a sweep.

use std::future::Future;
use std::time::Instant;

use tinqs_ci_reconciler::controller::{Controller, SweepReport};

use super::guarded::guarded;
use crate::telemetry::{Telemetry, traces};

/// Sweeps. A replica that does not hold the lease only lists what it shows.
pub(crate) async fn sweep(controller: &Controller, telemetry: &Telemetry) -> Option<SweepReport> {
    let report = pass("sweep", telemetry, controller.sweep()).await?;
    let is_led_by_another = !report.leader && report.errors.is_empty();
    let open_runs = telemetry.knows_open_runs();
    if is_led_by_another && guarded(controller.list_sides(open_runs)).await.is_err() {
        telemetry.metrics.panicked("sweep");
    }
    Some(report)
}

/// Runs a poll or a sweep and records its report. Returns `None` after a panic, which the panic
/// hook has logged.
pub(crate) fn pass(
    controller: &'static str,
    telemetry: &Telemetry,
    work: impl Future<Output = SweepReport>,
) -> impl Future<Output = Option<SweepReport>> {
    // Boxed before it is part of another future: it is large.
    let work = Box::pin(work);
    async move {
        let began = Instant::now();
        let recorded = async {
            let report = guarded(work).await;
            if let Ok(report) = report {
                telemetry.record_sweep(controller, &report, began.elapsed());
                Some(report)
            } else {
                telemetry.metrics.panicked(controller);
                None
            }
        };
        traces::pass(controller, recorded).await
    }
}
