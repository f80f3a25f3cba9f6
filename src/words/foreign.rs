//! Machines that carry our tags and that we did not launch, in words.

use tinqs_ci_reconciler::model::MachineId;
use tinqs_ci_reconciler::text::cut;

/// The reason of machines that only carry our tags.
pub const FOREIGN_MACHINE: &str = "ForeignMachine";

/// The remedy for a person.
pub const FIX: &str = "find out who tagged them; remove their `tinqs-ci` tags, and terminate \
                       them if they are not needed";

/// The maximum number of machines that are named.
const NAMED: usize = 5;

/// Says which machines only carry our tags.
pub fn sentence(machines: &[MachineId]) -> String {
    let names: Vec<String> = machines.iter().take(NAMED).map(|id| cut(&id.0, 60)).collect();
    let more = match machines.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{}{more} carry the tags of this installation but were not launched by it: left alone",
        names.join(", ")
    )
}
