//! Who calls, and what profiles there are: the two questions of STS and IAM that `doctor` asks.

use super::Outcome;
use super::account::Account;
use super::error::Fault;
use super::params::Params;
use super::xml::{leaf, node};

/// STS.
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

/// IAM.
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
