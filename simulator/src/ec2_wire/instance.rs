//! A machine in responses.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{EndedBy, MachineId, MachineState, Market};

use super::Ec2Options;
use super::account::Account;
use super::events::state_name;
use super::launch_request::Recipe;
use super::state::{Record, State};
use super::xml::{Element, leaf, list, node};

/// Formats ISO 8601 with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Returns a machine's state as an element of this name.
pub(super) fn state(name: &str, state: MachineState) -> Element {
    let (code, text) = state_name(state);
    node(name, [leaf("code", code), leaf("name", text)])
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>) -> Element {
    list("tagSet", tags.iter().map(|(key, value)| [leaf("key", key), leaf("value", value)]))
}

pub(super) fn groups(account: &Account, recipe: &Recipe) -> Element {
    list(
        "groupSet",
        recipe.security_groups.iter().map(|id| {
            let name = account.security_group(id).map_or("", |g| g.name.as_str());
            [leaf("groupId", id), leaf("groupName", name)]
        }),
    )
}

/// Returns why a machine ended: code and text. Empty while live.
pub(super) fn reason(record: &Record, ended_by: Option<EndedBy>) -> (String, &'static str) {
    if let Some(reason) = &record.reason {
        return (reason.clone(), said(reason));
    }
    let (code, text) = match ended_by {
        None => ("", ""),
        Some(EndedBy::Request) => ("Client.UserInitiatedShutdown", "User initiated shutdown"),
        Some(EndedBy::Itself) => {
            ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
        }
        Some(EndedBy::Cloud) if record.recipe.market == Market::Spot => {
            ("Server.SpotInstanceTermination", "Spot instance termination")
        }
        Some(EndedBy::Cloud) => ("Server.InternalError", "Internal error on launch"),
    };
    (code.to_owned(), text)
}

/// Returns EC2's text for a code.
fn said(code: &str) -> &'static str {
    match code {
        "Client.InternalError" => "Client error on launch",
        "Client.InvalidSnapshot.NotFound" => "The specified snapshot was not found",
        "Client.VolumeLimitExceeded" => "Volume limit exceeded",
        "Server.InsufficientInstanceCapacity" => "There was insufficient instance capacity",
        "Server.InternalError" => "Internal error on launch",
        "Server.SpotInstanceTermination" => "Spot instance termination",
        _ => "simulated",
    }
}

/// Returns a machine in a state, with the tags of a time. `None` if it does not exist.
pub(super) fn instance(
    all: &State,
    options: &Ec2Options,
    at: Timestamp,
    id: &MachineId,
    seen: MachineState,
) -> Option<Vec<Element>> {
    let account = &options.account;
    let (record, machine) = (all.records.get(id)?, all.cloud.machine(id)?);
    let recipe = &record.recipe;
    let over = matches!(seen, MachineState::Ending | MachineState::Gone);
    let image = account.image(&recipe.image);
    let zone = all.cloud.zone(&recipe.subnet);
    let mut parts = vec![
        leaf("instanceId", id),
        leaf("imageId", &recipe.image),
        state("instanceState", seen),
        leaf("amiLaunchIndex", record.index),
        leaf("instanceType", &recipe.kind),
        leaf("launchTime", time(record.launched_at)),
        node("placement", [leaf("availabilityZone", zone), leaf("tenancy", "default")]),
        node("monitoring", [leaf("state", "disabled")]),
        leaf("architecture", image.map_or("x86_64", |i| i.architecture.as_str())),
        leaf("rootDeviceType", "ebs"),
        leaf("rootDeviceName", image.map_or("", |i| i.root_device.as_str())),
        leaf("virtualizationType", "hvm"),
        leaf("hypervisor", "xen"),
        leaf("ebsOptimized", false),
        groups(account, recipe),
        tag_set(&all.tags(options, at, id)),
    ];
    if !recipe.token.is_empty() {
        parts.push(leaf("clientToken", &recipe.token));
    }
    if recipe.market == Market::Spot {
        parts.push(leaf("instanceLifecycle", "spot"));
        parts.push(leaf("spotInstanceRequestId", &record.spot_request));
    }
    if !recipe.profile.is_empty() {
        let arn = account.profile_arn(&recipe.profile);
        parts.push(node("iamInstanceProfile", [leaf("arn", arn), leaf("id", "AIPASIMULATED")]));
    }
    let metadata = &recipe.metadata;
    parts.push(node(
        "metadataOptions",
        [
            leaf("state", "applied"),
            leaf("httpTokens", &metadata.tokens),
            leaf("httpPutResponseHopLimit", metadata.hop_limit),
            leaf("httpEndpoint", &metadata.endpoint),
            leaf("instanceMetadataTags", &metadata.tags),
        ],
    ));
    // An ended machine has no network and no disks.
    if seen != MachineState::Gone {
        parts.extend(place(account, record));
    }
    if over {
        let (code, message) = reason(record, machine.ended_by);
        let at = machine
            .ended_at()
            .map_or_else(String::new, |at| format!("{} GMT", at.strftime("%Y-%m-%d %H:%M:%S")));
        parts.push(leaf("reason", format!("{message} ({at})")));
        let message = format!("{code}: {message}");
        parts.push(node("stateReason", [leaf("code", code), leaf("message", message)]));
    }
    Some(parts)
}

fn place(account: &Account, record: &Record) -> Vec<Element> {
    let recipe = &record.recipe;
    let subnet = account.subnet(&recipe.subnet);
    let vpc = subnet.map_or("", |s| s.vpc.as_str());
    let n = record.number;
    let host = format!("{}.{}.{}", (n >> 16) & 255, (n >> 8) & 255, n & 255);
    let address = format!("10.{host}");
    let usual = subnet.is_some_and(|subnet| subnet.public_addresses);
    let is_public = recipe.public_address.unwrap_or(usual);
    let public = is_public.then(|| leaf("ipAddress", format!("198.{host}")));
    let attached = time(record.launched_at);
    let disks = recipe.disks.iter().zip(1_u64..).map(|(disk, at)| {
        let ebs = [
            leaf("volumeId", format!("vol-{:017x}", n * 64 + at)),
            leaf("status", "attached"),
            leaf("attachTime", &attached),
            leaf("deleteOnTermination", disk.delete_on_termination),
        ];
        [leaf("deviceName", &disk.device), node("ebs", ebs)]
    });
    let card = [
        leaf("networkInterfaceId", format!("eni-{n:017x}")),
        leaf("subnetId", &recipe.subnet),
        leaf("vpcId", vpc),
        leaf("status", "in-use"),
        leaf("privateIpAddress", &address),
    ];
    let parts = [
        leaf("subnetId", &recipe.subnet),
        leaf("vpcId", vpc),
        leaf("privateIpAddress", &address),
        list("blockDeviceMapping", disks),
        list("networkInterfaceSet", [card]),
    ];
    parts.into_iter().chain(public).collect()
}
