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

/// Handles a call of STS.
pub(super) fn sts(account: &Account, op: &str, caller: &str) -> Outcome {
    match op {
        "GetCallerIdentity" => {
            let arn = format!("arn:aws:iam::{}:user/{caller}", account.id);
            let parts = [leaf("Arn", arn), leaf("UserId", caller), leaf("Account", &account.id)];
            Outcome::of(vec![node("GetCallerIdentityResult", parts)], 1)
        }
        other => Outcome::from(unknown(other)),
    }
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
