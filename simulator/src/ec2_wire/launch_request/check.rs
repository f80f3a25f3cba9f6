//! Checks of EC2 before it looks for capacity.

use std::collections::BTreeMap;

use tinqs_ci_reconciler::model::Market;

use super::{Disk, Recipe};
use crate::ec2_wire::account::Account;
use crate::ec2_wire::error::Fault;
use crate::ec2_wire::params::Params;

/// Parameters, or prefixes of parameters, that the call knows.
const NAMES: [&str; 26] = [
    "Action",
    "Version",
    "BlockDeviceMapping.",
    "ClientToken",
    "CreditSpecification.CpuCredits",
    "DryRun",
    "EbsOptimized",
    "IamInstanceProfile.Arn",
    "IamInstanceProfile.Name",
    "ImageId",
    "InstanceInitiatedShutdownBehavior",
    "InstanceMarketOptions.MarketType",
    "InstanceMarketOptions.SpotOptions.",
    "InstanceType",
    "KeyName",
    "LaunchTemplate.LaunchTemplateId",
    "LaunchTemplate.Version",
    "MaxCount",
    "MetadataOptions.",
    "MinCount",
    "Monitoring.Enabled",
    "NetworkInterface.",
    "SecurityGroupId.",
    "SubnetId",
    "TagSpecification.",
    "UserData",
];
const TAGGED: [&str; 4] = ["instance", "volume", "network-interface", "spot-instances-request"];
const MOST_TAGS: usize = 50;

pub(super) fn known_names(params: &Params) -> Result<(), Fault> {
    let known = |name: &str| {
        NAMES.iter().any(|n| if n.ends_with('.') { name.starts_with(n) } else { name == *n })
    };
    match params.names().find(|name| !known(name)) {
        Some(name) => {
            let message = format!("The parameter {name} is not recognized");
            Err(Fault::new("UnknownParameter", message))
        }
        None => Ok(()),
    }
}

pub(super) fn count(params: &Params) -> Result<(usize, usize), Fault> {
    let (least, most) = (params.need("MinCount")?, params.need("MaxCount")?);
    let (least_of, most_of) = (params.number("MinCount")?, params.number("MaxCount")?);
    match (least_of, most_of) {
        (Some(0) | None, _) => Err(Fault::value("MinCount", least)),
        (Some(l), Some(m)) if l <= m => Ok((l, m)),
        (Some(_), _) => Err(Fault::value("MaxCount", most)),
    }
}

pub(super) fn market(params: &Params) -> Result<Market, Fault> {
    match params.get("InstanceMarketOptions.MarketType") {
        None => Ok(Market::OnDemand),
        Some("spot") => Ok(Market::Spot),
        Some(other) => Err(Fault::value("InstanceMarketOptions.MarketType", other)),
    }
}

/// Checks that subnet and groups are those of the call or of its one network interface.
pub(super) fn network(params: &Params) -> Result<(), Fault> {
    let interfaces = params.members("NetworkInterface");
    if interfaces.is_empty() {
        return Ok(());
    }
    let combination = |message: &str| Err(Fault::new("InvalidParameterCombination", message));
    if interfaces.len() > 1 {
        return combination("A public address can be associated with a single interface only");
    }
    if params.get("SubnetId").is_some() || !params.list("SecurityGroupId").is_empty() {
        return combination(
            "Network interfaces and an instance-level subnet ID or security groups may not be \
             specified on the same request",
        );
    }
    params.need("NetworkInterface.1.DeviceIndex")?;
    Ok(())
}

pub(super) fn shutdown(params: &Params, market: Market) -> Result<String, Fault> {
    let name = "InstanceInitiatedShutdownBehavior";
    let persistent =
        params.get("InstanceMarketOptions.SpotOptions.SpotInstanceType") == Some("persistent");
    match (params.get(name), market) {
        (Some("terminate"), _) | (None, Market::Spot) => Ok("terminate".to_owned()),
        (Some("stop"), Market::Spot) if !persistent => {
            let message = "a one-time spot instance cannot be stopped";
            Err(Fault::new("InvalidParameterCombination", message))
        }
        (Some("stop") | None, _) => Ok("stop".to_owned()),
        (Some(other), _) => Err(Fault::value(name, other)),
    }
}

