//! Reads the credentials of a table: from the file itself, a variable, another file or AWS.

use std::path::Path;

use tinqs_ci_aws::secrets::SecretId;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::keys::SECRET;
use super::reader::Reader;
use super::secret_sources::{SecretFile, SecretInAws, checked, read_in_aws, read_text};
use super::tree::{Env, Node, Place, Value};

/// The keys of [`SECRET`].
const SOURCES: [&str; 4] = ["env", "file", "ssm", "secretsmanager"];
const EXACTLY_ONE: &str = "expected exactly one of `env`, `file`, `ssm` and `secretsmanager`";

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
                let key = format!("{}{place}", self.prefix);
                match SOURCES.map(|source| inner.text(source)) {
                    [Some(variable), None, None, None] => from_env(&variable, self.out.env),
                    [None, Some(file), None, None] => self.file_secret(key, Path::new(&*file)),
                    [None, None, Some(name), None] => {
                        self.aws_secret(key, SecretId::Parameter(name.into_owned()))
                    }
                    [None, None, None, Some(name)] => {
                        self.aws_secret(key, SecretId::Secret(name.into_owned()))
                    }
                    // Unknown keys and wrong types are already reported.
                    [None, None, None, None] if !table.is_empty() => return None,
                    _ => Err(EXACTLY_ONE.to_owned()),
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

    fn file_secret(&self, key: String, path: &Path) -> Result<String, String> {
        let file = SecretFile { key, path: path.to_path_buf() };
        self.out.secret_sources.borrow_mut().files.push(file);
        read_text(path)
    }

    fn aws_secret(&self, key: String, id: SecretId) -> Result<String, String> {
        let region = self.out.region;
        let read = if self.out.asks_aws {
            read_in_aws(&id, region)
        } else {
            Err(format!("{id} is not read for this command"))
        };
        let secret = SecretInAws { key, id, region: region.map(str::to_owned) };
        self.out.secret_sources.borrow_mut().in_aws.push(secret);
        read
    }
}

fn from_env(variable: &str, env: &Env) -> Result<String, String> {
    match env.get(variable) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(format!("the environment variable `{}` is empty", cut(variable, 60))),
        None => Err(format!("the environment variable `{}` is not set", cut(variable, 60))),
    }
}
