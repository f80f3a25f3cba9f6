//! Launch templates: the parameters that a call does not set itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::ec2_wire::account::{Account, LaunchTemplate};
use crate::ec2_wire::error::Fault;
use crate::ec2_wire::params::Params;

const ID: &str = "LaunchTemplate.LaunchTemplateId";
const VERSION: &str = "LaunchTemplate.Version";
/// Lists whose members both sides may have, with what identifies a member.
const MERGED: [(&str, &str); 2] =
    [("BlockDeviceMapping", "DeviceName"), ("TagSpecification", "ResourceType")];

/// Returns the template with its version, as the call names it.
pub(super) fn named(params: &Params) -> String {
    let version = params.get(VERSION).unwrap_or("$Default");
    params.get(ID).map_or(String::new(), |id| format!("{id}:{version}"))
}

/// Returns the parameters of a call with those of its launch template that it does not set itself.
/// Disks are merged by device, tags by resource and key; other lists are those of the call if it has
/// any member of them.
pub(super) fn merged(params: &Params, account: &Account) -> Result<Params, Fault> {
    let Some(id) = params.get(ID) else { return Ok(params.clone()) };
    let missing = |code: &str, what: &str| Fault::new(code, format!("{what} does not exist"));
    let template = account.launch_template(id);
    let template = template.ok_or_else(|| missing("InvalidLaunchTemplateId.NotFound", id))?;
    let version = version(template, params.get(VERSION));
    let given = version.and_then(|version| template.versions.get(&version));
    let given = given.ok_or_else(|| {
        missing("InvalidLaunchTemplateId.VersionNotFound", &format!("a version of {id}"))
    })?;
    let given = Params::of(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut all: BTreeMap<String, String> = params.pairs().collect();
    let lists: BTreeSet<&str> = params.names().filter_map(list_of).collect();
    for (name, value) in given.pairs() {
        if !all.contains_key(&name) && list_of(&name).is_none_or(|list| !lists.contains(list)) {
            all.insert(name, value);
        }
    }
    for (list, identity) in MERGED.into_iter().filter(|(list, _)| lists.contains(list)) {
        merge(&mut all, params, &given, list, identity);
    }
    Ok(Params::of(all.into_iter()))
}

fn version(template: &LaunchTemplate, asked: Option<&str>) -> Option<u32> {
    match asked {
        Some("$Latest") => template.versions.keys().next_back().copied(),
        // The default stays the first one until somebody changes it.
        None | Some("$Default") => template.versions.keys().next().copied(),
        Some(number) => number.parse().ok(),
    }
}

/// Returns the list to which `List.N` or `List.N.…` belongs.
fn list_of(name: &str) -> Option<&str> {
    let (list, rest) = name.split_once('.')?;
    let number = rest.split('.').next()?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(list)
}

/// Adds the members of a list that only the template has, and to the others what the call leaves
/// out.
fn merge(
    all: &mut BTreeMap<String, String>,
    params: &Params,
    template: &Params,
    list: &str,
    identity: &str,
) {
    let of = |params: &Params, n: u32| {
        params.get(&format!("{list}.{n}.{identity}")).unwrap_or_default().to_owned()
    };
    let own: BTreeMap<String, u32> =
        params.members(list).into_iter().map(|n| (of(params, n), n)).collect();
    let mut free = params.members(list).last().copied().unwrap_or_default();
    for n in template.members(list) {
        let place = own.get(&of(template, n)).copied().unwrap_or_else(|| {
            free += 1;
            free
        });
        let prefix = format!("{list}.{n}.");
        let taken = keys(params, &format!("{list}.{place}."));
        for (name, value) in template.pairs() {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            let (rest, is_taken) = match tag(rest) {
                None => (rest.to_owned(), false),
                Some((m, part)) => {
                    let key = template.get(&format!("{prefix}Tag.{m}.Key")).unwrap_or_default();
                    // Beyond any number that a call uses.
                    (format!("Tag.{}.{part}", 1_000 + m), taken.contains(key))
                }
            };
            if !is_taken {
                all.entry(format!("{list}.{place}.{rest}")).or_insert(value);
            }
        }
    }
}

/// Returns number and part of `Tag.N.Key` or `Tag.N.Value`.
fn tag(name: &str) -> Option<(u32, &str)> {
    let (number, part) = name.strip_prefix("Tag.")?.split_once('.')?;
    Some((number.parse().ok()?, part))
}

/// Returns the keys of the tags of a member.
fn keys(params: &Params, member: &str) -> BTreeSet<String> {
    let name = format!("{member}Tag");
    let keys = params.members(&name).into_iter();
    keys.filter_map(|m| Some(params.get(&format!("{name}.{m}.Key"))?.to_owned())).collect()
}
