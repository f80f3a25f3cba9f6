//! The request of a launch: a pure function of the record and of what an image's disks are called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::operation::run_instances::RunInstancesInput;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, DeviceType, EbsBlockDevice, HttpTokensState,
    IamInstanceProfileSpecification, Image, InstanceInterruptionBehavior,
    InstanceMarketOptionsRequest, InstanceMetadataEndpointState, InstanceMetadataOptionsRequest,
    InstanceMetadataTagsState, InstanceType, MarketType, ResourceType, ShutdownBehavior,
    SpotInstanceType, SpotMarketOptions, TagSpecification, VolumeType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::class::{Cause, Machine, Market};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_reconciler::run::{Attempt, Slot};

use super::calls::Calls;
use super::tags;
use crate::boot;

/// Most bytes of user data, before base64.
pub const USER_DATA_LIMIT: usize = 16_384;
/// How long it is remembered that an image's disks cannot be had.
const UNKNOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A launch, with all that it asks for checked as far as that can be.
#[derive(Debug)]
pub struct Ask<'a> {
    pub(super) installation: &'a str,
    pub(super) slot: &'a Slot,
    pub(super) placement: u32,
    pub(super) attempt: &'a Attempt,
    pub(super) machine: &'a Machine,
    pub(super) user_data: UserData,
}

/// The boot script: as secret as the identity in it.
pub(super) struct UserData(String);

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

fn invalid(message: String) -> PortError {
    PortError::new("compute", "launch", ErrorKind::Invalid, message)
}

impl<'a> Ask<'a> {
    /// For a placement of a recorded attempt.
    ///
    /// # Errors
    /// `Invalid` where EC2 would refuse it for certain.
    pub fn new(
        installation: &'a str,
        slot: &'a Slot,
        placement: u32,
        attempt: &'a Attempt,
    ) -> Result<Self, PortError> {
        let asked = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at));
        let asked = asked.ok_or_else(|| {
            invalid(format!("attempt {slot} has no placement {placement}")).because(Cause::Attempt)
        })?;
        let machine = &asked.machine;
        for (what, value) in
            [("image", &machine.image), ("kinds", &machine.kind), ("subnets", &machine.subnet)]
        {
            if value.is_empty() {
                let class = &attempt.class;
                let message = format!(
                    "class {class} has no `{what}`: set it under [class.machines]; EC2 needs it"
                );
                return Err(invalid(message));
            }
        }
        let user_data = boot::script(slot, placement, attempt);
        if user_data.len() > USER_DATA_LIMIT {
            let message = format!(
                "the boot script has {} bytes and EC2 takes {USER_DATA_LIMIT}: shorten the labels \
                 of class {}",
                user_data.len(),
                attempt.class
            );
            // A class of any labels gives its runners those of the job: another's may be shorter.
            return Err(invalid(message).because(Cause::Attempt));
        }
        let user_data = UserData(user_data);
        Ok(Self { installation, slot, placement, attempt, machine, user_data })
    }

    /// The request. The same record and the same disks give the same bytes.
    pub fn request(&self, disks: &[BlockDeviceMapping]) -> RunInstancesInputBuilder {
        let Self { installation, slot, placement, attempt, machine, user_data } = self;
        let Machine { kind, subnet, market, image, security_groups, instance_profile } = machine;
        let spot = *market == Market::Spot;
        let tags = tags::write(installation, slot, *placement, attempt);
        let tagged = [ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface]
            .into_iter()
            .chain(spot.then_some(ResourceType::SpotInstancesRequest))
            .map(|what| {
                TagSpecification::builder().resource_type(what).set_tags(Some(tags.clone())).build()
            });
        RunInstancesInput::builder()
            .min_count(1)
            .max_count(1)
            .client_token(tags::token(installation, slot, *placement))
            .image_id(image)
            .instance_type(InstanceType::from(kind.as_str()))
            .subnet_id(subnet)
            .set_security_group_ids((!security_groups.is_empty()).then(|| security_groups.clone()))
            .set_iam_instance_profile(profile(instance_profile))
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
            .set_instance_market_options(spot.then(one_time_spot))
            .metadata_options(metadata())
            .set_credit_specification(
                is_burstable(kind)
                    .then(|| CreditSpecificationRequest::builder().cpu_credits("standard").build()),
            )
            .set_block_device_mappings((!disks.is_empty()).then(|| disks.to_vec()))
            .set_tag_specifications(Some(tagged.collect()))
            .user_data(STANDARD.encode(&user_data.0))
    }
}

