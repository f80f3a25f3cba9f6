//! Mistakes in a configuration, as messages.

use std::path::Path;

use tinqs_ci_reconciler::text::escape;

use super::tree::Place;

/// All mistakes in a configuration.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", lines.join("\n"))]
pub struct Mistakes {
    /// One line per mistake: `FILE:LINE: KEY: what is wrong, what is expected`.
    pub lines: Vec<String>,
    /// The remedy.
    pub hint: String,
}

/// One mistake, or one warning.
#[derive(Clone, Debug)]
pub(super) struct Mistake {
    pub(super) at: Option<Place>,
    pub(super) key: String,
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn line(&self, file: Option<&Path>) -> String {
        let file = file.map(|file| escape(&file.to_string_lossy()));
        let place = match (&self.at, file) {
            (Some(Place::Variable(name)), _) => format!("{}: ", escape(name)),
            (Some(Place::Line(line)), Some(file)) => format!("{file}:{line}: "),
            (None, Some(file)) => format!("{file}: "),
            (Some(Place::Line(_)) | None, None) => String::new(),
        };
        format!("{place}{}: {}", self.key, self.message)
    }
}

pub(super) fn hint(file: Option<&Path>) -> String {
    let what = if file.is_some() { "fix the lines above" } else { "fix the variables above" };
    format!("{what}; `tinqs-ci schema config` lists every key")
}
