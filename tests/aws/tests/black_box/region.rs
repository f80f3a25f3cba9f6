//! An AWS Region and a forge on loopback, and the program's replicas as processes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tinqs_ci_reconciler::model::{Conclusion, MachineId, MachineState};

use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire, EventFaults, MachineSeen, Processes};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line, Status};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire as Gitea, WireOptions};
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};
use tinqs_ci_test_host::free_port;

use super::wire::Wire;

/// The predecessor's table.
pub(crate) const TABLE: &str = "predecessor";
pub(crate) const QUEUE: &str = "wakes";
const TOKEN: &str = "aws-black-box-forge-token";
const KEY: &str = "aws-black-box-secret-access-key";
/// The API token of the replicas.
const OWN_TOKEN: &str = "region-own-api-token";
/// Factor by which machines boot and terminate faster.
const SPEED: u32 = 8;

/// Reads a number from the environment, for longer runs and other seeds.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")))
}

/// The Region, its forge and its replicas, which stop on drop.
pub(crate) struct Region {
    dir: tempfile::TempDir,
    pub(crate) dynamodb: Wire,
    pub(crate) ec2: Ec2Wire,
    pub(crate) sqs: SqsWire,
    pub(crate) gitea: Gitea,
    runner_token: String,
    replicas: BTreeMap<usize, (Child, u16)>,
}

impl Region {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a Region with changed options of EC2.
    pub(crate) async fn with(change: impl FnOnce(&mut Ec2Options)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo("acme/widget");
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            ..WireOptions::default()
        };
        let forge = Arc::new(Mutex::new(forge));
        let gitea = Gitea::start(forge, Arc::new(Timestamp::now), options).expect("a forge");
        let runner_token = runner_token(&gitea).await;
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        std::os::unix::fs::symlink(tinqs_ci_test_runner::program(), bin.join("gitea-runner"))
            .expect("the runner");
        // No machine reaches the Docker of this host.
        write_program(&bin.join("docker"), "#!/bin/sh\nexit 1\n");
        let guest = Processes {
            dir: dir.path().join("guests"),
            environment: vec![("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display()))],
        };
        let mut options = Ec2Options {
            speed: SPEED,
            installation: Some("tinqs-ci".to_owned()),
            guest: Some(Arc::new(guest)),
            ..Ec2Options::default()
        };
        change(&mut options);
        let ec2 = Ec2Wire::start(options).expect("EC2 on loopback");
        let sqs = SqsWire::start(SqsOptions::with_queue(QUEUE)).expect("SQS on loopback");
        let dynamodb = Wire::start().await;
        Self { dir, dynamodb, ec2, sqs, gitea, runner_token, replicas: BTreeMap::new() }
    }

    /// Creates the predecessor's table: a key, no index, no time to live.
    pub(crate) async fn predecessors_table(&self) {
        let key = KeySchemaElement::builder().attribute_name("run_id").key_type(KeyType::Hash);
        let attribute = AttributeDefinition::builder()
            .attribute_name("run_id")
            .attribute_type(ScalarAttributeType::S);
        let made = self.dynamodb.client().await.create_table().table_name(TABLE);
        made.key_schema(key.build().expect("a key"))
            .attribute_definitions(attribute.build().expect("an attribute"))
            .billing_mode(BillingMode::PayPerRequest)
            .send()
            .await
            .expect("a table");
    }

    /// Puts a program into the image of the machines. It is found first, also by those that run.
    pub(crate) fn install(&self, name: &str, text: &str) {
        write_program(&self.file("bin").join(name), text);
    }

    /// Removes a program from the image.
    pub(crate) fn uninstall(&self, name: &str) {
        fs::remove_file(self.file("bin").join(name)).expect("a program of the image");
    }

    /// Puts the runner into an image that has none.
    pub(crate) fn install_runner(&self) {
        let link = self.file("bin").join("gitea-runner");
        std::os::unix::fs::symlink(tinqs_ci_test_runner::program(), link).expect("the runner");
    }

    /// Returns a file of the Region's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the home directory of a machine.
    pub(crate) fn home(&self, machine: &MachineId) -> PathBuf {
        self.file("guests").join(&machine.0).join("home")
    }

    /// Returns the configuration file, which may not exist.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.dir.path().join("tinqs-ci.toml")
    }

