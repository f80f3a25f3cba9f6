//! Launch templates of classes. A version never changes, so each is read once.

use std::collections::BTreeSet;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    LaunchTemplateBlockDeviceMapping, LaunchTemplateHibernationOptions,
    LaunchTemplateTagSpecification, ResponseLaunchTemplateData, Tag,
};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{Class, LaunchTemplate, MachineOptions};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::{Calls, template_data};
use super::{Machines, tags};

/// A launch template as launches use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TemplateUse {
    pub(crate) template: LaunchTemplate,
    /// Whether launches ask for a network interface, because of `public_address`. EC2 then takes
    /// security groups of the interface only.
    has_interface: bool,
}

impl TemplateUse {
    /// `None` without a launch template.
    pub(super) fn of(options: &MachineOptions) -> Option<Self> {
        let template = options.launch_template.clone()?;
        Some(Self { template, has_interface: options.public_address.is_some() })
    }
}

/// The versions that were read and that a launch may use.
#[derive(Default)]
pub(super) struct Templates(Mutex<BTreeSet<TemplateUse>>);

impl Templates {
    /// Checks that a launch may use this version.
    ///
    /// # Errors
    /// `Invalid`: it sets what tinqs-ci sets or leaves out itself, or does not exist. Otherwise that
    /// of reading it. Nothing was launched.
    pub(super) async fn check(&self, calls: &Calls, used: &TemplateUse) -> Result<(), PortError> {
        if self.0.lock().contains(used) {
            return Ok(());
        }
        check(used, calls.template_data(&used.template).await?.as_ref())?;
        self.0.lock().insert(used.clone());
        Ok(())
    }
}

impl Machines {
    /// Reads the launch templates of the classes, and logs which of them no launch may use: the
    /// launches of their classes are refused.
    pub async fn read_templates(&self, classes: &[Class]) {
        for class in classes {
            for used in of_class(class) {
                if let Err(error) = self.templates.check(&self.calls, &used).await {
                    tracing::error!(class = %class.name, error = %error, "cannot use launch template");
                }
            }
        }
    }
}

/// Returns the launch templates of a class, each once.
pub(crate) fn of_class(class: &Class) -> BTreeSet<TemplateUse> {
    class.machines.iter().filter_map(|spec| TemplateUse::of(&spec.options)).collect()
}

/// Reads a version and checks that a launch may use it.
///
/// # Errors
/// As [`Templates::check`].
pub(crate) async fn inspect(client: &Client, used: &TemplateUse) -> Result<(), PortError> {
    check(used, template_data(client, &used.template).await?.as_ref())
}

/// Checks what a version sets; `None`: it does not exist.
fn check(used: &TemplateUse, data: Option<&ResponseLaunchTemplateData>) -> Result<(), PortError> {
    let template = &used.template;
    let Some(data) = data else {
        let message =
            format!("EC2 shows no launch template {template}: check the class's `launch_template`");
        return Err(invalid(message));
    };
    let groups = groups(data).filter(|_| used.has_interface);
    if let Some(field) = groups {
        return Err(invalid(format!(
            "launch template {template} sets {field}, which EC2 does not take together with \
             `public_address`: make a version without that, and set `security_groups` of the class"
        )));
    }
    let fields = reserved(data);
    if fields.is_empty() {
        return Ok(());
    }
    Err(invalid(format!(
        "launch template {template} sets {}, which tinqs-ci sets or leaves out itself: make a \
         version without that, and name it in the class's `launch_template`",
        fields.join(", ")
    )))
}

fn invalid(message: String) -> PortError {
    PortError::new("compute", "launch", ErrorKind::Invalid, message)
}

/// Returns the security groups of a template, by EC2's name.
fn groups(data: &ResponseLaunchTemplateData) -> Option<&'static str> {
    let set = [
        ("SecurityGroupIds", !data.security_group_ids().is_empty()),
        ("SecurityGroups", !data.security_groups().is_empty()),
    ];
    set.into_iter().find(|(_, is_set)| *is_set).map(|(field, _)| field)
}

