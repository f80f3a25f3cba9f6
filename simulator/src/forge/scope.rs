//! Scopes of runners.

/// The repositories that a runner serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All repositories.
    Global,
    /// The repositories of an owner.
    Owner(String),
    /// One repository, `owner/name`.
    Repo(String),
}

impl Scope {
    /// Returns whether a repository's jobs may run on it.
    pub(super) fn covers(&self, repo: &str) -> bool {
        match self {
            Self::Global => true,
            Self::Owner(owner) => repo.split('/').next() == Some(owner),
            Self::Repo(full_name) => repo == full_name,
        }
    }
}
