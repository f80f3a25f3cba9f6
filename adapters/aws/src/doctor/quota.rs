//! Computes how many vCPUs a class may use, and names the quota that limits them. Service Quotas
//! itself is not called.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::InstanceTypeInfo;
use tinqs_ci_reconciler::model::{Class, Market};

use tinqs_ci_reconciler::ports::check::Check;

const NAME: &str = "class: quota";

/// The name that Service Quotas gives to the group of an instance type's family.
fn group(kind: &str) -> &'static str {
    let letters: String = kind.chars().take_while(char::is_ascii_lowercase).collect();
    match letters.as_str() {
        "dl" => "DL",
        "f" => "F",
        "g" | "gr" | "vt" => "G and VT",
        "hpc" => "HPC",
        "inf" => "Inf",
        "p" => "P",
        "trn" => "Trn",
        "u" => "High Memory",
        "x" => "X",
        _ => "Standard (A, C, D, H, I, M, R, T, Z)",
    }
}

fn quota(market: Market, group: &str) -> String {
    match market {
        Market::Spot => format!("\"All {group} Spot Instance Requests\""),
        Market::OnDemand => format!("\"Running On-Demand {group} instances\""),
    }
}

/// Returns the comparison; `None` if the instance types are not known.
pub(super) fn check(
    class: &Class,
    kinds: Option<&BTreeMap<String, InstanceTypeInfo>>,
) -> Option<Check> {
    let known = kinds?;
    let vcpus = |kind: &String| known.get(kind)?.v_cpu_info()?.default_v_cpus();
    let most = class.machines.iter().filter_map(|machine| vcpus(&machine.kind)).max()?;
    let quotas: BTreeSet<String> =
        class.machines.iter().map(|m| quota(m.market, group(&m.kind))).collect();
    let quotas = quotas.into_iter().collect::<Vec<_>>().join(" and ");
    let name = &class.name;
    let wants = match class.limit {
        Some(limit) => {
            let all = i64::from(limit).saturating_mul(i64::from(most));
            format!("{limit} machines of up to {most} vCPUs need {all}")
        }
        None => format!("up to {most} vCPUs per machine, no `limit`"),
    };
    let message =
        format!("{name}: {wants}; compare with {quotas} in Service Quotas, EC2 (not checked here)");
    Some(Check::ok(NAME, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_type_belongs_to_a_quota_group() {
        for (kind, name) in [
            ("c7a.medium", "Standard (A, C, D, H, I, M, R, T, Z)"),
            ("im4gn.large", "Standard (A, C, D, H, I, M, R, T, Z)"),
            ("t3.small", "Standard (A, C, D, H, I, M, R, T, Z)"),
            ("g5.xlarge", "G and VT"),
            ("p4d.24xlarge", "P"),
            ("inf2.xlarge", "Inf"),
            ("trn1.2xlarge", "Trn"),
            ("u-6tb1.metal", "High Memory"),
            ("x2idn.metal", "X"),
            ("hpc7a.12xlarge", "HPC"),
        ] {
            assert_eq!(group(kind), name, "{kind}");
        }
        assert_eq!(quota(Market::Spot, "P"), "\"All P Spot Instance Requests\"");
        assert_eq!(quota(Market::OnDemand, "X"), "\"Running On-Demand X instances\"");
    }
}
