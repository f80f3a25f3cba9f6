//! What is decided from what is seen. Pure and total.
//!
//! `decide` gives the next status by rows 1 to 9 of the heart, `push` by P1 and P2, `attempt` by
//! rows 10 to 17: the first row that fits. [`tidy`] adds what may be stopped or freed.

mod attempt;
mod decide;
pub(crate) mod facts;
mod heal;
mod push;
pub mod record;
mod rows;
#[cfg(feature = "mutants")]
pub(crate) mod spoil;
pub mod tidy;
pub(crate) mod times;

use crate::model::Observation;

pub use rows::{Action, Plan, Prepare, Row};
pub use times::{
    DRAIN_GRACE, FORGOTTEN_AFTER, LANDS_WITHIN, LAUNCH_WINDOW, LONGEST_BACKOFF,
    LONGEST_BACKOFF_PUSH, LONGEST_DUE, REFUSED_AGAIN_FOR, REFUSED_FOR, SHOWN_WITHIN, STOPPED_FOR,
    VISIBLE_WITHIN,
};

/// What is to be done about a run.
pub fn plan(seen: &Observation) -> Plan {
    let mut plan = decide::decide(seen);
    let mut actions = tidy::tidy(seen);
    for action in plan.actions {
        // A machine is ended once, whatever the grounds.
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
