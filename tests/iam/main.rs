//! The policies of `deploy/aws/iam/`, evaluated offline: what each role may and may not do.

mod cases;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tinqs_ci_testing::iam::{Call, Policy, folder};

/// Values of the placeholders.
const VALUES: [(&str, &str); 20] = [
    ("region", "eu-central-1"),
    ("account", "111122223333"),
    ("installation", "tinqs-ci"),
    ("table", "tinqs-ci"),
    ("queue", "tinqs-ci"),
    ("dead_letter_queue", "tinqs-ci-dead"),
    ("runner_profile", "tinqs-ci-runner"),
    ("runner_role", "tinqs-ci-runner"),
    ("instance_type", "c7a.medium"),
    ("security_group", "sg-1"),
    ("subnet", "subnet-a"),
    ("image", "ami-0123"),
    ("forge_token", "tinqs-ci/forge"),
    ("webhook_secret", "tinqs-ci/webhook"),
    ("function", "tinqs-ci-controller"),
    ("tag_key", "CostCenter"),
    ("hop_limit", "1"),
    ("image_parameter", "ci/image"),
    ("disk_key", "0a1b"),
    ("launch_template", "lt-0123"),
];

/// Reads a policy with its placeholders filled in.
fn policy(name: &str) -> Policy {
    policy_with(name, &[])
}

/// Reads a policy with these values for some of its placeholders.
fn policy_with(name: &str, values: &[(&str, &str)]) -> Policy {
    let values: Vec<_> = values.iter().chain(&VALUES).copied().collect();
    Policy::of_file(name, &values)
}

/// Returns the policies of a role, including its boundary; each must allow a call.
fn role(name: &str) -> Vec<Policy> {
    match name {
        "controller" => vec![policy("controller"), policy("boundary")],
        other => vec![policy(other)],
    }
}

fn allows(role: &[Policy], call: &Call) -> bool {
    role.iter().all(|policy| policy.allows(call))
}

#[test]
fn each_role_has_exactly_its_rights() {
    let mut wrong = Vec::new();
    let (mut allowed, mut denied) = (0, 0);
    for case in cases::all() {
        let may = allows(&role(case.role), &case.call);
        if may == case.allowed {
            *(if may { &mut allowed } else { &mut denied }) += 1;
        } else {
            wrong.push(format!(
                "{}: {}: {}",
                case.role,
                case.name,
                if may { "may" } else { "may not" }
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(allowed >= 20 && denied >= 40, "{allowed} allowed, {denied} denied: too few cases");
}

/// A class with a second hop needs a policy that says so.
#[test]
fn a_second_hop_is_allowed_where_the_policy_says_so() {
    let wide = [policy_with("controller", &[("hop_limit", "2")]), policy("boundary")];
    for (hops, narrow_allows, wide_allows) in
        [("1", true, true), ("2", false, true), ("3", false, false)]
    {
        let values = [hops];
        let asked = [("ec2:MetadataHttpPutResponseHopLimit", values.as_slice())];
        let call = cases::launch(cases::INSTANCE, &asked);
        assert_eq!(allows(&role("controller"), &call), narrow_allows, "{call:?}");
        assert_eq!(allows(&wide, &call), wide_allows, "{call:?}");
    }
}

/// The boundary alone denies calls that a wider policy might allow in the future.
#[test]
fn the_boundary_denies_without_the_policy() {
    let boundary = policy("boundary");
    for case in cases::all().into_iter().filter(|case| case.boundary) {
        assert!(!boundary.allows(&case.call), "{}", case.name);
    }
}

#[test]
fn every_condition_key_of_a_policy_has_a_case() {
    let known: BTreeSet<String> =
        cases::all().into_iter().flat_map(|case| case.call.context.into_keys()).collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".json") else { continue };
        for key in policy(name).keys() {
            let trust = name.ends_with("-trust");
            assert!(trust || known.contains(&key), "{name}: no case sets `{key}`");
        }
    }
}

#[test]
fn actions_are_sorted_and_grants_have_no_wildcard() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".json") else { continue };
        for (sid, allow, actions) in policy(name).actions() {
            assert!(actions.is_sorted(), "{name} {sid}: {actions:?}");
            let wild = actions.iter().any(|action| action.contains('*'));
            // The boundary grants nothing: the policy must allow a call, too.
            assert!(!(allow && wild) || name == "boundary", "{name} {sid}: {actions:?}");
        }
    }
}

