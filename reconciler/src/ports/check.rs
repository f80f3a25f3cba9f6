//! Results of checks: what was found, and what to do.

use serde::Serialize;

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing needs to be done.
    Ok,
    /// It works, but something should be fixed.
    Warn,
    /// It does not work.
    Fail,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The subject of the check.
    pub name: &'static str,
    /// The outcome.
    #[serde(rename = "status")]
    pub outcome: Outcome,
    /// The finding.
    pub message: String,
    /// The remedy, if one is needed.
    pub fix: Option<String>,
}

impl Check {
    /// Returns a passed check.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, message: message.into(), fix: None }
    }

    /// Returns a check that works but needs attention.
    pub fn warn(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, message: message.into(), fix: Some(fix.into()) }
    }

    /// Returns a failed check.
    pub fn fail(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, message: message.into(), fix: Some(fix.into()) }
    }
}
