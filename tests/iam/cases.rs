//! Calls of each role, and whether they are allowed.

use std::collections::BTreeMap;

use tinqs_ci_testing::iam::Call;

pub(crate) struct Case {
    pub(crate) role: &'static str,
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    pub(crate) allowed: bool,
    /// Whether the boundary alone denies the call.
    pub(crate) boundary: bool,
}

pub(crate) const INSTANCE: &str = "arn:aws:ec2:eu-central-1:111122223333:instance/i-0a";
const VOLUME: &str = "arn:aws:ec2:eu-central-1:111122223333:volume/vol-0a";
const NIC: &str = "arn:aws:ec2:eu-central-1:111122223333:network-interface/eni-0a";
const SPOT: &str = "arn:aws:ec2:eu-central-1:111122223333:spot-instances-request/sir-0a";
const SUBNET: &str = "arn:aws:ec2:eu-central-1:111122223333:subnet/subnet-a";
const GROUP: &str = "arn:aws:ec2:eu-central-1:111122223333:security-group/sg-1";
const TEMPLATE: &str = "arn:aws:ec2:eu-central-1:111122223333:launch-template/lt-0123";
const IMAGE: &str = "arn:aws:ec2:eu-central-1::image/ami-0123";
const TABLE: &str = "arn:aws:dynamodb:eu-central-1:111122223333:table/tinqs-ci";
const INDEX: &str = "arn:aws:dynamodb:eu-central-1:111122223333:table/tinqs-ci/index/open";
const QUEUE: &str = "arn:aws:sqs:eu-central-1:111122223333:tinqs-ci";
const DEAD: &str = "arn:aws:sqs:eu-central-1:111122223333:tinqs-ci-dead";
const FORGE: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:tinqs-ci/forge-AbCdEf";
const HOOK: &str =
    "arn:aws:secretsmanager:eu-central-1:111122223333:secret:tinqs-ci/webhook-AbCdEf";
const LOG_GROUP: &str =
    "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/tinqs-ci-controller:*";
const LOG_STREAM: &str = "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/tinqs-ci-controller:log-stream:2026/11/29/[$LATEST]0a";
const PARAMETER: &str = "arn:aws:ssm:eu-central-1:111122223333:parameter/ci/image";
const FORGE_PARAMETER: &str = "arn:aws:ssm:eu-central-1:111122223333:parameter/tinqs-ci/forge";
const HOOK_PARAMETER: &str = "arn:aws:ssm:eu-central-1:111122223333:parameter/tinqs-ci/webhook";
const OTHER_PARAMETER: &str = "arn:aws:ssm:eu-central-1:111122223333:parameter/ci/token";
const RUNNER: &str = "arn:aws:iam::111122223333:role/tinqs-ci-runner";

/// The tags that the EC2 adapter gives a machine.
const TAGS: [&str; 13] = [
    "Name",
    "tinqs-ci",
    "tinqs-ci/class",
    "tinqs-ci/deadline",
    "tinqs-ci/hold",
    "tinqs-ci/idle-within",
    "tinqs-ci/placement",
    "tinqs-ci/registration",
    "tinqs-ci/repository",
    "tinqs-ci/run",
    "tinqs-ci/start-by",
    "tinqs-ci/attempt",
    "tinqs-ci/uid",
];

/// A context key and its values; no values remove the key.
pub(crate) type Change<'a> = (&'a str, &'a [&'a str]);

