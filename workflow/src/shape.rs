//! Checks whether a node fits a type of the forge: a file that the forge's parser rejects is
//! ignored.
//!
//! The forge decodes the whole file into typed values before it reads `on`, so a step's `run: []`
//! makes the file as invalid as broken YAML. Only the fit is checked here, no value is returned.

use super::Dialect;
use super::fields::Fields;
use super::yaml::{Core, Kind, Node};

/// A type of the forge.
pub(crate) enum Shape {
    /// Not decoded.
    Raw,
    /// Anything that can be decoded.
    Any,
    /// A text: any scalar.
    Text,
    /// A boolean: `true`, `false`, and the words of YAML 1.1.
    Bool,
    /// A whole number.
    Int,
    /// Text keys with values of one type.
    Map(&'static Shape),
    /// A list of one type.
    List(&'static Shape),
    /// Named fields; other keys are ignored.
    Struct(&'static [(&'static str, Shape)]),
    /// Named fields, and those of another type that are not among them.
    Extended(&'static [(&'static str, Shape)], &'static Shape),
    /// A text, or a mapping of this type.
    TextOr(&'static Shape),
}

impl Shape {
    /// Returns the type of a named field.
    fn field(&self, name: &str) -> Option<&'static Shape> {
        let of = |fields: &'static [(&'static str, Shape)]| {
            fields.iter().find(|(own, _)| *own == name).map(|(_, shape)| shape)
        };
        match self {
            Struct(fields) => of(fields),
            Extended(fields, other) => of(fields).or_else(|| other.field(name)),
            Raw | Any | Text | Bool | Int | Map(_) | List(_) | TextOr(_) => None,
        }
    }
}

/// A node that does not fit its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Misfit {
    /// The line, from 1.
    pub line: usize,
    /// The mismatch.
    pub message: String,
}

impl Misfit {
    fn new(node: &Node, message: impl Into<String>) -> Self {
        Self { line: node.line, message: message.into() }
    }
}

use Shape::{Any, Bool, Extended, Int, List, Map, Raw, Struct, Text, TextOr};

const DEFAULTS: Shape = Struct(&[("run", Struct(&[("shell", Text), ("working-directory", Text)]))]);
const CONCURRENCY: Shape = TextOr(&Struct(&[("group", Text), ("cancel-in-progress", Text)]));
const CONTAINER: Shape = Struct(&[
    ("image", Text),
    ("env", Map(&Text)),
    ("ports", List(&Text)),
    ("volumes", List(&Text)),
    ("options", Text),
    ("credentials", Map(&Text)),
    ("cmd", List(&Text)),
    ("entrypoint", Text),
    ("args", Text),
    ("name", Text),
    ("reuse", Bool),
]);
const STEP: Shape = Struct(&[
    ("id", Text),
    ("if", Raw),
    ("name", Text),
    ("uses", Text),
    ("run", Text),
    ("working-directory", Text),
    ("shell", Text),
    ("env", Raw),
    ("with", Map(&Text)),
    ("continue-on-error", Text),
    ("timeout-minutes", Text),
]);
/// From 1.26 every job is decoded a second time, and there this field is a boolean.
const STEP_1_26: Shape = Extended(&[("continue-on-error", Bool)], &STEP);
const STRATEGY: Shape = Struct(&[
    ("failfast", Bool),
    ("maxparallel", Int),
    ("fail-fast", Text),
    ("max-parallel", Text),
    ("matrix", Raw),
]);
const JOB: Shape = Struct(&[
    ("name", Text),
    ("needs", Raw),
    ("runs-on", Raw),
    ("env", Raw),
    ("if", Raw),
    ("steps", List(&STEP)),
    ("timeout-minutes", Text),
    ("services", Map(&CONTAINER)),
    ("strategy", STRATEGY),
    ("container", Raw),
    ("defaults", DEFAULTS),
    ("outputs", Map(&Text)),
    ("uses", Text),
    ("with", Map(&Any)),
    ("secrets", Raw),
    ("permissions", Raw),
    ("result", Text),
]);
const JOB_1_26: Shape =
    Extended(&[("concurrency", CONCURRENCY), ("steps", List(&STEP_1_26))], &JOB);
