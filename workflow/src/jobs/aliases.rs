//! The server stores each job as a separate document. Parts that it stores as written keep their
//! aliases but not anchors from elsewhere, and then no job is stored.

use crate::Dialect;
use crate::fields::Fields;
use crate::yaml::{Kind, Node};

use super::{JobsError, JobsProblem};

/// Most nodes searched for the anchors of one job. A workflow that exceeds this counts as having a
/// stray alias.
const LOOKUPS: usize = 1_000_000;

/// Checks the parts of a job that are stored as written.
pub(super) fn none_strands<'n>(job: &Fields<'n>, dialect: Dialect) -> Result<(), JobsError> {
    let steps = job.get("steps").and_then(Node::items).unwrap_or_default();
    // Most jobs have none of these.
    let mut stored: Vec<(&'static str, &'n Node)> = Vec::new();
    let mut store = |fields: &Fields<'n>, names: &[&'static str]| {
        stored.extend(names.iter().filter_map(|name| Some((*name, fields.get(name)?))));
    };
    store(job, &["needs", "env", "if"]);
    for step in steps {
        store(&Fields::read(step)?, &["if", "env"]);
    }
    store(job, &["container", "secrets", "permissions"]);
    if dialect == Dialect::V1_27 {
        store(job, &["continue-on-error"]);
    }
    let mut lookups = LOOKUPS;
    for (index, (name, node)) in stored.iter().enumerate() {
        // The parts are written in this order, and an anchor must precede its aliases.
        if let Some(alias) = stray(node, &stored[..=index], &mut lookups) {
            return Err(JobsProblem::Alias(name).at(alias));
        }
    }
    Ok(())
}

/// Finds an alias within a node whose anchor is in none of the stored parts.
fn stray<'n>(
    node: &'n Node,
    stored: &[(&'static str, &Node)],
    lookups: &mut usize,
) -> Option<&'n Node> {
    match &node.kind {
        Kind::Scalar { .. } => None,
        Kind::Sequence(items) => items.iter().find_map(|item| stray(item, stored, lookups)),
        Kind::Mapping(entries) => entries.iter().find_map(|(key, value)| {
            stray(key, stored, lookups).or_else(|| stray(value, stored, lookups))
        }),
        Kind::Alias(Some(target))
            if stored.iter().any(|(_, part)| holds(part, target, lookups)) =>
        {
            None
        }
        Kind::Alias(_) => Some(node),
    }
}

/// Whether a node is part of another, not through an alias. Nodes have no identity; line and
/// content identify them well enough.
fn holds(node: &Node, wanted: &Node, lookups: &mut usize) -> bool {
    let Some(left) = lookups.checked_sub(1) else { return false };
    *lookups = left;
    if node.line == wanted.line && node == wanted {
        return true;
    }
    match &node.kind {
        Kind::Scalar { .. } | Kind::Alias(_) => false,
        Kind::Sequence(items) => items.iter().any(|item| holds(item, wanted, lookups)),
        Kind::Mapping(entries) => entries
            .iter()
            .any(|(key, value)| holds(key, wanted, lookups) || holds(value, wanted, lookups)),
    }
}
