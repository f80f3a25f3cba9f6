//! Machines that had no log yet when their attempt ended: some clouds show the console of a machine
//! only minutes after its end. This is a cache: losing it costs the last lines of these attempts.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::model::{MachineId, Redactor, RunName};
use crate::plan::times::{after, older};

/// Times at which such a log is read again, counted from the end of the attempt.
const AGAIN_AFTER: [SignedDuration; 2] =
    [SignedDuration::from_mins(2), SignedDuration::from_mins(5)];
/// A machine is forgotten this long after the end of its attempt.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// The maximum number of runs.
const KEPT: usize = 1_000;

/// The machines whose log is read again, by run.
#[derive(Default)]
pub(super) struct LateLogs(Mutex<HashMap<RunName, Vec<LateLog>>>);

/// A machine whose log is read again.
pub(super) struct LateLog {
    /// The number of its attempt.
    pub(super) attempt: u32,
    /// The machine.
    pub(super) machine: MachineId,
    /// Cuts out the credentials that it may have printed: the record of a past attempt has none.
    pub(super) redactor: Redactor,
    /// Time at which its attempt ended.
    pub(super) ended_at: Timestamp,
    /// The number of entries of `AGAIN_AFTER` that were due when it was last read.
    pub(super) read: usize,
}

impl LateLog {
    /// Returns how many times it should have been read by now.
    fn due(&self, now: Timestamp) -> usize {
        AGAIN_AFTER.iter().filter(|wait| now >= after(self.ended_at, **wait)).count()
    }
}

impl LateLogs {
    /// Adds a machine that has no log yet, unless its attempt is known or it was read often enough.
    pub(super) fn add(&self, run: &RunName, log: LateLog, now: Timestamp) {
        let mut all = self.0.lock();
        all.retain(|_, logs| {
            logs.retain(|log| !older(now, log.ended_at, FORGOTTEN_AFTER));
            !logs.is_empty()
        });
        let is_full = all.len() >= KEPT && !all.contains_key(run);
        if log.read >= AGAIN_AFTER.len() || is_full {
            return;
        }
        let logs = all.entry(run.clone()).or_default();
        if logs.iter().all(|known| known.attempt != log.attempt) {
            logs.push(log);
        }
    }

    /// Takes the machines of a run whose log is to be read now.
    pub(super) fn take(&self, run: &RunName, now: Timestamp) -> Vec<LateLog> {
        let mut all = self.0.lock();
        let Some(logs) = all.get_mut(run) else { return Vec::new() };
        let mut due: Vec<LateLog> = logs.extract_if(.., |log| log.due(now) > log.read).collect();
        for log in &mut due {
            log.read = log.due(now);
        }
        if logs.is_empty() {
            all.remove(run);
        }
        due
    }
}
