//! EC2's error codes and what helps against each. The only list of them.

use tinqs_ci_reconciler::model::{Cause, Refusal};
use tinqs_ci_reconciler::ports::ErrorKind::{
    self, Denied, Invalid, Limit, NoCapacity, Throttled, Unavailable,
};

use super::Table;

/// EC2's error codes.
pub const TABLE: Table = Table { kind, cause, remedy };

/// The same client token with other parameters: an earlier launch has succeeded.
pub const MISMATCH: &str = "IdempotentParameterMismatch";
/// The same client token, and its machine has ended: an earlier launch has succeeded.
pub const TERMINATED: &str = "IdempotentInstanceTerminated";
/// The successful response of a dry run.
pub const DRY_RUN: &str = "DryRunOperation";

/// Whether a code says that EC2 knows no instance of that ID: new, gone, or lagging.
pub fn is_unknown_instance(code: &str) -> bool {
    matches!(code, "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed")
}

/// Whether a code says that EC2 cannot show the latest output of an instance's console: its type is
/// old, or it has ended.
pub fn has_no_latest_console(code: &str) -> bool {
    matches!(code, "UnsupportedOperation" | "IncorrectInstanceState")
}

/// Returns what a state reason would have been as a refusal, and the remedy: the launch failed
/// after EC2 had accepted it. `None` for any other reason.
pub fn failed_launch(state_reason: &str) -> Option<(Refusal, &'static str)> {
    Some(match state_reason {
        "Client.InternalError" => (
            Refusal::Invalid,
            "usually the KMS key of its disks may not be used: let the controller's role and, for \
             spot, the role AWSServiceRoleForEC2Spot use the key (key policy or grants)",
        ),
        "Client.InvalidSnapshot.NotFound" => (
            Refusal::Invalid,
            "the snapshot of the class's `image` is gone or not shared with this account: make \
             the image again",
        ),
        "Client.VolumeLimitExceeded" => (Refusal::Limit, VOLUMES),
        _ => return None,
    })
}

/// The remedy for the quota of volumes.
const VOLUMES: &str =
    "the account's quota of volumes is used up: raise it (Service Quotas, EBS), or delete volumes";

/// Codes whose HTTP status is misleading, or that are worth naming.
const CODES: &[(&str, ErrorKind)] = &[
    // It may have happened.
    ("InternalError", Unavailable),
    ("InternalFailure", Unavailable),
    ("ServiceUnavailable", Unavailable),
    ("Unavailable", Unavailable),
    ("RetryableError", Unavailable),
    ("ConcurrentTagAccess", Unavailable),
    ("CreditSpecificationUpdateInProgress", Unavailable),
    // Nothing was done.
    ("RequestLimitExceeded", Throttled),
    ("Throttling", Throttled),
    ("ThrottlingException", Throttled),
    ("EC2ThrottledException", Throttled),
    // A definite refusal, in spite of the 500.
    ("InsufficientInstanceCapacity", NoCapacity),
    ("InsufficientCapacity", NoCapacity),
    ("InsufficientHostCapacity", NoCapacity),
    ("UnfulfillableCapacity", NoCapacity),
    ("ReservationCapacityExceeded", NoCapacity),
    ("InsufficientVolumeCapacity", NoCapacity),
    ("InsufficientAddressCapacity", NoCapacity),
    ("Unsupported", NoCapacity),
    ("VolumeTypeNotAvailableInZone", NoCapacity),
    ("InsufficientFreeAddressesInSubnet", NoCapacity),
    ("SpotMaxPriceTooLow", NoCapacity),
    // Limits of the whole account.
    ("MaxSpotInstanceCountExceeded", Limit),
    ("VcpuLimitExceeded", Limit),
    ("InstanceLimitExceeded", Limit),
    ("VolumeLimitExceeded", Limit),
    ("MaxIOPSLimitExceeded", Limit),
    ("VolumeIOPSLimit", Limit),
    ("NetworkInterfaceLimitExceeded", Limit),
    ("ResourceLimitExceeded", Limit),
    ("ResourceCountExceeded", Limit),
    ("MaxFleetCountExceeded", Limit),
    // Our bug, or a mistake in the configuration.
    (MISMATCH, Invalid),
    (TERMINATED, Invalid),
    ("InvalidAMIID.NotFound", Invalid),
    ("InvalidAMIID.Malformed", Invalid),
    ("InvalidAMIID.Unavailable", Invalid),
    ("InvalidSubnetID.NotFound", Invalid),
    ("InvalidGroup.NotFound", Invalid),
    ("InvalidKeyPair.NotFound", Invalid),
    ("InvalidLaunchTemplateId.NotFound", Invalid),
    ("InvalidLaunchTemplateId.VersionNotFound", Invalid),
    ("InvalidLaunchTemplateId.Malformed", Invalid),
    ("InvalidParameterValue", Invalid),
    ("InvalidParameterCombination", Invalid),
    ("MissingParameter", Invalid),
    ("InvalidBlockDeviceMapping", Invalid),
    ("InvalidUserData.Malformed", Invalid),
    ("TagLimitExceeded", Invalid),
    ("InvalidInput", Invalid),
    ("MalformedQueryString", Invalid),
    ("UnknownParameter", Invalid),
    ("InvalidAction", Invalid),
    ("InvalidInstanceID.NotFound", Invalid),
    ("InvalidInstanceID.Malformed", Invalid),
    ("IncorrectInstanceState", Invalid),
    (DRY_RUN, Invalid),
    // An operator must act.
    ("UnauthorizedOperation", Denied),
    ("AuthFailure", Denied),
    ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Denied),
    ("InvalidClientTokenId", Denied),
    ("SignatureDoesNotMatch", Denied),
    ("MissingAuthenticationToken", Denied),
    ("ExpiredToken", Denied),
    ("RequestExpired", Denied),
    ("RequestTimeTooSkewed", Denied),
    ("OptInRequired", Denied),
    ("PendingVerification", Denied),
    ("Blocked", Denied),
    ("AccountDisabled", Denied),
    ("CustomerKeyHasBeenRevoked", Denied),
    ("TagPolicyViolation", Denied),
    ("OperationNotPermitted", Denied),
];