    fn log(&self, replica: usize) -> PathBuf {
        self.dir.path().join(format!("replica-{replica}.log"))
    }

    /// Writes a configuration file with one class, in addition to the variables.
    pub(crate) fn configure(&self, class: &str) {
        self.configure_on(TABLE, class);
    }

    /// Writes such a file that names this table.
    pub(crate) fn configure_on(&self, table: &str, class: &str) {
        let text = format!(
            "store = \"dynamodb:{table}\"\ncompute = \"ec2:us-east-1\"\n[forge]\npoll_every = \"1s\"\n\
             sweep_every = \"3s\"\n[[class]]\nname = \"linux\"\n{class}",
        );
        fs::write(self.dir.path().join("tinqs-ci.toml"), text).expect("the configuration");
    }

    /// Writes a whole configuration file.
    pub(crate) fn configure_as(&self, text: &str) {
        fs::write(self.dir.path().join("tinqs-ci.toml"), text).expect("the configuration");
    }

    /// Writes a configuration with wake-ups and EC2's events over SQS, and with polls and sweeps
    /// too rare to happen again.
    pub(crate) fn configure_with_queue(&self, class: &str) {
        let queue = self.sqs.queue_url(QUEUE);
        let text = format!(
            "store = \"dynamodb:{TABLE}\"\ncompute = \"ec2:us-east-1\"\nqueue = \"sqs:{queue}\"\n\
             [forge]\npoll_every = \"1h\"\nsweep_every = \"1h\"\n[[class]]\nname = \"linux\"\n{class}",
        );
        fs::write(self.dir.path().join("tinqs-ci.toml"), text).expect("the configuration");
        self.ec2.send_events(self.sqs.target(QUEUE), EventFaults::default());
    }

    /// Starts a replica with the eight variables and the addresses of the wires.
    pub(crate) fn start(&mut self, replica: usize) {
        self.start_as(replica, &["serve"], &[]);
    }

    /// Starts a replica with these arguments. `more` variables replace the usual ones.
    pub(crate) fn start_as(&mut self, replica: usize, args: &[&str], more: &[(&str, String)]) {
        let port = free_port();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log(replica));
        let child = self
            .program(replica, args, more)
            .env("TINQS_CI_SERVER__API", format!("127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("a replica starts");
        assert!(self.replicas.insert(replica, (child, port)).is_none(), "one at a time");
    }

    /// Returns the predecessor's eight variables.
    pub(crate) fn eight(&self) -> [(&'static str, String); 8] {
        [
            ("GITEA_URL", self.gitea.url()),
            ("GITEA_TOKEN", TOKEN.to_owned()),
            ("RUNNER_TOKEN", self.runner_token.clone()),
            ("RUNNER_AMI", "ami-0123".to_owned()),
            ("SUBNET", "subnet-a".to_owned()),
            ("SECURITY_GROUP", "sg-1".to_owned()),
            ("DDB_TABLE", TABLE.to_owned()),
            ("INSTANCE_PROFILE", "tinqs-ci-runner".to_owned()),
        ]
    }

    /// Returns the program with its variables.
    pub(crate) fn program(
        &self,
        replica: usize,
        args: &[&str],
        more: &[(&str, String)],
    ) -> Command {
        let wires = [
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.endpoint.clone()),
            ("AWS_ENDPOINT_URL_EC2", self.ec2.url()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.url()),
            ("AWS_ACCESS_KEY_ID", format!("AKIDREPLICA{replica}")),
            ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("TINQS_CI_SERVER__WEBHOOKS", "127.0.0.1:0".to_owned()),
            ("TINQS_CI_SERVER__TOKEN", OWN_TOKEN.to_owned()),
            ("TINQS_CI_LOG", "tinqs_ci=debug".to_owned()),
        ];
        let mut program = Command::new(env!("CARGO_BIN_EXE_tinqs-ci-aws-tests"));
        program
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.eight())
            .envs(wires)
            .envs(more.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null());
        program
    }

