//! Tells of pauses that this or another replica was asked for.

use tinqs_ci_reconciler::controller::Controller;

use crate::telemetry::Telemetry;

/// Notes the pauses as this process last read them.
pub(crate) fn note(controller: &Controller, telemetry: &Telemetry) {
    telemetry.note_pauses(&controller.known_pauses(), None);
}
