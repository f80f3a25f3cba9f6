//! The function of `deploy/aws/stack.yaml` on loopback: the real program with exactly the stack's
//! environment, a simulated Lambda runtime, and the wires of EC2, SQS, `DynamoDB` and the forge.
//! The template's event sources are simulated: the mapping of the queue, the schedule, EC2's
//! events.

#[allow(dead_code, reason = "the black box uses the rest")]
#[path = "../black_box/region.rs"]
mod region;
#[allow(dead_code, reason = "the test of the function alone uses the rest")]
#[path = "../../../lambda/runtime.rs"]
mod runtime;
mod stack;
#[allow(dead_code, reason = "the store's own suite uses the rest")]
#[path = "../wire/mod.rs"]
mod wire;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_aws::client;
use tinqs_ci_reconciler::model::{MachineState, Market};
use tinqs_ci_simulator::ec2_wire::{Ec2Options, EventFaults};
use tinqs_ci_simulator::gitea_wire::Hook;
use tokio::task::JoinHandle;

use region::{QUEUE, Region};
use runtime::{Runtime, request};
use stack::{Stack, Values};

const REGION: &str = "us-east-1";
const WEBHOOK_SECRET: &str = "function-webhook-secret-canary";
const WEBHOOK_SECRET_ARN: &str =
    "arn:aws:secretsmanager:us-east-1:123456789012:secret:tinqs-ci/webhook-a1B2c3";
const API_TOKEN: &str = "function-api-token-canary";
const KEY: &str = "function-secret-access-key-canary";

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the stack as deployed into a region: its parameters, and what its resources are called.
fn deployed(region: &Region) -> Stack {
    let (forge, queue) = (region.gitea.url(), region.sqs.queue_url(QUEUE));
    let forge_token = BTreeMap::from(region.eight())["GITEA_TOKEN"].clone();
    let parameters = [
        ("ForgeUrl", forge.as_str()),
        ("ApiTokenSecret", "ci/api"),
        ("Image", "ami-0123"),
        ("InstanceTypes", "t3.small,t3a.small"),
        ("Subnets", "subnet-a,subnet-b"),
    ];
    let resources = [
        ("MachineGroup.GroupId", "sg-1"),
        ("Queue", queue.as_str()),
        ("RunnerProfile", "tinqs-ci-runner"),
        ("Table", "tinqs-ci"),
        ("WebhookSecret", WEBHOOK_SECRET_ARN),
    ];
    let secrets = [
        ("tinqs-ci/forge", forge_token.as_str()),
        ("ci/api", API_TOKEN),
        (WEBHOOK_SECRET_ARN, WEBHOOK_SECRET),
    ];
    Stack::read(values(&[&parameters[..], &resources[..]].concat()), values(&secrets))
}

/// The deployed function with its event sources, which stop on drop.
struct Function {
    stack: Stack,
    runtime: Runtime,
    /// The folder into which Lambda unpacks the zip, and the log.
    dir: tempfile::TempDir,
    child: Child,
    sources: Vec<JoinHandle<()>>,
}

