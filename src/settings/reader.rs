//! Reads a table by its keys and collects every mistake.

use std::borrow::Cow;
use std::cell::RefCell;
use std::str::FromStr as _;

use jiff::SignedDuration;

use super::keys::{
    AWS, CACHE, CLASS, CONFIG, CONTAINER, DOWNLOAD, FORGE, Form, Key, MACHINES, OPTIONS, PROCESS,
    RUNNER, SERVER, TLS, TOKEN, TOP,
};
use super::mistake::Mistake;
use super::refused::refused;
use super::renamed::renamed;
use super::secret_sources::SecretSources;
use super::tree::{Env, Node, Place, Table, Value, nearest};
use tinqs_ci_reconciler::text::{cut, escape};

/// State that all readers of a configuration share.
pub(super) struct Findings<'a> {
    pub(super) env: &'a Env,
    pub(super) mistakes: RefCell<Vec<Mistake>>,
    pub(super) warnings: RefCell<Vec<Mistake>>,
    /// The sources of the credentials that were read.
    pub(super) secret_sources: RefCell<SecretSources>,
    /// The Region of `compute`: that of secrets in AWS, too.
    pub(super) region: Option<&'a str>,
    /// Whether secrets in AWS are read.
    pub(super) asks_aws: bool,
}

impl<'a> Findings<'a> {
    /// Returns none yet, of this configuration.
    pub(super) fn new(env: &'a Env, tree: &'a Table) -> Self {
        let compute = tree.get("compute").map(|(_, node)| &node.value);
        let region = match compute {
            Some(Value::Text(compute)) => compute.strip_prefix("ec2:"),
            _ => None,
        };
        Self {
            env,
            mistakes: RefCell::default(),
            warnings: RefCell::default(),
            secret_sources: RefCell::default(),
            region: region.filter(|region| !region.is_empty()),
            asks_aws: true,
        }
    }
}

/// A table and its known keys.
pub(super) struct Reader<'a> {
    keys: &'static [Key],
    /// `forge.`, `class "linux".`, or nothing at the top.
    pub(super) prefix: String,
    /// The place where the table begins; `None` if it is missing.
    at: Option<Place>,
    table: Option<&'a Table>,
    /// The value is not a table; that is already reported.
    broken: bool,
    pub(super) out: &'a Findings<'a>,
}

impl<'a> Reader<'a> {
    /// Creates a reader and reports unknown keys.
    pub(super) fn new(
        keys: &'static [Key],
        prefix: String,
        at: Option<Place>,
        table: Option<&'a Table>,
        out: &'a Findings<'a>,
    ) -> Self {
        let broken = at.is_some() && table.is_none();
        let reader = Self { keys, prefix, at, table, broken, out };
        for (name, (place, _)) in table.into_iter().flatten() {
            if keys.iter().all(|key| key.name != name) {
                let told = renamed(&reader.prefix, name).or_else(|| refused(&reader.prefix, name));
                let message = told.unwrap_or_else(|| unknown(keys, name));
                reader.add(&out.mistakes, Some(place.clone()), name, &message);
            }
        }
        reader
    }

