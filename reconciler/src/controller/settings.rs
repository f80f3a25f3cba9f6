//! What the controller is told.

use jiff::SignedDuration;

use crate::model::{Class, Secret};
use crate::ports::WaitingJob;

/// What the controller is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Value of the machine tag; part of every uid.
    pub installation: String,
    /// The forge's address as machines reach it.
    pub instance_url: String,
    /// For cloning over HTTPS on machines, where configured.
    pub git_token: Option<Secret>,
    /// In order: the first that serves a job's labels serves it.
    pub classes: Vec<Class>,
    /// How often the forge's job list is read.
    pub poll_every: SignedDuration,
    /// How often machines, registrations and seats are gone through.
    pub sweep_every: SignedDuration,
    /// This process, as the holder of the sweep's lease.
    pub replica: String,
}

/// What a webhook may tell: never what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A job was seen waiting.
    Queued(WaitingJob),
    /// Something happened to a job: look at its run, and at the run whose slot the runner's name is.
    Job {
        /// The job's id.
        job_id: i64,
        /// The name of the runner that works on it, where told.
        runner: Option<String>,
    },
}