fn profile(name: &str) -> Option<IamInstanceProfileSpecification> {
    let profile = IamInstanceProfileSpecification::builder();
    match name {
        "" => None,
        arn if arn.starts_with("arn:") => Some(profile.arn(arn).build()),
        name => Some(profile.name(name).build()),
    }
}

/// Without a price: then the on-demand price is the cap, and no new refusal is possible.
fn one_time_spot() -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .build();
    InstanceMarketOptionsRequest::builder()
        .market_type(MarketType::Spot)
        .spot_options(options)
        .build()
}

/// With a token only, and no hop further than the machine itself: a job in a container reads
/// neither user data nor the machine's role.
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .instance_metadata_tags(InstanceMetadataTagsState::Disabled)
        .build()
}

/// A T type: without limits its surplus costs more than the machine.
fn is_burstable(kind: &str) -> bool {
    let mut letters = kind.chars();
    letters.next() == Some('t') && letters.next().is_some_and(|c| c.is_ascii_digit())
}

/// What an image's disks are called. An image's never change, so it is asked for once.
#[derive(Default)]
pub(super) struct Disks(Mutex<HashMap<String, Remembered>>);

#[derive(Clone)]
struct Remembered {
    disks: Arc<[BlockDeviceMapping]>,
    /// Asked for again then.
    until: Option<Timestamp>,
}

impl Disks {
    /// The disks of a launch from this image: encrypted, gone with the machine, the first of the
    /// usual kind. Empty where the image cannot be described: then its own settings hold, and
    /// whether it is there the launch tells.
    ///
    /// # Errors
    /// `Unavailable`, `Throttled`: whether it can be described is not known. Nothing was launched.
    pub(super) async fn of(
        &self,
        calls: &Calls,
        image: &str,
        now: Timestamp,
    ) -> Result<Arc<[BlockDeviceMapping]>, PortError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = known().get(image).cloned();
        if let Some(Remembered { disks, until }) = remembered
            && until.is_none_or(|until| now < until)
        {
            return Ok(disks);
        }
        let remembered = match calls.image(image).await {
            Ok(Some(image)) => Remembered { disks: disks(&image).into(), until: None },
            Ok(None) => Remembered { disks: [].into(), until: Some(now + UNKNOWN_FOR) },
            Err(error) => match error.kind {
                ErrorKind::Denied | ErrorKind::Invalid => {
                    tracing::warn!(
                        image,
                        error = %error,
                        "the image cannot be described: machines get its disks as they are, perhaps unencrypted",
                    );
                    Remembered { disks: [].into(), until: Some(now + UNKNOWN_FOR) }
                }
                ErrorKind::Conflict
                | ErrorKind::Unavailable
                | ErrorKind::Throttled
                | ErrorKind::NoCapacity
                | ErrorKind::Limit => return Err(error),
            },
        };
        let disks = remembered.disks.clone();
        known().insert(image.to_owned(), remembered);
        Ok(disks)
    }
}

/// Each EBS disk of an image, as large as there: encrypted and gone with the machine. The one it boots
/// from is among them, even where an emulator lists none.
pub(super) fn disks(image: &Image) -> Vec<BlockDeviceMapping> {
    let mapped = image.block_device_mappings().iter();
    let mut named: Vec<(&str, Option<i32>)> = mapped
        .filter_map(|mapping| Some((mapping.device_name()?, mapping.ebs()?.volume_size())))
        .collect();
    if named.is_empty() && image.root_device_type() == Some(&DeviceType::Ebs) {
        named.extend(image.root_device_name().map(|name| (name, None)));
    }
    let mut disks = Vec::new();
    for (name, size) in named {
        let first = image.root_device_name() == Some(name);
        // AWS takes the size from the image; emulators want to be told.
        let disk = EbsBlockDevice::builder()
            .encrypted(true)
            .delete_on_termination(true)
            .set_volume_size(size)
            .set_volume_type(first.then_some(VolumeType::Gp3))
            .build();
        disks.push(BlockDeviceMapping::builder().device_name(name).ebs(disk).build());
    }
    disks
}

#[cfg(test)]
pub(super) mod tests;
