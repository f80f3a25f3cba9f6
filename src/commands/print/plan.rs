//! Formats a plan.

use std::fmt::Write as _;

use super::Detail;
use super::columns::aligned;
use crate::api::{Change, Plan};
use tinqs_ci_reconciler::text::escape;

/// Formats the changes of a plan, one per line, and their number. [`Detail::Wide`] adds the rules of
/// the decision table.
pub fn plan(plan: &Plan, detail: Detail) -> String {
    let row = |Change { sign, what, verb, why, rule }: &Change| {
        let why = match detail {
            Detail::Table => why.clone(),
            Detail::Wide => format!("{why}; {rule}"),
        };
        [sign, what, verb, &why].map(|cell| escape(cell)).to_vec()
    };
    let rows: Vec<Vec<String>> = plan.changes.iter().map(row).collect();
    let mut text = aligned(&rows, 1, &[1, 18, 11]);
    let state = plan.next_phase.or(plan.phase).map(|phase| format!(" in {phase:?}"));
    let name = plan.rule.split_once(" (rule ").map_or(plan.rule.as_str(), |(name, _)| name);
    let rule = match detail {
        Detail::Table => escape(name),
        Detail::Wide => escape(&plan.rule),
    };
    let _ = match plan.changes.len() {
        0 => writeln!(text, "settled{}: nothing to do; {rule}", state.unwrap_or_default()),
        1 => writeln!(text, "1 change"),
        n => writeln!(text, "{n} changes"),
    };
    text
}
