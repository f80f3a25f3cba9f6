//! Adds an event for each pause and resume, whichever replica was asked for it.

use tinqs_ci_reconciler::controller::Controller;

use crate::telemetry::Telemetry;

/// Notes the pauses as this process last read them.
pub(crate) fn note(controller: &Controller, telemetry: &Telemetry) {
    telemetry.note_pauses(&controller.known_pauses(), None);
}
