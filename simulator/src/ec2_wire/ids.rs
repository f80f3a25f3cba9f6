//! Lookup of machines by ID, and the errors for unknown ones.

use tinqs_ci_reconciler::model::MachineId;

use super::error::Fault;
use super::state::State;

/// Checks the format of an ID.
pub(super) fn well_formed(id: &str) -> Result<(), Fault> {
    let hex = id.strip_prefix("i-").unwrap_or_default();
    if [8, 17].contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Fault::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")))
}

pub(super) fn not_found(ids: &[&str]) -> Fault {
    let text = format!("The instance IDs '{}' do not exist", ids.join(", "));
    Fault::new("InvalidInstanceID.NotFound", text)
}

pub(super) fn impaired(state: &State, id: &MachineId) -> bool {
    let zone = state.records.get(id).map(|r| state.cloud.zone(&r.recipe.subnet));
    zone.is_some_and(|zone| state.impaired.contains(zone))
}

pub(super) fn unavailable() -> Fault {
    Fault::new("Unavailable", "The service is unavailable. Please try again shortly.")
}
