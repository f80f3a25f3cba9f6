//! Dry-run launches: they check permissions, profile, tags, and the rest of the request.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::Image;
use tinqs_ci_reconciler::model::{Class, MachineSpec};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::NETWORK;
use crate::ec2::rehearse;
use tinqs_ci_reconciler::ports::check::Check;

const NAME: &str = "class: launch";
/// `serve` may be launching from the same token bucket: 5 at once, then 2 per second.
const AT_ONCE: usize = 3;
const THEN_EVERY: Duration = Duration::from_millis(700);
/// Most dry runs for all classes together.
const MOST: usize = 12;

/// The dry runs for all classes.
pub(super) struct DryRuns<'s> {
    client: Client,
    installation: &'s str,
    made: usize,
}

/// A launch would repeat the failures already reported.
pub(super) fn not_tried(class: &Class) -> Check {
    let message = format!("{}: launch not tried", class.name);
    Check::warn(NAME, message, "fix the failures above, then run doctor again")
}

/// The fewest machine specs that cover each instance type, subnet, market, image, profile and set
/// of options.
fn covering(machines: &[MachineSpec]) -> Vec<&MachineSpec> {
    let mut chosen: Vec<&MachineSpec> = Vec::new();
    for machine in machines {
        let known = |same: fn(&MachineSpec, &MachineSpec) -> bool| {
            chosen.iter().any(|other| same(machine, other))
        };
        let is_covered = known(|a, b| a.kind == b.kind)
            && known(|a, b| a.subnet == b.subnet)
            && known(|a, b| a.market == b.market)
            && known(|a, b| a.image == b.image && a.instance_profile == b.instance_profile)
            && known(|a, b| a.options == b.options);
        if !is_covered {
            chosen.push(machine);
        }
    }
    chosen
}

impl<'s> DryRuns<'s> {
    pub(super) fn new(client: Client, installation: &'s str) -> Self {
        Self { client, installation, made: 0 }
    }

    /// Tries the class's machine specs.
    pub(super) async fn checks(
        &mut self,
        class: &Class,
        images: Option<&BTreeMap<String, Image>>,
    ) -> Vec<Check> {
        let machines = covering(&class.machines);
        let mut refused: Vec<(String, PortError)> = Vec::new();
        let mut granted = 0;
        for machine in &machines {
            if self.made == MOST {
                break;
            }
            if self.made >= AT_ONCE {
                tokio::time::sleep(THEN_EVERY).await;
            }
            self.made += 1;
            let image = images.and_then(|images| images.get(&machine.image));
            let tried = rehearse(&self.client, self.installation, class, machine, image).await;
            let Err(error) = tried else {
                granted += 1;
                continue;
            };
            let is_hopeless = error.kind == ErrorKind::Unavailable;
            let MachineSpec { kind, subnet, market, .. } = machine;
            refused.push((format!("{market} {kind} in {subnet}"), error));
            if is_hopeless {
                break;
            }
        }
        judged(class, machines.len(), granted, &refused)
    }
}

fn judged(
    class: &Class,
    wanted: usize,
    granted: usize,
    refused: &[(String, PortError)],
) -> Vec<Check> {
    let name = &class.name;
    // A reason that several machine specs share is reported once.
    let mut reasons: Vec<(&PortError, Vec<&str>)> = Vec::new();
    for (what, error) in refused {
        match reasons.iter_mut().find(|(other, _)| is_same(other, error)) {
            Some((_, whats)) => whats.push(what),
            None => reasons.push((error, vec![what])),
        }
    }
    let mut checks: Vec<Check> = reasons
        .into_iter()
        .map(|(error, whats)| {
            refusal(format!("{name}: {}: {}", whats.join(", "), error.message), error)
        })
        .collect();
    let tried = granted + refused.len();
    if granted > 0 {
        let of = if refused.is_empty() { String::new() } else { format!(" of {tried}") };
        let s = if granted == 1 && refused.is_empty() { "" } else { "es" };
        let left = wanted.saturating_sub(tried);
        let more = if left > 0 { format!("; {left} more were not tried") } else { String::new() };
        checks.push(Check::ok(
            NAME,
            format!("{name}: {granted}{of} dry-run launch{s} succeeded{more}"),
        ));
    } else if tried == 0 {
        let message =
            format!("{name}: launch not tried: the other classes used all {MOST} dry runs");
        checks.push(Check::ok(NAME, message));
    }
    checks
}

/// Compares error codes only: the sentences after them differ in IDs.
fn is_same(one: &PortError, other: &PortError) -> bool {
    let code = |error: &PortError| error.message.split(' ').next().map(str::to_owned);
    one.kind == other.kind && code(one) == code(other)
}

