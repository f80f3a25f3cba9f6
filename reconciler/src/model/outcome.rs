//! How runs and machines end.

use serde::{Deserialize, Serialize};

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
