//! Merges the file and the environment into one tree; each value knows where it came from.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Form, Key, TOP};

/// The environment variables, as read by `main`.
pub type Env = BTreeMap<String, String>;

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Place,
}

/// A value, by the types that the configuration distinguishes.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Decimal(f64),
    Switch(bool),
    List(Vec<Node>),
    Table(Table),
    /// A type that no key accepts; named for the message.
    Other(&'static str),
}

/// A table; each key with its place.
pub(super) type Table = BTreeMap<String, (Place, Node)>;

impl Value {
    /// Describes the type; follows "not" in messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Decimal(_) => "a decimal number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// An error of the TOML parser, with its line.
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Parses the file's text.
pub(super) fn parse(text: &str) -> Result<Table, Vec<SyntaxError>> {
    let lines = Lines::of(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), &lines));
    }
    let say = |error: &toml::de::Error| SyntaxError {
        line: lines.at(error.span().map_or(0, |span| span.start)),
        message: error.message().trim().replace('\n', ", "),
    };
    Err(errors.iter().map(say).collect())
}

struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

fn table(table: &DeTable<'_>, lines: &Lines) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let place = Place::Line(lines.at(key.span().start));
            (key.get_ref().to_string(), (place, node(value, lines)))
        })
        .collect()
}

fn node(value: &Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let at = Place::Line(lines.at(value.span().start));
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number this large"), Value::Number),
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Value::Other("a decimal number"), Value::Decimal)
        }
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.iter().map(|i| node(i, lines)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    };
    Node { value, at }
}

const PREFIX: &str = "TINQS_CI_";

/// Variables with the prefix that are not configuration: those of the command line, and the marker
/// of machines.
const NOT_CONFIGURATION: &[&str] = &["CONFIG", "URL", "API_TOKEN", "CA_FILE", "MACHINE", "LOG"];

/// Overrides the file with `TINQS_CI_<SECTION>__<KEY>`. Empty variables count as unset.
///
/// Ignores a name without `__` that does not resemble a key: Kubernetes sets `TINQS_CI_PORT` and
/// the like for a service named `tinqs-ci`.
pub(super) fn overlay(tree: &mut Table, env: &Env) {
    for (variable, text) in env {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if text.is_empty() || NOT_CONFIGURATION.contains(&rest) {
            continue;
        }
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let known: Vec<&str> = TOP.iter().map(|key| key.name).collect();
        if path.len() == 1 && !known.contains(&path[0].as_str()) {
            let near = nearest(&path[0], &known, 2).is_some();
            if !near {
                continue;
            }
        }
        set(tree, TOP, &path, text, variable);
    }
}

/// Sets a value by its path and creates missing tables.
pub(super) fn set(tree: &mut Table, keys: &[Key], path: &[String], text: &str, variable: &str) {
    let place = Place::Variable(variable.to_owned());
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        let value = Value::Text(text.to_owned());
        tree.insert(first.clone(), (place.clone(), Node { value, at: place }));
        return;
    }
    let form = keys.iter().find(|key| key.name == first).map(|key| key.form);
    let empty = || Node { value: Value::Table(Table::new()), at: place.clone() };
    let (_, inner) = tree.entry(first.clone()).or_insert_with(|| (place.clone(), empty()));
    // Replace a credential as a whole: `{ env = … }` of the file must not combine with `__FILE`.
    let is_secret = matches!(form, Some(Form::Secret | Form::Secrets | Form::Tables(..)));
    let is_whole = !matches!(inner.value, Value::Table(_));
    if is_whole || (is_secret && !matches!(inner.at, Place::Variable(_))) {
        *inner = empty();
    }
    let keys = match form {
        Some(Form::Table(keys)) => keys,
        _ => &[],
    };
    if let Value::Table(inner) = &mut inner.value {
        set(inner, keys, rest, text, variable);
    }
}

/// Sets a value only if neither the file nor a `TINQS_CI_` variable sets it.
pub(super) fn fill(tree: &mut Table, path: &[&str], env: &Env, variable: &str, text: &str) {
    let mut at = &*tree;
    for (depth, part) in path.iter().enumerate() {
        match at.get(*part) {
            Some(_) if depth + 1 == path.len() => return,
            Some((_, Node { value: Value::Table(inner), .. })) => at = inner,
            Some(_) => return,
            None => break,
        }
    }
    if env.get(variable).is_some_and(|value| !value.is_empty()) {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        set(tree, TOP, &path, text, variable);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "{line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Returns the nearest of some words: at most `most` edits away, and at most half of the word.
pub(crate) fn nearest<'w>(word: &str, words: &[&'w str], most: usize) -> Option<&'w str> {
    let word = word.to_lowercase();
    if word.len() > 60 {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&word, known);
    let near = words.iter().copied().min_by_key(|known| distance(known))?;
    let edits = distance(near);
    (edits <= most && edits * 2 <= near.len().max(word.len())).then_some(near)
}
