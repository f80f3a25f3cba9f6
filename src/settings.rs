//! What `serve` is told: checked, with defaults filled in. Read from outside in `config`.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use tinqs_ci_reconciler::class::Class;
use tinqs_ci_reconciler::run::Secret;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Value of the machine tag `tinqs-ci`; part of every uid.
    pub installation: String,
    /// The forge.
    pub forge: Forge,
    /// Where runs are kept.
    pub store: StoreUrl,
    /// Where wake-ups are kept.
    pub queue: QueueUrl,
    /// Where machines are.
    pub compute: ComputeUrl,
    /// The HTTP server.
    pub server: Server,
    /// In order: the first class that serves a job's labels serves it.
    pub classes: Vec<Class>,
}

/// The forge and how it is asked.
#[derive(Clone, Debug)]
pub struct Forge {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Its address as machines reach it, where that differs.
    pub machine_url: Option<String>,
    /// For the API.
    pub token: Option<Secret>,
    /// The registration token; asked from the forge where there is none.
    pub runner_token: Option<Secret>,
    /// What webhooks are signed with; without it they are mere hints that bring the poll forward.
    pub webhook_secret: Option<Secret>,
    /// For cloning over HTTPS on machines.
    pub git_token: Option<Secret>,
    /// How demand is known.
    pub demand: Demand,
    /// Which job and runner lists are used.
    pub scope: Scope,
    /// How often the job list is read.
    pub poll_every: SignedDuration,
    /// How often machines, registrations and seats are gone through.
    pub sweep_every: SignedDuration,
}

/// How demand is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// The forge's version and the token's rights decide.
    #[default]
    Auto,
    /// The forge's own job list.
    Jobs,
    /// Pushes, evaluated as the forge would.
    Push,
}

/// Which job and runner lists are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The whole forge (`/admin/…`).
    #[default]
    All,
    /// An organisation (`/orgs/NAME/…`).
    Org(String),
    /// The token's user (`/user/…`).
    User,
    /// One repository (`/repos/OWNER/REPO/…`).
    Repo(String, String),
}

/// Where runs are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `redb:DIR`: one file in this directory.
    Redb(PathBuf),
    /// `memory:`: gone with the process.
    Memory,
    /// `dynamodb:TABLE`.
    Dynamodb(String),
}

/// Where wake-ups are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueUrl {
    /// `memory:`: in the process; `due` in the store carries the rest.
    Memory,
    /// `sqs:URL`.
    Sqs(String),
}

/// Where machines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComputeUrl {
    /// `process:` or `process:DIR`: child processes of this host, each in a directory of its own.
    Process(PathBuf),
    /// `ec2:REGION`.
    Ec2(String),
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What `/v1` asks for; required beyond loopback.
    pub api_token: Option<Secret>,
}
