//! Options of a machine: what a class asks of the cloud beyond kind, image and place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Options of a machine. What is left out is the cloud's own default. Recorded with each attempt,
/// so that a repeated launch asks for the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct MachineOptions {
    /// The size of the root disk in GiB; `None`: as large as the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u32>,
    /// Operations per second of the root disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_iops: Option<u32>,
    /// Throughput of the root disk in MiB/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_throughput: Option<u32>,
    /// Encryption of every disk.
    #[serde(skip_serializing_if = "DiskEncryption::is_default")]
    pub disk_encryption: DiskEncryption,
    /// Tags beside ours, at most [`MachineOptions::MOST_TAGS`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Whether the machine gets a public address; `None`: as the subnet says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_address: Option<bool>,
}

impl MachineOptions {
    /// The most tags beside ours: EC2 takes 50, and ours are up to 12.
    pub const MOST_TAGS: usize = 38;

    /// Returns whether every option is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether an option of the root disk is set: its size or its speed.
    pub fn has_disk(&self) -> bool {
        let Self { disk_gib, disk_iops, disk_throughput, .. } = self;
        [disk_gib, disk_iops, disk_throughput].into_iter().any(Option::is_some)
    }
}

/// Encryption of a machine's disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DiskEncryption {
    /// Encrypted, with the account's default key.
    #[default]
    DefaultKey,
    /// Encrypted with the key of this ARN.
    Key(String),
    /// Nothing is asked for: the settings of the image and of the account apply.
    NotAsked,
}

impl DiskEncryption {
    /// Returns whether it is encryption with the account's default key.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
