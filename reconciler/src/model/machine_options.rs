//! Options of a machine: what a class asks of the cloud beyond kind, image and place.

use std::collections::BTreeMap;
use std::fmt;

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
    /// The treatment of a T kind without credits; `None`: the cloud's own default. Other kinds have
    /// no credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_credits: Option<CpuCredits>,
    /// The most network hops that the answer of the metadata service may take; `None`: one, which
    /// does not reach into a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u32>,
    /// The launch template whose other settings apply, too; `None`: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_template: Option<LaunchTemplate>,
}

impl MachineOptions {
    /// The most tags beside ours: EC2 takes 50, and ours are up to 13.
    pub const MOST_TAGS: usize = 37;

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

/// A version of a launch template. A version never changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct LaunchTemplate {
    /// `lt-0123456789abcdef0`.
    pub id: String,
    /// The number of the version, from 1.
    pub version: u32,
}

/// As it is configured: `lt-0123:7`.
impl fmt::Display for LaunchTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.version)
    }
}

/// The treatment of a machine of a T kind that uses more CPU than it has earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CpuCredits {
    /// It is slowed down. A new one has earned nothing.
    Standard,
    /// It goes on, and is billed for it.
    Unlimited,
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

#[cfg(test)]
mod tests {
    use super::super::machine::MachineSpec;
    use super::*;

    /// As recorded by releases without options.
    const EARLIER: &str = r#"{"kind":"t3.small","subnet":"subnet-1","market":"spot","image":"ami-1","security_groups":["sg-1"],"instance_profile":""}"#;

    #[test]
    fn machine_specs_of_earlier_releases_have_no_options_and_stay_as_they_were() {
        let spec: MachineSpec = serde_json::from_str(EARLIER).unwrap();
        assert!(spec.options.is_default() && spec.is_burstable());
        assert_eq!(serde_json::to_string(&spec).unwrap(), EARLIER);
    }

    #[test]
    fn options_are_recorded_and_read_again() {
        let options = MachineOptions {
            disk_gib: Some(40),
            disk_encryption: DiskEncryption::Key("arn".to_owned()),
            tags: BTreeMap::from([("CostCenter".to_owned(), "ci".to_owned())]),
            public_address: Some(false),
            cpu_credits: Some(CpuCredits::Standard),
            launch_template: Some(LaunchTemplate { id: "lt-0123".to_owned(), version: 7 }),
            ..MachineOptions::default()
        };
        assert!(options.has_disk() && !options.is_default());
        let recorded = r#"{"disk_gib":40,"disk_encryption":{"key":"arn"},"tags":{"CostCenter":"ci"},"public_address":false,"cpu_credits":"standard","launch_template":{"id":"lt-0123","version":7}}"#;
        assert_eq!(serde_json::to_string(&options).unwrap(), recorded);
        assert_eq!(serde_json::from_str::<MachineOptions>(recorded).unwrap(), options);
    }

    #[test]
    fn only_t_families_are_burstable() {
        let mut spec: MachineSpec = serde_json::from_str(EARLIER).unwrap();
        for (kind, burstable) in
            [("t2.micro", true), ("t4g.nano", true), ("trn1.2xlarge", false), ("c7a.medium", false)]
        {
            spec.kind = kind.to_owned();
            assert_eq!(spec.is_burstable(), burstable, "{kind}");
        }
    }
}
