//! The runner of a machine: where it comes from, as whom it runs, and its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// The setup of the runner on the machines of a class. Fixed once recorded.
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
    /// The additions to its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RunnerConfig>,
}

impl RunnerSetup {
    /// Returns the credentials in it.
    pub fn secrets(&self) -> Vec<Secret> {
        let Some(config) = &self.config else { return Vec::new() };
        config.envs.values().chain(&config.cache.external_secret).cloned().collect()
    }
}

/// The additions of a class to the runner's `config.yaml`, and an authority that its machines
/// trust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RunnerConfig {
    /// The network of containers (`container.network`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether images are pulled although they are there (`container.force_pull`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_pull: Option<bool>,
    /// The time that the runner waits for Docker, in seconds (`container.docker_timeout`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_timeout: Option<u32>,
    /// Whether the certificate of the forge is not verified (`runner.insecure`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// The variables of every job (`runner.envs`). Each may be a credential.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub envs: BTreeMap<String, Secret>,
    /// The cache of actions (`cache`).
    #[serde(skip_serializing_if = "RunnerCache::is_empty")]
    pub cache: RunnerCache,
    /// The certificates, in PEM, of a private authority that the machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// The cache of actions. What is not set is the runner's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RunnerCache {
    /// Whether there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The directory of the runner's own cache server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The host under which containers reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// The URL of a cache server elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_server: Option<String>,
    /// The credential for that server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_secret: Option<Secret>,
}

impl RunnerCache {
    /// Returns whether it is on a server that other machines use, too.
    pub fn is_external(&self) -> bool {
        self.external_server.is_some() || self.external_secret.is_some()
    }

    /// Returns whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
