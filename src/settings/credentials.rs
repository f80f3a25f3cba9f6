//! Reads the credentials of a table: from the file itself, a variable or another file.

use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::keys::SECRET;
use super::reader::Reader;
use super::secret_file::{SecretFile, checked, read_text};
use super::tree::{Env, Node, Place, Value};

impl Reader<'_> {
    /// Returns a credential. No message contains it.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.secret_of(name, name, self.node(name)?)
    }

    /// Returns a credential, or all of a list of them. No message contains one.
    pub(super) fn secrets(&self, name: &str) -> Vec<Secret> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            return self.secret_of(name, name, node).into_iter().collect();
        };
        if items.is_empty() {
            self.mistake(name, "is empty: remove the key, or list at least one credential");
        }
        let place = |index: usize| match index {
            0 => name.to_owned(),
            _ => format!("{name}[{index}]"),
        };
        let secret = |(index, item)| self.secret_of(name, &place(index), item);
        items.iter().enumerate().filter_map(secret).collect()
    }

    /// Reads the credential of a node; `place` is its name among the files of credentials.
    fn secret_of(&self, name: &str, place: &str, node: &Node) -> Option<Secret> {
        let found = match &node.value {
            Value::Text(text) => {
                if let Place::Line(_) = node.at {
                    self.warn(
                        name,
                        "is stored in the configuration file: use { env = \"NAME\" } or { file = \"path\" }",
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
                    (None, Some(file)) => {
                        let read = read_text(Path::new(&*file));
                        let (key, path) =
                            (format!("{}{place}", self.prefix), PathBuf::from(&*file));
                        self.out.secret_files.borrow_mut().push(SecretFile { key, path });
                        read
                    }
                    // Unknown keys and wrong types are already reported.
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
                        "is shorter than 8 characters and cannot be redacted in messages: use a longer one",
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
