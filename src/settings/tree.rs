//! The file and the environment as one tree, each value with the place it came from.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{Form, Key, TOP};

/// The environment, as `main` read it.
pub type Env = BTreeMap<String, String>;

/// Where a value was given.
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

/// A value, as far as the configuration tells them apart.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<Node>),
    Table(Table),
    /// Nothing that any key takes; named for the message.
    Other(&'static str),
}

/// A table, each key with the place it stands at.
pub(super) type Table = BTreeMap<String, (Place, Node)>;

impl Value {
    /// What it is, after "not".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// What the TOML parser says, with its line.
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Reads the file's text.
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
            .map_or(Value::Other("a number of that size"), Value::Number),
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Float(_) => Value::Other("a number with a point"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.iter().map(|i| node(i, lines)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    };
    Node { value, at }
}

const PREFIX: &str = "TINQS_CI_";

/// Variables of that prefix that are not configuration: the command line's own, and the marker
/// that machines carry.
const NOT_CONFIGURATION: &[&str] = &["CONFIG", "URL", "API_TOKEN", "MACHINE", "LOG"];

/// Lays `TINQS_CI_<SECTION>__<KEY>` over the file. Empty variables count as not set.
///
/// A name without `__` that is not near a key is left alone: Kubernetes sets `TINQS_CI_PORT` and
/// the like for a service of our name.
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

/// Sets one value by its path, making tables on the way.
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
    // A credential is replaced whole: `{ env = … }` of the file and a `__FILE` variable are no pair.
    let is_secret = matches!(form, Some(Form::Secret));
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

/// Fills in a value that neither the file nor the environment's own keys give.
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
/// The nearest of some words: at most `most` edits away, and fewer than half of the word.
pub(super) fn nearest<'w>(word: &str, words: &[&'w str], most: usize) -> Option<&'w str> {
    let word = word.to_lowercase();
    if word.len() > 60 {
        return None;
    }
    let distance = |known: &str| strsim::damerau_levenshtein(&word, known);
    let near = words.iter().copied().min_by_key(|known| distance(known))?;
    let edits = distance(near);
    (edits <= most && edits * 2 <= near.len().max(word.len())).then_some(near)
}
