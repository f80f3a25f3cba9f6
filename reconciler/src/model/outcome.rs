//! The ends of runs and machines.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::machine::Refusal;

/// The outcome of a finished run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The job succeeded.
    Succeeded,
    /// The job failed.
    Failed,
    /// The job was canceled.
    Cancelled,
    /// The job was skipped.
    Skipped,
    /// The job or its repository no longer exists at the forge.
    JobGone,
    /// The job waited longer than `give_up_after`.
    GaveUp,
    /// Push mode: the machine that executed the job ended.
    MachineEnded,
    /// The job failed because its machine was gone.
    MachineLost,
    /// The job failed because its machine reached `max_age`.
    MaxAge,
}

/// The party that ended a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// It powered itself off.
    Itself,
    /// Somebody asked the cloud to end it.
    Request,
    /// The cloud reclaimed it.
    Cloud,
}

/// The cloud's reason for the end of a machine. Its texts are safe for terminals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct StateReason {
    /// The cloud's code: `Client.InternalError`.
    pub code: String,
    /// The cloud's message, with what to do if that is known; empty if there is none.
    #[serde(default)]
    pub message: String,
    /// The refusal that the end amounts to, if the launch failed after the cloud had accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// Code and message in one line: the only place that words it.
impl fmt::Display for StateReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, refusal: _ } = self;
        if message.is_empty() { f.write_str(code) } else { write!(f, "{code}: {message}") }
    }
}
