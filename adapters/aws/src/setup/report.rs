//! The report of a set-up.

/// Hint for a missing permission.
#[cfg(feature = "sdk")]
pub(super) const RIGHTS: &str = "allow the actions of deploy/aws/iam/bootstrap.json";
/// Hint for other failures.
#[cfg(feature = "sdk")]
pub(super) const DOCTOR: &str = "run `tinqs-ci doctor`: it checks credentials, region and network";

/// The changes that were made, or would be, as text for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupReport {
    /// The lines, each with its line feed.
    pub text: String,
}

impl SetupReport {
    #[cfg(feature = "sdk")]
    pub(super) fn say(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// The kind of an error, by who has to act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The user passed wrong arguments or configuration.
    Usage,
    /// AWS refused, or cannot be reached.
    Failed,
}

/// The reason why something was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SetupError {
    /// The kind, by who has to act.
    pub mistake: Mistake,
    /// The failure and its cause.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
}

impl SetupError {
    /// The user passed wrong arguments or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { mistake: Mistake::Usage, message: message.into(), hint: None }
    }

    /// AWS refused, or cannot be reached.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { mistake: Mistake::Failed, message: message.into(), hint: None }
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