/// Returns the fields of a template that no template of ours may set, by EC2's names. A launch
/// overrides some of them, but leaves out the profile of a class without one, the market of machines
/// on demand, and what would keep machines or disks after their end.
fn reserved(data: &ResponseLaunchTemplateData) -> Vec<String> {
    let hibernates =
        data.hibernation_options().and_then(LaunchTemplateHibernationOptions::configured);
    let set = [
        ("IamInstanceProfile", data.iam_instance_profile().is_some()),
        ("InstanceMarketOptions", data.instance_market_options().is_some()),
        ("InstanceRequirements", data.instance_requirements().is_some()),
        ("NetworkInterfaces", !data.network_interfaces().is_empty()),
        ("SecondaryInterfaces", !data.secondary_interfaces().is_empty()),
        ("UserData", data.user_data().is_some()),
        (
            "InstanceInitiatedShutdownBehavior",
            data.instance_initiated_shutdown_behavior().is_some(),
        ),
        ("DisableApiTermination", data.disable_api_termination() == Some(true)),
        ("DisableApiStop", data.disable_api_stop() == Some(true)),
        ("HibernationOptions", hibernates == Some(true)),
        ("MetadataOptions", data.metadata_options().is_some()),
    ];
    let set = set.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| field.to_owned());
    let tagged = data.tag_specifications().iter().flat_map(LaunchTemplateTagSpecification::tags);
    let keys: BTreeSet<&str> =
        tagged.filter_map(Tag::key).filter(|key| tags::is_reserved(key)).collect();
    let disks = data.block_device_mappings().iter().filter(|disk| outlives(disk));
    let device = |disk: &LaunchTemplateBlockDeviceMapping| {
        let device = disk.device_name().unwrap_or("?");
        format!("BlockDeviceMappings {device} without DeleteOnTermination")
    };
    set.chain(keys.into_iter().map(|key| format!("TagSpecifications {key}")))
        .chain(disks.map(device))
        .collect()
}