fn call(action: &str, resource: &str, changes: &[Change]) -> Call {
    let mut context =
        BTreeMap::from([("aws:RequestedRegion".to_owned(), vec!["eu-central-1".to_owned()])]);
    for (key, values) in changes {
        if values.is_empty() {
            context.remove(*key);
        } else {
            context.insert((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect());
        }
    }
    Call { action: action.to_owned(), resource: resource.to_owned(), context }
}

/// Returns the adapter's launch call with changes.
pub(crate) fn launch(resource: &str, changes: &[Change]) -> Call {
    let mut all: Vec<Change> = vec![
        ("aws:RequestTag/tinqs-ci", &["tinqs-ci"]),
        ("aws:TagKeys", &TAGS),
        ("ec2:InstanceType", &["c7a.medium"]),
        ("ec2:InstanceProfile", &["arn:aws:iam::111122223333:instance-profile/tinqs-ci-runner"]),
        ("ec2:MetadataHttpTokens", &["required"]),
        ("ec2:MetadataHttpPutResponseHopLimit", &["1"]),
    ];
    all.extend(changes);
    call("ec2:RunInstances", resource, &all)
}

fn case(role: &'static str, name: &'static str, allowed: bool, call: Call) -> Case {
    Case { role, name, call, allowed, boundary: false }
}

/// Returns a call that the boundary alone must deny.
fn stopped(name: &'static str, call: Call) -> Case {
    Case { role: "controller", name, call, allowed: false, boundary: true }
}

pub(crate) fn all() -> Vec<Case> {
    let mut all = launches();
    all.extend(machines());
    all.extend(disks());
    all.extend(records());
    all.extend(logs());
    all.extend(ingest());
    all.extend(others());
    all.extend(setup());
    all
}

fn launches() -> Vec<Case> {
    let may = |name, call| case("controller", name, true, call);
    let not = |name, call| case("controller", name, false, call);
    let tag = "aws:RequestTag/tinqs-ci";
    let with = |tag: &'static str| [&TAGS[..], &[tag]].concat();
    let (more, configured) = (with("Owner"), with("CostCenter"));
    let elsewhere = "arn:aws:ec2:us-east-1:111122223333:instance/i-0a";
    vec![
        may("launch: the machine", launch(INSTANCE, &[])),
        may("launch: its volume", launch(VOLUME, &[])),
        may("launch: its network interface", launch(NIC, &[])),
        may("launch: its spot request", launch(SPOT, &[])),
        may("launch: into our subnet", launch(SUBNET, &[])),
        may("launch: with our security group", launch(GROUP, &[])),
        may("launch: of our image", launch(IMAGE, &[])),
        may("launch: by our launch template", launch(TEMPLATE, &[])),
        not(
            "launch by another launch template",
            launch("arn:aws:ec2:eu-central-1:111122223333:launch-template/lt-9", &[]),
        ),
        not("change our launch template", call("ec2:CreateLaunchTemplateVersion", TEMPLATE, &[])),
        not("launch without tags", launch(INSTANCE, &[(tag, &[]), ("aws:TagKeys", &[])])),
        not("launch without our tag", launch(INSTANCE, &[(tag, &[]), ("aws:TagKeys", &["Name"])])),
        not("launch with another installation's tag", launch(INSTANCE, &[(tag, &["other"])])),
        not("launch with an additional tag", launch(INSTANCE, &[("aws:TagKeys", &more)])),
        may("launch with a configured tag", launch(INSTANCE, &[("aws:TagKeys", &configured)])),
        may("its volume with that tag", launch(VOLUME, &[("aws:TagKeys", &configured)])),
        not("a volume with an additional tag", launch(VOLUME, &[("aws:TagKeys", &more)])),
        not("a volume without our tag", launch(VOLUME, &[(tag, &[])])),
        not("a spot request without our tag", launch(SPOT, &[(tag, &[])])),
        not("launch of another type", launch(INSTANCE, &[("ec2:InstanceType", &["p5.48xlarge"])])),
        not(
            "launch with another profile",
            launch(
                INSTANCE,
                &[("ec2:InstanceProfile", &["arn:aws:iam::111122223333:instance-profile/admin"])],
            ),
        ),
        not("launch without a profile", launch(INSTANCE, &[("ec2:InstanceProfile", &[])])),
        not("launch with IMDSv1", launch(INSTANCE, &[("ec2:MetadataHttpTokens", &["optional"])])),
        not("launch without IMDS options", launch(INSTANCE, &[("ec2:MetadataHttpTokens", &[])])),
        not(
            "launch with two hops",
            launch(INSTANCE, &[("ec2:MetadataHttpPutResponseHopLimit", &["2"])]),
        ),
        not("launch of another image", launch("arn:aws:ec2:eu-central-1::image/ami-9999", &[])),
        not(
            "launch into another subnet",
            launch("arn:aws:ec2:eu-central-1:111122223333:subnet/subnet-x", &[]),
        ),
        not(
            "launch with another group",
            launch("arn:aws:ec2:eu-central-1:111122223333:security-group/sg-9", &[]),
        ),
        not(
            "launch with a key pair",
            launch("arn:aws:ec2:eu-central-1:111122223333:key-pair/admin", &[]),
        ),
        stopped(
            "launch in another region",
            launch(elsewhere, &[("aws:RequestedRegion", &["us-east-1"])]),
        ),
    ]
}

fn machines() -> Vec<Case> {
    let may = |name, call| case("controller", name, true, call);
    let not = |name, call| case("controller", name, false, call);
    let ours: Change = ("aws:ResourceTag/tinqs-ci", &["tinqs-ci"]);
    let at_launch: Change = ("ec2:CreateAction", &["RunInstances"]);
    let tagged: Change = ("aws:RequestTag/tinqs-ci", &["tinqs-ci"]);
    let to_ec2: Change = ("iam:PassedToService", &["ec2.amazonaws.com"]);
    let end = |changes: &[Change]| call("ec2:TerminateInstances", INSTANCE, changes);
    let console = |changes: &[Change]| call("ec2:GetConsoleOutput", INSTANCE, changes);
    vec![
        may("terminate ours", end(&[ours])),
        not("terminate one without a tag", end(&[])),
        not("terminate another installation's", end(&[("aws:ResourceTag/tinqs-ci", &["other"])])),
        not("terminate one tagged by name only", end(&[("aws:ResourceTag/Name", &["tinqs-ci"])])),
        may("tag at the launch", call("ec2:CreateTags", INSTANCE, &[at_launch, tagged])),
        not(
            "tag with another value",
            call("ec2:CreateTags", INSTANCE, &[at_launch, ("aws:RequestTag/tinqs-ci", &["x"])]),
        ),
        stopped("tag a living machine", call("ec2:CreateTags", INSTANCE, &[tagged])),
        stopped(
            "tag at another creation",
            call("ec2:CreateTags", VOLUME, &[("ec2:CreateAction", &["CreateVolume"]), tagged]),
        ),
        stopped("untag a machine", call("ec2:DeleteTags", INSTANCE, &[ours])),
        may("list machines", call("ec2:DescribeInstances", "*", &[])),
        may("read subnets", call("ec2:DescribeSubnets", "*", &[])),
        may("read routes", call("ec2:DescribeRouteTables", "*", &[])),
        may("read launch templates", call("ec2:DescribeLaunchTemplateVersions", "*", &[])),
        may("read images", call("ec2:DescribeImages", "*", &[])),
        may("read groups", call("ec2:DescribeSecurityGroups", "*", &[])),
        may("read kinds", call("ec2:DescribeInstanceTypes", "*", &[])),
        may("read spot prices", call("ec2:DescribeSpotPriceHistory", "*", &[])),
        may("read offerings", call("ec2:DescribeInstanceTypeOfferings", "*", &[])),
        stopped(
            "list machines of another region",
            call("ec2:DescribeInstances", "*", &[("aws:RequestedRegion", &["us-east-1"])]),
        ),
        stopped("read user data", call("ec2:DescribeInstanceAttribute", INSTANCE, &[ours])),
        may("read the console of ours", console(&[ours])),
        stopped("read the console of one without a tag", console(&[])),
        stopped(
            "read the console of another installation's",
            console(&[("aws:ResourceTag/tinqs-ci", &["other"])]),
        ),
        stopped("change a machine", call("ec2:ModifyInstanceAttribute", INSTANCE, &[ours])),
        stopped(
            "loosen the metadata service",
            call("ec2:ModifyInstanceMetadataOptions", INSTANCE, &[ours]),
        ),
        stopped(
            "give a machine another role",
            call("ec2:AssociateIamInstanceProfile", INSTANCE, &[ours]),
        ),
        not("stop a machine", call("ec2:StopInstances", INSTANCE, &[ours])),
        not("start a machine", call("ec2:StartInstances", INSTANCE, &[ours])),
        stopped("open a shell on a machine", call("ssm:StartSession", INSTANCE, &[ours])),
        may("read the parameter of the image", call("ssm:GetParameter", PARAMETER, &[])),
        not("read another parameter", call("ssm:GetParameter", OTHER_PARAMETER, &[])),
        stopped(
            "read it in another region",
            call("ssm:GetParameter", PARAMETER, &[("aws:RequestedRegion", &["us-east-1"])]),
        ),
        stopped("change the parameter", call("ssm:PutParameter", PARAMETER, &[])),
        stopped("send a command to a machine", call("ssm:SendCommand", INSTANCE, &[ours])),
        may("pass the runner's role", call("iam:PassRole", RUNNER, &[to_ec2])),
        not(
            "pass it to another service",
            call("iam:PassRole", RUNNER, &[("iam:PassedToService", &["lambda.amazonaws.com"])]),
        ),
        stopped(
            "pass another role",
            call("iam:PassRole", "arn:aws:iam::111122223333:role/admin", &[to_ec2]),
        ),
        stopped("make a role", call("iam:CreateRole", "arn:aws:iam::111122223333:role/new", &[])),
        stopped("widen the runner's role", call("iam:PutRolePolicy", RUNNER, &[])),
    ]
}

/// EC2 asks for the key of a disk on behalf of the caller.
fn disks() -> Vec<Case> {
    let key = "arn:aws:kms:eu-central-1:111122223333:key/0a1b";
    let other = "arn:aws:kms:eu-central-1:111122223333:key/9f8e";
    let via: Change = ("kms:ViaService", &["ec2.eu-central-1.amazonaws.com"]);
    let may = |name, action| case("controller", name, true, call(action, key, &[via]));
    vec![
        may("encrypt a disk: grant", "kms:CreateGrant"),
        may("encrypt a disk: its data key", "kms:GenerateDataKeyWithoutPlaintext"),
        case(
            "controller",
            "encrypt a disk by another key",
            false,
            call("kms:CreateGrant", other, &[via]),
        ),
        case("controller", "use the key itself", false, call("kms:Decrypt", key, &[])),
        stopped("administer the key", call("kms:PutKeyPolicy", key, &[via])),
    ]
}

fn records() -> Vec<Case> {
    let may = |name, call| case("controller", name, true, call);
    let not = |name, call| case("controller", name, false, call);
    vec![
        may("read a run", call("dynamodb:GetItem", TABLE, &[])),
        may("write a run", call("dynamodb:PutItem", TABLE, &[])),
        may("change a seat", call("dynamodb:UpdateItem", TABLE, &[])),
        may("remove a run", call("dynamodb:DeleteItem", TABLE, &[])),
        may("query the index", call("dynamodb:Query", INDEX, &[])),
        may("read several", call("dynamodb:BatchGetItem", TABLE, &[])),
        may("describe the time to live", call("dynamodb:DescribeTimeToLive", TABLE, &[])),
        may("find the queue", call("sqs:GetQueueUrl", QUEUE, &[])),
        may("see the queue's depth", call("sqs:GetQueueAttributes", QUEUE, &[])),
        may("find the dead-letter queue", call("sqs:GetQueueUrl", DEAD, &[])),
        may("count the dead letters", call("sqs:GetQueueAttributes", DEAD, &[])),
        not(
            "see another queue's depth",
            call("sqs:GetQueueAttributes", "arn:aws:sqs:eu-central-1:111122223333:orders", &[]),
        ),
        may("describe the table", call("dynamodb:DescribeTable", TABLE, &[])),
        stopped("scan", call("dynamodb:Scan", TABLE, &[])),
        stopped("drop the table", call("dynamodb:DeleteTable", TABLE, &[])),
        stopped("make a table", call("dynamodb:CreateTable", TABLE, &[])),
        not(
            "read another table",
            call("dynamodb:GetItem", "arn:aws:dynamodb:eu-central-1:111122223333:table/wages", &[]),
        ),
        may("wake", call("sqs:SendMessage", QUEUE, &[])),
        may("take wake-ups", call("sqs:ReceiveMessage", QUEUE, &[])),
        may("delete a wake-up", call("sqs:DeleteMessage", QUEUE, &[])),
        may("send a dead letter", call("sqs:SendMessage", DEAD, &[])),
        not("empty a queue", call("sqs:PurgeQueue", QUEUE, &[])),
        not(
            "take from another queue",
            call("sqs:ReceiveMessage", "arn:aws:sqs:eu-central-1:111122223333:orders", &[]),
        ),
        may("read the forge's token", call("secretsmanager:GetSecretValue", FORGE, &[])),
        may("read it from a parameter", call("ssm:GetParameter", FORGE_PARAMETER, &[])),
        not("change that parameter", call("ssm:PutParameter", FORGE_PARAMETER, &[])),
        not(
            "read another secret",
            call(
                "secretsmanager:GetSecretValue",
                "arn:aws:secretsmanager:eu-central-1:111122223333:secret:payroll-AbCdEf",
                &[],
            ),
        ),
    ]
}

/// Calls of the Lambda runtime with the function's role.
fn logs() -> Vec<Case> {
    let may = |name, call| case("controller", name, true, call);
    let other = "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/wages:log-stream:x";
    let longer =
        "arn:aws:logs:eu-central-1:111122223333:log-group:/aws/lambda/tinqs-ci-controller-2:*";
    let elsewhere =
        "arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/tinqs-ci-controller:*";
    vec![
        may("make the function's log group", call("logs:CreateLogGroup", LOG_GROUP, &[])),
        may("begin a log stream", call("logs:CreateLogStream", LOG_GROUP, &[])),
        may("write the function's log", call("logs:PutLogEvents", LOG_STREAM, &[])),
        stopped("write another function's log", call("logs:PutLogEvents", other, &[])),
        stopped("make another log group", call("logs:CreateLogGroup", longer, &[])),
        stopped(
            "log in another region",
            call("logs:CreateLogStream", elsewhere, &[("aws:RequestedRegion", &["us-east-1"])]),
        ),
        stopped("read its log", call("logs:GetLogEvents", LOG_STREAM, &[])),
        stopped("drop its log", call("logs:DeleteLogGroup", LOG_GROUP, &[])),
        case("ingest", "write the log", false, call("logs:PutLogEvents", LOG_STREAM, &[])),
        case("runner", "write the log", false, call("logs:PutLogEvents", LOG_STREAM, &[])),
        case("janitor", "write the log", false, call("logs:PutLogEvents", LOG_STREAM, &[])),
    ]
}

fn ingest() -> Vec<Case> {
    let keys = "dynamodb:LeadingKeys";
    let ours: Change = ("aws:ResourceTag/tinqs-ci", &["tinqs-ci"]);
    vec![
        case(
            "ingest",
            "store a delivery",
            true,
            call("dynamodb:PutItem", TABLE, &[(keys, &["inbox#1"])]),
        ),
        case(
            "ingest",
            "check that a delivery can be stored",
            true,
            call("dynamodb:PutItem", TABLE, &[(keys, &["inbox#ready#host-1"])]),
        ),
        case("ingest", "wake", true, call("sqs:SendMessage", QUEUE, &[])),
        case("ingest", "wake elsewhere", false, call("sqs:SendMessage", DEAD, &[])),
        case("ingest", "find the queue", false, call("sqs:GetQueueUrl", QUEUE, &[])),
        case("ingest", "describe the table", false, call("dynamodb:DescribeTable", TABLE, &[])),
        case("ingest", "read the inbox", false, call("dynamodb:Query", INDEX, &[])),
        case(
            "ingest",
            "change a delivery",
            false,
            call("dynamodb:UpdateItem", TABLE, &[(keys, &["inbox#1"])]),
        ),
        case(
            "ingest",
            "read the webhook's secret",
            true,
            call("secretsmanager:GetSecretValue", HOOK, &[]),
        ),
        case(
            "ingest",
            "read it from a parameter",
            true,
            call("ssm:GetParameter", HOOK_PARAMETER, &[]),
        ),
        case(
            "ingest",
            "read the forge's token from a parameter",
            false,
            call("ssm:GetParameter", FORGE_PARAMETER, &[]),
        ),
        case(
            "ingest",
            "write a run",
            false,
            call("dynamodb:PutItem", TABLE, &[(keys, &["job-7"])]),
        ),
        case(
            "ingest",
            "write a seat",
            false,
            call("dynamodb:UpdateItem", TABLE, &[(keys, &["seats#linux"])]),
        ),
        case(
            "ingest",
            "write both",
            false,
            call("dynamodb:PutItem", TABLE, &[(keys, &["inbox#1", "job-7"])]),
        ),
        case("ingest", "write without a key", false, call("dynamodb:PutItem", TABLE, &[])),
        case("ingest", "read a run", false, call("dynamodb:GetItem", TABLE, &[(keys, &["job-7"])])),
        case(
            "ingest",
            "remove a run",
            false,
            call("dynamodb:DeleteItem", TABLE, &[(keys, &["job-7"])]),
        ),
        case("ingest", "launch", false, launch(INSTANCE, &[])),
        case("ingest", "terminate", false, call("ec2:TerminateInstances", INSTANCE, &[ours])),
        case("ingest", "list machines", false, call("ec2:DescribeInstances", "*", &[])),
        case(
            "ingest",
            "read the forge's token",
            false,
            call("secretsmanager:GetSecretValue", FORGE, &[]),
        ),
        case("ingest", "take wake-ups", false, call("sqs:ReceiveMessage", QUEUE, &[])),
        // Its metrics leave the queue out; those of the controller have it.
        case("ingest", "see the queue's depth", false, call("sqs:GetQueueAttributes", QUEUE, &[])),
    ]
}

fn others() -> Vec<Case> {
    let ours: Change = ("aws:ResourceTag/tinqs-ci", &["tinqs-ci"]);
    vec![
        case("runner", "list machines", false, call("ec2:DescribeInstances", "*", &[])),
        case(
            "runner",
            "terminate itself",
            false,
            call("ec2:TerminateInstances", INSTANCE, &[ours]),
        ),
        case("runner", "read a run", false, call("dynamodb:GetItem", TABLE, &[])),
        case("runner", "wake", false, call("sqs:SendMessage", QUEUE, &[])),
        case("runner", "take another role", false, call("sts:AssumeRole", RUNNER, &[])),
        case("janitor", "list machines", true, call("ec2:DescribeInstances", "*", &[])),
        case("janitor", "terminate ours", true, call("ec2:TerminateInstances", INSTANCE, &[ours])),
        case(
            "janitor",
            "terminate a foreign instance",
            false,
            call("ec2:TerminateInstances", INSTANCE, &[]),
        ),
        case("janitor", "launch", false, launch(INSTANCE, &[])),
        case("janitor", "write a run", false, call("dynamodb:PutItem", TABLE, &[])),
    ]
}

/// Calls of `init --aws`, which may create but not change, read or remove.
fn setup() -> Vec<Case> {
    vec![
        case("bootstrap", "make the table", true, call("dynamodb:CreateTable", TABLE, &[])),
        case("bootstrap", "add an index", true, call("dynamodb:UpdateTable", TABLE, &[])),
        case(
            "bootstrap",
            "set the time to live",
            true,
            call("dynamodb:UpdateTimeToLive", TABLE, &[]),
        ),
        case("bootstrap", "make the queue", true, call("sqs:CreateQueue", QUEUE, &[])),
        case("bootstrap", "make the dead-letter queue", true, call("sqs:CreateQueue", DEAD, &[])),
        case("bootstrap", "find the queue", true, call("sqs:GetQueueUrl", QUEUE, &[])),
        case(
            "bootstrap",
            "read the dead-letter queue's ARN",
            true,
            call("sqs:GetQueueAttributes", DEAD, &[]),
        ),
        case("bootstrap", "change the queue", false, call("sqs:SetQueueAttributes", QUEUE, &[])),
        case("bootstrap", "drop the queue", false, call("sqs:DeleteQueue", QUEUE, &[])),
        case("bootstrap", "wake", false, call("sqs:SendMessage", QUEUE, &[])),
        case(
            "bootstrap",
            "make another queue",
            false,
            call("sqs:CreateQueue", "arn:aws:sqs:eu-central-1:111122223333:orders", &[]),
        ),
        case("controller", "make the queue", false, call("sqs:CreateQueue", QUEUE, &[])),
        case("bootstrap", "read a run", false, call("dynamodb:GetItem", TABLE, &[])),
        case("bootstrap", "drop the table", false, call("dynamodb:DeleteTable", TABLE, &[])),
    ]
}