/// Each call of the adapters and its action. (A batch needs the action of a single call.)
const CALLS: [(&str, &str); 32] = [
    ("batch_get_item", "dynamodb:BatchGetItem"),
    ("create_queue", "sqs:CreateQueue"),
    ("create_table", "dynamodb:CreateTable"),
    ("delete_item", "dynamodb:DeleteItem"),
    ("delete_message", "sqs:DeleteMessage"),
    ("delete_message_batch", "sqs:DeleteMessage"),
    ("describe_images", "ec2:DescribeImages"),
    ("describe_instance_type_offerings", "ec2:DescribeInstanceTypeOfferings"),
    ("describe_instance_types", "ec2:DescribeInstanceTypes"),
    ("describe_instances", "ec2:DescribeInstances"),
    ("describe_launch_template_versions", "ec2:DescribeLaunchTemplateVersions"),
    ("describe_route_tables", "ec2:DescribeRouteTables"),
    ("describe_security_groups", "ec2:DescribeSecurityGroups"),
    ("describe_spot_price_history", "ec2:DescribeSpotPriceHistory"),
    ("describe_subnets", "ec2:DescribeSubnets"),
    ("describe_table", "dynamodb:DescribeTable"),
    ("describe_time_to_live", "dynamodb:DescribeTimeToLive"),
    ("get_console_output", "ec2:GetConsoleOutput"),
    ("get_item", "dynamodb:GetItem"),
    ("get_queue_attributes", "sqs:GetQueueAttributes"),
    ("get_queue_url", "sqs:GetQueueUrl"),
    ("put_item", "dynamodb:PutItem"),
    ("query", "dynamodb:Query"),
    ("receive_message", "sqs:ReceiveMessage"),
    ("run_instances", "ec2:RunInstances"),
    ("send_message", "sqs:SendMessage"),
    ("send_message_batch", "sqs:SendMessage"),
    ("terminate_instances", "ec2:TerminateInstances"),
    // A transaction needs the actions of its parts: `put_item`, `update_item`.
    ("transact_write_items", "dynamodb:PutItem"),
    ("update_item", "dynamodb:UpdateItem"),
    ("update_table", "dynamodb:UpdateTable"),
    ("update_time_to_live", "dynamodb:UpdateTimeToLive"),
];

/// Prefixes of operation names.
const VERBS: [&str; 21] = [
    "batch_",
    "cancel_",
    "change_",
    "create_",
    "delete_",
    "describe_",
    "execute_",
    "get_",
    "list_",
    "modify_",
    "purge_",
    "put_",
    "query",
    "receive_",
    "run_",
    "scan",
    "send_message",
    "start_",
    "stop_",
    "terminate_",
    "transact_",
];

/// Names that are no operation, or an operation that needs no right.
const NO_CALLS: [&str; 4] =
    ["delete_on_termination", "get_caller_identity", "list_open", "list_pauses"];

fn sources(dir: &Path, into: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_call_of_the_adapters_is_allowed_and_has_a_case() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters/aws/src"), &mut text);
    // An operation of the SDK starts with `.name()`, or its module is named.
    let begun = text.split("()").filter_map(|before| before.rsplit_once('.')).map(|(_, name)| name);
    let named = text.split("operation::").skip(1).filter_map(|after| after.split("::").next());
    let called: BTreeSet<&str> = begun
        .chain(named)
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .filter(|name| VERBS.iter().any(|verb| name.starts_with(verb)))
        .filter(|name| !NO_CALLS.contains(name))
        .collect();
    assert!(called.contains("run_instances") && called.len() >= 15, "{called:?}");
    let cases = cases::all();
    for name in called {
        let action = CALLS.iter().find(|(call, _)| *call == name).map(|(_, action)| *action);
        let action =
            action.unwrap_or_else(|| panic!("`{name}` is called but has no action in CALLS"));
        let allowed = cases.iter().any(|case| case.allowed && case.call.action == action);
        assert!(allowed, "no case allows {action}, which `{name}` needs");
    }
}
