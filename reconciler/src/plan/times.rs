//! Time constants of the decision, and arithmetic on times.

use jiff::{SignedDuration, Timestamp};

use crate::model::Attempt;

/// The longest time within which a recorded attempt may be launched.
pub const LAUNCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// The maximum time for which a launched machine may be missing from the cloud's list.
pub const VISIBLE_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// A launch lands at most this long after its reconcile began: 60 s of reconcile, 60 s until it is
/// signed, its time-out of 20 s, and the minutes in which the host still delivers what it has
/// accepted. Later only if the process is suspended between signature and sending
/// (docs/decisions/0085).
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// The machine of an unanswered launch is visible this long after the end of its launch window, or
/// does not exist.
pub const SHOWN_AFTER: SignedDuration =
    SignedDuration::from_secs(LANDS_WITHIN.as_secs() + VISIBLE_WITHIN.as_secs());
/// The time for which a refused attempt keeps its seat and registration: a minute more than any
/// call takes to land.
pub const REFUSED_FOR: SignedDuration = SignedDuration::from_secs(LANDS_WITHIN.as_secs() + 60);
/// The same if another reconcile had requested the machine too: one of an earlier call may not be
/// visible yet.
pub const REFUSED_AGAIN_FOR: SignedDuration =
    SignedDuration::from_secs(REFUSED_FOR.as_secs() + VISIBLE_WITHIN.as_secs());
/// An unanswered attempt without a visible machine has none if it was decided longer ago than this.
pub const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(22);
/// A job that ended longer than this before the end of its machine did not fail because of it. EC2
/// warns a spot machine two minutes before its end, and a runner may still report then.
pub const FAILED_WITHIN: SignedDuration = SignedDuration::from_mins(3);
/// The extra time beyond its limit that a machine may idle before it is late.
pub const DRAIN_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// The longest backoff.
pub const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(8);
/// The longest backoff in push mode, where idle machines cannot be told from jobs that were taken.
pub const LONGEST_BACKOFF_PUSH: SignedDuration = SignedDuration::from_hours(1);
/// The time for which an open breaker stops the launches of a class before one attempt may try.
pub const BREAKER_RETRIES_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// The time between two reconciles of a run whose class is paused, or has spent its budget: the end
/// of a pause, and a higher budget, wake it.
pub(crate) const PAUSED_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// The time within which a run takes the free seat that it is called for. Then it is passed over,
/// so that the seat does not stay free.
pub(crate) const TURN_WITHIN: SignedDuration = SignedDuration::from_secs(15);
/// The longest time between two reconciles of an open run.
pub const LONGEST_DUE: SignedDuration = SignedDuration::from_mins(10);

/// Returns until when an attempt may be launched: a later machine would have less than `boot_within`
/// left to start its runner.
pub(crate) fn launch_by(attempt: &Attempt) -> Timestamp {
    let window = after(attempt.decided_at, LAUNCH_WINDOW);
    attempt.launch_by().map_or(window, |by| by.min(window))
}

/// Returns a time that is `wait` later, at most the maximum timestamp.
pub(crate) fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Returns whether a time is longer ago than `wait`.
pub(crate) fn older(now: Timestamp, at: Timestamp, wait: SignedDuration) -> bool {
    now > after(at, wait)
}