/// Whether a disk stays after its machine. EC2's default differs between images and requests.
fn outlives(disk: &LaunchTemplateBlockDeviceMapping) -> bool {
    disk.ebs().is_some_and(|ebs| ebs.delete_on_termination() != Some(true))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::builders::ResponseLaunchTemplateDataBuilder;
    use aws_sdk_ec2::types::{
        InstanceRequirements, LaunchTemplateEbsBlockDevice,
        LaunchTemplateIamInstanceProfileSpecification, LaunchTemplateInstanceMarketOptions,
        LaunchTemplateInstanceMetadataOptions, LaunchTemplateInstanceNetworkInterfaceSpecification,
        LaunchTemplateInstanceSecondaryInterfaceSpecification, LaunchTemplatesMonitoring,
        MarketType, ShutdownBehavior,
    };

    use super::*;

    type Change = fn(ResponseLaunchTemplateDataBuilder) -> ResponseLaunchTemplateDataBuilder;

    fn told(change: Change) -> Vec<String> {
        reserved(&change(ResponseLaunchTemplateData::builder()).build())
    }

    fn disk(deleted: Option<bool>) -> LaunchTemplateBlockDeviceMapping {
        let ebs =
            LaunchTemplateEbsBlockDevice::builder().set_delete_on_termination(deleted).build();
        LaunchTemplateBlockDeviceMapping::builder().device_name("/dev/sdb").ebs(ebs).build()
    }

    fn tagged(key: &str) -> LaunchTemplateTagSpecification {
        let tag = Tag::builder().key(key).value("x").build();
        LaunchTemplateTagSpecification::builder().tags(tag).build()
    }

    #[test]
    fn each_field_that_is_ours_is_named() {
        let cases: [(Change, &str); 11] = [
            (
                |data| {
                    let profile = LaunchTemplateIamInstanceProfileSpecification::builder();
                    data.iam_instance_profile(profile.name("admin").build())
                },
                "IamInstanceProfile",
            ),
            (
                |data| {
                    let market = LaunchTemplateInstanceMarketOptions::builder();
                    data.instance_market_options(market.market_type(MarketType::Spot).build())
                },
                "InstanceMarketOptions",
            ),
            (
                |data| data.instance_requirements(InstanceRequirements::builder().build()),
                "InstanceRequirements",
            ),
            (
                |data| {
                    let one = LaunchTemplateInstanceNetworkInterfaceSpecification::builder();
                    data.network_interfaces(one.build())
                },
                "NetworkInterfaces",
            ),
            (
                |data| {
                    let one = LaunchTemplateInstanceSecondaryInterfaceSpecification::builder();
                    data.secondary_interfaces(one.build())
                },
                "SecondaryInterfaces",
            ),
            (|data| data.user_data("IyE="), "UserData"),
            (
                |data| data.instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate),
                "InstanceInitiatedShutdownBehavior",
            ),
            (|data| data.disable_api_termination(true), "DisableApiTermination"),
            (|data| data.disable_api_stop(true), "DisableApiStop"),
            (
                |data| {
                    let options = LaunchTemplateHibernationOptions::builder();
                    data.hibernation_options(options.configured(true).build())
                },
                "HibernationOptions",
            ),
            (
                |data| {
                    let options = LaunchTemplateInstanceMetadataOptions::builder();
                    data.metadata_options(options.build())
                },
                "MetadataOptions",
            ),
        ];
        for (change, field) in cases {
            assert_eq!(told(change), [field]);
        }
    }

    #[test]
    fn our_tags_and_disks_that_stay_are_named() {
        for key in ["Name", "name", "tinqs-ci", "Tinqs-CI/run"] {
            let data = ResponseLaunchTemplateData::builder();
            let data = data.tag_specifications(tagged("Team")).tag_specifications(tagged(key));
            assert_eq!(reserved(&data.build()), [format!("TagSpecifications {key}")]);
        }
        let stays = ["BlockDeviceMappings /dev/sdb without DeleteOnTermination"];
        assert_eq!(told(|data| data.block_device_mappings(disk(None))), stays);
        assert_eq!(told(|data| data.block_device_mappings(disk(Some(false)))), stays);
        let both = told(|data| data.user_data("IyE=").block_device_mappings(disk(None)));
        assert_eq!(both, ["UserData", stays[0]]);
    }

    #[test]
    fn security_groups_exclude_a_public_address() {
        let template = LaunchTemplate { id: "lt-1".to_owned(), version: 7 };
        let told = |address: Option<bool>, change: Change| {
            let options = MachineOptions {
                launch_template: Some(template.clone()),
                public_address: address,
                ..MachineOptions::default()
            };
            let data = change(ResponseLaunchTemplateData::builder()).build();
            check(&TemplateUse::of(&options).unwrap(), Some(&data))
        };
        let sets: [(Change, &str); 2] = [
            (|data| data.security_group_ids("sg-9"), "SecurityGroupIds"),
            (|data| data.security_groups("default"), "SecurityGroups"),
        ];
        for (change, field) in sets {
            assert!(told(None, change).is_ok());
            for address in [true, false] {
                let error = told(Some(address), change).unwrap_err();
                assert_eq!(error.kind, ErrorKind::Invalid);
                assert!(error.message.contains(&format!("sets {field}, ")), "{error}");
            }
        }
        assert!(told(Some(true), |data| data.key_name("deploy")).is_ok());
    }

    #[test]
    fn everything_else_may_be_set() {
        let may: [Change; 5] = [
            |data| data,
            |data| data.key_name("deploy").image_id("ami-9").security_group_ids("sg-9"),
            |data| data.monitoring(LaunchTemplatesMonitoring::builder().enabled(true).build()),
            |data| data.disable_api_termination(false).disable_api_stop(false),
            |data| {
                let options = LaunchTemplateHibernationOptions::builder().configured(false).build();
                let data = data.hibernation_options(options);
                data.tag_specifications(tagged("Team")).block_device_mappings(disk(Some(true)))
            },
        ];
        for change in may {
            assert_eq!(told(change), [""; 0]);
        }
    }
}
