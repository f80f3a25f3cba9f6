//! Files that hold a credential each.

use std::fmt::Display;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::types::Settings;

/// Limits a credential file, in case the path names something else.
const SECRET_BYTES: u64 = 65_536;

/// A file that a credential was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// The key, such as `forge.token`.
    pub key: String,
    /// The file.
    pub path: PathBuf,
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

impl Settings {
    /// The credential of a key, such as `forge.token`; `None` if there is no such key.
    pub fn secret_mut(&mut self, key: &str) -> Option<&mut Option<Secret>> {
        match key {
            "forge.token" => Some(&mut self.forge.token),
            "forge.runner_token" => Some(&mut self.forge.runner_token),
            "forge.webhook_secret" => Some(&mut self.forge.webhook_secret),
            "forge.git_token" => Some(&mut self.forge.git_token),
            "server.api_token" => Some(&mut self.server.api_token),
            _ => None,
        }
    }
}

/// Reads a credential file, without its trailing newlines.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let shown = cut(&path.to_string_lossy(), 200);
    let fail = |why: &dyn Display| format!("cannot read the file `{shown}`: {why}");
    let size = std::fs::metadata(path).map_err(|e| fail(&e))?;
    if size.is_dir() {
        return Err(fail(&"it is a directory"));
    }
    if size.len() > SECRET_BYTES {
        return Err(fail(&format!("it is larger than {SECRET_BYTES} bytes")));
    }
    // A device or a pipe reports no size.
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