impl Function {
    /// Deploys the function. Everything invokes it but the schedule.
    async fn deploy(region: &Region) -> Self {
        let stack = deployed(region);
        let environment = stack.environment();
        region.dynamodb.store(&environment["DDB_TABLE"], "stack").await;
        let timeout = stack.setting("Timeout").parse().expect("seconds");
        let (runtime, address) = Runtime::start(Duration::from_secs(timeout)).await;
        region.gitea.add_hook(Hook::system(format!("http://{address}/hook"), WEBHOOK_SECRET));
        region.ec2.send_events(region.sqs.target(QUEUE), EventFaults::default());

        let dir = tempfile::tempdir().expect("a folder");
        // The zip has the program by this name only: tests/deploy/check.
        let handler = dir.path().join(stack.setting("Handler"));
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tinqs-ci-aws-tests"), &handler)
            .expect("a link");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let child = Command::new(&handler)
            .current_dir(dir.path())
            .env_clear()
            .envs(&environment)
            .envs(of_lambda(&stack, &address))
            .envs([
                ("AWS_ENDPOINT_URL_DYNAMODB", region.dynamodb.endpoint.clone()),
                ("AWS_ENDPOINT_URL_EC2", region.ec2.url()),
                ("AWS_ENDPOINT_URL_SQS", region.sqs.url()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the function starts");
        let mapping = tokio::spawn(mapping(queue_client(region).await, &stack, &runtime));
        Self { stack, runtime, dir, child, sources: vec![mapping] }
    }

    /// Invokes the function with the event of the template's schedule.
    async fn tick(&self) {
        let answer = self.runtime.invoke(event(&self.stack)).await;
        assert_eq!(answer, Ok(json!({ "errors": 0 })));
    }

    /// Starts the schedule, with a second for each of its minutes.
    fn start_schedule(&mut self) {
        let (runtime, event) = (self.runtime.clone(), event(&self.stack));
        self.sources.push(tokio::spawn(async move {
            loop {
                let answer = runtime.invoke(event.clone()).await;
                assert_eq!(answer, Ok(json!({ "errors": 0 })));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }));
    }

    /// Returns an answer of the API at the function's URL.
    async fn get(&self, path: &str) -> Value {
        let headers = json!({ "authorization": format!("Bearer {API_TOKEN}"), "host": "x" });
        let answer = self.runtime.invoke(request(path, &headers, b"")).await.expect("an answer");
        assert_eq!(answer["statusCode"], 200, "{path}: {answer}");
        serde_json::from_str(answer["body"].as_str().unwrap_or_default()).expect("JSON")
    }

    /// Waits up to a minute until the run of a job is finished.
    async fn finished(&self, job: i64) {
        let path = format!("/v1/runs/job-{job}");
        let end = Instant::now() + Duration::from_mins(1);
        while self.get(&path).await["status"]["phase"] != "Finished" {
            assert!(Instant::now() < end, "{path} is not finished after a minute");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Asserts that every invocation succeeded, and that the log has no secret.
    fn assert_served(&self, region: &Region) {
        let ended = self.sources.iter().filter(|source| source.is_finished()).count();
        assert_eq!(ended, 0, "an invocation failed, see above");
        let statuses = self.runtime.statuses();
        assert!(statuses.iter().all(|status| (200..300).contains(status)), "{statuses:?}");
        let log = fs::read_to_string(self.dir.path().join("log")).expect("the log");
        region.assert_no_secret_in(&log);
        for secret in [WEBHOOK_SECRET, API_TOKEN, KEY] {
            assert!(!log.contains(secret), "the log tells a secret");
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        for source in &self.sources {
            source.abort();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the variables that Lambda itself sets.
fn of_lambda(stack: &Stack, address: &str) -> Values {
    values(&[
        ("AWS_LAMBDA_RUNTIME_API", address),
        ("AWS_LAMBDA_FUNCTION_NAME", "tinqs-ci"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", stack.setting("MemorySize")),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/tinqs-ci"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", "AKIDFUNCTION"),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ])
}

/// Returns the event of the schedule.
fn event(stack: &Stack) -> Value {
    serde_json::from_str(stack.setting("Input")).expect("the schedule's input is JSON")
}

async fn queue_client(region: &Region) -> aws_sdk_sqs::Client {
    let config = client::load(Some(REGION)).await.expect("a configuration");
    let credentials = Credentials::new("AKIDMAPPING", "SECRET", None, None, "test");
    let config = config
        .into_builder()
        .endpoint_url(region.sqs.url())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    client::sqs_receive(&config)
}

/// The mapping of the queue: invokes the function with batches, and deletes the messages that
/// it does not report as failed.
fn mapping(
    queue: aws_sdk_sqs::Client,
    stack: &Stack,
    runtime: &Runtime,
) -> impl Future<Output = ()> + use<> {
    let most: i32 = stack.setting("BatchSize").parse().expect("a number");
    let environment = stack.environment();
    let url = environment["TINQS_CI_QUEUE"].strip_prefix("sqs:").expect("a queue").to_owned();
    let runtime = runtime.clone();
    async move {
        loop {
            let receive = queue.receive_message().queue_url(&url).max_number_of_messages(most);
            let received = receive.wait_time_seconds(1).send().await.expect("messages");
            let messages = received.messages.unwrap_or_default();
            if messages.is_empty() {
                continue;
            }
            let record = |message: &aws_sdk_sqs::types::Message| {
                json!({
                    "messageId": message.message_id, "receiptHandle": message.receipt_handle,
                    "body": message.body, "eventSource": "aws:sqs", "awsRegion": REGION,
                })
            };
            let batch = json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() });
            let answer = runtime.invoke(batch).await.expect("an answer to a batch");
            let failed = answer["batchItemFailures"].as_array().expect("a list of failures");
            for message in messages {
                if failed.iter().any(|one| one["itemIdentifier"] == json!(message.message_id)) {
                    continue;
                }
                let delete = queue.delete_message().queue_url(&url);
                let delete = delete.set_receipt_handle(message.receipt_handle);
                delete.send().await.expect("deleted");
            }
        }
    }
}

/// A webhook brings the machine of its job, by way of the queue and without the schedule. A job
/// whose webhooks are lost gets its machine from one tick of the schedule, which also cleans up.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_brings_the_machine_and_the_schedule_does_the_rest() {
    let region = Region::new().await;
    let mut function = Function::deploy(&region).await;
    let first = region.push(1, "true")[0];
    region.all_done(&[first], 120).await;
    // Queued, in progress, completed.
    region.until("three webhooks", 30, || function.runtime.statuses().len() >= 3).await;
    let machines = region.ec2.machines();
    let [machine] = &machines[..] else { panic!("one machine") };
    let launch = &machine.recipe;
    assert_eq!((launch.image.as_str(), launch.kind.as_str()), ("ami-0123", "t3.small"));
    assert_eq!((launch.subnet.as_str(), launch.market), ("subnet-a", Market::Spot));
    assert_eq!(launch.security_groups, ["sg-1"]);

    region.gitea.lose_webhooks_if(|_| true);
    let second = region.push(1, "true")[0];
    function.tick().await;
    region.all_done(&[second], 120).await;
    assert_eq!(region.ec2.ledger().count("RunInstances"), 2, "one launch for each job");

    function.start_schedule();
    region.all_gone(120, 0).await;
    for job in [first, second] {
        function.finished(job).await;
    }
    assert_eq!(region.ledger().len(), 2, "each job ran once");
    function.assert_served(&region);
    region.lawful();
}

/// A machine whose registration is gone can never get a job, and one that hangs before its boot
/// script does not end by itself: the schedule terminates it.
#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_terminates_a_machine_that_nobody_needs() {
    let hangs = |options: &mut Ec2Options| options.boots_in = SignedDuration::from_hours(8);
    let region = Region::with(hangs).await;
    let mut function = Function::deploy(&region).await;
    let job = region.push(1, "true")[0];
    region.until("its machine", 60, || region.ec2.machines().len() == 1).await;
    region.gitea.forge().cancel(Timestamp::now(), job);
    function.finished(job).await;
    {
        let mut forge = region.gitea.forge();
        let rows: Vec<i64> = forge.runners().map(|row| row.id).collect();
        let [row] = rows[..] else { panic!("one registration: {rows:?}") };
        assert!(forge.delete_runner(row));
    }
    function.start_schedule();
    // The registration must be missing for a minute.
    let gone = || region.ec2.machines()[0].state == MachineState::Gone;
    region.until("the machine is terminated", 180, gone).await;
    let machines = region.ec2.machines();
    assert_eq!(machines.len(), 1, "a canceled job gets no other machine");
    assert_eq!(machines[0].reason, "Client.UserInitiatedShutdown");
    function.assert_served(&region);
    region.lawful();
}
