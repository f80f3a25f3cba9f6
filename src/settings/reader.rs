//! Reads one table by its keys and collects every mistake on the way.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::Read as _;
use std::str::FromStr;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::Secret;

use super::keys::{CLASS, FORGE, Form, Key, MACHINES, SECRET, SERVER, TOP};
use super::mistake::Mistake;
use super::tree::{Env, Node, Place, Table, Value, nearest};
use tinqs_ci_reconciler::text::{cut, escape};

/// What all readers of one configuration share.
pub(super) struct Findings<'a> {
    pub(super) env: &'a Env,
    pub(super) mistakes: RefCell<Vec<Mistake>>,
    pub(super) warnings: RefCell<Vec<Mistake>>,
}

/// One table, with its keys.
pub(super) struct Reader<'a> {
    keys: &'static [Key],
    /// `forge.`, `class "linux".`, or nothing at the top.
    prefix: String,
    /// Where the table begins; `None`: it is not there.
    at: Option<Place>,
    table: Option<&'a Table>,
    /// Something else stands in its place; that has been reported.
    broken: bool,
    out: &'a Findings<'a>,
}

impl<'a> Reader<'a> {
    /// A reader of a table. Keys that are not known are mistakes at once.
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
                reader.add(&out.mistakes, Some(place.clone()), name, &unknown(keys, name));
            }
        }
        reader
    }

    fn key(&self, name: &str) -> &'static Key {
        let key = self.keys.iter().find(|key| key.name == name);
        key.unwrap_or_else(|| panic!("`{name}` is asked for and stands in no table of keys"))
    }

    fn node(&self, name: &str) -> Option<&'a Node> {
        self.table.and_then(|table| table.get(name)).map(|(_, node)| node)
    }

    /// Whether the key is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.node(name).is_some()
    }

    fn add(&self, list: &RefCell<Vec<Mistake>>, at: Option<Place>, name: &str, message: &str) {
        let key = format!("{}{}", self.prefix, cut(name, 60));
        list.borrow_mut().push(Mistake { at, key, message: message.to_owned() });
    }

    /// Reports a mistake in a key's value, or where it ought to stand.
    pub(super) fn mistake(&self, name: &str, message: &str) {
        let at = self.node(name).map(|node| node.at.clone()).or_else(|| self.at.clone());
        self.add(&self.out.mistakes, at, name, message);
    }

    /// Reports something that is allowed and probably not meant.
    pub(super) fn warn(&self, name: &str, message: &str) {
        let at = self.node(name).map(|node| node.at.clone()).or_else(|| self.at.clone());
        self.add(&self.out.warnings, at, name, message);
    }

    /// A variable of the environment, where it is set.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.out.env.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Reports a mistake in a variable that stands for the key `name`.
    pub(super) fn variable_mistake(&self, variable: &str, name: &str, message: &str) {
        let at = Some(Place::Variable(variable.to_owned()));
        self.add(&self.out.mistakes, at, name, message);
    }

    fn wrong_type(&self, name: &str, node: &Node) {
        let expected = self.key(name).form.expected();
        self.mistake(name, &format!("expected {expected}, not {}", node.value.kind()));
    }

    /// Reports a required key that is not there.
    pub(super) fn missing(&self, name: &str) {
        if self.broken {
            return;
        }
        let expected = self.key(name).form.expected();
        self.mistake(name, &format!("is missing: expected {expected}"));
    }

    /// A text, given or by default.
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

    /// Reports a value that is not of the key's form.
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
            &format!("\"{shown}\" is not possible: expected {}{near}", form.expected()),
        );
    }

    /// A text, made into something by `parse`, whose error says what is wrong with it.
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

    /// A duration within bounds, in whole seconds.
    pub(super) fn duration(&self, name: &str, least: i64, most: i64) -> SignedDuration {
        let parse = |text: &str| {
            let duration = SignedDuration::from_str(text).map_err(|_| String::new())?;
            let (low, high) = (SignedDuration::from_secs(least), SignedDuration::from_secs(most));
            if duration < low || duration > high {
                let shown = escape(text);
                return Err(format!("\"{shown}\" is not possible: from {low:#} to {high:#}"));
            }
            Ok(duration)
        };
        self.parsed(name, parse).unwrap_or_default()
    }

    /// A value that environment variables give as a text.
    fn from_variable<T: FromStr>(node: &Node) -> Option<T> {
        match (&node.value, &node.at) {
            (Value::Text(text), Place::Variable(_)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A whole number from 1.
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        let node = self.node(name)?;
        let number = match &node.value {
            Value::Number(number) => Some(*number),
            _ => Self::from_variable(node),
        };
        let Some(number) = number else {
            self.wrong_type(name, node);
            return None;
        };
        match u32::try_from(number) {
            Ok(count) if count > 0 => Some(count),
            Ok(_) => {
                self.mistake(
                    name,
                    "0 would allow no machine at all: leave the key out for no limit",
                );
                None
            }
            Err(_) => {
                self.mistake(name, &format!("{number} is not possible: from 1 to {}", u32::MAX));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn switch(&self, name: &str) -> bool {
        let Some(node) = self.node(name) else { return self.key(name).default == Some("true") };
        let switch = match &node.value {
            Value::Switch(switch) => Some(*switch),
            _ => Self::from_variable(node),
        };
        if switch.is_none() {
            self.wrong_type(name, node);
        }
        switch.unwrap_or_default()
    }

    /// A list of texts, never empty where it is given; variables separate them by commas.
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
                        self.mistake(name, &format!("holds {kind}: expected {expected}"));
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
            let what = if texts.is_empty() { "is empty" } else { "holds an empty text" };
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

    /// A table below this one; it may be missing.
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

    /// Tables of a list, each with its name or place as prefix.
    pub(super) fn tables(&self, name: &str) -> Vec<Reader<'a>> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Form::Tables(keys) = self.key(name).form else { return Vec::new() };
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
                Some(Value::Text(text)) => format!("{name} \"{}\": ", cut(text, 40)),
                _ => format!("{name} {}: ", index + 1),
            };
            readers.push(Reader::new(keys, prefix, Some(item.at.clone()), Some(table), self.out));
        }
        readers
    }

    /// A credential; its text is in no message.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        let node = self.node(name)?;
        let found = match &node.value {
            Value::Text(text) => {
                if let Place::Line(_) = node.at {
                    self.warn(
                        name,
                        "stands in the file itself: { env = \"NAME\" } or { file = \"path\" } keeps it out",
                    );
                }
                Ok(text.clone())
            }
            Value::Table(table) => {
                let prefix = format!("{}{name}.", self.prefix);
                let inner =
                    Reader::new(SECRET, prefix, Some(node.at.clone()), Some(table), self.out);
                let (variable, file) = (inner.text("env"), inner.text("file"));
                match (variable, file) {
                    (Some(variable), None) => from_env(&variable, self.out.env),
                    (None, Some(file)) => from_file(&file),
                    // A key that is unknown or of a wrong type has been reported already.
                    (None, None) if !table.is_empty() => return None,
                    (None, None) | (Some(_), Some(_)) => {
                        Err("expected exactly one of `env` and `file`".to_owned())
                    }
                }
            }
            _ => {
                self.wrong_type(name, node);
                return None;
            }
        };
        match found.and_then(checked).map(Secret::new) {
            Ok(secret) => {
                if secret.is_short() {
                    self.warn(
                        name,
                        "is shorter than 8 characters, so messages that quote it show it: make a longer one",
                    );
                }
                Some(secret)
            }
            Err(message) => {
                self.mistake(name, &message);
                None
            }
        }
    }
}

