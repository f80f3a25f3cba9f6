//! Logs when the clock of this process begins to differ from the true time, and when it agrees again.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{Event, Report};

use crate::words::clock::{FIX, differs};

/// Logs a change of the clock, once.
pub(super) fn log(report: &Report) {
    for event in &report.events {
        match event {
            Event::ClockDiffers { ahead_seconds } => tracing::warn!(
                ahead_seconds,
                error = differs(SignedDuration::from_secs(*ahead_seconds)),
                fix = FIX,
                "clock differs from the true time, waits are not concluded",
            ),
            Event::ClockAgrees => tracing::info!("clock agrees with the true time again"),
            _ => {}
        }
    }
}
