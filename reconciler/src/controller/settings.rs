//! Settings and hints of the controller.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::model::{Class, InstallationId, MicroUsd, Secret};
use crate::ports::WaitingJob;

/// The settings of the controller.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the installation: the value of the machine tag, and, as its ID, part of every
    /// UID.
    pub installation: String,
    /// The forge's URL as machines reach it.
    pub instance_url: String,
    /// The token for cloning over HTTPS on machines, if configured.
    pub git_token: Option<Secret>,
    /// The credentials of the configuration, which are cut out of the logs of machines.
    pub secrets: Vec<Secret>,
    /// Classes in order: the first one that serves a job's labels is used.
    pub classes: Vec<Class>,
    /// The price per hour of each kind on demand, as configured.
    pub prices: BTreeMap<String, MicroUsd>,
    /// The interval of reading the forge's job list.
    pub poll_every: SignedDuration,
    /// The interval of sweeping machines, registrations and seats.
    pub sweep_every: SignedDuration,
    /// The name of this process as holder of the sweep's lease.
    pub replica: String,
}

impl Settings {
    /// Returns the ID of the installation.
    pub fn installation_id(&self) -> InstallationId {
        InstallationId::of(&self.installation)
    }
}

/// The report of a webhook. It never says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "most hints announce jobs")]
pub enum Hint {
    /// A job was seen waiting.
    Queued(WaitingJob),
    /// Something happened to a job: its run is woken, and the run whose attempt ID the runner has.
    Job {
        /// The job's ID.
        job_id: i64,
        /// The name of the runner that executes it, if reported.
        runner: Option<String>,
    },
}
