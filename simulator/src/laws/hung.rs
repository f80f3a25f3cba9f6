//! The true state of a machine that is about to be terminated: whether it may be called hung.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::plan::{DISABLED_FOR, HUNG_AFTER, READINGS_APART};

use crate::cloud::machine::SimulatedMachine;

/// The true state of a machine that is about to be terminated.
#[derive(Clone, Copy, Debug)]
pub struct TerminateTruth<'a> {
    /// The machine.
    pub machine: &'a SimulatedMachine,
    /// Whether a person requested it.
    pub by_person: bool,
    /// Whether the forge has canceled the job that it executes, or executed.
    pub canceled: bool,
    /// Whether its registration is at the forge.
    pub registered: bool,
    /// For how long no reading of the forge by this replica has failed; `None`: none ever did.
    pub steady_for: Option<SignedDuration>,
    /// For how long its registration has been disabled at the forge.
    pub disabled_for: Option<SignedDuration>,
    /// Maximum difference between the clocks of replicas.
    pub clocks_apart: SignedDuration,
    /// Maximum change when the clock of one replica is set.
    pub clock_set: SignedDuration,
}

impl TerminateTruth<'_> {
    /// Whether it may be called hung. Either its promise was over for two minutes before a first
    /// reading, and another two minutes without a failed reading lie before the second; or it
    /// is over, and the registration has been disabled for a minute without one.
    pub(super) fn may_be_hung(&self, now: Timestamp) -> bool {
        let Some(promise) = self.machine.boot.promise() else { return false };
        let is_steady = |least: SignedDuration| self.steady_for.is_none_or(|time| time >= least);
        let over_for = now.duration_since(promise.idle_until());
        let is_read_twice = over_for + self.clocks_apart > HUNG_AFTER + READINGS_APART
            && is_steady(READINGS_APART - self.clocks_apart);
        let is_over = over_for + self.clocks_apart > SignedDuration::ZERO;
        let disabled_for = DISABLED_FOR - self.clock_set;
        let is_disabled = self.disabled_for.is_some_and(|time| time >= disabled_for);
        is_read_twice || (is_over && is_disabled && is_steady(disabled_for))
    }
}
