//! The authorization of requests by AWS: actions with their resources and condition keys.
//! Source: Service Authorization Reference, "Actions, resources, and condition keys" of Amazon
//! `DynamoDB`, EC2 and SQS.

use std::collections::BTreeMap;

use serde_json::Value;
use tinqs_ci_testing::iam::Call;

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ACCOUNT: &str = "111122223333";

/// The condition keys that a call here has or lacks as it does at AWS.
pub(crate) const KEYS: [&str; 11] = [
    "aws:RequestTag/tinqs-ci",
    "aws:RequestedRegion",
    "aws:ResourceTag/tinqs-ci",
    "aws:TagKeys",
    "dynamodb:LeadingKeys",
    "ec2:CreateAction",
    "ec2:InstanceProfile",
    "ec2:InstanceType",
    "ec2:MetadataHttpPutResponseHopLimit",
    "ec2:MetadataHttpTokens",
    "iam:PassedToService",
];

/// The tags of a resource.
pub(crate) type Tags = BTreeMap<String, String>;
/// Parameters of the Query protocol.
pub(crate) type Params = BTreeMap<String, String>;

/// Parses a form.
pub(crate) fn form(body: &[u8]) -> Params {
    let text = String::from_utf8_lossy(body);
    let url = reqwest::Url::parse(&format!("http://form/?{text}")).expect("a query");
    url.query_pairs().into_owned().collect()
}

/// Returns what AWS authorizes for a call, by the header `X-Amz-Target` and the body. `tagged` are
/// the tags of the machines.
///
/// # Errors
/// Nothing says what this call needs.
pub(crate) fn needs(
    target: &str,
    body: &[u8],
    tagged: &BTreeMap<String, Tags>,
) -> Result<Vec<Call>, String> {
    let json = || serde_json::from_slice::<Value>(body).map_err(|error| error.to_string());
    match target.split_once('.') {
        Some(("AmazonSQS", op)) => of_sqs(op, &json()?),
        Some((_, op)) => of_dynamodb(op, &json()?),
        None => of_ec2(&form(body), tagged),
    }
}

fn unknown(op: &str) -> String {
    format!("no rule says what {op} needs")
}

fn call(action: String, resource: String, context: &[(&str, &[&str])]) -> Call {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let context = context.iter().map(|(key, values)| ((*key).to_owned(), owned(values)));
    let region = ("aws:RequestedRegion".to_owned(), vec![REGION.to_owned()]);
    Call { action, resource, context: context.chain([region]).collect() }
}

fn of_dynamodb(op: &str, body: &Value) -> Result<Vec<Call>, String> {
    let key = |of: &Value| of["run_id"]["S"].as_str().unwrap_or_default().to_owned();
    let whole = |op: &str, of: &Value| {
        let keys = [key(&of["Key"]), key(&of["Item"])].into_iter().filter(|key| !key.is_empty());
        on_table(op, &of["TableName"], "", keys.collect())
    };
    Ok(match op {
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" => vec![whole(op, body)],
        "TransactWriteItems" => {
            let items = body["TransactItems"].as_array().into_iter().flatten();
            let parts = items.flat_map(|item| item.as_object().into_iter().flatten());
            let parts = parts.map(|(kind, part)| match kind.as_str() {
                "Put" => Ok(whole("PutItem", part)),
                "Update" => Ok(whole("UpdateItem", part)),
                "Delete" => Ok(whole("DeleteItem", part)),
                "ConditionCheck" => Ok(whole("ConditionCheckItem", part)),
                other => Err(unknown(other)),
            });
            parts.collect::<Result<_, _>>()?
        }
        "BatchGetItem" => {
            let tables = body["RequestItems"].as_object().into_iter().flatten();
            let calls = tables.map(|(table, asked)| {
                let keys = asked["Keys"].as_array().into_iter().flatten().map(key).collect();
                on_table(op, &Value::from(table.as_str()), "", keys)
            });
            calls.collect()
        }
        // The key of a query is not read: a policy that asks for it denies the query.
        "Query" => {
            let index = body["IndexName"].as_str().unwrap_or_default();
            vec![on_table(op, &body["TableName"], index, Vec::new())]
        }
        "CreateTable" | "DescribeTable" | "DescribeTimeToLive" | "UpdateTable"
        | "UpdateTimeToLive" => vec![on_table(op, &body["TableName"], "", Vec::new())],
        other => return Err(unknown(other)),
    })
}

fn on_table(op: &str, table: &Value, index: &str, keys: Vec<String>) -> Call {
    let table = table.as_str().unwrap_or_default();
    let index = if index.is_empty() { String::new() } else { format!("/index/{index}") };
    let resource = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}{index}");
    let mut call = call(format!("dynamodb:{op}"), resource, &[]);
    if !keys.is_empty() {
        call.context.insert("dynamodb:LeadingKeys".to_owned(), keys);
    }
    call
}