const WORKFLOW: Shape = Struct(&[
    ("file", Text),
    ("name", Text),
    ("on", Raw),
    ("env", Map(&Text)),
    ("jobs", Map(&JOB)),
    ("defaults", DEFAULTS),
    ("concurrency", CONCURRENCY),
    ("permissions", Raw),
]);
const WORKFLOW_1_26: Shape = Extended(&[("jobs", Map(&JOB_1_26)), ("run-name", Text)], &WORKFLOW);

/// One input of `on.workflow_dispatch.inputs`.
pub(crate) const INPUT: Shape = Struct(&[
    ("name", Text),
    ("description", Text),
    ("required", Bool),
    ("default", Text),
    ("type", Text),
    ("options", List(&Text)),
]);
/// Any list of anything.
pub(crate) const LIST: Shape = List(&Any);

/// Checks whether a file fits the types that the forge decodes it into.
///
/// # Errors
/// [`Misfit`] for the first part that does not fit.
pub fn check_workflow(workflow: &Node, dialect: Dialect) -> Result<(), Misfit> {
    check(workflow, if dialect < Dialect::V1_26 { &WORKFLOW } else { &WORKFLOW_1_26 })
}

/// Visits each text of a job that the forge decodes as a text, with whether it is below a list: an
/// item, or a field of a mapping that is an item.
pub(crate) fn each_text<'n>(job: &'n Node, visit: &mut dyn FnMut(&'n Node, bool)) {
    texts(job, &JOB_1_26, false, visit);
}

fn texts<'n>(
    node: &'n Node,
    shape: &Shape,
    below_a_list: bool,
    visit: &mut dyn FnMut(&'n Node, bool),
) {
    let node = node.resolved();
    match (&node.kind, shape) {
        (Kind::Scalar { .. }, Text | TextOr(_) | Any) => visit(node, below_a_list),
        (Kind::Sequence(items), List(each)) => {
            for item in items {
                texts(item, each, true, visit);
            }
        }
        (Kind::Sequence(items), Any) => {
            for item in items {
                texts(item, &Any, true, visit);
            }
        }
        (Kind::Mapping(_), TextOr(other)) => texts(node, other, below_a_list, visit),
        (Kind::Mapping(_), Struct(_) | Extended(..) | Map(_) | Any) => {
            // Undecodable fields were rejected before.
            let Ok(fields) = Fields::read(node) else { return };
            for (name, value) in fields.iter() {
                let each = match shape {
                    Map(each) => Some(*each),
                    Any => Some(&Any),
                    other => other.field(name),
                };
                let below = below_a_list && value.resolved().entries().is_none();
                if let Some(each) = each {
                    texts(value, each, below, visit);
                }
            }
        }
        _ => {}
    }
}

/// Whether a node fits a type.
pub(crate) fn check(node: &Node, shape: &Shape) -> Result<(), Misfit> {
    if matches!(shape, Raw) {
        return Ok(());
    }
    let node = node.resolved();
    match &node.kind {
        Kind::Alias(_) => Err(Misfit::new(node, "an anchor contains itself")),
        // Every untagged scalar fits a text.
        Kind::Scalar { tag: None, .. } if matches!(shape, Any | Text | TextOr(_)) => Ok(()),
        Kind::Scalar { text, .. } => {
            let core = node.core().ok_or_else(|| {
                Misfit::new(node, format!("`{}` does not fit its tag", cut(text)))
            })?;
            scalar(text, core, shape)
                .then_some(())
                .ok_or_else(|| Misfit::new(node, format!("`{}` is not valid here", cut(text))))
        }
        Kind::Sequence(items) => match shape {
            List(each) => items.iter().try_for_each(|item| check(item, each)),
            Any => items.iter().try_for_each(|item| check(item, &Any)),
            _ => Err(Misfit::new(node, "a list is not valid here")),
        },
        Kind::Mapping(_) => match shape {
            TextOr(other) => check(node, other),
            Map(_) | Struct(_) | Extended(..) | Any => mapping(node, shape, &mut Vec::new()),
            _ => Err(Misfit::new(node, "a mapping is not valid here")),
        },
    }
}

