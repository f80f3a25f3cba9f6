//! The effective configuration: every value with its origin.

use std::path::Path;

use tinqs_ci_reconciler::text::escape;

use super::keys::{Form, Key, TOP};
use super::tree::{Node, Place, Table, Value};

/// A value of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// The key: `forge.url`, `class "linux".limit`.
    pub key: String,
    /// The value as written in a file; `[secret]` for a credential.
    pub value: String,
    /// `default`, `FILE:LINE`, or the name of a variable.
    pub origin: String,
}

/// Lists the values of the merged tree in the order of the keys, with the defaults of the others.
/// Keys without a value are left out.
pub(super) fn list(tree: &Table, file: Option<&Path>) -> Vec<Setting> {
    let mut list = Lister { file, settings: Vec::new() };
    list.table(TOP, "", Some(tree));
    list.settings
}

struct Lister<'a> {
    file: Option<&'a Path>,
    settings: Vec<Setting>,
}

impl Lister<'_> {
    fn table(&mut self, keys: &[Key], prefix: &str, table: Option<&Table>) {
        for key in keys {
            let name = format!("{prefix}{}", key.name);
            let node = table.and_then(|table| table.get(key.name)).map(|(_, node)| node);
            match (key.form, node) {
                (Form::Table(keys), node) => {
                    let inner = match node.map(|node| &node.value) {
                        Some(Value::Table(inner)) => Some(inner),
                        _ => None,
                    };
                    self.table(keys, &format!("{name}."), inner);
                }
                (Form::Tables(_, keys), Some(Node { value: Value::List(items), .. })) => {
                    self.tables(keys, &name, items);
                }
                (Form::Prices | Form::Tags(_), Some(Node { value: Value::Table(entries), .. })) => {
                    for (entry, (_, node)) in entries {
                        let value = shown(key, &node.value);
                        self.add(format!("{name}.{}", quoted(entry)), value, self.origin(&node.at));
                    }
                }
                // Any of them may be a credential.
                (Form::Variables, Some(Node { value: Value::Table(variables), .. })) => {
                    for (variable, (_, node)) in variables {
                        let key = format!("{name}.{}", escape(variable));
                        self.add(key, "[secret]".to_owned(), self.origin(&node.at));
                    }
                }
                (Form::Tables(..), None) => {
                    let value = match key.name {
                        "class" => "one class \"default\" with labels [\"*\"]",
                        _ => "one that `serve` creates",
                    };
                    self.add(name, value.to_owned(), "default".to_owned());
                }
                (_, Some(node)) => {
                    let value = shown(key, &node.value);
                    let origin = self.origin(&node.at);
                    let origin = match (key.form, source(&node.value)) {
                        (Form::Secret | Form::Secrets | Form::Tables(..), Some(source)) => {
                            format!("{origin}, {source}")
                        }
                        _ => origin,
                    };
                    self.add(name, value, origin);
                }
                (form, None) => {
                    if let Some(default) = key.default {
                        let is_text =
                            matches!(form, Form::Text { .. } | Form::Word(_) | Form::Duration);
                        let value = if is_text { quoted(default) } else { default.to_owned() };
                        self.add(name, value, "default".to_owned());
                    }
                }
            }
        }
    }

    fn tables(&mut self, keys: &[Key], name: &str, items: &[Node]) {
        for (index, item) in items.iter().enumerate() {
            let Value::Table(table) = &item.value else { continue };
            let prefix = match table.get("name").map(|(_, node)| &node.value) {
                Some(Value::Text(text)) => format!("{name} {}.", quoted(text)),
                _ => format!("{name} {}.", index + 1),
            };
            self.table(keys, &prefix, Some(table));
        }
    }

    fn origin(&self, at: &Place) -> String {
        match (at, self.file) {
            (Place::Variable(name), _) => escape(name),
            (Place::Line(line), Some(file)) => {
                format!("{}:{line}", escape(&file.to_string_lossy()))
            }
            (Place::Line(line), None) => format!("line {line}"),
        }
    }

    fn add(&mut self, key: String, value: String, origin: String) {
        self.settings.push(Setting { key, value, origin });
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// Returns a value as written in a file. A credential is never shown.
fn shown(key: &Key, value: &Value) -> String {
    // A token by a variable stands in the place of tables.
    if matches!(key.form, Form::Secret | Form::Secrets | Form::Tables(..)) {
        return "[secret]".to_owned();
    }
    match value {
        Value::Text(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Switch(switch) => switch.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(key, &item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(_) | Value::Other(_) => value.kind().to_owned(),
    }
}

/// Says where a credential is read from, such as `file PATH` or `variable NAME`.
fn source(value: &Value) -> Option<String> {
    let Value::Table(table) = value else { return None };
    let sources = [
        ("env", "variable"),
        ("file", "file"),
        ("ssm", "SSM parameter"),
        ("secretsmanager", "Secrets Manager"),
    ];
    sources.into_iter().find_map(|(key, what)| match &table.get(key)?.1.value {
        Value::Text(text) => Some(format!("{what} {}", escape(text))),
        _ => None,
    })
}
