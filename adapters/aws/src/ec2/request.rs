//! The request of a launch: a pure function of the record and of the image's disks.

use aws_sdk_ec2::operation::run_instances::RunInstancesInput;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, CreditSpecificationRequest, HttpTokensState,
    IamInstanceProfileSpecification, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
    InstanceNetworkInterfaceSpecification, InstanceType, LaunchTemplateSpecification, MarketType,
    ResourceType, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, TagSpecification,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, CpuCredits, LaunchTemplate, MachineOptions, MachineSpec, Market,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::tags;
use tinqs_ci_boot as boot;

/// Limit of EC2's user data in bytes, before base64.
pub const USER_DATA_LIMIT: usize = 16_384;

/// A launch whose parameters were checked as far as possible.
#[derive(Debug)]
pub struct Ask<'a> {
    pub(super) installation: &'a str,
    pub(super) attempt_id: &'a AttemptId,
    pub(super) placement: u32,
    pub(super) attempt: &'a Attempt,
    pub(super) machine: &'a MachineSpec,
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
    /// Builds the launch of a placement of a recorded attempt.
    ///
    /// # Errors
    /// `Invalid` if EC2 would certainly refuse it.
    pub fn new(
        installation: &'a str,
        attempt_id: &'a AttemptId,
        placement: u32,
        attempt: &'a Attempt,
    ) -> Result<Self, PortError> {
        let asked = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at));
        let asked = asked.ok_or_else(|| {
            invalid(format!("attempt {attempt_id} has no placement {placement}"))
                .because(Cause::Attempt)
        })?;
        let machine = &asked.machine;
        for (what, value) in
            [("image", &machine.image), ("kinds", &machine.kind), ("subnets", &machine.subnet)]
        {
            if value.is_empty() {
                let class = &attempt.class;
                let message = format!(
                    "class {class} has no `{what}`; EC2 requires it: set it in [class.machines]"
                );
                return Err(invalid(message));
            }
        }
        let user_data = boot::script(attempt_id, placement, attempt);
        if user_data.len() > USER_DATA_LIMIT {
            let sizes = boot::sizes(attempt_id, placement, attempt).into_iter();
            let sizes: Vec<String> = sizes.map(|(part, size)| format!("{part} {size}")).collect();
            let message = format!(
                "the boot script has {} bytes ({}) and EC2 accepts {USER_DATA_LIMIT}: shorten the \
                 labels or [class.runner] of class {}",
                user_data.len(),
                sizes.join(", "),
                attempt.class
            );
            // A class with `any` labels passes on those of the job: another job's may be shorter.
            return Err(invalid(message).because(Cause::Attempt));
        }
        let user_data = UserData(user_data);
        Ok(Self { installation, attempt_id, placement, attempt, machine, user_data })
    }

    /// Returns the request. The same record and the same disks give the same bytes.
    pub fn request(&self, disks: &[BlockDeviceMapping]) -> RunInstancesInputBuilder {
        let Self { installation, attempt_id, placement, attempt, machine, user_data } = self;
        let MachineSpec {
            kind,
            subnet,
            market,
            image,
            security_groups,
            instance_profile,
            runner: _,
            options,
        } = machine;
        let spot = *market == Market::Spot;
        let tags = tags::write(installation, attempt_id, *placement, attempt);
        let tagged = [ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface]
            .into_iter()
            .chain(spot.then_some(ResourceType::SpotInstancesRequest))
            .map(|what| {
                TagSpecification::builder().resource_type(what).set_tags(Some(tags.clone())).build()
            });
        let groups = (!security_groups.is_empty()).then(|| security_groups.clone());
        // An address can be asked for with an interface only, which then has subnet and groups.
        let interface = options.public_address.map(|is_public| {
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .subnet_id(subnet)
                .set_groups(groups.clone())
                .associate_public_ip_address(is_public)
                .delete_on_termination(true)
                .build()
        });
        RunInstancesInput::builder()
            .min_count(1)
            .max_count(1)
            .client_token(tags::token(installation, attempt_id, *placement))
            .set_launch_template(options.launch_template.as_ref().map(by_template))
            .image_id(image)
            .instance_type(InstanceType::from(kind.as_str()))
            .set_subnet_id(interface.is_none().then(|| subnet.clone()))
            .set_security_group_ids(groups.filter(|_| interface.is_none()))
            .set_network_interfaces(interface.map(|interface| vec![interface]))
            .set_iam_instance_profile(profile(instance_profile))
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
            .set_instance_market_options(spot.then(one_time_spot))
            .metadata_options(metadata(options))
            .set_credit_specification(credits(machine))
            .set_block_device_mappings((!disks.is_empty()).then(|| disks.to_vec()))
            .set_tag_specifications(Some(tagged.collect()))
            .user_data(STANDARD.encode(&user_data.0))
    }
}

fn by_template(template: &LaunchTemplate) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .launch_template_id(&template.id)
        .version(template.version.to_string())
        .build()
}

fn profile(name: &str) -> Option<IamInstanceProfileSpecification> {
    let profile = IamInstanceProfileSpecification::builder();
    match name {
        "" => None,
        arn if arn.starts_with("arn:") => Some(profile.arn(arn).build()),
        name => Some(profile.name(name).build()),
    }
}

/// Only if asked for, and of kinds that have credits: EC2 refuses it for others. A T kind in
/// `standard` mode starts without any, at a fifth of its CPU.
fn credits(machine: &MachineSpec) -> Option<CreditSpecificationRequest> {
    let asked = machine.options.cpu_credits.filter(|_| machine.is_burstable())?;
    let word = match asked {
        CpuCredits::Standard => "standard",
        CpuCredits::Unlimited => "unlimited",
    };
    Some(CreditSpecificationRequest::builder().cpu_credits(word).build())
}

/// Without a price: the on-demand price is the cap, and no additional refusal is possible.
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

/// Requires a session token, and a hop limit of one unless the class asks for more: a job in a
/// container then reads neither the user data nor the machine's role.
fn metadata(options: &MachineOptions) -> InstanceMetadataOptionsRequest {
    let hops = options.hop_limit.and_then(|hops| i32::try_from(hops).ok()).unwrap_or(1);
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(hops)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .instance_metadata_tags(InstanceMetadataTagsState::Disabled)
        .build()
}

#[cfg(test)]
pub(super) mod tests;
