//! Outcomes of machines.

use jiff::SignedDuration;

/// The outcome of a machine, drawn at its launch.
#[derive(Clone, Debug)]
pub struct MachineOutcome {
    /// From launch to power-on.
    pub boots_in: SignedDuration,
    /// From power-on to the runner's start.
    pub starts_in: SignedDuration,
    /// The cloud interrupts it this long after its launch.
    pub interrupted_in: Option<SignedDuration>,
    /// Its boot script gets the notice of that, and ends its job so long before.
    pub ends_job_before: Option<SignedDuration>,
    /// It ends right after its launch.
    pub stillborn: bool,
    /// Its runner reports rarely.
    pub silent: bool,
    /// Its runner never starts, and nothing but its timer ends it.
    pub never_online: bool,
    /// Its runner comes online and then hangs; nothing but its timer ends it.
    pub hangs_idle: bool,
    /// It stays up after its job.
    pub hangs_after_job: bool,
    /// Its timer does not end it at its deadline.
    pub ignores_timer: bool,
    /// It hangs for so long before it starts its runner.
    pub starts_late: Option<SignedDuration>,
    /// Its runner fails for so long, and is started again.
    pub fails_first: Option<SignedDuration>,
}

impl Default for MachineOutcome {
    fn default() -> Self {
        Self {
            boots_in: SignedDuration::from_secs(20),
            starts_in: SignedDuration::from_secs(10),
            interrupted_in: None,
            ends_job_before: None,
            stillborn: false,
            silent: false,
            never_online: false,
            hangs_idle: false,
            hangs_after_job: false,
            ignores_timer: false,
            starts_late: None,
            fails_first: None,
        }
    }
}
