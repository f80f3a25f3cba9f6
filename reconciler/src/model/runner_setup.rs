//! The runner of a machine: where it comes from, and as whom it runs.

use serde::{Deserialize, Serialize};

/// What a class says about the runner of its machines. Fixed once recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RunnerSetup {
    /// The runner that a machine fetches if its image has none; `None`: the image must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<RunnerDownload>,
    /// The user of the image as whom it and its jobs run; `None`: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether that user becomes a member of the group `docker`, which makes it root in effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub docker: bool,
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
