//! Expands `strategy.matrix` to the combinations of a job, as the server does.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Dialect;
use crate::fields::Fields;
use crate::value::{NoValue, Value};
use crate::yaml::{Kind, Node};

use super::JobsProblem;

/// Most combinations of one matrix before its excludes, and most jobs of one workflow. The server
/// has no limit; GitHub's is 256.
pub const MOST: usize = 4096;
/// Most values in all combinations together.
const CELLS: usize = 1_000_000;
/// Most comparisons of those with includes and excludes.
const COMPARISONS: usize = 4_000_000;
/// Most bytes of the values of one matrix.
const BYTES: usize = 4 * 1024 * 1024;

/// One combination.
pub(super) type Combination = BTreeMap<Arc<str>, Value>;
/// Keys and their values.
type Axes = BTreeMap<Arc<str>, Vec<Value>>;

/// Returns the combinations of a matrix, in the order of their names, each with its name: ` (…)`,
/// or nothing if it is empty.
pub(super) fn combinations(
    matrix: Option<&Node>,
    dialect: Dialect,
) -> Result<Vec<(Combination, String)>, JobsProblem> {
    let axes = match matrix {
        Some(node) => axes(node, dialect)?,
        None => None,
    };
    let mut found = match axes {
        Some(axes) => expand(axes)?,
        None => Vec::new(),
    };
    if found.is_empty() {
        found.push(Combination::new());
    }
    let mut named = Vec::with_capacity(found.len());
    let mut bytes = 0;
    for combination in found {
        let name = name(&combination);
        bytes += name.len();
        if bytes > BYTES {
            return Err(JobsProblem::TooLarge);
        }
        named.push((combination, name));
    }
    named.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(named)
}

/// ` (v1, v2)`, in the order of the keys.
fn name(combination: &Combination) -> String {
    let mut name = String::new();
    for (index, value) in combination.values().enumerate() {
        name.push_str(if index == 0 { " (" } else { ", " });
        value.print(&mut name);
    }
    if !name.is_empty() {
        name.push(')');
    }
    name
}

/// Decodes the matrix; `None` if the server finds none: an alias, an expression, a value of the
/// wrong kind.
fn axes(node: &Node, dialect: Dialect) -> Result<Option<Axes>, JobsProblem> {
    let Kind::Mapping(_) = &node.kind else { return Ok(None) };
    let Ok(fields) = Fields::read(node) else { return Ok(None) };
    let mut budget = BYTES;
    let mut axes = Axes::new();
    for (key, value) in fields.iter() {
        let values = match Value::from_node(value, &mut budget) {
            Ok(Value::List(values)) => values.to_vec(),
            // Up to 1.26 a null is an empty list, and any other value invalidates the matrix.
            Ok(Value::Null) if dialect < Dialect::V1_27 => Vec::new(),
            Ok(_) if dialect < Dialect::V1_27 => return Ok(None),
            Ok(Value::Map(_)) | Err(NoValue::Refused) => return Ok(None),
            Ok(value) => vec![value],
            Err(NoValue::TooLarge) => return Err(JobsProblem::TooLarge),
        };
        axes.insert(Arc::from(key), values);
    }
    Ok(Some(axes))
}

fn expand(mut axes: Axes) -> Result<Vec<Combination>, JobsProblem> {
    let (includes, mut extra) = includes(&axes)?;
    axes.remove("include");
    let excludes = excludes(&axes)?;
    axes.remove("exclude");

    let mut size = usize::from(!axes.is_empty());
    for values in axes.values() {
        size = size.saturating_mul(values.len());
    }
    if too_many(size, axes.len(), includes.len() + excludes.len()) {
        return Err(JobsProblem::TooMany);
    }

    let mut found = product(&axes, size);
    found.retain(|combination| {
        !excludes.iter().any(|exclude| agree(combination, exclude, |_| true))
    });
    for include in includes {
        let mut matched = false;
        for combination in &mut found {
            if agree(combination, &include, |key| axes.contains_key(key)) {
                matched = true;
                let entries = include.iter().map(|(key, value)| (key.clone(), value.clone()));
                combination.extend(entries);
            }
        }
        if !matched {
            extra.push(include);
        }
    }
    found.extend(extra.iter().map(|include| (**include).clone()));
    if found.len() > MOST { Err(JobsProblem::TooMany) } else { Ok(found) }
}

/// Whether combinations of this many keys are too many to compare with this many includes and
/// excludes.
fn too_many(size: usize, keys: usize, rules: usize) -> bool {
    let cells = size.saturating_mul(keys);
    size > MOST || cells > CELLS || cells.saturating_mul(rules) > COMPARISONS
}

type Entries = Arc<Combination>;

/// Splits the includes into those that share a key with the matrix and the rest.
fn includes(axes: &Axes) -> Result<(Vec<Entries>, Vec<Entries>), JobsProblem> {
    let (mut sharing, mut extra) = (Vec::new(), Vec::new());
    let mut take = |value: &Value| {
        let Value::Map(entries) = value else { return Err(JobsProblem::Include) };
        let shares = entries.keys().any(|key| axes.contains_key(key));
        if shares { &mut sharing } else { &mut extra }.push(entries.clone());
        Ok(())
    };
    for value in axes.get("include").into_iter().flatten() {
        match value {
            // A null is ignored, and a nested list is part of its list.
            Value::Null => {}
            Value::List(values) => values.iter().try_for_each(&mut take)?,
            value => take(value)?,
        }
    }
    Ok((sharing, extra))
}

/// Returns the excludes; each of their keys must be a key of the matrix.
fn excludes(axes: &Axes) -> Result<Vec<Entries>, JobsProblem> {
    let mut excludes = Vec::new();
    for value in axes.get("exclude").into_iter().flatten() {
        let Value::Map(entries) = value else { return Err(JobsProblem::Exclude) };
        if let Some(unknown) = entries.keys().find(|key| !axes.contains_key(*key)) {
            return Err(JobsProblem::ExcludeKey(unknown.chars().take(100).collect()));
        }
        if !entries.is_empty() {
            excludes.push(entries.clone());
        }
    }
    Ok(excludes)
}

fn product(axes: &Axes, size: usize) -> Vec<Combination> {
    if size == 0 {
        return Vec::new();
    }
    let mut found = vec![Combination::new()];
    for (key, values) in axes {
        let mut longer = Vec::with_capacity(found.len() * values.len());
        for combination in &found {
            for value in values {
                let mut next = combination.clone();
                next.insert(key.clone(), value.clone());
                longer.push(next);
            }
        }
        found = longer;
    }
    found
}

/// Whether two agree in all common keys that count.
fn agree(combination: &Combination, other: &Combination, counts: impl Fn(&str) -> bool) -> bool {
    combination.iter().all(|(key, value)| match other.get(key) {
        Some(wanted) if counts(key) => value == wanted,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_inclusive() {
        for (size, keys, rules) in [(MOST, 1, 0), (4_000, 250, 4), (4_000, 1, 1_000), (0, 0, 9)] {
            assert!(!too_many(size, keys, rules), "{size} {keys} {rules}");
        }
        for (size, keys, rules) in
            [(MOST + 1, 1, 0), (4_000, 251, 0), (4_000, 1, 1_001), (usize::MAX, 2, 0)]
        {
            assert!(too_many(size, keys, rules), "{size} {keys} {rules}");
        }
    }
}
