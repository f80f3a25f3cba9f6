//! Parameters of a launch, parsed and checked as in EC2.

mod check;
mod template;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::Market;

use super::account::Account;
use super::error::Fault;
use super::params::Params;

/// Maximum size of user data before base64.
pub const MAX_USER_DATA: usize = 16_384;

/// Parameters of a launch. `Debug` omits the user data, which contains an identity.
#[derive(Clone)]
pub struct Recipe {
    /// Client token; may be empty.
    pub token: String,
    /// `ami-…`.
    pub image: String,
    /// `t3.small`.
    pub kind: String,
    /// `subnet-…`.
    pub subnet: String,
    /// `sg-…`.
    pub security_groups: Vec<String>,
    /// Whether it gets a public address; `None`: as the subnet says.
    pub public_address: Option<bool>,
    /// Spot or on demand.
    pub market: Market,
    /// `one-time` or `persistent`; empty on demand.
    pub spot_type: String,
    /// Behavior on interruption: `terminate`, …; empty if not given.
    pub interruption: String,
    /// Behavior on shutdown: `terminate` or `stop`.
    pub shutdown: String,
    /// Options of the metadata service.
    pub metadata: Metadata,
    /// Decoded user data.
    pub user_data: Vec<u8>,
    /// Tags by resource type.
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Name of the instance profile; empty for none.
    pub profile: String,
    /// Disks.
    pub disks: Vec<Disk>,
    /// CPU credits: `standard`, `unlimited`; empty if not given.
    pub credits: String,
    /// Whether a call may neither terminate nor stop it.
    pub protected: bool,
    /// Whether it can hibernate.
    pub hibernates: bool,
    /// Whether it has detailed monitoring.
    pub monitored: bool,
    /// The launch template with its version, as given: `lt-0123:7`; empty for none.
    pub template: String,
    /// Minimum and maximum number of machines.
    pub count: (usize, usize),
    /// Digest of every parameter except the token.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { token, image, kind, subnet, market, .. } = self;
        write!(f, "Recipe({token} {market} {kind} {image} in {subnet})")
    }
}

