//! The sources of credentials that are read again: files, and AWS.

use std::path::{Path, PathBuf};

use tinqs_ci_aws::secrets::SecretId;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::certificate::Tls;
use super::small_file::read_bytes;
use super::types::{Settings, Token};

/// A file that a credential was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// The key, such as `forge.token`.
    pub key: String,
    /// The file.
    pub path: PathBuf,
}

/// A secret in AWS that a credential was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretInAws {
    /// The key, such as `forge.token`.
    pub key: String,
    /// Its name in AWS.
    pub id: SecretId,
    /// The Region of `compute`, if that names one.
    pub region: Option<String>,
}

/// The sources of those credentials of the settings that can be read again.
#[derive(Clone, Debug, Default)]
pub struct SecretSources {
    /// Files.
    pub files: Vec<SecretFile>,
    /// Secrets in AWS.
    pub in_aws: Vec<SecretInAws>,
}

impl SecretInAws {
    /// Returns the parameter of this name, for tests.
    #[cfg(test)]
    pub(crate) fn parameter(key: &str, name: &str) -> Self {
        Self { key: key.to_owned(), id: SecretId::Parameter(name.to_owned()), region: None }
    }

    /// Reads the credential again. Blocks until AWS has answered.
    ///
    /// # Errors
    /// A sentence that names the secret, the cause and the remedy, but nothing of its value.
    pub fn read(&self) -> Result<Secret, String> {
        let text = checked(read_in_aws(&self.id, self.region.as_deref())?);
        text.map(Secret::new).map_err(|message| format!("{}: {message}", self.id))
    }
}

impl SecretFile {
    /// Reads the credential again.
    ///
    /// # Errors
    /// A sentence that names the file and the cause, but nothing of its content.
    pub fn read(&self) -> Result<Secret, String> {
        let shown = cut(&self.path.to_string_lossy(), 200);
        let text = checked(read_text(&self.path)?);
        text.map(Secret::new).map_err(|message| format!("the file `{shown}`: {message}"))
    }
}

impl Tls {
    /// Returns the file of the key, to check who can read it.
    pub fn key_file(&self) -> SecretFile {
        SecretFile { key: "server.tls.key".to_owned(), path: self.key.clone() }
    }
}

impl Settings {
    /// Replaces the credential of a key, such as `forge.token`, and returns whether that changes
    /// anything. A key that is not in use changes nothing.
    pub fn replace_secret(&mut self, key: &str, secret: &Secret) -> bool {
        let Self { forge, server, .. } = self;
        let place = match key {
            "forge.token" => forge.token.as_mut(),
            "forge.runner_token" => forge.runner_token.as_mut(),
            "forge.webhook_secret" => forge.webhook_secret.as_mut(),
            "forge.git_token" => forge.git_token.as_mut(),
            // The variable's token is the only one.
            "server.token" => server.tokens.first_mut().map(|token| &mut token.secret),
            _ if indexed(key).is_some() => {
                indexed(key).and_then(|index| server.webhook_secrets.get_mut(index))
            }
            _ => {
                let of_key =
                    |token: &&mut Token| format!("server.token \"{}\": secret", token.name) == key;
                server.tokens.iter_mut().find(of_key).map(|token| &mut token.secret)
            }
        };
        match place {
            Some(current) if current != secret => {
                *current = secret.clone();
                true
            }
            _ => false,
        }
    }
}

/// Returns the place among the further secrets of webhooks: `forge.webhook_secret[1]` is the first.
fn indexed(key: &str) -> Option<usize> {
    let index = key.strip_prefix("forge.webhook_secret[")?.strip_suffix(']')?;
    index.parse::<usize>().ok()?.checked_sub(1)
}

/// Reads a credential file, without its trailing newlines.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let shown = cut(&path.to_string_lossy(), 200);
    let text = String::from_utf8(read_bytes(path)?)
        .map_err(|_| format!("cannot read the file `{shown}`: it is no text"))?;
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        return Err(format!("the file `{shown}` is empty"));
    }
    Ok(trimmed.to_owned())
}

/// Reads a secret in AWS, without its trailing newlines.
pub(super) fn read_in_aws(id: &SecretId, region: Option<&str>) -> Result<String, String> {
    let text = id.read(region)?;
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        return Err(format!("{id} is empty: store the credential in it"));
    }
    Ok(trimmed.to_owned())
}

/// Rejects credentials that cannot be sent in a header.
pub(super) fn checked(text: String) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty: remove the key, or set the credential".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("the credential contains a line break or another control character".to_owned());
    }
    Ok(text)
}