pub(super) fn profile(params: &Params, account: &Account) -> Result<String, Fault> {
    let (name, arn) = (params.get("IamInstanceProfile.Name"), params.get("IamInstanceProfile.Arn"));
    let Some(asked) = name.or(arn) else { return Ok(String::new()) };
    if !account.has_profile(asked) {
        let message = format!(
            "Value ({asked}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        );
        return Err(Fault::new("InvalidParameterValue", message));
    }
    Ok(asked.rsplit('/').next().unwrap_or(asked).to_owned())
}

pub(super) fn tags(params: &Params) -> Result<BTreeMap<String, BTreeMap<String, String>>, Fault> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for n in params.members("TagSpecification") {
        let of = params.need(&format!("TagSpecification.{n}.ResourceType"))?;
        if !TAGGED.contains(&of) {
            return Err(Fault::value("ResourceType", of));
        }
        if of == "spot-instances-request" && market(params)? != Market::Spot {
            let message = "spot-instances-request can be tagged on the spot market only";
            return Err(Fault::new("InvalidParameterCombination", message));
        }
        let tags = all.entry(of.to_owned()).or_default();
        for m in params.members(&format!("TagSpecification.{n}.Tag")) {
            let key = params.need(&format!("TagSpecification.{n}.Tag.{m}.Key"))?;
            let value = params.get(&format!("TagSpecification.{n}.Tag.{m}.Value"));
            let value = value.unwrap_or_default();
            if key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
                return Err(Fault::value("Tag", key));
            }
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Fault::new(
                    "InvalidParameterValue",
                    format!("Duplicate tag key {key}"),
                ));
            }
        }
        if tags.len() > MOST_TAGS {
            let message = format!("more than {MOST_TAGS} tags of a {of}");
            return Err(Fault::new("TagLimitExceeded", message));
        }
    }
    Ok(all)
}

/// Checks the size and speed of a gp3 volume against each other. Others have no speed of their own
/// here.
pub(super) fn disk_speed(disk: &Disk) -> Result<(), Fault> {
    let Disk { kind, size_gib, iops, throughput, .. } = disk;
    if kind != "gp3" {
        return match (iops, throughput) {
            (0, 0) => Ok(()),
            _ => {
                let message = format!("Iops and Throughput are not supported for {kind} volumes");
                Err(Fault::new("InvalidParameterCombination", message))
            }
        };
    }
    let wrong = |message: String| Err(Fault::new("InvalidParameterValue", message));
    if *size_gib > 65_536 {
        return wrong(format!("Volume of {size_gib}GiB is too large for {kind}"));
    }
    if *iops > 0 && !(3_000..=80_000).contains(iops) {
        return wrong(format!("Volume iops of {iops} is not from 3000 to 80000"));
    }
    if *iops > 3_000 && *size_gib > 0 && *iops > size_gib * 500 {
        return wrong("Iops to volume size ratio is too high; maximum is 500".to_owned());
    }
    if *throughput > 0 && !(125..=2_000).contains(throughput) {
        return wrong(format!("Volume throughput of {throughput} is not from 125 to 2000"));
    }
    if throughput * 4 > (*iops).max(3_000) {
        let message = "Throughput (MiBps) to iops ratio is too high; maximum is 0.25";
        return wrong(message.to_owned());
    }
    Ok(())
}

impl Recipe {
    pub(super) fn check(&self, params: &Params, account: &Account) -> Result<(), Fault> {
        self.check_token()?;
        self.check_place(account)?;
        self.check_disks(account)?;
        self.check_market(params, account)?;
        self.check_stop()?;
        let odd = |key: &String| key.contains(['/', ' ']);
        if self.metadata.tags == "enabled" && self.instance_tags().keys().any(odd) {
            let message = "Tag keys with '/' or spaces cannot be shown in instance metadata";
            return Err(Fault::new("InvalidParameterValue", message));
        }
        let burstable = self.kind.starts_with('t');
        match self.credits.as_str() {
            "" => Ok(()),
            "standard" | "unlimited" if burstable => Ok(()),
            "standard" | "unlimited" => {
                let message = format!("CpuCredits is not supported by {}", self.kind);
                Err(Fault::new("InvalidParameterCombination", message))
            }
            other => Err(Fault::value("CreditSpecification.CpuCredits", other)),
        }
    }