fn from_env(variable: &str, env: &Env) -> Result<String, String> {
    match env.get(variable) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("the environment variable `{}` is empty", cut(variable, 60))),
        None => Err(format!("the environment variable `{}` is not set", cut(variable, 60))),
    }
}

/// A credential is short; a path that leads to something else is a mistake.
const SECRET_BYTES: u64 = 65_536;

fn from_file(path: &str) -> Result<String, String> {
    let shown = cut(path, 200);
    let fail = |why: &dyn Display| format!("the file `{shown}` cannot be read: {why}");
    let size = std::fs::metadata(path).map_err(|e| fail(&e))?;
    if size.is_dir() {
        return Err(fail(&"it is a directory"));
    }
    if size.len() > SECRET_BYTES {
        return Err(fail(&format!("it is larger than {SECRET_BYTES} bytes")));
    }
    // A device or a pipe tells no size.
    let file = std::fs::File::open(path).map_err(|e| fail(&e))?;
    let mut text = String::new();
    file.take(SECRET_BYTES + 1).read_to_string(&mut text).map_err(|e| fail(&e))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > SECRET_BYTES) {
        return Err(fail(&format!("it is larger than {SECRET_BYTES} bytes")));
    }
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        return Err(format!("the file `{shown}` is empty"));
    }
    Ok(trimmed.to_owned())
}

/// Credentials go into headers: one line, nothing unprintable.
fn checked(text: String) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty: leave the key out, or give the credential".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("the credential holds a line break or another control character".to_owned());
    }
    Ok(text)
}

/// What to say of a key that is not known here: where it belongs, or the nearest that is.
fn unknown(keys: &[Key], name: &str) -> String {
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    let elsewhere = [
        (TOP, "at the top of the file, before the first [table]"),
        (FORGE, "in [forge]"),
        (SERVER, "in [server]"),
        (CLASS, "in a [[class]]"),
        (MACHINES, "in a [class.machines]"),
    ];
    let home = elsewhere.iter().find(|(keys, _)| keys.iter().any(|key| key.name == name));
    if let Some(near) = nearest(name, &names, 3) {
        return format!("is not a known key; did you mean `{near}`?");
    }
    if let Some((_, place)) = home {
        return format!("is not a known key here; it belongs {place}");
    }
    format!("is not a known key; known are {}", names.join(", "))
}