    /// Returns the key with this name.
    pub(super) fn key(&self, name: &str) -> &'static Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.unwrap_or_else(|| panic!("bug: `{name}` is missing in the table of keys"))
    }

    pub(super) fn node(&self, name: &str) -> Option<&'a Node> {
        self.table.and_then(|table| table.get(name)).map(|(_, node)| node)
    }

    /// Whether the key is set.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    fn add(&self, list: &RefCell<Vec<Mistake>>, at: Option<Place>, name: &str, message: &str) {
        let key = format!("{}{}", self.prefix, cut(name, 60));
        list.borrow_mut().push(Mistake { at, key, message: message.to_owned() });
    }

    /// Reports a mistake at the key's value, or at the table if the key is not set.
    pub(super) fn mistake(&self, name: &str, message: &str) {
        let at = self.node(name).map(|node| node.at.clone()).or_else(|| self.at.clone());
        self.add(&self.out.mistakes, at, name, message);
    }

    /// Reports a mistake at a place, of a key below this table.
    pub(super) fn mistake_at(&self, at: &Place, name: &str, message: &str) {
        self.add(&self.out.mistakes, Some(at.clone()), name, message);
    }

    /// Reports a value that is allowed but probably unintended.
    pub(super) fn warn(&self, name: &str, message: &str) {
        let at = self.node(name).map(|node| node.at.clone()).or_else(|| self.at.clone());
        self.add(&self.out.warnings, at, name, message);
    }

    /// Returns an environment variable if it is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.out.env.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Reports a mistake in a variable that sets the key `name`.
    pub(super) fn variable_mistake(&self, variable: &str, name: &str, message: &str) {
        let at = Some(Place::Variable(variable.to_owned()));
        self.add(&self.out.mistakes, at, name, message);
    }

    pub(super) fn wrong_type(&self, name: &str, node: &Node) {
        let expected = self.key(name).form.expected();
        self.mistake(name, &format!("expected {expected}, not {}", node.value.kind()));
    }

    /// Reports a missing required key.
    pub(super) fn missing(&self, name: &str) {
        if self.broken {
            return;
        }
        let expected = self.key(name).form.expected();
        self.mistake(name, &format!("is missing: expected {expected}"));
    }

    /// Returns a string, or its default.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let key = self.key(name);
        let Some(node) = self.node(name) else {
            if key.required {
                self.missing(name);
            }
            return key.default.map(Cow::Borrowed);
        };
        let Value::Text(text) = &node.value else {
            self.wrong_type(name, node);
            return None;
        };
        if let Form::Word(words) = key.form
            && !words.contains(&text.as_str())
        {
            self.not_of_form(name, text);
            return None;
        }
        Some(Cow::Borrowed(text))
    }

    /// Reports a value that does not have the key's form.
    pub(super) fn not_of_form(&self, name: &str, text: &str) {
        let form = self.key(name).form;
        let near = match form {
            Form::Word(words) | Form::Words(words) => nearest(text, words, 3),
            _ => None,
        };
        let near = near.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
        let shown = cut(text, 60);
        self.mistake(
            name,
            &format!("\"{shown}\" is not valid: expected {}{near}", form.expected()),
        );
    }

    /// Returns a string parsed by `parse`. The error is the message; an empty one stands for the
    /// general message of the key's form.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(message) if message.is_empty() => {
                self.not_of_form(name, &text);
                None
            }
            Err(message) => {
                self.mistake(name, &message);
                None
            }
        }
    }

    /// Returns a duration between `least` and `most` seconds.
    pub(super) fn duration(&self, name: &str, least: i64, most: i64) -> SignedDuration {
        let parse = |text: &str| {
            let duration = SignedDuration::from_str(text).map_err(|_| String::new())?;
            let (low, high) = (SignedDuration::from_secs(least), SignedDuration::from_secs(most));
            if duration < low || duration > high {
                let shown = escape(text);
                return Err(format!("\"{shown}\" is not valid: from {low:#} to {high:#}"));
            }
            Ok(duration)
        };
        self.parsed(name, parse).unwrap_or_default()
    }

    /// Returns a list of strings, not empty if it is set. Variables separate them by commas.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let Some(node) = self.node(name) else {
            if self.key(name).required {
                self.missing(name);
            }
            return None;
        };
        let texts: Option<Vec<String>> = match (&node.value, &node.at) {
            (Value::List(items), _) => {
                let text = |item: &Node| match &item.value {
                    Value::Text(text) => Ok(text.clone()),
                    other => Err(other.kind()),
                };
                match items.iter().map(text).collect() {
                    Ok(texts) => Some(texts),
                    Err(kind) => {
                        let expected = self.key(name).form.expected();
                        self.mistake(name, &format!("contains {kind}: expected {expected}"));
                        return None;
                    }
                }
            }
            (Value::Text(text), Place::Variable(_)) => {
                Some(text.split(',').map(|part| part.trim().to_owned()).collect())
            }
            _ => None,
        };
        let Some(texts) = texts else {
            self.wrong_type(name, node);
            return None;
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            let what = if texts.is_empty() { "is empty" } else { "contains an empty string" };
            self.mistake(name, &format!("{what}: expected {}", self.key(name).form.expected()));
            return None;
        }
        if let Form::Words(words) = self.key(name).form
            && let Some(odd) = texts.iter().find(|text| !words.contains(&text.as_str()))
        {
            self.not_of_form(name, odd);
            return None;
        }
        Some(texts)
    }

    /// Returns the values of a table whose keys are free.
    pub(super) fn entries(&self, name: &str) -> Vec<(&'a str, &'a Node)> {
        match self.node(name) {
            None => Vec::new(),
            Some(Node { value: Value::Table(table), .. }) => {
                table.iter().map(|(key, (_, node))| (key.as_str(), node)).collect()
            }
            Some(node) => {
                self.wrong_type(name, node);
                Vec::new()
            }
        }
    }

    /// Returns a reader of a table below this one; the table may be missing.
    pub(super) fn table(&self, name: &str) -> Reader<'a> {
        let keys = match self.key(name).form {
            Form::Table(keys) => keys,
            _ => &[],
        };
        let prefix = format!("{}{name}.", self.prefix);
        let (at, table) = match self.node(name) {
            None => (None, None),
            Some(Node { at, value: Value::Table(table) }) => (Some(at.clone()), Some(table)),
            Some(node) => {
                self.wrong_type(name, node);
                (Some(node.at.clone()), None)
            }
        };
        Reader::new(keys, prefix, at, table, self.out)
    }

    /// Returns a reader for each table of a list, with its name or index as prefix.
    pub(super) fn tables(&self, name: &str) -> Vec<Reader<'a>> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Form::Tables(_, keys) = self.key(name).form else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.wrong_type(name, node);
            return Vec::new();
        };
        let mut readers = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Value::Table(table) = &item.value else {
                self.wrong_type(name, item);
                continue;
            };
            let prefix = match table.get("name").map(|(_, node)| &node.value) {
                Some(Value::Text(text)) => {
                    format!("{}{name} \"{}\": ", self.prefix, cut(text, 40))
                }
                _ => format!("{}{name} {}: ", self.prefix, index + 1),
            };
            readers.push(Reader::new(keys, prefix, Some(item.at.clone()), Some(table), self.out));
        }
        readers
    }
}

