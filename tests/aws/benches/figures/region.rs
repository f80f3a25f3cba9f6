//! An AWS Region and a forge on loopback, a directory, and at most one server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{Credentials, Region as Place};
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tinqs_ci_aws::client;
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::model::{Conclusion, MachineState};
use tinqs_ci_simulator::cloud::machine::MachineOutcome;
use tinqs_ci_simulator::ec2_wire::{Account, Ec2Options, Ec2Wire};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line, Status};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right, Wire, WireOptions};

use crate::figure::Result;
use crate::load::SECRET;
use crate::server::{Server, configuration, free_ports};
use crate::table::Table;

/// The program with the AWS adapters.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tinqs-ci-aws-tests");
/// The first argument that makes this benchmark a server with unpaced launches.
pub(crate) const UNPACED: &str = "serve-unpaced";
const TABLE: &str = "bench";
const TOKEN: &str = "bench-api-token";
const REPO: &str = "acme/widget";

/// Configuration of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Lines of the one class in addition to its name, labels and machines.
    pub(crate) class: &'static str,
    /// `forge.poll_every` and `forge.sweep_every`.
    pub(crate) every: (&'static str, &'static str),
    /// Whether launches are unpaced, instead of two a second.
    pub(crate) unpaced: bool,
    /// Whether the table's calls are counted, which costs one more hop each.
    pub(crate) books: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { class: "", every: ("10s", "60s"), unpaced: false, books: true }
    }
}

/// The Region, its forge and its server; all stop on drop.
pub(crate) struct Region {
    dir: tempfile::TempDir,
    pub(crate) table: Table,
    pub(crate) ec2: Ec2Wire,
    gitea: Wire,
    ports: [u16; 2],
    server: Option<Server>,
    starts: u32,
}

/// Returns the options of an EC2 without latencies and limits, whose machines simulate runners at
/// `speed` times the real pace.
pub(crate) fn instant(speed: u32) -> Ec2Options {
    let mut account = Account::default();
    for subnet in &mut account.subnets {
        subnet.addresses = 1_000_000;
    }
    Ec2Options {
        speed,
        account,
        installation: Some("bench".to_owned()),
        boots_in: Ec2Options::default().boots_in,
        ends_within: Ec2Options::default().ends_within,
        outcome: MachineOutcome {
            starts_in: SignedDuration::from_secs(8),
            ..MachineOutcome::default()
        },
        ..Ec2Options::instant()
    }
}