/// The largest integer of 64 bits as a float.
#[expect(clippy::cast_precision_loss, reason = "so does the forge's parser")]
const MOST: f64 = i64::MAX as f64;

/// Whether a scalar fits; a null fits every type.
fn scalar(text: &str, core: Core, shape: &Shape) -> bool {
    const WORDS: [&str; 16] = [
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
        "OFF",
    ];
    match (shape, core) {
        (Raw | Any | Text | TextOr(_), _) | (_, Core::Null) | (Bool, Core::Bool(_)) => true,
        (Bool, Core::Str) => WORDS.contains(&text),
        (Int, Core::Int(value)) => i64::try_from(value).is_ok(),
        // Rejects a float beyond 64 bits, and NaN.
        (Int, Core::Float(value)) => value <= MOST,
        _ => false,
    }
}

/// Checks a mapping and what it merges by `<<`; keys of an outer mapping take precedence.
fn mapping<'a>(node: &'a Node, shape: &Shape, outer: &mut Vec<&'a str>) -> Result<(), Misfit> {
    let entries = node.entries().unwrap_or_default();
    if let Some(key) = node.duplicate_key() {
        let key_text = cut(key.as_str().unwrap_or_default());
        return Err(Misfit::new(key, format!("duplicate key `{key_text}`")));
    }
    for (key, value) in entries.iter().filter(|(key, _)| !key.is_merge()) {
        let scalar = key.resolved();
        let Some(text) = scalar.as_str() else {
            return Err(Misfit::new(key, "a key must be a text"));
        };
        check(scalar, &Text)?;
        if outer.contains(&text) {
            continue;
        }
        match shape {
            Struct(_) | Extended(..) => {
                shape.field(text).map_or(Ok(()), |field| check(value, field))?;
            }
            Map(each) => check(value, each)?,
            _ => check(value, &Any)?,
        }
    }
    let mut merges = entries.iter().filter(|(key, _)| key.is_merge()).peekable();
    if merges.peek().is_some() {
        outer.extend(entries.iter().filter_map(|(key, _)| key.as_str()));
    }
    for (_, merge) in merges {
        for merged in merged(merge)? {
            mapping(merged, shape, outer)?;
        }
    }
    Ok(())
}

/// The mappings that the value of `<<` merges; a list must not be an alias.
fn merged(value: &Node) -> Result<Vec<&Node>, Misfit> {
    let mapping = |node: &'_ Node| node.entries().is_some();
    let refuse = || Misfit::new(value, "only a mapping or a list of mappings can be merged");
    match &value.kind {
        Kind::Sequence(items) if items.iter().all(mapping) => {
            Ok(items.iter().map(Node::resolved).collect())
        }
        _ if mapping(value) => Ok(vec![value.resolved()]),
        _ => Err(refuse()),
    }
}

/// Returns the value of a field as the forge decodes it: the mapping's own, or a merged one.
pub(crate) fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.get(name).or_else(|| {
        let entries = node.entries()?;
        let merges = entries.iter().filter(|(key, _)| key.is_merge());
        let mappings = merges.filter_map(|(_, value)| merged(value).ok()).flatten();
        // The tree is finite and no deeper than `yaml::DEPTH`.
        mappings.into_iter().find_map(|mapping| field(mapping, name))
    })
}

/// Shortens a text for a message.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
