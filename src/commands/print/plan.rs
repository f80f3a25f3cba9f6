//! Formats a plan.

use std::fmt::Write as _;

use super::columns::aligned;
use crate::api::{Change, Plan};
use tinqs_ci_reconciler::text::escape;

/// Formats the changes of a plan, one per line, and their number.
pub fn plan(plan: &Plan) -> String {
    let rows = plan.changes.iter().map(|Change { sign, what, verb, why }| {
        [sign, what, verb, why].map(|cell| escape(cell)).to_vec()
    });
    let mut text = aligned(rows, 1, &mut vec![1, 18, 11]);
    let state = plan.next_phase.or(plan.phase).map(|phase| format!(" in {phase:?}"));
    let rule = escape(&plan.rule);
    let _ = match plan.changes.len() {
        0 => writeln!(text, "settled{}: nothing to do; {rule}", state.unwrap_or_default()),
        1 => writeln!(text, "1 change"),
        n => writeln!(text, "{n} changes"),
    };
    text
}
