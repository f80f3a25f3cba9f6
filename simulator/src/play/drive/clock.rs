//! The clocks of replicas.

use jiff::{SignedDuration, Timestamp};

use crate::faults::{FaultProfile, Rng};

/// Leads of clocks that are set at random, in seconds: right, within two minutes, and far off.
const LEADS: [i64; 10] =
    [0, 0, 100, -100, 13 * 60, -13 * 60, 3 * 3600, -3 * 3600, 9 * 3600, -9 * 3600];

/// Returns when the clock of a replica is set until the end of the faults, and its lead from then on.
pub(super) fn leads(
    rng: &mut Rng,
    faults: &FaultProfile,
    number: usize,
    start: Timestamp,
    until: Timestamp,
) -> Vec<(Timestamp, SignedDuration)> {
    let apart = faults.clocks_apart * i32::try_from(number).unwrap_or(0);
    let mut leads = vec![(start, apart)];
    if faults.clocks_set {
        let mut at = start;
        while at < until {
            let lead = usize::try_from(rng.below(10)).ok().and_then(|n| LEADS.get(n));
            leads.push((at, SignedDuration::from_secs(lead.copied().unwrap_or(0))));
            at += rng.between(SignedDuration::from_mins(1), SignedDuration::from_mins(90));
        }
        leads.push((until, apart));
    }
    leads
}
