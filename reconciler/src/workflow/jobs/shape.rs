//! What the server's decoder wants where: a file with a list for a name is no workflow, whatever
//! else stands in it. Fields that the server keeps as nodes are not looked into.

use crate::workflow::Dialect;
use crate::workflow::fields::{BadField, Fields};
use crate::workflow::yaml::{Core, Kind, Node};

/// What a field is decoded into.
enum Shape {
    /// A text; any scalar will do.
    Text,
    /// A boolean, old spellings welcome.
    Bool,
    /// A list of texts.
    Texts,
    /// A list of these.
    List(&'static Shape),
    /// A mapping of any keys to these.
    Map(&'static Shape),
    /// Any value.
    Any,
    /// A mapping of which these keys are read.
    Record(&'static [(&'static str, Shape)]),
    /// A text, or a group with texts; read from 1.26 on.
    Concurrency,
}

const DEFAULTS: Shape = Shape::Record(&[(
    "run",
    Shape::Record(&[("shell", Shape::Text), ("working-directory", Shape::Text)]),
)]);

const CONTAINER: Shape = Shape::Record(&[
    ("image", Shape::Text),
    ("env", Shape::Map(&Shape::Text)),
    ("ports", Shape::Texts),
    ("volumes", Shape::Texts),
    ("options", Shape::Text),
    ("credentials", Shape::Map(&Shape::Text)),
    ("cmd", Shape::Texts),
    ("entrypoint", Shape::Text),
    ("args", Shape::Text),
    ("name", Shape::Text),
    ("reuse", Shape::Bool),
]);

const STEP: Shape = Shape::Record(&[
    ("id", Shape::Text),
    ("name", Shape::Text),
    ("uses", Shape::Text),
    ("run", Shape::Text),
    ("working-directory", Shape::Text),
    ("shell", Shape::Text),
    ("with", Shape::Map(&Shape::Text)),
    ("continue-on-error", Shape::Bool),
    ("timeout-minutes", Shape::Text),
]);

const JOB: Shape = Shape::Record(&[
    ("name", Shape::Text),
    ("steps", Shape::List(&STEP)),
    ("timeout-minutes", Shape::Text),
    ("services", Shape::Map(&CONTAINER)),
    ("strategy", Shape::Record(&[("fail-fast", Shape::Text), ("max-parallel", Shape::Text)])),
    ("defaults", DEFAULTS),
    ("outputs", Shape::Map(&Shape::Text)),
    ("uses", Shape::Text),
    ("with", Shape::Map(&Shape::Any)),
    ("concurrency", Shape::Concurrency),
    ("result", Shape::Text),
]);

const WORKFLOW: Shape = Shape::Record(&[
    ("file", Shape::Text),
    ("name", Shape::Text),
    ("run-name", Shape::Text),
    ("env", Shape::Map(&Shape::Text)),
    ("jobs", Shape::Map(&JOB)),
    ("defaults", DEFAULTS),
    ("concurrency", Shape::Concurrency),
]);

/// Checks a whole workflow.
pub(super) fn workflow(root: &Node, dialect: Dialect) -> Result<(), BadField> {
    check(root, &WORKFLOW, dialect)
}

fn check(node: &Node, shape: &Shape, dialect: Dialect) -> Result<(), BadField> {
    let bad = |why: &str| Err(BadField::new(node, why));
    let node = node.resolved();
    if node.is_alias() {
        return bad("an alias within what it stands for");
    }
    if node.is_null() {
        return Ok(());
    }
    match shape {
        Shape::Text => match node.core() {
            Some(_) => Ok(()),
            None => bad("a text is wanted"),
        },
        Shape::Bool => match node.core() {
            Some(Core::Bool(_)) => Ok(()),
            Some(Core::Str) if node.as_str().is_some_and(is_old_bool) => Ok(()),
            _ => bad("true or false is wanted"),
        },
        Shape::Texts => each(node, &Shape::Text, dialect),
        Shape::List(item) => each(node, item, dialect),
        Shape::Map(value) => {
            let fields = Fields::read(node)?;
            fields.iter().try_for_each(|(_, field)| check(field, value, dialect))
        }
        Shape::Record(known) => {
            let fields = Fields::read(node)?;
            known.iter().try_for_each(|(name, shape)| match fields.get(name) {
                Some(field) => check(field, shape, dialect),
                None => Ok(()),
            })
        }
        Shape::Any => any(node),
        Shape::Concurrency if dialect < Dialect::V1_26 || node.core().is_some() => Ok(()),
        Shape::Concurrency => {
            let fields = Fields::read(node)?;
            ["group", "cancel-in-progress"].iter().try_for_each(|name| match fields.get(name) {
                Some(field) => check(field, &Shape::Text, dialect),
                None => Ok(()),
            })
        }
    }
}

fn each(node: &Node, shape: &Shape, dialect: Dialect) -> Result<(), BadField> {
    match node.items() {
        Some(items) => items.iter().try_for_each(|item| check(item, shape, dialect)),
        None => Err(BadField::new(node, "a list is wanted")),
    }
}

fn any(node: &Node) -> Result<(), BadField> {
    let node = node.resolved();
    match &node.kind {
        Kind::Sequence(items) => items.iter().try_for_each(any),
        Kind::Mapping(_) => Fields::read(node)?.iter().try_for_each(|(_, value)| any(value)),
        Kind::Scalar { .. } if node.core().is_some() => Ok(()),
        _ => Err(BadField::new(node, "no value")),
    }
}

/// The spellings of YAML 1.1, which count where a boolean is wanted.
fn is_old_bool(text: &str) -> bool {
    #[rustfmt::skip]
    let old = [
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON",
        "n", "N", "no", "No", "NO", "off", "Off", "OFF",
    ];
    old.contains(&text)
}