    /// Checks what a spot machine cannot have.
    fn check_stop(&self) -> Result<(), Fault> {
        if self.market == Market::Spot && (self.protected || self.hibernates) {
            let message = "Spot instances have neither termination protection nor hibernation";
            return Err(Fault::new("InvalidParameterCombination", message));
        }
        if self.hibernates && !self.disks.iter().any(|disk| disk.encrypted) {
            let message = "Hibernation needs an encrypted root volume";
            return Err(Fault::new("InvalidParameterCombination", message));
        }
        Ok(())
    }

    fn check_token(&self) -> Result<(), Fault> {
        if self.token.len() > 64 || !self.token.is_ascii() {
            return Err(Fault::value("ClientToken", &self.token));
        }
        Ok(())
    }

    /// Checks that a disk is the image's own, at least as large as there, or has a size.
    fn check_disks(&self, account: &Account) -> Result<(), Fault> {
        let image = account.image(&self.image);
        for disk in &self.disks {
            let own = image.filter(|image| image.root_device == disk.device);
            let message = match (own, disk.size_gib) {
                (None, 0) => {
                    let message = "The request must contain the parameter size or snapshotId";
                    return Err(Fault::new("MissingParameter", message));
                }
                (Some(image), 1..) if disk.size_gib < image.root_gib => format!(
                    "Volume of size {}GB is smaller than its snapshot, expect size >= {}GB",
                    disk.size_gib, image.root_gib
                ),
                _ => continue,
            };
            return Err(Fault::new("InvalidBlockDeviceMapping", message));
        }
        Ok(())
    }

    fn check_place(&self, account: &Account) -> Result<(), Fault> {
        let missing = |code: &str, id: &str| Fault::new(code, format!("'{id}' does not exist"));
        if !self.image.starts_with("ami-") {
            return Err(Fault::new(
                "InvalidAMIID.Malformed",
                format!("Invalid id: {}", self.image),
            ));
        }
        let image = account.image(&self.image);
        let image = image.ok_or_else(|| missing("InvalidAMIID.NotFound", &self.image))?;
        if image.state != "available" {
            let message = format!("{} is {}", image.id, image.state);
            return Err(Fault::new("InvalidAMIID.Unavailable", message));
        }
        let subnet = account.subnet(&self.subnet);
        let subnet = subnet.ok_or_else(|| missing("InvalidSubnetID.NotFound", &self.subnet))?;
        for group in &self.security_groups {
            let known = account.security_group(group).filter(|g| g.vpc == subnet.vpc);
            known.ok_or_else(|| missing("InvalidGroup.NotFound", group))?;
        }
        let kind = account.kind(&self.kind);
        let kind = kind.ok_or_else(|| Fault::value("InstanceType", &self.kind))?;
        if kind.architecture != image.architecture {
            let message = format!(
                "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI",
                kind.architecture, image.architecture
            );
            return Err(Fault::new("InvalidParameterValue", message));
        }
        if !kind.zones.contains(&subnet.zone) {
            let message = format!("{} is not offered in {}", kind.name, subnet.zone);
            return Err(Fault::new("Unsupported", message));
        }
        Ok(())
    }

    fn check_market(&self, params: &Params, account: &Account) -> Result<(), Fault> {
        if self.market == Market::OnDemand {
            if !self.spot_type.is_empty() || !self.interruption.is_empty() {
                return Err(Fault::new("InvalidParameterCombination", "SpotOptions on demand"));
            }
            return Ok(());
        }
        let one_time = ["", "one-time"].contains(&self.spot_type.as_str());
        if !one_time && self.spot_type != "persistent" {
            return Err(Fault::value("SpotInstanceType", &self.spot_type));
        }
        let terminates = ["", "terminate"].contains(&self.interruption.as_str());
        if one_time && !terminates {
            let message = "one-time requests can only be terminated";
            return Err(Fault::new("InvalidParameterCombination", message));
        }
        let name = "InstanceMarketOptions.SpotOptions.MaxPrice";
        if let Some(text) = params.get(name) {
            let most: f64 = text.parse().map_err(|_| Fault::value(name, text))?;
            if account.kind(&self.kind).is_some_and(|kind| most < kind.spot_price) {
                let message = "Your Spot request price is lower than the minimum required";
                return Err(Fault::new("SpotMaxPriceTooLow", message));
            }
        }
        Ok(())
    }
}
