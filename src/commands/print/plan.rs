//! What a look would do, as lines.

use std::fmt::Write as _;

use crate::api::{Change, Plan};
use tinqs_ci_reconciler::text::escape;

/// Lines `+ - ~`, and how many.
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let widest = plan.changes.iter().map(|change| change.what.chars().count()).max().unwrap_or(0);
    let width = widest.clamp(18, 60);
    for Change { sign, what, verb, why } in &plan.changes {
        let (sign, what, verb, why) = (escape(sign), escape(what), escape(verb), escape(why));
        let _ = writeln!(text, "{sign} {what:width$} {verb:11} {why}");
    }
    let state = plan.next_phase.or(plan.phase).map(|phase| format!(" in {phase:?}"));
    let row = escape(&plan.row);
    let _ = match plan.changes.len() {
        0 => writeln!(text, "settled{}: nothing to do (row {row})", state.unwrap_or_default()),
        1 => writeln!(text, "1 change"),
        n => writeln!(text, "{n} changes"),
    };
    text
}
