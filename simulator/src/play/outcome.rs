//! What came of a history, in numbers.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::RunName;

use crate::laws::Violation;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The profile's name.
    pub profile: &'static str,
    /// How many replicas there were.
    pub replicas: usize,
    /// Jobs that waited for a runner at some time, re-runs counted anew.
    pub jobs: usize,
    /// Of those, the ones that ran.
    pub ran: usize,
    /// Of those, the ones that ran on the machine of another run.
    pub shared: usize,
    /// Machines that were made.
    pub machines: usize,
    /// Calls of launch that reached the cloud.
    pub launches: u64,
    /// Registrations that were made.
    pub registrations: u64,
    /// Writes of each run, its removal not among them.
    pub writes_per_run: BTreeMap<RunName, u32>,
    /// Records that were removed.
    pub removals: u64,
    /// Calls that would change something, after all is done.
    pub mutating_calls_in_settled_day: u64,
    /// Calls of store, queue and compute in that time, apart from waiting for wake-ups.
    pub calls_in_settled_day: u64,
    /// The longest that a job waited for its runner.
    pub longest_wait: SignedDuration,
    /// How often a run waited the whole `assign_within` for the machine of the job that had taken its
    /// own, and then needed another.
    pub waited_in_vain: u64,
    /// A hash over everything that happened.
    pub trace_hash: String,
    /// Laws that were broken.
    pub violations: Vec<Violation>,
    /// Calls of the ports, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// How often each fault struck.
    pub struck: BTreeMap<&'static str, u64>,
    /// Looks that were gone through.
    pub looks: u64,
    /// How long the history is, in the world's own time.
    pub simulated: SignedDuration,
}

impl Outcome {
    /// Writes of all runs, removals not among them.
    pub fn writes(&self) -> u64 {
        self.writes_per_run.values().map(|n| u64::from(*n)).sum()
    }

    /// Machines per job that ran.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred of each")]
    pub fn machines_per_job(&self) -> f64 {
        self.machines as f64 / self.ran.max(1) as f64
    }
}