/// The message for an unknown key: suggests the nearest known one, or the table it belongs to.
fn unknown(keys: &[Key], name: &str) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let elsewhere = [
        (TOP, "at the top of the file, before the first [table]"),
        (FORGE, "in [forge]"),
        (PROCESS, "in [process]"),
        (AWS, "in [aws]"),
        (SERVER, "in [server]"),
        (TOKEN, "in a [[server.token]]"),
        (TLS, "in [server.tls]"),
        (CLASS, "in a [[class]]"),
        (MACHINES, "in a [class.machines]"),
        (RUNNER, "in a [class.runner]"),
        (DOWNLOAD, "in a [class.runner.download]"),
        (CONFIG, "in a [class.runner.config]"),
        (CONTAINER, "in a [class.runner.config.container]"),
        (OPTIONS, "in a [class.runner.config.runner]"),
        (CACHE, "in a [class.runner.config.cache]"),
    ];
    let home = elsewhere.iter().find(|(keys, _)| keys.iter().any(|key| key.name == name));
    if let Some(near) = nearest(name, &names, 3) {
        return format!("is not a known key; did you mean `{near}`?");
    }
    if let Some((_, place)) = home {
        return format!("is not a known key here; it belongs {place}");
    }
    format!("is not a known key; known keys are {}", names.join(", "))
}
