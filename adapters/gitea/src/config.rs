//! What is configured of the forge.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::Secret;

/// The forge and how it is asked.
#[derive(Clone, Debug)]
pub struct Config {
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