/// Options of the metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Whether a token is required: `required` or `optional`.
    pub tokens: String,
    /// Maximum network hops of a token.
    pub hop_limit: usize,
    /// `enabled` or `disabled`.
    pub endpoint: String,
    /// Whether tags are available: `enabled` or `disabled`.
    pub tags: String,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/xvda`.
    pub device: String,
    /// `gp3`.
    pub kind: String,
    /// Size in GiB; 0: as large as the image's.
    pub size_gib: usize,
    /// Operations per second; 0: those of every volume.
    pub iops: usize,
    /// MiB per second; 0: that of every volume.
    pub throughput: usize,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The KMS key; empty for the account's default key.
    pub key: String,
    /// Whether it is deleted with its machine.
    pub delete_on_termination: bool,
}

impl Recipe {
    /// Returns the tags of the machine itself.
    pub fn instance_tags(&self) -> BTreeMap<String, String> {
        self.tags.get("instance").cloned().unwrap_or_default()
    }

    /// Parses and checks a call, with what its launch template adds.
    pub(super) fn read(given: &Params, account: &Account) -> Result<Self, Fault> {
        check::known_names(given)?;
        let params = &template::merged(given, account)?;
        let text = |name: &str| params.get(name).unwrap_or_default().to_owned();
        let count = check::count(params)?;
        let network = "NetworkInterface.1";
        let subnet = params.get("SubnetId").or(params.get(&format!("{network}.SubnetId")));
        let mut groups = params.list("SecurityGroupId");
        groups.extend(params.list(&format!("{network}.SecurityGroupId")));
        let public_address = params.flag(&format!("{network}.AssociatePublicIpAddress"))?;
        check::network(params)?;
        let market = check::market(params)?;
        let spot = "InstanceMarketOptions.SpotOptions";
        let disks = params.members("BlockDeviceMapping");
        let disks = disks.iter().map(|n| disk(params, *n)).collect::<Result<Vec<_>, _>>()?;
        let is_set = |name: &str| params.flag(name).map(Option::unwrap_or_default);
        let recipe = Self {
            token: text("ClientToken"),
            image: params.need("ImageId")?.to_owned(),
            kind: params.need("InstanceType")?.to_owned(),
            subnet: subnet.map_or_else(|| params.need("SubnetId"), Ok)?.to_owned(),
            security_groups: groups.into_iter().map(str::to_owned).collect(),
            public_address,
            market,
            spot_type: text(&format!("{spot}.SpotInstanceType")),
            interruption: text(&format!("{spot}.InstanceInterruptionBehavior")),
            shutdown: check::shutdown(params, market)?,
            metadata: metadata(params)?,
            user_data: user_data(params)?,
            tags: check::tags(params)?,
            profile: check::profile(params, account)?,
            disks,
            credits: text("CreditSpecification.CpuCredits"),
            protected: is_set("DisableApiTermination")? || is_set("DisableApiStop")?,
            hibernates: is_set("HibernationOptions.Configured")?,
            monitored: is_set("Monitoring.Enabled")?,
            template: template::named(given),
            count,
            digest: Sha256::digest(given.text_without(&["ClientToken", "DryRun"])).into(),
        };
        recipe.check(params, account)?;
        Ok(recipe)
    }
}

fn metadata(params: &Params) -> Result<Metadata, Fault> {
    let word = |name: &str, usual: &str, allowed: [&str; 2]| {
        let name = format!("MetadataOptions.{name}");
        let value = params.get(&name).unwrap_or(usual);
        if allowed.contains(&value) {
            Ok(value.to_owned())
        } else {
            Err(Fault::value(&name, value))
        }
    };
    let name = "MetadataOptions.HttpPutResponseHopLimit";
    let hop_limit = params.number(name)?.unwrap_or(1);
    if !(1..=64).contains(&hop_limit) {
        return Err(Fault::value(name, &hop_limit.to_string()));
    }
    Ok(Metadata {
        tokens: word("HttpTokens", "optional", ["optional", "required"])?,
        hop_limit,
        endpoint: word("HttpEndpoint", "enabled", ["enabled", "disabled"])?,
        tags: word("InstanceMetadataTags", "disabled", ["enabled", "disabled"])?,
    })
}

fn user_data(params: &Params) -> Result<Vec<u8>, Fault> {
    let code = "InvalidUserData.Malformed";
    let text = params.get("UserData").unwrap_or_default();
    let data = BASE64_STANDARD.decode(text);
    let data = data.map_err(|_| Fault::new(code, "Invalid BASE64 encoding of user data"))?;
    if data.len() > MAX_USER_DATA {
        return Err(Fault::new(code, format!("User data is limited to {MAX_USER_DATA} bytes")));
    }
    Ok(data)
}

fn disk(params: &Params, n: u32) -> Result<Disk, Fault> {
    let name = |rest: &str| format!("BlockDeviceMapping.{n}.{rest}");
    let kind = params.get(&name("Ebs.VolumeType")).unwrap_or("gp2");
    if !["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"].contains(&kind) {
        return Err(Fault::new("InvalidBlockDeviceMapping", format!("unknown volume type {kind}")));
    }
    let disk = Disk {
        device: params.need(&name("DeviceName"))?.to_owned(),
        kind: kind.to_owned(),
        size_gib: params.number(&name("Ebs.VolumeSize"))?.unwrap_or_default(),
        iops: params.number(&name("Ebs.Iops"))?.unwrap_or_default(),
        throughput: params.number(&name("Ebs.Throughput"))?.unwrap_or_default(),
        encrypted: params.flag(&name("Ebs.Encrypted"))?.unwrap_or_default(),
        key: params.get(&name("Ebs.KmsKeyId")).unwrap_or_default().to_owned(),
        // The default of further disks, and of the roots of these images.
        delete_on_termination: params.flag(&name("Ebs.DeleteOnTermination"))?.unwrap_or_default(),
    };
    if !disk.key.is_empty() && !disk.encrypted {
        let message = "KmsKeyId needs the parameter Encrypted";
        return Err(Fault::new("InvalidParameterCombination", message));
    }
    check::disk_speed(&disk)?;
    Ok(disk)
}

impl Recipe {
    /// Returns the parameters of another party's launch.
    pub(super) fn foreign(account: &Account, tags: BTreeMap<String, String>) -> Self {
        Self {
            token: String::new(),
            image: account.images.first().map_or(String::new(), |i| i.id.clone()),
            kind: account.types.first().map_or(String::new(), |t| t.name.clone()),
            subnet: account.subnets.first().map_or(String::new(), |s| s.id.clone()),
            security_groups: Vec::new(),
            public_address: None,
            market: Market::OnDemand,
            spot_type: String::new(),
            interruption: String::new(),
            shutdown: "stop".to_owned(),
            metadata: Metadata {
                tokens: "optional".to_owned(),
                hop_limit: 1,
                endpoint: "enabled".to_owned(),
                tags: "disabled".to_owned(),
            },
            user_data: Vec::new(),
            tags: BTreeMap::from([("instance".to_owned(), tags)]),
            profile: String::new(),
            disks: Vec::new(),
            credits: String::new(),
            protected: false,
            hibernates: false,
            monitored: false,
            template: String::new(),
            count: (1, 1),
            digest: [0; 32],
        }
    }
}
