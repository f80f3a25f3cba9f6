//! What is configured, checked and with defaults filled in.

use std::net::SocketAddr;
use std::path::PathBuf;

use tinqs_ci_reconciler::model::{Class, Secret};

/// Whether this build has the adapters of AWS.
pub const AWS: bool = cfg!(feature = "aws");

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Value of the machine tag `tinqs-ci`; part of every uid.
    pub installation: String,
    /// The forge.
    pub forge: tinqs_ci_gitea::Config,
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
