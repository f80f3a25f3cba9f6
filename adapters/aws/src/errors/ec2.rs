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
    ("InvalidParameterValue", Invalid),
    ("InvalidParameterCombination", Invalid),
    ("MissingParameter", Invalid),
    ("InvalidBlockDeviceMapping", Invalid),
    ("InvalidUserData.Malformed", Invalid),
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

/// What a person must allow, enable or renew.
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

/// What helps against a request that EC2 cannot fulfill as it is.
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
        "InvalidParameterValue" if message.contains("IAM Instance Profile") => {
            "check the class's `instance_profile`"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::kind as judged;
    use super::*;

    /// Every code that AWS documents, with the statuses that were seen.
    const ROWS: &[(&str, u16, ErrorKind)] = &[
        ("InternalError", 500, Unavailable),
        ("InternalFailure", 500, Unavailable),
        ("ServiceUnavailable", 503, Unavailable),
        ("ServiceUnavailable", 500, Unavailable),
        ("Unavailable", 503, Unavailable),
        ("RetryableError", 400, Unavailable),
        ("ConcurrentTagAccess", 400, Unavailable),
        ("CreditSpecificationUpdateInProgress", 400, Unavailable),
        ("SomethingNew", 500, Unavailable),
        ("SomethingNew", 502, Unavailable),
        ("", 504, Unavailable),
        ("RequestLimitExceeded", 503, Throttled),
        ("RequestLimitExceeded", 400, Throttled),
        ("Throttling", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("EC2ThrottledException", 503, Throttled),
        ("TooMany", 429, Throttled),
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("InsufficientCapacity", 500, NoCapacity),
        ("InsufficientHostCapacity", 400, NoCapacity),
        ("UnfulfillableCapacity", 400, NoCapacity),
        ("ReservationCapacityExceeded", 400, NoCapacity),
        ("InsufficientVolumeCapacity", 500, NoCapacity),
        ("InsufficientAddressCapacity", 500, NoCapacity),
        ("Unsupported", 400, NoCapacity),
        ("VolumeTypeNotAvailableInZone", 400, NoCapacity),
        ("InsufficientFreeAddressesInSubnet", 400, NoCapacity),
        ("SpotMaxPriceTooLow", 400, NoCapacity),
        ("MaxSpotInstanceCountExceeded", 400, Limit),
        ("VcpuLimitExceeded", 400, Limit),
        ("InstanceLimitExceeded", 400, Limit),
        ("VolumeLimitExceeded", 400, Limit),
        ("MaxIOPSLimitExceeded", 400, Limit),
        ("VolumeIOPSLimit", 400, Limit),
        ("NetworkInterfaceLimitExceeded", 400, Limit),
        ("ResourceLimitExceeded", 400, Limit),
        ("ResourceCountExceeded", 400, Limit),
        ("MaxFleetCountExceeded", 400, Limit),
        ("IdempotentParameterMismatch", 400, Invalid),
        ("IdempotentInstanceTerminated", 400, Invalid),
        ("InvalidAMIID.NotFound", 400, Invalid),
        ("InvalidAMIID.Malformed", 400, Invalid),
        ("InvalidAMIID.Unavailable", 400, Invalid),
        ("InvalidSubnetID.NotFound", 400, Invalid),
        ("InvalidGroup.NotFound", 400, Invalid),
        ("InvalidKeyPair.NotFound", 400, Invalid),
        ("InvalidLaunchTemplateId.NotFound", 400, Invalid),
        ("InvalidLaunchTemplateName.NotFoundException", 400, Invalid),
        ("InvalidParameterValue", 400, Invalid),
        ("InvalidParameterCombination", 400, Invalid),
        ("MissingParameter", 400, Invalid),
        ("InvalidBlockDeviceMapping", 400, Invalid),
        ("InvalidUserData.Malformed", 400, Invalid),
        ("InvalidInput", 400, Invalid),
        ("MalformedQueryString", 404, Invalid),
        ("UnknownParameter", 400, Invalid),
        ("InvalidAction", 400, Invalid),
        ("UnauthorizedOperation", 403, Denied),
        ("AuthFailure", 401, Denied),
        ("AuthFailure", 403, Denied),
        ("InvalidClientTokenId", 403, Denied),
        ("SignatureDoesNotMatch", 403, Denied),
        ("MissingAuthenticationToken", 403, Denied),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", 403, Denied),
        ("ExpiredToken", 400, Denied),
        ("RequestExpired", 400, Denied),
        ("RequestTimeTooSkewed", 403, Denied),
        ("OptInRequired", 403, Denied),
        ("PendingVerification", 400, Denied),
        ("Blocked", 403, Denied),
        ("AccountDisabled", 403, Denied),
        ("CustomerKeyHasBeenRevoked", 400, Denied),
        ("TagPolicyViolation", 400, Denied),
        ("DryRunOperation", 412, Invalid),
        ("SomethingNew", 400, Invalid),
        ("SomethingNew", 403, Invalid),
        ("InvalidInstanceID.NotFound", 400, Invalid),
        ("InvalidInstanceID.Malformed", 400, Invalid),
        ("OperationNotPermitted", 400, Denied),
        ("IncorrectInstanceState", 400, Invalid),
    ];

    #[test]
    fn every_code_has_its_documented_kind() {
        for (code, status, kind) in ROWS {
            assert_eq!(judged(code, *status, TABLE), *kind, "{code} {status}");
        }
    }

    #[test]
    fn every_code_is_tested_and_listed_once() {
        for (at, (code, _)) in CODES.iter().enumerate() {
            assert!(ROWS.iter().any(|(row, ..)| row == code), "{code} has no case");
            assert!(!CODES[..at].iter().any(|(other, _)| other == code), "{code} is listed twice");
        }
    }

    #[test]
    fn the_code_decides_the_cause_of_a_refusal() {
        let told = CODES.iter().filter_map(|(code, _)| Some((*code, cause(code)?)));
        let told: Vec<(&str, Cause)> = told.collect();
        let reaches = [
            ("Unsupported", Cause::Unsupported),
            ("VolumeTypeNotAvailableInZone", Cause::Unsupported),
            ("InsufficientFreeAddressesInSubnet", Cause::Addresses),
            (MISMATCH, Cause::Attempt),
            (TERMINATED, Cause::Attempt),
            ("InvalidUserData.Malformed", Cause::Attempt),
            ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", Cause::Market),
        ];
        assert_eq!(told, reaches, "all others have the cause of their kind");
    }

    #[test]
    fn errors_for_an_operator_name_a_remedy() {
        let denied = |kind: ErrorKind| matches!(kind, Denied | Limit);
        let operators = CODES.iter().filter(|(_, kind)| denied(*kind));
        for (code, _) in operators.filter(|(code, _)| *code != "MaxFleetCountExceeded") {
            assert!(!remedy(code, "").is_empty(), "{code}");
        }
        let profile = remedy("InvalidParameterValue", "Invalid IAM Instance Profile name");
        assert!(profile.contains("instance_profile"), "{profile}");
        assert_eq!(remedy("InvalidParameterValue", "other"), "");
        let cases = [
            ("AuthFailure", "Not authorized for images: [ami-0123]", "share the class's `image`"),
            ("AuthFailure", "AWS was not able to validate the credentials", "credentials"),
            ("OptInRequired", "In order to use this AWS Marketplace product", "subscribe"),
            ("OptInRequired", "You are not subscribed to this service", "contact AWS support"),
        ];
        for (code, message, told) in cases {
            assert!(remedy(code, message).contains(told), "{code}: {message}");
        }
    }
}
