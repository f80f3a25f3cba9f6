//! One thing that was checked: what is, why it matters, what to do.

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing is to be done.
    Ok,
    /// It works, and something should be done.
    Warn,
    /// It will not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    #[serde(rename = "status")]
    pub outcome: Outcome,
    /// What was seen.
    pub message: String,
    /// What to do, where something is to be done.
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, message: message.into(), fix: None }
    }

    /// It works, and something should be done.
    pub fn warn(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, message: message.into(), fix: Some(fix.into()) }
    }

    /// It will not work.
    pub fn fail(name: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, message: message.into(), fix: Some(fix.into()) }
    }
}
