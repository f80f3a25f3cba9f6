//! Tests of the EC2 and SQS wires without an SDK.

mod ec2;
mod faults;
mod guest;
mod options;
mod sqs;
mod templates;
mod tokens;
mod world;

use std::time::Duration;

use quick_xml::events::Event;
use serde_json::Value;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire};
use tinqs_ci_simulator::gitea_wire::http_client;
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};

const EC2: &str = "2016-11-15";

/// An unchecked signature of a caller.
fn signed_by(caller: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={caller}/20261125/us-east-1/ec2/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=00"
    )
}

/// A response.
#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// The texts of all elements of this name.
    fn all(&self, name: &str) -> Vec<String> {
        let mut reader = quick_xml::Reader::from_str(&self.body);
        let mut path: Vec<String> = Vec::new();
        let mut found: Vec<String> = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    path.push(start.name().as_ref().to_owned());
                    if start.name().as_ref() == name {
                        found.push(String::new());
                    }
                }
                Event::Text(text) if path.last().is_some_and(|p| p == name) => {
                    found.last_mut().unwrap().push_str(&text);
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    /// The text of the first element of this name; empty if absent.
    fn one(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_default()
    }

    /// HTTP status and error code.
    fn error(&self) -> (u16, String) {
        (self.status, self.one("Code"))
    }
}

/// A cloud and a client for it.
struct Cloud {
    wire: Ec2Wire,
    http: reqwest::Client,
}

impl Cloud {
    fn new(options: Ec2Options) -> Self {
        Self { wire: Ec2Wire::start(options).unwrap(), http: client() }
    }

    async fn ask(
        &self,
        caller: &str,
        version: &str,
        op: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("Action", op), ("Version", version)])
            .extend_pairs(params)
            .finish();
        let request = self.http.post(self.wire.url()).header("Authorization", signed_by(caller));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let response = request.body(body).send().await?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    }

    async fn call(&self, op: &str, params: &[(&str, &str)]) -> Answer {
        self.ask("AKID", EC2, op, params).await.unwrap()
    }

    /// A valid launch with these parameters replaced or (if empty) omitted.
    async fn launch(&self, token: &str, changed: &[(&str, &str)]) -> Answer {
        self.try_launch(token, changed).await.unwrap()
    }

    async fn try_launch(
        &self,
        token: &str,
        changed: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        self.ask("AKID", EC2, "RunInstances", &recipe(token, changed)).await
    }

    /// Launches one machine and returns its ID.
    async fn machine(&self, token: &str, changed: &[(&str, &str)]) -> String {
        let answer = self.launch(token, changed).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.one("instanceId")
    }

    async fn describe(&self, id: &str) -> Answer {
        self.call("DescribeInstances", &[("InstanceId.1", id)]).await
    }

    async fn terminate(&self, id: &str) -> Answer {
        self.call("TerminateInstances", &[("InstanceId.1", id)]).await
    }

    /// Lists the machines with our tag.
    async fn list(&self) -> Answer {
        let filter = [("Filter.1.Name", "tag:tinqs-ci"), ("Filter.1.Value.1", "x")];
        self.call("DescribeInstances", &filter).await
    }

    /// Waits until a reading by ID shows a machine in a state.
    async fn until(&self, id: &str, state: &str) -> Answer {
        for _ in 0..2_000 {
            let answer = self.describe(id).await;
            if answer.one("name") == state {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} does not become {state}: {}", self.describe(id).await.body);
    }

    fn rules_broken(&self) -> Vec<&'static str> {
        self.wire.violations().iter().map(|v| v.rule).collect()
    }
}

