//! The outcome of a history in numbers.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Amount, RunName};

use crate::laws::{PoolFigures, Violation};

/// The outcome of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The profile's name.
    pub profile: &'static str,
    /// Number of replicas.
    pub replicas: usize,
    /// Jobs that waited for a runner at some time; reruns count again.
    pub jobs: usize,
    /// Of those, the jobs that ran.
    pub ran: usize,
    /// Of those, the jobs that ran on the machine of another run.
    pub shared: usize,
    /// Jobs that failed although their work succeeds: they lost their machine.
    pub lost: usize,
    /// Machines that were made for jobs which were canceled before they ran.
    pub canceled: usize,
    /// Machines that took no job, of runs that had one when all records were lost.
    pub doubled: usize,
    /// Machines that were created.
    pub machines: usize,
    /// Launch calls that reached the cloud.
    pub launches: u64,
    /// Registrations that were created.
    pub registrations: u64,
    /// Writes of each run, without its removal.
    pub writes_per_run: BTreeMap<RunName, u32>,
    /// Records that were removed.
    pub removals: u64,
    /// Calls that would change something after all work is done.
    pub mutating_calls_in_settled_day: u64,
    /// Calls of store, queue and compute in that time, without waiting for wake-ups.
    pub calls_in_settled_day: u64,
    /// The longest wait of a job for its runner.
    pub longest_wait: SignedDuration,
    /// The longest time of a job from being queued to being done.
    pub longest_to_done: SignedDuration,
    /// The number of times that a run waited all of `assign_within` for the machine of the job that
    /// displaced its own, and then needed another machine.
    pub waited_in_vain: u64,
    /// Figures of the pools from which the first machines of attempts came.
    pub pools: PoolFigures,
    /// The number of drifts by kind, counted once a minute.
    pub drift: BTreeMap<&'static str, u64>,
    /// The counted usage of machines; less than they lived if the records were lost.
    pub counted: Amount,
    /// Hash over all events.
    pub trace_hash: String,
    /// Laws that were broken.
    pub violations: Vec<Violation>,
    /// Calls of the ports, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// The number of occurrences of each fault.
    pub struck: BTreeMap<&'static str, u64>,
    /// Number of reconciles.
    pub reconciles: u64,
    /// Length of the history in simulated time.
    pub simulated: SignedDuration,
}

impl Outcome {
    /// Returns the writes of all runs, without removals.
    pub fn writes(&self) -> u64 {
        self.writes_per_run.values().map(|n| u64::from(*n)).sum()
    }

    /// Returns machines per job that ran.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred of each")]
    pub fn machines_per_job(&self) -> f64 {
        self.machines as f64 / self.ran.max(1) as f64
    }
}
