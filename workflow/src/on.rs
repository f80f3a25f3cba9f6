//! Parses the value of `on`: the events that a file names, and their filters.

use super::Dialect;
use super::shape::{self, Misfit};
use super::yaml::{Core, Kind, Node};

/// One event that a file names; each match starts a workflow run.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The event's name, as written.
    pub event: String,
    /// Its filters in order; of duplicate keys the last, in the place of the first.
    pub filters: Vec<Filter>,
    /// Set if the value is a list: it is stored as a schedule, whatever the key, and matches no
    /// event.
    pub schedule: Option<Vec<ScheduleItem>>,
    /// The line of the event's name, from 1.
    pub line: usize,
}

/// One filter of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The key as written: `branches`, `paths-ignore`, `types` or any other.
    pub key: String,
    /// Its patterns, as written.
    pub patterns: Vec<String>,
    /// The line of the key, from 1.
    pub line: usize,
}

/// One item of `on.schedule`: its keys and values in order (`cron`, `timezone`). Empty if the list
/// is under another event's name.
pub type ScheduleItem = Vec<(String, String)>;

/// The reason why the forge ignores a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct FileInvalid {
    /// The line, from 1; 0 if unknown.
    pub line: usize,
    /// The reason.
    pub message: String,
}

impl FileInvalid {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl From<Misfit> for FileInvalid {
    fn from(Misfit { line, message }: Misfit) -> Self {
        Self { line, message }
    }
}

/// Returns the events of a file in order, including duplicates.
///
/// # Errors
/// [`FileInvalid`] if the forge ignores the file because of its `on`, or because it has none.
pub fn parse(workflow: &Node, dialect: Dialect) -> Result<Vec<Entry>, FileInvalid> {
    let on = shape::field(workflow, "on")
        .ok_or_else(|| FileInvalid::new(workflow.line, "there is no `on`"))?;
    let entries = match &on.kind {
        Kind::Scalar { .. } => vec![Entry::bare(text(on)?, on.line)],
        Kind::Sequence(items) => {
            shape::check(on, &shape::LIST)?;
            items.iter().map(event).collect::<Result<_, _>>()?
        }
        Kind::Mapping(entries) => {
            let entries = entries.iter().filter(|(key, _)| !is_call(key, dialect));
            entries.map(|(key, value)| entry(key, value)).collect::<Result<_, _>>()?
        }
        Kind::Alias(_) => return Err(FileInvalid::new(on.line, "`on` is an alias")),
    };
    Ok(entries.into_iter().filter(|entry| !called(&entry.event, dialect)).collect())
}

impl Entry {
    fn bare(event: String, line: usize) -> Self {
        Self { event, filters: Vec::new(), schedule: None, line }
    }
}

/// Whether only another workflow fires an event: omitted since 1.26.
fn called(event: &str, dialect: Dialect) -> bool {
    dialect >= Dialect::V1_26 && event == "workflow_call"
}

fn is_call(key: &Node, dialect: Dialect) -> bool {
    key.as_str().is_some_and(|event| called(event, dialect))
}

/// A scalar as a text; a null is an empty text.
fn text(node: &Node) -> Result<String, FileInvalid> {
    shape::check(node, &shape::Shape::Text)?;
    let node = node.resolved();
    let null = node.core() == Some(Core::Null);
    Ok(if null { String::new() } else { node.as_str().unwrap_or_default().to_owned() })
}

/// An item of `on: [push, …]`: must be a text.
fn event(item: &Node) -> Result<Entry, FileInvalid> {
    let resolved = item.resolved();
    match (resolved.core(), resolved.as_str()) {
        (Some(Core::Str | Core::Merge), Some(text)) => Ok(Entry::bare(text.to_owned(), item.line)),
        _ => Err(FileInvalid::new(item.line, "an event must be a text")),
    }
}

/// One key of `on: {push: …}`.
fn entry(key: &Node, value: &Node) -> Result<Entry, FileInvalid> {
    let Some(name) = key.as_str() else {
        return Err(FileInvalid::new(key.line, "the name of an event must be a text"));
    };
    let mut entry = Entry::bare(name.to_owned(), key.line);
    match &value.kind {
        // A scalar such as in `push: main` filters nothing.
        Kind::Scalar { .. } => {}
        Kind::Sequence(items) => {
            shape::check(value, &shape::LIST)?;
            entry.schedule = match name {
                _ if items.is_empty() => None,
                "schedule" => Some(items.iter().map(schedule).collect::<Result<_, _>>()?),
                _ => Some(vec![ScheduleItem::new(); items.len()]),
            };
        }
        Kind::Mapping(filters) => {
            for (key, value) in filters {
                if let Some(filter) = filter(name, key, value)? {
                    match entry.filters.iter_mut().find(|other| other.key == filter.key) {
                        Some(other) => *other = filter,
                        None => entry.filters.push(filter),
                    }
                }
            }
        }
        Kind::Alias(_) => {
            return Err(FileInvalid::new(value.line, format!("`{name}` is an alias")));
        }
    }
    Ok(entry)
}

/// An item of `on.schedule`: a mapping of texts.
fn schedule(item: &Node) -> Result<ScheduleItem, FileInvalid> {
    let refuse = |line| FileInvalid::new(line, "a schedule must be a mapping of texts");
    let entries = item.entries().ok_or_else(|| refuse(item.line))?;
    let text = |node: &Node| match node.resolved().core() {
        Some(Core::Str) => Ok(node.resolved().as_str().unwrap_or_default().to_owned()),
        _ => Err(refuse(node.line)),
    };
    let mut written = ScheduleItem::new();
    let mut merged = ScheduleItem::new();
    for (key, value) in entries {
        if key.core() == Some(Core::Merge) {
            let items = value.items().map_or_else(|| vec![value], |items| items.iter().collect());
            for item in items {
                merged.extend(schedule(item)?);
            }
        } else {
            written.push((text(key)?, text(value)?));
        }
    }
    for (key, value) in merged {
        if !written.iter().any(|(name, _)| *name == key) {
            written.push((key, value));
        }
    }
    Ok(written)
}

/// One key of an event's mapping; `None` for inputs, which filter nothing.
fn filter(event: &str, key: &Node, value: &Node) -> Result<Option<Filter>, FileInvalid> {
    if !matches!(key.kind, Kind::Scalar { .. }) {
        return Err(FileInvalid::new(key.line, format!("a filter of `{event}` must be a text")));
    }
    let name = text(key)?;
    let patterns = match &value.kind {
        Kind::Scalar { .. } => vec![text(value)?],
        Kind::Sequence(items) => {
            shape::check(value, &shape::Shape::List(&shape::Shape::Text))?;
            // A null among them is dropped.
            items
                .iter()
                .filter(|item| !item.resolved().is_null())
                .map(text)
                .collect::<Result<_, _>>()?
        }
        Kind::Mapping(inputs) if event == "workflow_dispatch" && name == "inputs" => {
            inputs.iter().try_for_each(|(key, input)| {
                if !matches!(key.kind, Kind::Scalar { .. }) {
                    return Err(FileInvalid::new(key.line, "the name of an input must be a text"));
                }
                text(key)?;
                if !matches!(input.kind, Kind::Mapping(_)) {
                    return Err(FileInvalid::new(input.line, "an input must be a mapping"));
                }
                Ok(shape::check(input, &shape::INPUT)?)
            })?;
            return Ok(None);
        }
        Kind::Mapping(_) => {
            let message = format!("`{event}.{name}` must be a text or a list of texts");
            return Err(FileInvalid::new(value.line, message));
        }
        Kind::Alias(_) => {
            return Err(FileInvalid::new(value.line, format!("`{event}.{name}` is an alias")));
        }
    };
    Ok(Some(Filter { key: name, patterns, line: key.line }))
}