fn kind(code: &str) -> Option<ErrorKind> {
    CODES.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
}

/// The cause of codes that affect less, or more, or for longer, than their kind says.
fn cause(code: &str) -> Option<Cause> {
    Some(match code {
        "Unsupported" | "VolumeTypeNotAvailableInZone" => Cause::Unsupported,
        "InsufficientFreeAddressesInSubnet" => Cause::Addresses,
        // Only spot machines need that role.
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted" => Cause::Market,
        // Caused by this attempt's own labels, or by its own earlier call.
        "InvalidUserData.Malformed" | MISMATCH | TERMINATED => Cause::Attempt,
        _ => return None,
    })
}

fn remedy(code: &str, message: &str) -> &'static str {
    let told = denied_remedy(code, message).or_else(|| quota_remedy(code));
    told.or_else(|| request_remedy(code, message)).unwrap_or_default()
}

/// Returns the remedy for a denied call: a person must allow, enable or renew something.
fn denied_remedy(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "UnauthorizedOperation" => "allow the controller's role this call",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted" => {
            "the account has never used spot: run `aws iam create-service-linked-role \
             --aws-service-name spot.amazonaws.com` once"
        }
        "AuthFailure" if message.contains("image") => {
            "share the class's `image` and its snapshot with this account"
        }
        "AuthFailure" | "InvalidClientTokenId" | "SignatureDoesNotMatch" => {
            "check the credentials of this process"
        }
        "MissingAuthenticationToken" => "the call carried no credentials: configure some",
        "RequestExpired" => {
            "renew the credentials, or fix this host's clock: it is off by more than 15 minutes"
        }
        "ExpiredToken" | "RequestTimeTooSkewed" => {
            "renew the credentials, or fix this host's clock: it is off by more than 5 minutes"
        }
        "OptInRequired" if message.contains("Marketplace") => {
            "the class's `image` is from AWS Marketplace: accept its terms and subscribe with this \
             account"
        }
        "OptInRequired" | "PendingVerification" | "Blocked" => {
            "AWS has not enabled this for the account: contact AWS support"
        }
        "AccountDisabled" => "AWS has disabled the account: contact AWS support",
        "CustomerKeyHasBeenRevoked" => {
            "the KMS key of the disks may not be used any more: enable it and restore its grants"
        }
        "TagPolicyViolation" => {
            "a tag policy of the organization forbids our tags: allow `tinqs-ci` and `tinqs-ci/*`"
        }
        "OperationNotPermitted" => {
            "the instance has termination protection: remove it, termination is tried again"
        }
        _ => return None,
    })
}

fn quota_remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "MaxSpotInstanceCountExceeded" => {
            "the account's quota of spot vCPUs is used up: raise it (Service Quotas, EC2, \"All \
             Standard Spot Instance Requests\"), or lower the class's `limit`"
        }
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => {
            "the account's quota of on-demand vCPUs is used up: raise it (Service Quotas, EC2), or \
             lower the class's `limit`"
        }
        "VolumeLimitExceeded" => VOLUMES,
        "MaxIOPSLimitExceeded" | "VolumeIOPSLimit" => {
            "the account's quota of IOPS is used up: raise it (Service Quotas, EBS)"
        }
        "NetworkInterfaceLimitExceeded" => {
            "the account's quota of network interfaces is used up: raise it (Service Quotas, VPC), \
             or lower the class's `limit`"
        }
        "ResourceLimitExceeded" | "ResourceCountExceeded" => {
            "the quota that the message names is used up: raise it (Service Quotas), or lower the \
             class's `limit`"
        }
        _ => return None,
    })
}

/// Returns the remedy for a request that EC2 cannot fulfill as it is.
fn request_remedy(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "Unsupported" => {
            "this zone or market lacks the instance type: check the class's `kinds` and `subnets`"
        }
        "VolumeTypeNotAvailableInZone" => {
            "this zone lacks the type of disk: use `subnets` of another zone"
        }
        "InsufficientVolumeCapacity" => {
            "this zone has no room for the disk now: add a subnet of another zone to `subnets`"
        }
        "InsufficientAddressCapacity" => {
            "EC2 has no public address now: use `subnets` that give none"
        }
        "InsufficientFreeAddressesInSubnet" => "the subnet is full: add another to `subnets`",
        TERMINATED => "the machine of this attempt has ended: the next attempt gets another one",
        "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" | "InvalidAMIID.Unavailable" => {
            "check the class's `image`; it must be in this region"
        }
        "InvalidSubnetID.NotFound" => "check the class's `subnets`; they must be in this region",
        "InvalidGroup.NotFound" => {
            "check the class's `security_groups`; they must belong to the subnet's VPC"
        }
        "InvalidLaunchTemplateId.NotFound"
        | "InvalidLaunchTemplateId.VersionNotFound"
        | "InvalidLaunchTemplateId.Malformed" => {
            "check the class's `launch_template`; it must be in this account and region"
        }
        "TagLimitExceeded" => "remove some of the class's `tags`, or those of its launch template",
        "InvalidParameterValue" if message.contains("IAM Instance Profile") => {
            "check the class's `instance_profile`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
