//! The runner of a machine: where it comes from.

use serde::{Deserialize, Serialize};

/// What a class says about the runner of its machines. Fixed once recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RunnerSetup {
    /// The runner that a machine fetches if its image has none; `None`: the image must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<RunnerDownload>,
}

/// A runner that a machine fetches, and the hash that it must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RunnerDownload {
    /// The URL of the program itself, not of an archive.
    pub url: String,
    /// The SHA-256 of the program: 64 lower-case hex digits.
    pub sha256: String,
}
