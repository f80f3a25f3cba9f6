//! Decides from an observation. Pure and total.
//!
//! The next status is given by the first rule of the decision table that matches: rules 1 to 9 in
//! `decide`, P1 and P2 in `push`, R1 in `rerun`, 10 to 17 in `attempt`. Then `credentials` removes credentials that
//! nothing needs any more, and [`gc`] adds what may be terminated or freed.

mod attempt;
pub(crate) mod attempt_state;
pub(crate) mod boots;
mod credentials;
mod decide;
pub mod drift;
pub mod gc;
pub(crate) mod hung;
mod last_lines;
pub(crate) mod lost;
mod push;
mod rebuild;
pub mod record;
pub(crate) mod rerun;
mod rules;
mod sanitize;
pub mod share;
pub(crate) mod spot;
pub(crate) mod times;
pub mod usage;

use crate::model::Observation;

pub use boots::boot_stop;
pub use hung::{DISABLED_FOR, HUNG_AFTER, READINGS_APART};
pub use last_lines::{LAST_LINES_READ, last_lines};
pub use lost::still_up;
pub use rebuild::{LeftOver, rebuilt, skip_numbers};
pub use rerun::RERUN_LANDS_WITHIN;
pub use rules::{Action, Plan, Prepare, Rule};
pub use times::{
    BREAKER_RETRIES_AFTER, DRAIN_GRACE, FAILED_WITHIN, FORGOTTEN_AFTER, LANDS_WITHIN,
    LAUNCH_WINDOW, LONGEST_BACKOFF, LONGEST_BACKOFF_PUSH, LONGEST_DUE, REFUSED_AGAIN_FOR,
    REFUSED_FOR, SHOWN_AFTER, VISIBLE_WITHIN,
};

/// Returns the plan for a run: its next status and the actions.
pub fn plan(seen: &Observation) -> Plan {
    let mut plan = decide::decide(seen);
    if let Some(status) = &mut plan.status {
        credentials::leave(status, seen.now);
    }
    let mut actions = gc::gc(seen);
    for action in plan.actions {
        // Terminate a machine once, even for several reasons.
        let twice = matches!(&action, Action::Terminate { id, .. } if actions
            .iter()
            .any(|a| matches!(a, Action::Terminate { id: other, .. } if other == id)));
        if !twice {
            actions.push(action);
        }
    }
    plan.actions = actions;
    plan
}
