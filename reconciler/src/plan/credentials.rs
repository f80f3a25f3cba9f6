//! Credentials leave a record with the write after which nothing is launched from it any more.

use jiff::Timestamp;

use crate::model::{Attempt, End, Ended, Happened, Phase, Status};

/// Ends an attempt whose launch got no answer once its run runs or is finished: without credentials
/// it cannot be launched again. Then removes the credentials of an attempt that has ended, or whose
/// run runs or is finished. Its seat and its registration stay: its machine may still appear.
pub(super) fn leave(status: &mut Status, now: Timestamp) {
    let is_over = matches!(status.phase, Phase::Running | Phase::Finished);
    let open = status.attempt.as_ref().filter(|attempt| attempt.ended.is_none());
    let superseded = open.filter(|attempt| is_over && !is_answered(attempt)).map(|a| a.number);
    if let Some(attempt) = superseded {
        status.happened(now, Happened::AttemptEnded { attempt, why: End::Superseded });
    }
    let Some(attempt) = &mut status.attempt else { return };
    if superseded.is_some() {
        attempt.ended = Some(Ended { why: End::Superseded, at: now });
    }
    if is_over || attempt.ended.is_some() {
        attempt.forget_credentials();
    }
}

/// Returns whether the launch of the current placement was answered or refused.
fn is_answered(attempt: &Attempt) -> bool {
    attempt.placements.last().is_some_and(|p| p.answered.is_some() || p.refused.is_some())
}
