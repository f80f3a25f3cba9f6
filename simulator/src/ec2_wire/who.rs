//! Callers, denied actions and profiles: the parts of STS and IAM that `doctor` uses.

use super::Ec2Options;
use super::account::Account;
use super::error::Fault;
use super::launch_request::Recipe;
use super::outcome::Outcome;
use super::params::Params;
use super::xml::{leaf, node};

/// Checks whether the caller may perform an action; the error names `resource`.
pub(super) fn may(
    options: &Ec2Options,
    caller: &str,
    action: &str,
    resource: &str,
) -> Result<(), Fault> {
    if !options.denied.iter().any(|denied| denied == action) {
        return Ok(());
    }
    let account = &options.account.id;
    let message = format!(
        "You are not authorized to perform this operation. User: arn:aws:iam::{account}:user/{caller} \
         is not authorized to perform: {action} on resource: {resource} because no identity-based \
         policy allows the {action} action. Encoded authorization failure message: {}",
        "4w8g".repeat(120)
    );
    Err(Fault::new("UnauthorizedOperation", message))
}

/// Checks whether the caller may launch this: the machine, its tags, its role. A profile's role has
/// the profile's name here.
pub(super) fn may_launch(options: &Ec2Options, caller: &str, recipe: &Recipe) -> Result<(), Fault> {
    let Account { id, region, .. } = &options.account;
    let machine = format!("arn:aws:ec2:{region}:{id}:instance/*");
    may(options, caller, "ec2:RunInstances", &machine)?;
    if !recipe.tags.is_empty() {
        may(options, caller, "ec2:CreateTags", &machine)?;
    }
    if !recipe.profile.is_empty() {
        let role = format!("arn:aws:iam::{id}:role/{}", recipe.profile);
        may(options, caller, "iam:PassRole", &role)?;
    }
    Ok(())
}

/// The beginning of the access key of an assumed role, before the role's name.
const ASSUMED: &str = "ASIA-";

/// Handles a call of STS.
pub(super) fn sts(options: &Ec2Options, op: &str, params: &Params, caller: &str) -> Outcome {
    let account = &options.account.id;
    match op {
        "GetCallerIdentity" => {
            let arn = match caller.strip_prefix(ASSUMED) {
                Some(role) => format!("arn:aws:sts::{account}:assumed-role/{role}/session"),
                None => format!("arn:aws:iam::{account}:user/{caller}"),
            };
            let parts = [leaf("Arn", arn), leaf("UserId", caller), leaf("Account", account)];
            Outcome::of(vec![node("GetCallerIdentityResult", parts)], 1)
        }
        "AssumeRole" => match assume(options, params, caller) {
            Ok(outcome) => outcome,
            Err(fault) => Outcome::from(fault),
        },
        other => Outcome::from(unknown(other)),
    }
}

/// Gives credentials of a role, which are valid for the time of the options.
fn assume(options: &Ec2Options, params: &Params, caller: &str) -> Result<Outcome, Fault> {
    let (arn, session) = (params.need("RoleArn")?, params.need("RoleSessionName")?);
    if may(options, caller, "sts:AssumeRole", arn).is_err() {
        let message = format!("User is not authorized to perform: sts:AssumeRole on {arn}");
        return Err(Fault::new("AccessDenied", message));
    }
    let account = &options.account.id;
    let role = arn.rsplit('/').next().unwrap_or_default();
    let credentials = [
        leaf("AccessKeyId", format!("{ASSUMED}{role}")),
        leaf("SecretAccessKey", "canary-of-the-assumed-secret-key"),
        leaf("SessionToken", "canary-of-the-session-token"),
        leaf("Expiration", options.now() + options.session),
    ];
    let user = [
        leaf("AssumedRoleId", format!("AROASIMULATED:{session}")),
        leaf("Arn", format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")),
    ];
    let parts = [node("Credentials", credentials), node("AssumedRoleUser", user)];
    Ok(Outcome::of(vec![node("AssumeRoleResult", parts)], 1))
}

/// Handles a call of IAM.
pub(super) fn iam(account: &Account, op: &str, params: &Params) -> Outcome {
    match op {
        "GetInstanceProfile" => match profile(account, params) {
            Ok(outcome) => outcome,
            Err(fault) => Outcome::from(fault),
        },
        other => Outcome::from(unknown(other)),
    }
}

fn profile(account: &Account, params: &Params) -> Result<Outcome, Fault> {
    let name = params.need("InstanceProfileName")?;
    if !account.profiles.iter().any(|known| known == name) {
        let message = format!("Instance Profile {name} cannot be found.");
        return Err(Fault::new("NoSuchEntity", message));
    }
    let date = "2026-01-01T00:00:00Z";
    let role = [
        leaf("Path", "/"),
        leaf("RoleName", name),
        leaf("RoleId", "AROASIMULATED"),
        leaf("Arn", format!("arn:aws:iam::{}:role/{name}", account.id)),
        leaf("CreateDate", date),
    ];
    // IAM's lists have members, not items.
    let roles = node("Roles", [node("member", role)]);
    let parts = [
        leaf("Path", "/"),
        leaf("InstanceProfileName", name),
        leaf("InstanceProfileId", "AIPASIMULATED"),
        leaf("Arn", account.profile_arn(name)),
        leaf("CreateDate", date),
        roles,
    ];
    let profile = node("InstanceProfile", parts);
    Ok(Outcome::of(vec![node("GetInstanceProfileResult", [profile])], 1))
}

pub(super) fn unknown(op: &str) -> Fault {
    let op: String = op.chars().take(80).collect();
    Fault::new("InvalidAction", format!("The action {op} is not valid for this web service."))
}
