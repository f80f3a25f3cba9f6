//! The open drift, for every answer that shows it.

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::DriftReport;
use tinqs_ci_reconciler::ports::OpenRun;

use super::{App, StatusData};
use crate::api::{DriftView, drift_views};

/// The drift among the open runs.
pub(in crate::server::http) struct Found<'k> {
    open: &'k [OpenRun],
    report: DriftReport,
}

impl Found<'_> {
    pub(super) fn count(&self) -> usize {
        self.report.drift.len()
    }

    /// Returns at most so many, with words.
    pub(in crate::server::http) fn views(&self, now: Timestamp, most: usize) -> Vec<DriftView> {
        drift_views(&self.report, self.open, now, most)
    }
}

/// Returns the drift; `None` if the open runs could not be read.
pub(in crate::server::http) async fn open_drift<'k>(
    app: &App,
    known: &'k StatusData,
) -> Option<Found<'k>> {
    let open = known.open.as_deref().ok()?;
    let waiting = known.waiting.clone();
    let report = app.controller.drift_among(open, waiting, app.telemetry.failing()).await;
    Some(Found { open, report })
}