fn of_sqs(op: &str, body: &Value) -> Result<Vec<Call>, String> {
    let action = match op {
        "SendMessageBatch" => "SendMessage",
        "DeleteMessageBatch" => "DeleteMessage",
        "CreateQueue" | "DeleteMessage" | "GetQueueAttributes" | "GetQueueUrl"
        | "ReceiveMessage" | "SendMessage" => op,
        other => return Err(unknown(other)),
    };
    let of_url = body["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next());
    let name = of_url.or(body["QueueName"].as_str()).unwrap_or_default();
    let resource = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
    Ok(vec![call(format!("sqs:{action}"), resource, &[])])
}

fn of_ec2(params: &Params, tagged: &BTreeMap<String, Tags>) -> Result<Vec<Call>, String> {
    let op = params.get("Action").map_or("", String::as_str);
    match op {
        // It needs no right.
        "GetCallerIdentity" => Ok(Vec::new()),
        "RunInstances" => Ok(launch(params)),
        "TerminateInstances" | "GetConsoleOutput" => {
            let ids = params.iter().filter(|(key, _)| is_of(key, "InstanceId")).map(|(_, id)| id);
            let of_machine = |id: &String| {
                let mut call = call(format!("ec2:{op}"), arn("instance", id), &[]);
                for (key, value) in tagged.get(id).into_iter().flatten() {
                    call.context.insert(format!("aws:ResourceTag/{key}"), vec![value.clone()]);
                }
                call
            };
            Ok(ids.map(of_machine).collect())
        }
        _ if op.starts_with("Describe") => Ok(vec![call(format!("ec2:{op}"), "*".to_owned(), &[])]),
        other => Err(unknown(other)),
    }
}

/// Whether a parameter is this one, or a member of it.
fn is_of(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn arn(kind: &str, id: &str) -> String {
    format!("arn:aws:ec2:{REGION}:{ACCOUNT}:{kind}/{id}")
}

/// Returns the tags that a launch gives to a kind of resource.
pub(crate) fn tags(params: &Params, kind: &str) -> Tags {
    let of_kind = |n: &usize| {
        params.get(&format!("TagSpecification.{n}.ResourceType")).is_some_and(|of| of == kind)
    };
    let Some(n) = (1..10).find(of_kind) else { return Tags::new() };
    let pair = |m: usize| {
        let part = |name: &str| params.get(&format!("TagSpecification.{n}.Tag.{m}.{name}"));
        Some((part("Key")?.clone(), part("Value").cloned().unwrap_or_default()))
    };
    (1..50).map_while(pair).collect()
}

/// Each resource of a launch is authorized, each that is tagged once more, and the role of its
/// profile.
fn launch(params: &Params) -> Vec<Call> {
    let value = |name: &str| params.get(name).map_or("", String::as_str);
    let run = |resource: String| call("ec2:RunInstances".to_owned(), resource, &[]);
    let spot = value("InstanceMarketOptions.MarketType") == "spot";
    let mut calls = Vec::new();
    for kind in ["instance", "volume", "network-interface", "spot-instances-request"] {
        if kind == "spot-instances-request" && !spot {
            continue;
        }
        let tags = tags(params, kind);
        let mut made = run(arn(kind, "new"));
        if kind == "instance" {
            of_instance(params, &mut made);
        }
        note_tags(&tags, &mut made);
        calls.push(made);
        if !tags.is_empty() {
            let at_launch: [(&str, &[&str]); 1] = [("ec2:CreateAction", &["RunInstances"])];
            let mut tag = call("ec2:CreateTags".to_owned(), arn(kind, "new"), &at_launch);
            note_tags(&tags, &mut tag);
            calls.push(tag);
        }
    }
    for (key, id) in params {
        if is_of(key, "SubnetId") {
            calls.push(run(arn("subnet", id)));
        } else if is_of(key, "SecurityGroupId") {
            calls.push(run(arn("security-group", id)));
        } else if key == "ImageId" {
            calls.push(run(format!("arn:aws:ec2:{REGION}::image/{id}")));
        } else if key == "LaunchTemplate.LaunchTemplateId" {
            calls.push(run(arn("launch-template", id)));
        } else if key == "KeyName" {
            calls.push(run(arn("key-pair", id)));
        }
    }
    let profile = value("IamInstanceProfile.Name");
    if !profile.is_empty() {
        // Here the role has the name of the profile.
        let role = format!("arn:aws:iam::{ACCOUNT}:role/{profile}");
        let to_ec2: [(&str, &[&str]); 1] = [("iam:PassedToService", &["ec2.amazonaws.com"])];
        calls.push(call("iam:PassRole".to_owned(), role, &to_ec2));
    }
    calls
}

fn note_tags(tags: &Tags, call: &mut Call) {
    for (key, value) in tags {
        call.context.insert(format!("aws:RequestTag/{key}"), vec![value.clone()]);
    }
    if !tags.is_empty() {
        call.context.insert("aws:TagKeys".to_owned(), tags.keys().cloned().collect());
    }
}

fn of_instance(params: &Params, call: &mut Call) {
    let profile = params.get("IamInstanceProfile.Name");
    let profile = profile.map(|name| format!("arn:aws:iam::{ACCOUNT}:instance-profile/{name}"));
    for (key, value) in [
        ("ec2:InstanceType", params.get("InstanceType").cloned()),
        ("ec2:InstanceProfile", profile),
        ("ec2:MetadataHttpTokens", params.get("MetadataOptions.HttpTokens").cloned()),
        (
            "ec2:MetadataHttpPutResponseHopLimit",
            params.get("MetadataOptions.HttpPutResponseHopLimit").cloned(),
        ),
    ] {
        if let Some(value) = value {
            call.context.insert(key.to_owned(), vec![value]);
        }
    }
}