fn refusal(message: String, error: &PortError) -> Check {
    match error.kind {
        ErrorKind::Denied if message.contains("iam:PassRole") => Check::fail(
            NAME,
            message,
            "allow iam:PassRole on the role of the class's instance_profile to this process's role \
             (deploy/aws/iam/controller.json, statement PassRunnerRole)",
        ),
        ErrorKind::Denied if message.contains("ec2:CreateTags") => Check::fail(
            NAME,
            message,
            "allow ec2:CreateTags at launches (deploy/aws/iam/controller.json, statement \
             TagAtLaunchOnly)",
        ),
        ErrorKind::Denied => Check::fail(
            NAME,
            message,
            "compare this process's role with deploy/aws/iam/controller.json: each instance type, \
             subnet, group, image and profile must be listed there",
        ),
        ErrorKind::Unavailable => Check::fail(NAME, message, NETWORK),
        ErrorKind::Throttled => {
            Check::warn(NAME, message, "EC2 throttles launches of this account: try again later")
        }
        ErrorKind::NoCapacity => {
            Check::warn(NAME, message, "add instance types or subnets to the class")
        }
        ErrorKind::Limit => Check::warn(NAME, message, "raise the quota, or lower `limit`"),
        ErrorKind::Conflict | ErrorKind::Invalid => {
            Check::fail(NAME, message, "fix the class's [class.machines]")
        }
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{ClassName, MachineOptions, Market};

    use super::*;
    use tinqs_ci_reconciler::ports::check::Outcome;

    fn machine(market: Market, kind: &str, subnet: &str) -> MachineSpec {
        MachineSpec {
            kind: kind.to_owned(),
            subnet: subnet.to_owned(),
            market,
            image: "ami-1".to_owned(),
            security_groups: Vec::new(),
            instance_profile: "runner".to_owned(),
            runner: None,
            options: MachineOptions::default(),
        }
    }

    fn class(machines: Vec<MachineSpec>) -> Class {
        Class {
            name: ClassName("linux".to_owned()),
            labels: vec!["linux".to_owned()],
            serves_unlabeled: false,
            machines,
            limit: None,
            repo_limit: None,
            owner_limit: None,
            rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
            budget: None,
            allocation: tinqs_ci_reconciler::model::Allocation::Order,
            repos: Vec::new(),
            times: tinqs_ci_reconciler::model::Times::default(),
        }
    }

    #[test]
    fn few_dry_runs_cover_every_value() {
        let mut machines = Vec::new();
        for market in [Market::Spot, Market::OnDemand] {
            for kind in ["a.x", "b.x", "c.x"] {
                for subnet in ["subnet-1", "subnet-2"] {
                    machines.push(machine(market, kind, subnet));
                }
            }
        }
        let chosen = covering(&machines);
        assert_eq!(chosen.len(), 5, "2 + 3 + 2 - 2 of 12: {chosen:?}");
        for machine in &machines {
            assert!(chosen.iter().any(|c| c.kind == machine.kind));
            assert!(chosen.iter().any(|c| c.subnet == machine.subnet));
            assert!(chosen.iter().any(|c| c.market == machine.market));
        }
        assert!(covering(&[]).is_empty());
    }

    #[test]
    fn a_refusal_names_its_remedy() {
        let refused = |kind, message: &str| PortError::new("compute", "rehearse", kind, message);
        let rows = [
            (ErrorKind::Denied, "UnauthorizedOperation: iam:PassRole on", Outcome::Fail, "PassRun"),
            (ErrorKind::Denied, "UnauthorizedOperation: ec2:CreateTags", Outcome::Fail, "TagAt"),
            (
                ErrorKind::Denied,
                "UnauthorizedOperation: RunInstances",
                Outcome::Fail,
                "each instance type",
            ),
            (ErrorKind::Unavailable, "no response", Outcome::Fail, "network"),
            (ErrorKind::Throttled, "RequestLimitExceeded", Outcome::Warn, "later"),
            (ErrorKind::NoCapacity, "Unsupported", Outcome::Warn, "instance types"),
            (ErrorKind::Limit, "VcpuLimitExceeded", Outcome::Warn, "quota"),
            (ErrorKind::Invalid, "InvalidParameterValue", Outcome::Fail, "[class.machines]"),
        ];
        for (kind, message, outcome, helps) in rows {
            let check = refusal(message.to_owned(), &refused(kind, message));
            assert_eq!(check.outcome, outcome, "{message}");
            assert!(check.fix.as_ref().is_some_and(|fix| fix.contains(helps)), "{check:?}");
        }
        let class = class(Vec::new());
        let denied = |what: &str| {
            (what.to_owned(), refused(ErrorKind::Denied, "UnauthorizedOperation (HTTP 403)"))
        };
        let checks = judged(&class, 4, 1, &[denied("spot a.x"), denied("spot b.x")]);
        let outcomes: Vec<_> = checks.iter().map(|check| check.outcome).collect();
        assert_eq!(outcomes, [Outcome::Fail, Outcome::Ok], "{checks:?}");
        assert!(checks[0].message.starts_with("linux: spot a.x, spot b.x: Unauth"), "{checks:?}");
        assert!(checks[1].message.contains("1 of 3") && checks[1].message.contains("1 more"));
    }
}
