//! What a set-up says of itself.

/// What one does next where a right is missing.
#[cfg(feature = "sdk")]
pub(super) const RIGHTS: &str =
    "deploy/aws/iam/bootstrap.json holds the rights that `init --aws` needs";
/// What one does next where AWS cannot be reached.
#[cfg(feature = "sdk")]
pub(super) const DOCTOR: &str = "`tinqs-ci doctor` looks at credentials, region and network";

/// What was done, or would be, as lines for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetupReport {
    /// The lines, each with its end.
    pub text: String,
}

impl SetupReport {
    #[cfg(feature = "sdk")]
    pub(super) fn say(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// Whose mistake an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// It was asked for wrongly.
    Usage,
    /// AWS refused, or cannot be reached.
    Failed,
}

/// Why something was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SetupError {
    /// Whose mistake it is.
    pub mistake: Mistake,
    /// What failed, and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl SetupError {
    /// It was asked for wrongly.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { mistake: Mistake::Usage, message: message.into(), hint: None }
    }

    /// AWS refused, or cannot be reached.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { mistake: Mistake::Failed, message: message.into(), hint: None }
    }

    /// The same error with what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