fn client() -> reqwest::Client {
    http_client().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

/// The parameters of a valid launch with these replaced or (if empty) omitted.
fn recipe<'a>(token: &'a str, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut params = vec![
        ("ImageId", "ami-0123"),
        ("InstanceType", "t3.small"),
        ("SubnetId", "subnet-a"),
        ("SecurityGroupId.1", "sg-1"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("ClientToken", token),
        ("UserData", "IyEvYmluL2Jhc2gKZXhpdCAwCg=="),
        ("InstanceMarketOptions.MarketType", "spot"),
        ("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time"),
        ("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("MetadataOptions.HttpTokens", "required"),
        ("MetadataOptions.HttpPutResponseHopLimit", "1"),
        ("MetadataOptions.HttpEndpoint", "enabled"),
        ("MetadataOptions.InstanceMetadataTags", "disabled"),
        ("IamInstanceProfile.Name", "tinqs-ci-runner"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
        ("BlockDeviceMapping.1.Ebs.Encrypted", "true"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "tinqs-ci"),
        ("TagSpecification.1.Tag.1.Value", "x"),
        ("TagSpecification.1.Tag.2.Key", "tinqs-ci/attempt"),
        ("TagSpecification.1.Tag.2.Value", "tq-job-7-0a1b2c3d-1"),
        ("TagSpecification.2.ResourceType", "volume"),
        ("TagSpecification.2.Tag.1.Key", "tinqs-ci"),
        ("TagSpecification.2.Tag.1.Value", "x"),
        ("TagSpecification.3.ResourceType", "network-interface"),
        ("TagSpecification.3.Tag.1.Key", "tinqs-ci"),
        ("TagSpecification.3.Tag.1.Value", "x"),
        ("TagSpecification.4.ResourceType", "spot-instances-request"),
        ("TagSpecification.4.Tag.1.Key", "tinqs-ci"),
        ("TagSpecification.4.Tag.1.Value", "x"),
    ];
    for (name, value) in changed {
        params.retain(|(known, _)| known != name);
        if !value.is_empty() {
            params.push((name, value));
        }
    }
    params
}

/// Parameters of an on-demand launch.
const ON_DEMAND: [(&str, &str); 6] = [
    ("InstanceMarketOptions.MarketType", ""),
    ("InstanceMarketOptions.SpotOptions.SpotInstanceType", ""),
    ("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", ""),
    ("TagSpecification.4.ResourceType", ""),
    ("TagSpecification.4.Tag.1.Key", ""),
    ("TagSpecification.4.Tag.1.Value", ""),
];

/// A queue named `wake` and a client for it.
struct Wakes {
    wire: SqsWire,
    http: reqwest::Client,
}

impl Wakes {
    fn new(options: SqsOptions) -> Self {
        Self { wire: SqsWire::start(options).unwrap(), http: client() }
    }

    fn usual() -> Self {
        Self::new(SqsOptions::with_queue("wake"))
    }

    async fn try_call(&self, op: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.post(self.wire.url()).header("Authorization", signed_by("AKID"));
        let request = request.header("X-Amz-Target", format!("AmazonSQS.{op}"));
        let request = request.header("Content-Type", "application/x-amz-json-1.0");
        let mut body = body.clone();
        if body["QueueUrl"].is_null() && body["QueueName"].is_null() {
            body["QueueUrl"] = self.wire.queue_url("wake").into();
        }
        let response = request.body(body.to_string()).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn call(&self, op: &str, body: &Value) -> (u16, Value) {
        self.try_call(op, body).await.unwrap()
    }

    /// Makes a call that must return 200.
    async fn done(&self, op: &str, body: &Value) -> Value {
        let (status, answer) = self.call(op, body).await;
        assert_eq!(status, 200, "{op}: {answer}");
        answer
    }

    /// Returns the error code of a call that must be refused.
    async fn refused(&self, op: &str, body: &Value) -> String {
        let (status, answer) = self.call(op, body).await;
        assert_eq!(status, 400, "{op}: {answer}");
        let name = answer["__type"].as_str().unwrap_or_default();
        name.strip_prefix("com.amazonaws.sqs#").unwrap_or(name).to_owned()
    }
}
