//! The times that the decision rests on, and arithmetic on times.

use jiff::{SignedDuration, Timestamp};

/// How long a recorded attempt may be launched.
pub const LAUNCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long the cloud may hide a machine.
pub const VISIBLE_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// No launch lands later than this after its look began (60 s of look, 5 min of signature).
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// A launch that was never answered shows its machine this long after its attempt was decided, or
/// there is none.
pub const SHOWN_WITHIN: SignedDuration = SignedDuration::from_secs(
    LAUNCH_WINDOW.as_secs() + LANDS_WITHIN.as_secs() + VISIBLE_WITHIN.as_secs(),
);
/// How long after a refusal its slot is kept: a minute more than any call takes to land.
pub const REFUSED_FOR: SignedDuration = SignedDuration::from_secs(LANDS_WITHIN.as_secs() + 60);
/// The same where another look had asked too: what an earlier call brought may be hidden as well.
pub const REFUSED_AGAIN_FOR: SignedDuration =
    SignedDuration::from_secs(REFUSED_FOR.as_secs() + VISIBLE_WITHIN.as_secs());
/// An attempt decided longer ago than this, never answered and not seen, has no machine.
pub const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(22);
/// A machine that idles so much longer than it should has not drained itself.
pub const DRAIN_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// The longest backing off.
pub const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(8);
/// The same in push mode, where idle machines cannot be told from taken jobs.
pub const LONGEST_BACKOFF_PUSH: SignedDuration = SignedDuration::from_hours(1);
/// How long a class is left alone after a launch that was refused for what an operator must mend.
pub const STOPPED_FOR: SignedDuration = SignedDuration::from_mins(5);
/// No open run is left alone for longer.
pub const LONGEST_DUE: SignedDuration = SignedDuration::from_mins(10);

/// A time so much later; the last one there is where a record or a configuration asks for more.
pub(crate) fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// Whether a time is longer ago than `wait`.
pub(crate) fn older(now: Timestamp, at: Timestamp, wait: SignedDuration) -> bool {
    now > after(at, wait)
}
