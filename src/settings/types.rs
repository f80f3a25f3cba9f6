//! The checked settings, with defaults filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use tinqs_ci_reconciler::model::{Class, MicroUsd, Secret};

use super::certificate::Tls;

/// Whether this build has the AWS adapters.
pub const AWS: bool = cfg!(feature = "aws");

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The value of the machine tag `tinqs-ci`; part of every UID.
    pub installation: String,
    /// The forge.
    pub forge: tinqs_ci_gitea::Config,
    /// The store for runs.
    pub store: StoreUrl,
    /// The queue for wake-ups.
    pub queue: QueueUrl,
    /// The compute that runs machines.
    pub compute: ComputeUrl,
    /// As whom machines on this host run.
    pub process: ProcessUser,
    /// The rate of launches in EC2.
    pub launches: LaunchRate,
    /// The HTTP server.
    pub server: Server,
    /// The price per hour of each kind on demand.
    pub prices: BTreeMap<String, MicroUsd>,
    /// The classes in order: the first that matches a job's labels serves it.
    pub classes: Vec<Class>,
}

impl Settings {
    /// Returns every credential of the configuration.
    pub fn secrets(&self) -> Vec<Secret> {
        let Self { forge, server, classes, .. } = self;
        // All machine specs of a class have the same runner.
        let specs = classes.iter().filter_map(|class| class.machines.first());
        let of_jobs = specs.filter_map(|spec| spec.runner.as_ref()).flat_map(|r| r.secrets());
        let forge = [&forge.token, &forge.runner_token, &forge.webhook_secret, &forge.git_token];
        let more = server.webhook_secrets.iter().chain(server.tokens().map(|token| &token.secret));
        forge.into_iter().flatten().chain(more).cloned().chain(of_jobs).collect()
    }
}

/// The store for runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `redb:DIR`: one file in this directory.
    Redb(PathBuf),
    /// `memory:`: lost when the process ends.
    Memory,
    /// `dynamodb:TABLE`.
    Dynamodb(String),
}

/// The queue for wake-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueUrl {
    /// `memory:`: in the process; lost wake-ups are repeated when the run is due.
    Memory,
    /// `sqs:URL`.
    Sqs(String),
}

/// The compute that runs machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComputeUrl {
    /// `process:` or `process:DIR`: child processes on this host, each in its own directory.
    Process(PathBuf),
    /// `ec2:REGION`.
    Ec2(String),
}

/// The rate of launches in EC2; `None`: slightly below what EC2 allows every account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaunchRate {
    /// Launches per second after a burst.
    pub per_second: Option<f64>,
    /// Launches at once.
    pub burst: Option<u32>,
}

/// As whom machines on this host run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessUser {
    /// The user; `None`: the server's own.
    pub user: Option<String>,
    /// Whether the configuration asks for the server's own user, by the name `self`.
    pub own: bool,
    /// The directory in which its machines work; `None`: `machines` in its home.
    pub directory: Option<PathBuf>,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address that takes webhooks.
    pub webhooks: SocketAddr,
    /// The address of the API.
    pub api: SocketAddr,
    /// An address of `/metrics` alone.
    pub metrics: Option<SocketAddr>,
    /// The certificate of all of these addresses; `None`: they have no TLS.
    pub tls: Option<Tls>,
    /// The names under which the API may be called, beside loopback and its IP address.
    pub hosts: Vec<String>,
    /// The maximum number of clients that follow events.
    pub event_clients: u32,
    /// The configured tokens of the API.
    pub tokens: Vec<Token>,
    /// The token that `serve` created because none is configured.
    pub own_token: Option<Token>,
    /// The secrets that sign webhooks beside `forge.webhook_secret`, which is the first of them.
    pub webhook_secrets: Vec<Secret>,
    /// The filter of log lines, in the form of `TINQS_CI_LOG`, which overrides it.
    pub log: Option<String>,
    /// Whether the function writes metrics for `CloudWatch` to stdout.
    pub emf: bool,
}

impl Server {
    /// Returns the tokens that the API accepts.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().chain(&self.own_token)
    }
}

/// A token of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The name of its owner in the audit log.
    pub name: String,
    /// The token.
    pub secret: Secret,
    /// The right that it gives.
    pub may: Right,
}

/// The right of a token of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To see runs, machines and metrics.
    Read,
    /// To change them too, and to have the configuration read again.
    Operate,
}
