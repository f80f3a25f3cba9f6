//! Runs a poll or a sweep.

use std::future::Future;
use std::time::Instant;

use tinqs_ci_reconciler::controller::SweepReport;

use super::guarded::guarded;
use crate::telemetry::{Telemetry, traces};

/// Runs a poll or a sweep and records its report. Returns `None` after a panic, which the panic
/// hook has logged.
pub(crate) async fn pass(
    controller: &'static str,
    telemetry: &Telemetry,
    work: impl Future<Output = SweepReport>,
) -> Option<SweepReport> {
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