    /// Kills a replica with SIGKILL.
    pub(crate) fn kill(&mut self, replica: usize) {
        let (mut child, _) = self.replicas.remove(&replica).expect("a replica to kill");
        child.kill().expect("SIGKILL");
        child.wait().expect("its end");
    }

    /// Stops a replica with SIGTERM, and waits for its end.
    pub(crate) async fn stop(&mut self, replica: usize) {
        let (mut child, _) = self.replicas.remove(&replica).expect("a replica to stop");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        let end = Instant::now() + Duration::from_mins(1);
        let status = loop {
            if let Some(status) = child.try_wait().expect("its status") {
                break status;
            }
            if Instant::now() >= end {
                let _ = child.kill();
                panic!("replica {replica} does not stop within a minute");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(status.success(), "replica {replica} ended with {status}");
    }

    /// Returns the keys of a table's items.
    pub(crate) async fn keys_of(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        let client = self.dynamodb.client().await;
        let scan = client.scan().table_name(table).projection_expression("run_id");
        scan.send().await.expect("the items").items.unwrap_or_default()
    }

    /// Deletes every item of a table.
    pub(crate) async fn empty_table(&self, table: &str) {
        let client = self.dynamodb.client().await;
        for key in self.keys_of(table).await {
            let delete = client.delete_item().table_name(table).set_key(Some(key));
            delete.send().await.expect("deleted");
        }
    }

    /// Pushes jobs that each write a line into the ledger. Returns their IDs.
    pub(crate) fn push(&self, count: usize, script: &str) -> Vec<i64> {
        self.push_for("linux", count, script)
    }

    /// Pushes such jobs for a label.
    pub(crate) fn push_for(&self, label: &str, count: usize, script: &str) -> Vec<i64> {
        let ledger = self.dir.path().join("ledger");
        let script = format!("echo done >>'{}'\n{script}", ledger.display());
        let job = |n| JobSpec {
            script: Some(script.clone()),
            ..JobSpec::new(format!("build ({n})"), &[label])
        };
        let jobs: Vec<JobSpec> = (0..count).map(job).collect();
        self.gitea.forge().push(Timestamp::now(), "acme/widget", &jobs)
    }

    /// Pushes a job that needs `host`.
    pub(crate) fn push_on_host(&self) -> i64 {
        let job = JobSpec { script: Some("true".into()), ..JobSpec::new("deploy", &["host"]) };
        self.gitea.forge().push(Timestamp::now(), "acme/widget", &[job])[0]
    }

    pub(crate) fn ledger(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("ledger")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn is_done(&self, job: i64) -> bool {
        self.gitea.forge().job(job).expect("a job that was pushed").status.is_done()
    }

    /// Waits until all jobs are done, and asserts that each succeeded.
    pub(crate) async fn all_done(&self, jobs: &[i64], seconds: u64) {
        self.until("every job is done", seconds, || jobs.iter().all(|job| self.is_done(*job)))
            .await;
        let success = Status::Done(Conclusion::Success);
        let forge = self.gitea.forge();
        let status = |job: &i64| forge.job(*job).map(|job| job.status);
        let lost: Vec<_> = jobs.iter().filter(|job| status(job) != Some(success)).collect();
        assert!(lost.is_empty(), "jobs that did not succeed: {lost:?}");
    }

    /// Waits until every machine of ours is terminated and at most `rows` registrations are left.
    pub(crate) async fn all_gone(&self, seconds: u64, rows: u64) {
        self.until("every machine and registration is gone", seconds, || {
            let ours = |m: &MachineSeen| !m.foreign;
            let machines = self.ec2.machines();
            let up = machines.iter().filter(|m| ours(m) && m.state != MachineState::Gone);
            let left = self.gitea.forge().runners().count();
            up.count() == 0 && u64::try_from(left).is_ok_and(|left| left <= rows)
        })
        .await;
    }

    /// Returns a URL of a replica's API.
    pub(crate) fn url(&self, replica: usize, path: &str) -> String {
        let (_, port) = self.replicas.get(&replica).expect("a replica to ask");
        format!("http://127.0.0.1:{port}{path}")
    }

    /// Runs a command without a server. Returns its exit code and what it prints, in one line:
    /// where lines are broken depends on the lengths of names.
    pub(crate) fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        self.run_with(args, &[])
    }

    /// Runs a command against the first replica, as a person does. Returns the same.
    pub(crate) fn ask(&self, args: &[&str]) -> (Option<i32>, String) {
        let own = [("TINQS_CI_URL", self.url(0, "")), ("TINQS_CI_API_TOKEN", OWN_TOKEN.to_owned())];
        self.run_with(args, &own)
    }

    /// Runs such a command. Returns what it prints.
    pub(crate) fn printed(&self, args: &[&str]) -> String {
        self.ask(args).1
    }

    fn run_with(&self, args: &[&str], more: &[(&str, String)]) -> (Option<i32>, String) {
        // The wires that the program or its server needs are served by this process.
        let done = tokio::task::block_in_place(|| self.program(0, args, more).output());
        let Output { status, stdout, stderr } = done.expect("the command starts");
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (status.code(), text.concat().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Waits up to two minutes until a command prints all of these texts. Returns what it prints.
    pub(crate) async fn says(&self, args: &[&str], texts: &[&str]) -> String {
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let text = self.printed(args);
            if texts.iter().all(|wanted| text.contains(wanted)) {
                return text;
            }
            assert!(
                Instant::now() < end,
                "`tinqs-ci {}` does not print {texts:?}, but: {text}\n{}",
                args.join(" "),
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Waits up to a minute until a replica's API response contains `word`. Returns the response.
    pub(crate) async fn answers(&self, replica: usize, path: &str, word: &str) -> String {
        let url = self.url(replica, path);
        let client =
            tinqs_ci_simulator::gitea_wire::http_client().no_proxy().build().expect("a client");
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let request = client.get(&url);
            let text = match request.bearer_auth(OWN_TOKEN).send().await {
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if text.contains(word) {
                return text;
            }
            assert!(Instant::now() < end, "{path} lacks {word}: {text}\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Posts to a replica's API. Returns the status of the response.
    pub(crate) async fn post(&self, replica: usize, path: &str) -> u16 {
        let client =
            tinqs_ci_simulator::gitea_wire::http_client().no_proxy().build().expect("a client");
        let request = client.post(self.url(replica, path)).bearer_auth(OWN_TOKEN);
        request.send().await.expect("a response").status().as_u16()
    }

    /// Returns the number of lines in a replica's log that contain `part`.
    pub(crate) fn logged(&self, replica: usize, part: &str) -> usize {
        let log = fs::read_to_string(self.log(replica)).unwrap_or_default();
        log.lines().filter(|line| line.contains(part)).count()
    }

    pub(crate) async fn until(&self, what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(
                Instant::now() < end,
                "timed out after {seconds} s waiting for: {what}\n{}",
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for four passes of the first replica: polls and sweeps.
    pub(crate) async fn four_passes(&self) {
        let so_far = self.logged(0, "pass finished");
        self.until("its passes", 60, || self.logged(0, "pass finished") >= so_far + 4).await;
    }

    fn tail(&self) -> String {
        let mut told = String::new();
        for replica in self.replicas.keys() {
            let log = fs::read_to_string(self.log(*replica)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|l| !l.contains("pass finished")).collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            told = format!("{told}--- replica {replica}\n{last}\n");
        }
        let forge = self.gitea.forge();
        let jobs: Vec<String> = forge
            .jobs()
            .filter(|job| !job.status.is_done())
            .map(|job| format!("job {} {:?} {:?}", job.id, job.status, job.runner_name))
            .collect();
        format!("{told}{}\n{:?}", jobs.join("\n"), self.ec2.violations())
    }

    /// Asserts that no law was violated.
    pub(crate) fn lawful(&self) {
        assert_eq!(self.ec2.violations(), []);
    }

    /// Adds foreign machines with tags similar to ours; one has all of ours and a past deadline.
    pub(crate) fn add_strangers(&self) -> BTreeSet<MachineId> {
        let tags: [&[(&str, &str)]; 5] = [
            &[
                ("tinqs-ci", "tinqs-ci"),
                ("tinqs-ci/run", "job-1"),
                ("tinqs-ci/uid", "0a1b2c3d"),
                ("tinqs-ci/attempt", "tq-job-1-0a1b2c3d-1"),
                ("tinqs-ci/placement", "0"),
                ("tinqs-ci/registration", "4711"),
                ("tinqs-ci/deadline", "2001-01-01T00:00:00Z"),
                ("tinqs-ci/class", "linux"),
            ],
            &[],
            &[("Name", "tinqs-ci")],
            &[("tinqs-ci", "other"), ("tinqs-ci/attempt", "tq-job-1-0a1b2c3d-1")],
            &[("Tinqs-CI", "tinqs-ci"), ("tinqs-ci/run", "job-1")],
        ];
        tags.iter()
            .map(|tags| {
                let tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into()));
                self.ec2.add_foreign(tags.collect()).expect("a foreign machine")
            })
            .collect()
    }

    pub(crate) fn struck(&self) -> u64 {
        let mut struck = 0;
        self.ec2.faults(|rules| struck = rules.struck());
        struck
    }

    /// Returns the attribute `status` of these jobs' runs, which the predecessor's dashboards read.
    pub(crate) async fn statuses(&self, jobs: &[i64]) -> BTreeMap<i64, String> {
        let client = self.dynamodb.client().await;
        let mut statuses = BTreeMap::new();
        for job in jobs {
            let key = AttributeValue::S(format!("job-{job}"));
            let end = Instant::now() + Duration::from_mins(1);
            loop {
                let read = client.get_item().table_name(TABLE).key("run_id", key.clone());
                let item = read.send().await.expect("it is read").item.unwrap_or_default();
                let text = |name: &str| item.get(name).and_then(|v| v.as_s().ok()).cloned();
                let status = text("status").unwrap_or_default();
                if status == "completed" {
                    assert_eq!(text("repo").as_deref(), Some("acme/widget"));
                    assert!(text("instance_id").is_some_and(|id| id.starts_with("i-")), "{item:?}");
                    statuses.insert(*job, status);
                    break;
                }
                assert!(
                    Instant::now() < end,
                    "job-{job} is {status:?} after 60 s\n{}",
                    self.tail()
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        statuses
    }

    /// Asserts that no log contains a secret.
    pub(crate) fn assert_no_secret_told(&self) {
        for replica in [0, 1] {
            let log = fs::read_to_string(self.log(replica)).unwrap_or_default();
            self.assert_no_secret_in(&log);
        }
    }

    /// Asserts that a text contains no secret.
    pub(crate) fn assert_no_secret_in(&self, text: &str) {
        for secret in [TOKEN, KEY, &self.runner_token] {
            assert!(!text.contains(secret), "a secret is told");
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        for (child, _) in self.replicas.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes a program that can be executed.
fn write_program(path: &Path, text: &str) {
    fs::write(path, text).expect("a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its permissions");
}

async fn runner_token(gitea: &Gitea) -> String {
    let url = format!("{}/api/v1/admin/actions/runners/registration-token", gitea.url());
    let client =
        tinqs_ci_simulator::gitea_wire::http_client().no_proxy().build().expect("a client");
    let request = client.post(url).header("Authorization", format!("token {TOKEN}"));
    let answer = request.send().await.expect("the forge answers");
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    answer["token"].as_str().expect("a token").to_owned()
}
