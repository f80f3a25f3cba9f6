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
    ("InvalidLaunchTemplateId.VersionNotFound", 400, Invalid),
    ("InvalidLaunchTemplateId.Malformed", 400, Invalid),
    ("InvalidLaunchTemplateName.NotFoundException", 400, Invalid),
    ("InvalidParameterValue", 400, Invalid),
    ("InvalidParameterCombination", 400, Invalid),
    ("MissingParameter", 400, Invalid),
    ("InvalidBlockDeviceMapping", 400, Invalid),
    ("InvalidUserData.Malformed", 400, Invalid),
    ("TagLimitExceeded", 400, Invalid),
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
        ("InvalidLaunchTemplateId.VersionNotFound", "", "check the class's `launch_template`"),
        ("TagLimitExceeded", "", "the class's `tags`"),
    ];
    for (code, message, told) in cases {
        assert!(remedy(code, message).contains(told), "{code}: {message}");
    }
}
