//! Configuration of the forge.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::Secret;

/// The forge and its credentials.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its URL, without a trailing slash.
    pub url: String,
    /// Its URL as seen from machines, if different.
    pub machine_url: Option<String>,
    /// Token of the API.
    pub token: Option<Secret>,
    /// Registration token; read from the forge if not set.
    pub runner_token: Option<Secret>,
    /// Secret that signs webhooks; without it, a delivery only brings the poll forward.
    pub webhook_secret: Option<Secret>,
    /// Token for cloning over HTTPS on machines.
    pub git_token: Option<Secret>,
    /// Source of demand.
    pub demand: Demand,
    /// Scope of the job and runner lists.
    pub scope: Scope,
    /// Level at which runners are registered.
    pub register_in: RegisterIn,
    /// Interval between reads of the job list.
    pub poll_every: SignedDuration,
    /// Interval between sweeps of machines, registrations and seats.
    pub sweep_every: SignedDuration,
}

/// Source of demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// Chosen by the forge's version and the token's permissions.
    #[default]
    Auto,
    /// The forge's own job list.
    Jobs,
    /// Pushes, evaluated by the forge's rules.
    Push,
}

/// Level at which runners are registered, which decides whose jobs they can get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegisterIn {
    /// Each in the repository of the job that it is made for.
    #[default]
    Repository,
    /// In the scope: any repository in scope can take it.
    Scope,
}

/// Scope of the job and runner lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The whole forge (`/admin/…`).
    #[default]
    All,
    /// An organization (`/orgs/NAME/…`).
    Org(String),
    /// The token's user (`/user/…`).
    User,
    /// One repository (`/repos/OWNER/REPO/…`).
    Repo(String, String),
}
