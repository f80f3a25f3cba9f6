//! `doctor` and `init --aws` of the real binary on AWS's wires, configured by the predecessor's
//! eight variables and the addresses of the wires.

mod credentials;
mod from_lambda;
mod place;
mod secrets;
mod sso;
#[allow(dead_code, reason = "the store's own suite uses the rest")]
#[path = "../wire/mod.rs"]
mod wire;

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::KeyType;
use tinqs_ci_reconciler::model::MachineState;
use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};
use tinqs_ci_simulator::ec2_wire::{Ec2Options, LaunchTemplate};

use place::{Place, Report, TABLE, closed, deaf};
use wire::Fault;

/// The AWS checks of every good report, in order.
const GOOD: [&str; 13] = [
    "aws",
    "store",
    "store: indexes",
    "store: expiry",
    "store: rights",
    "queue",
    "queue: dead letters",
    "queue: events",
    "class: image",
    "class: subnets",
    "class: groups",
    "class: kinds",
    "class: launch",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_accepts_what_init_makes() {
    let place = Place::new().await;
    let made = place.run(&["init", "--aws", "--queue-name", "wakes"], &[]).await;
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{}", made.out);
    let url = place.sqs.queue_url("wakes");
    assert!(made.out.contains(&format!("queue = \"sqs:{url}\"")), "{}", made.out);

    let queue = [("TINQS_CI_QUEUE", format!("sqs:{url}"))];
    let report = place.doctor(&queue).await;
    assert_eq!(report.code, 0, "{report:#?}");
    for name in GOOD {
        assert_eq!(report.one(name).status, "ok", "{name}: {report:#?}");
    }
    assert_eq!(report.one("class: quota").status, "ok");
    assert!(report.one("aws").message.starts_with("account 123456789012, arn:aws:iam::"));
    assert!(report.one("queue").message.contains("visibility timeout 180 s"), "{report:#?}");
    assert!(report.one("queue: events").message.contains("may send"), "{report:#?}");
    assert!(report.one("class: launch").message.contains("1 dry-run launch"), "{report:#?}");
    place.nothing_was_launched();

    let offline = place.run(&["doctor", "--offline"], &queue).await;
    assert!(offline.out.contains("created by serve if missing"), "{}", offline.out);
    assert!(!offline.out.contains("class: image"), "{}", offline.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_accepts_the_predecessors_table_with_warnings() {
    let place = Place::new().await;
    place.table(&[("run_id", KeyType::Hash)]).await;
    let report = place.doctor(&[]).await;
    assert_eq!(report.code, 0, "{report:#?}");
    assert_eq!(report.one("store").status, "ok");
    let lacking: Vec<_> = report.all("store: indexes").collect();
    assert_eq!(lacking.len(), 2, "{report:#?}");
    for check in lacking {
        assert_eq!(check.status, "warn");
        assert!(
            check.fix.contains("init --aws") && check.fix.contains("update-table"),
            "{check:?}"
        );
    }
    assert!(report.one("store: expiry").fix.contains("update-time-to-live"), "{report:#?}");
    assert!(report.all("queue").next().is_none(), "no queue is configured: {report:#?}");
    assert_eq!(place.dynamodb.calls("UpdateTable"), 0, "nothing was changed");

    place.dynamodb.indexes_take(Duration::from_secs(2));
    let made = place.run(&["init", "--aws"], &[]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.contains("index open created") && made.out.contains("ttl"), "{}", made.out);
    for index in ["open", "created"] {
        let progress =
            format!("note: index `{index}` of table {TABLE} is being created: 0 s so far");
        assert!(made.err.contains(&progress), "{}", made.err);
    }
    let report = place.doctor(&[]).await;
    for name in ["store: indexes", "store: expiry"] {
        assert_eq!(report.one(name).status, "ok", "{report:#?}");
    }
}

/// Asserts that exactly one check fails, with this message and fix.
#[track_caller]
fn fails(report: &Report, name: &str, says: &str, helps: &str) {
    assert_eq!(report.code, 1, "{report:#?}");
    let bad: Vec<_> = report.all(name).filter(|check| check.status == "fail").collect();
    let [bad] = bad[..] else { panic!("one `{name}` fails: {report:#?}") };
    assert!(bad.message.contains(says), "{says}: {bad:?}");
    assert!(bad.fix.contains(helps), "{helps}: {bad:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_foreign_table_fails() {
    let place = Place::new().await;
    let report = place.doctor(&[]).await;
    fails(&report, "store", "does not exist in this account", "`tinqs-ci init --aws` creates it");
    assert!(report.one("store").fix.contains("aws dynamodb create-table"), "{report:#?}");
    assert_eq!(place.dynamodb.calls("CreateTable"), 0, "nothing was made");

    place.table(&[("run_id", KeyType::Hash), ("at", KeyType::Range)]).await;
    fails(&place.doctor(&[]).await, "store", "its key is not", "another name");
    let made = place.run(&["init", "--aws"], &[]).await;
    assert_eq!(made.code, 1, "{}", made.out);
    assert!(made.err.contains("not a table of tinqs-ci"), "{}", made.err);
    let calls = ["UpdateTable", "UpdateTimeToLive"].map(|call| place.dynamodb.calls(call));
    assert_eq!(calls, [0, 0], "it stays as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_named() {
    let place = Place::new().await;
    place.table(&[("run_id", KeyType::Hash)]).await;
    for operation in ["PutItem", "Query"] {
        place.dynamodb.fail(operation, Fault::Deny, 1);
    }
    let report = place.doctor(&[]).await;
    let says = "may not dynamodb:Query, dynamodb:PutItem";
    fails(&report, "store: rights", says, "deploy/aws/iam/controller.json");
    // Without the right to describe the table, `doctor` warns and still tries the other rights.
    place.dynamodb.fail("DescribeTable", Fault::Deny, 1);
    let report = place.doctor(&[]).await;
    assert_eq!(report.one("store").status, "warn");
    assert_eq!(report.one("store: rights").status, "ok", "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_queue_fails_and_poor_settings_warn() {
    let place = Place::new().await;
    let of = |name: &str| [("TINQS_CI_QUEUE", format!("sqs:{}", place.sqs.queue_url(name)))];
    let report = place.doctor(&of("gone")).await;
    fails(&report, "queue", "does not exist", "dead-letter queue by `tinqs-ci init --aws`");

    // A queue with default settings: hidden for 30 s, no dead letters, no other senders allowed.
    let report = place.doctor(&of("plain")).await;
    assert_eq!(report.one("queue").status, "warn", "{report:#?}");
    assert!(report.one("queue").fix.contains("VisibilityTimeout=180"), "{report:#?}");
    assert_eq!(report.one("queue: dead letters").status, "warn");
    assert!(report.one("queue: events").message.contains("may not send"), "{report:#?}");

    let denied = Kind::Error { code: "AccessDenied".to_owned(), status: 403 };
    let rule = Rule::new("sqs", "GetQueueAttributes", When::Always, denied);
    place.sqs.faults(|rules| rules.add(rule));
    let report = place.doctor(&of("plain")).await;
    fails(&report, "queue", "AccessDenied", "allow sqs:GetQueueAttributes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_resources_of_a_class_must_exist() {
    let place = Place::new().await;
    let rows = [
        ("RUNNER_AMI", "ami-9999", "class: image", "image ami-9999 does not", "another region"),
        ("RUNNER_AMI", "ami-0456", "class: kinds", "and ami-0456 is arm64", "one architecture"),
        ("SUBNET", "subnet-a,subnet-9", "class: subnets", "subnet-9 is not in this", "SUBNET"),
        ("SECURITY_GROUP", "sg-9", "class: groups", "sg-9 is not in this", "SECURITY_GROUP"),
        ("INSTANCE_TYPES", "t3.gigantic", "class: kinds", "t3.gigantic does not", "INSTANCE_TYPES"),
    ];
    for (variable, value, name, says, helps) in rows {
        let report = place.doctor(&[(variable, value.to_owned())]).await;
        fails(&report, name, says, helps);
        let launch = report.one("class: launch");
        assert_eq!(launch.status, "warn", "no impossible launch is tried: {report:#?}");
    }
    // Only a tried launch detects this.
    let report = place.doctor(&[("INSTANCE_PROFILE", "nobody".to_owned())]).await;
    fails(&report, "class: launch", "Invalid IAM Instance Profile name", "class.machines");
    assert!(report.one("class: launch").message.contains("check the class's `instance_profile`"));
    place.nothing_was_launched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_a_launch_are_tried() {
    for (action, helps) in [
        ("iam:PassRole", "statement PassRunnerRole"),
        ("ec2:CreateTags", "statement TagAtLaunchOnly"),
        ("ec2:RunInstances", "compare this process's role"),
    ] {
        let place = Place::of(|options: &mut Ec2Options| {
            options.denied = vec![action.to_owned()];
        });
        let place = place.await;
        let report = place.doctor(&[]).await;
        fails(&report, "class: launch", action, helps);
        assert!(
            !report.one("class: launch").message.contains("4w8g"),
            "the encoded message is decoded or left out"
        );
        place.nothing_was_launched();
    }
    // `serve` works without most rights to describe.
    let place = Place::of(|options| options.denied = vec!["ec2:DescribeSubnets".to_owned()]).await;
    let report = place.doctor(&[]).await;
    assert_eq!(report.one("ec2").status, "warn", "{report:#?}");
    assert!(report.one("ec2").fix.contains("ec2:DescribeSubnets"), "{report:#?}");
    assert_eq!(report.one("class: launch").status, "ok", "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_must_fit_the_addresses_of_machines() {
    let routed = async |route: &str, public_address: &str| {
        let place = Place::of(|options: &mut Ec2Options| {
            route.clone_into(&mut options.account.subnets[0].default_route);
        });
        let report = place.await.doctor(&[("PUBLIC_ADDRESS", public_address.to_owned())]).await;
        let check = report.one("class: subnets");
        (check.status.clone(), check.message.clone())
    };
    let rows = [
        ("igw-1", "true", "ok", ""),
        ("nat-1", "false", "ok", ""),
        ("", "false", "ok", "need a NAT or endpoint"),
        ("igw-1", "false", "warn", "the default route of subnet-a is an internet gateway"),
        ("", "true", "warn", "subnet-a has no default route"),
    ];
    for (route, public_address, status, says) in rows {
        let (told, message) = routed(route, public_address).await;
        assert_eq!(told, status, "{route} {public_address}: {message}");
        assert!(message.contains(says), "{route} {public_address}: {message}");
        assert!(!says.is_empty() || !message.contains("NAT"), "{message}");
    }
    let action = "ec2:DescribeRouteTables";
    let place = Place::of(|options| options.denied = vec![action.to_owned()]).await;
    let report = place.doctor(&[]).await;
    assert!(report.one("ec2").fix.contains(action), "{report:#?}");
    assert_eq!(report.one("class: subnets").status, "ok", "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accidental_launch_is_reported_and_terminated() {
    let place = Place::of(|options| options.dry_run = false).await;
    let report = place.doctor(&[]).await;
    let made = place.ec2.machines();
    assert_eq!(made.len(), 1);
    assert!(matches!(made[0].state, MachineState::Ending | MachineState::Gone), "{made:?}");
    fails(&report, "class: launch", &made[0].id.0, "[class.machines]");
    assert!(report.one("class: launch").message.contains("was terminated again"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_class_is_checked_with_few_launch_tries() {
    let place = Place::of(|options| options.account.types[1].zones.truncate(1)).await;
    let class = |name: &str, kinds: &str, image: &str| {
        format!(
            "[[class]]\nname = \"{name}\"\nlabels = [\"{name}\"]\nlimit = 20\n[class.machines]\n\
             markets = [\"spot\", \"on-demand\"]\nkinds = [{kinds}]\n\
             subnets = [\"subnet-a\", \"subnet-b\"]\nimage = \"{image}\"\n\
             security_groups = [\"sg-1\"]\ninstance_profile = \"tinqs-ci-runner\"\n"
        )
    };
    let linux = class("linux", "\"c7a.medium\", \"t3a.small\"", "ami-0123");
    place.configure(&(linux + &class("arm", "\"t4g.small\"", "ami-0456")));
    let report = place.doctor(&[]).await;
    let of = |class: &str, name: &str| -> Vec<String> {
        let all = report.all(name).filter(|check| check.message.starts_with(class));
        all.map(|check| check.status.clone()).collect()
    };
    for name in ["class: image", "class: subnets", "class: groups", "class: launch"] {
        for class in ["linux: ", "arm: "] {
            assert_eq!(of(class, name), ["ok"], "{class}{name}: {report:#?}");
        }
    }
    // One of two zones does not offer one of two kinds.
    assert_eq!(of("linux: ", "class: kinds"), ["warn", "ok"], "{report:#?}");
    assert_eq!(of("arm: ", "class: kinds"), ["ok"]);
    let quotas: Vec<_> = report.all("class: quota").map(|check| &check.message).collect();
    assert!(quotas[0].contains("20 machines of up to 2 vCPUs need 40"), "{quotas:?}");
    assert!(quotas[0].contains("Spot Instance Requests\" and \"Running On-Demand"), "{quotas:?}");
    assert_eq!(place.ec2.ledger().count("RunInstances"), 4 + 3, "of 8 and 4 offerings");
    place.nothing_was_launched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_options_of_a_class_are_tried() {
    let place = Place::new().await;
    let class = |options: &str| {
        format!(
            "[[class]]\nname = \"linux\"\nlabels = [\"linux\"]\nrepos = [\"acme/*\"]\n\
             [class.machines]\nkinds = [\"t3.small\"]\nsubnets = [\"subnet-a\"]\n\
             image = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n{options}\n"
        )
    };
    place.configure(&class("disk_gib = 7"));
    let report = place.doctor(&[]).await;
    fails(&report, "class: launch", "expect size >= 8GB", "[class.machines]");
    place.configure(&class("disk_gib = 40\ndisk_iops = 3500\ndisk_throughput = 250"));
    let report = place.doctor(&[]).await;
    assert_eq!(report.one("class: launch").status, "ok", "{report:#?}");
    place.nothing_was_launched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_field_of_a_launch_template_that_is_ours_is_named() {
    let place = Place::of(|options| {
        let sets = [("Monitoring.Enabled", "true"), ("IamInstanceProfile.Name", "admin")];
        options.account.launch_templates.push(LaunchTemplate::new("lt-0999", 2, &sets));
    });
    let place = place.await;
    let by_template = |template: &str| {
        place.configure(&format!(
            "[[class]]\nname = \"linux\"\nlabels = [\"linux\"]\nrepos = [\"acme/*\"]\n\
             [class.machines]\nkinds = [\"t3.small\"]\nsubnets = [\"subnet-a\"]\n\
             image = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n\
             launch_template = \"{template}\"\n"
        ));
    };
    let check = "class: launch template";
    for (template, says) in [
        ("lt-0999:2", "linux: launch template lt-0999:2 sets IamInstanceProfile, which"),
        ("lt-0123:8", "InvalidLaunchTemplateId.VersionNotFound"),
    ] {
        by_template(template);
        let report = place.doctor(&[]).await;
        fails(&report, check, says, "fix the configuration");
        assert_eq!(report.one("class: launch").status, "warn", "{report:#?}");
    }
    let tried = place.ec2.ledger().count("RunInstances");
    assert_eq!(tried, 0, "a launch would repeat the failure");
    by_template("lt-0123:7");
    let report = place.doctor(&[]).await;
    assert_eq!(report.one(check).status, "ok", "{report:#?}");
    assert_eq!(report.one("class: launch").status, "ok", "{report:#?}");
    place.nothing_was_launched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_must_hold_an_image() {
    let place = Place::new().await;
    let named = [("RUNNER_AMI", "ssm:/ci/image".to_owned())];
    let report = place.doctor(&named).await;
    fails(&report, "class: image", "ParameterNotFound", "create the parameter");
    assert_eq!(report.one("class: launch").status, "warn", "{report:#?}");
    place.ec2.set_parameter("/ci/image", "canary-of-another-parameter");
    let report = place.doctor(&named).await;
    fails(&report, "class: image", "/ci/image: does not hold an image ID", "set an image ID");
    assert!(!format!("{report:?}").contains("canary"), "the value may be a secret");
    place.ec2.set_parameter("/ci/image", "ami-0123");
    let report = place.doctor(&named).await;
    assert!(report.one("class: image").message.contains("ami-0123 is available"), "{report:#?}");
    assert_eq!(report.one("class: launch").status, "ok", "{report:#?}");
    place.nothing_was_launched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_of_another_region_are_missing() {
    let place = Place::of(|options| {
        options.account.region = "us-west-2".to_owned();
        options.account.images.clear();
        options.account.subnets.clear();
        options.account.security_groups.clear();
    });
    let place = place.await;
    let report = place.doctor(&[("AWS_REGION", "us-west-2".to_owned())]).await;
    fails(&report, "class: image", "in this region", "copy an image");
    fails(&report, "class: subnets", "this account and region", "SUBNET");
    assert!(report.one("aws").message.ends_with("us-west-2"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_credentials_give_one_failure() {
    let place = Place::new().await;
    let none = [("AWS_ACCESS_KEY_ID", String::new()), ("AWS_SECRET_ACCESS_KEY", String::new())];
    let report = place.doctor(&none).await;
    fails(&report, "aws", "no AWS credentials found", "AWS_PROFILE");
    assert!(report.all("store").next().is_none(), "{report:#?}");
    let said = place.run(&["init", "--aws"], &none).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("credentials, region and network"), "{}", said.err);

    let unknown = Kind::Error { code: "InvalidClientTokenId".to_owned(), status: 403 };
    let rule = Rule::new("sts", "GetCallerIdentity", When::Always, unknown);
    place.ec2.faults(|rules| rules.add(rule));
    let report = place.doctor(&[]).await;
    fails(&report, "aws", "InvalidClientTokenId", "have not expired");
    assert!(report.all("store").next().is_none(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_services_are_reported_quickly() {
    let place = Place::new().await;
    let queue = format!("sqs:{}", place.sqs.queue_url("plain"));
    let silent = deaf();
    for endpoint in [closed(), silent.url.clone()] {
        let begun = Instant::now();
        let elsewhere = [
            ("AWS_ENDPOINT_URL_STS", endpoint.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.clone()),
            ("AWS_ENDPOINT_URL_EC2", endpoint.clone()),
            ("AWS_ENDPOINT_URL_SQS", endpoint),
            ("TINQS_CI_QUEUE", queue.clone()),
        ];
        let report = place.doctor(&elsewhere).await;
        // Three times the sum of the calls' own time limits.
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
        assert_eq!(report.one("aws").status, "warn", "only STS is optional: {report:#?}");
        for name in ["store", "queue", "ec2"] {
            fails(&report, name, "", "network");
        }
        assert!(report.all("class: launch").next().is_none(), "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_creates_once_and_changes_nothing() {
    let place = Place::new().await;
    let args = ["init", "--aws", "--queue-name", "wakes"];
    let would = place.run(&[&args[..], &["--dry-run"]].concat(), &[]).await;
    assert_eq!(would.code, 0, "{}", would.err);
    let text = format!("would create table {TABLE}:");
    assert!(would.out.contains(&text) && would.out.contains("wakes and wakes-dead"), "{would:?}");
    let made = || (place.dynamodb.calls("CreateTable"), place.sqs.ledger().count("CreateQueue"));
    assert_eq!(made(), (0, 0), "a dry run makes nothing");

    let first = place.run(&args, &[]).await;
    assert_eq!(first.code, 0, "{}", first.err);
    assert_eq!(made(), (1, 2));
    let described = place.dynamodb.client().await.describe_table().table_name(TABLE);
    let table = described.send().await.expect("described").table.expect("there");
    assert_eq!(table.deletion_protection_enabled(), Some(true));

    let again = place.run(&args, &[]).await;
    assert_eq!(again.code, 0, "{}", again.err);
    let lines: Vec<&str> = again.out.lines().collect();
    assert_eq!(lines[..2], [&*format!("✓ table {TABLE} exists"), "✓ queue wakes exists"]);
    assert_eq!(made(), (1, 2), "nothing is made twice");
    assert_eq!(place.dynamodb.calls("UpdateTable"), 0);

    // An existing queue stays as it is; a missing one from the configuration is made.
    let configured =
        |name: &str| [("TINQS_CI_QUEUE", format!("sqs:{}", place.sqs.queue_url(name)))];
    let said = place.run(&["init", "--aws"], &configured("plain")).await;
    assert_eq!((said.code, made().1), (0, 2), "{}", said.err);
    let said = place.run(&["init", "--aws"], &configured("fresh")).await;
    assert_eq!((said.code, made().1), (0, 4), "{}", said.err);
    assert!(said.out.contains("queue fresh-dead created"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_reports_missing_rights_and_bad_arguments() {
    let place = Place::new().await;
    place.dynamodb.fail("CreateTable", Fault::Deny, 1);
    let said = place.run(&["init", "--aws"], &[]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("dynamodb:CreateTable"), "{}", said.err);
    assert!(said.err.contains("deploy/aws/iam/bootstrap.json"), "{}", said.err);

    let denied = Kind::Error { code: "AccessDenied".to_owned(), status: 403 };
    let rule = Rule::new("sqs", "CreateQueue", When::First(1), denied);
    place.sqs.faults(|rules| rules.add(rule));
    let args = ["init", "--aws", "--queue-name", "wakes"];
    let said = place.run(&args, &[]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("cannot create queue wakes-dead"), "{}", said.err);
    assert!(said.err.contains("deploy/aws/iam/bootstrap.json"), "{}", said.err);
    // The next try finds what was made before.
    let said = place.run(&args, &[]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with(&format!("✓ table {TABLE} exists\n")), "{}", said.out);

    let wrong = [
        (&["init", "--aws", "--url", "http://127.0.0.1:1"][..], "cannot be used with"),
        (&["init", "--queue-name", "wakes"], "--aws"),
        (&["init", "--aws", "--queue-name", "wakes.fifo"], "not a valid queue name"),
    ];
    for (args, says) in wrong {
        let said = place.run(args, &[]).await;
        assert_eq!(said.code, 2, "{args:?}: {}", said.out);
        assert!(said.err.contains(says), "{args:?}: {}", said.err);
    }
    let here =
        [("TINQS_CI_STORE", "memory:".to_owned()), ("TINQS_CI_COMPUTE", "process:".to_owned())];
    let said = place.run(&["init", "--aws"], &here).await;
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("nothing to create"), "{}", said.err);
}