impl Region {
    /// Starts the wires. Must be called in a runtime. Machines of `options` use the same forge.
    pub(crate) async fn new(options: Ec2Options) -> Result<Self> {
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo(REPO);
        let forge = Arc::new(Mutex::new(forge));
        let tokens = vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }];
        let wire = WireOptions { tokens, ..WireOptions::default() };
        let gitea = Wire::start(forge.clone(), Arc::new(Timestamp::now), wire)?;
        let ec2 = Ec2Wire::start(Ec2Options { forge: Some(forge), ..options })?;
        let (dir, table, ports) = (tempfile::tempdir()?, Table::start().await?, free_ports()?);
        Ok(Self { dir, table, ec2, gitea, ports, server: None, starts: 0 })
    }

    /// Makes the forge send webhooks to the server.
    pub(crate) fn hook(&self) {
        let url = format!("http://127.0.0.1:{}/webhook", self.ports[0]);
        self.gitea.add_hook(Hook::system(url, SECRET));
    }

    /// Makes the forge send every webhook except those of queued jobs.
    pub(crate) fn hook_but_queued(&self) {
        self.gitea.lose_webhooks_if(|webhook| webhook.action == "queued");
        self.hook();
    }

    /// The forge behind the wire.
    pub(crate) fn forge(&self) -> MutexGuard<'_, Forge> {
        self.gitea.forge()
    }

    /// Returns the number of requests to the forge.
    pub(crate) fn forge_calls(&self) -> u64 {
        self.gitea.counters().calls.values().sum()
    }

    fn configuration(&self, options: Options) -> String {
        let limit = if options.class.contains("limit =") { "" } else { "limit = \"none\"\n" };
        format!(
            "installation = \"bench\"\nstore = \"dynamodb:{TABLE}\"\ncompute = \"ec2:us-east-1\"\n\
             [forge]\nurl = \"{url}\"\ntoken = \"{TOKEN}\"\nwebhook_secret = \"{SECRET}\"\n\
             poll_every = \"{poll}\"\nsweep_every = \"{sweep}\"\n\
             {server}[[class]]\nname = \"linux\"\nlabels = [\"*\"]\n{limit}{class}\n\
             [class.machines]\nmarkets = [\"spot\"]\nkinds = [\"t3.small\"]\nsubnets = [\"subnet-a\"]\n\
             image = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\ninstance_profile = \"tinqs-ci-runner\"\n",
            url = self.gitea.url(),
            poll = options.every.0,
            sweep = options.every.1,
            server = configuration(self.ports),
            class = options.class,
        )
    }

    /// Returns the program's command with a verb. Its environment holds the configuration and the
    /// addresses of the wires, and nothing else.
    pub(crate) fn command(&self, verb: &str, options: Options) -> Result<Command> {
        let file = self.dir.path().join("tinqs-ci.toml");
        fs::write(&file, self.configuration(options))?;
        let program = if options.unpaced { std::env::current_exe()? } else { BINARY.into() };
        let endpoint =
            if options.books { self.table.endpoint.clone() } else { self.table.engine() };
        let mut command = Command::new(program);
        command
            .arg(verb)
            .arg("--config")
            .arg(&file)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
            .env("AWS_ENDPOINT_URL_EC2", self.ec2.url())
            .env("AWS_ACCESS_KEY_ID", "AKIDBENCH")
            .env("AWS_SECRET_ACCESS_KEY", "bench-secret-access-key")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Ok(command)
    }

    /// Returns a new log file's path.
    pub(crate) fn log(&mut self) -> PathBuf {
        self.starts += 1;
        self.dir.path().join(format!("{}.log", self.starts))
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&mut self, options: Options) -> Result<()> {
        if self.server.is_some() {
            return Err("one server at a time".into());
        }
        let verb = if options.unpaced { UNPACED } else { "serve" };
        let (mut command, log) = (self.command(verb, options)?, self.log());
        let server = Server::spawn(&mut command, self.ports, &log)?;
        self.server.insert(server).ready().await
    }

    /// Returns the running server.
    pub(crate) fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| "no server".into())
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.server.take().ok_or("no server")?.stop()?;
        Ok(())
    }

    /// Returns a store over the table whose calls are not counted.
    pub(crate) async fn store(&self) -> Result<Arc<DynamoStore>> {
        let config = client::loader()?
            .endpoint_url(self.table.engine())
            .region(Place::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIDFILLS", "fills", None, None, "bench"))
            .load()
            .await;
        let store = DynamoStore::new(client::dynamodb(&config), TABLE, "bench");
        store.ensure_table().await?;
        Ok(Arc::new(store))
    }

    /// Pushes jobs that succeed after `work`. Returns their IDs.
    pub(crate) fn push(&self, count: usize, work: SignedDuration) -> Vec<i64> {
        let spec = JobSpec { work, ..JobSpec::new("build (linux)", &["self-hosted", "linux"]) };
        self.forge().push(Timestamp::now(), REPO, &vec![spec; count])
    }

    /// Returns the webhook payload of a queued job.
    pub(crate) fn queued(&self, job: i64) -> Result<Value> {
        let forge = self.forge();
        let row = forge.job(job).ok_or("no job")?;
        let repo = forge.repo(REPO).ok_or("no repository")?;
        Ok(json!({
            "action": "queued",
            "workflow_job": forge.job_json(row),
            "repository": forge.repository_json(repo),
        }))
    }

    /// Waits until a condition holds, checking it every `pause`.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        pause: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + within;
        while !holds(self) {
            if Instant::now() > end {
                let words = self.server.as_ref().map(Server::last_words).unwrap_or_default();
                return Err(
                    format!("timed out after {within:?} waiting for: {what}; {words}").into()
                );
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Returns how many of these jobs have succeeded.
    pub(crate) fn done(&self, jobs: &[i64]) -> usize {
        let forge = self.forge();
        let success = Status::Done(Conclusion::Success);
        jobs.iter().filter(|job| forge.job(**job).is_some_and(|j| j.status == success)).count()
    }

    /// Returns the number of machines that are not terminated.
    pub(crate) fn machines_left(&self) -> usize {
        self.ec2.cloud(|cloud| {
            cloud.machines().filter(|machine| machine.state() != MachineState::Gone).count()
        })
    }
}
