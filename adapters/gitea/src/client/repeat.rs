//! Decides which calls are retried, and how often.
//!
//! A reconcile calls the forge a few times, and one failed read delays it by ten seconds: behind a
//! proxy that breaks one connection in three, hardly any reconcile would succeed. So a call that
//! may be repeated is retried at once, unless the forge has not answered for a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::ConstantBuilder;
use tinqs_ci_reconciler::ports::PortError;

use super::call::{Answer, Call};

/// Retries per call.
const TIMES: usize = 2;
/// Tries that may fail without a response in between; each response allows one more. So a forge
/// that is down does not get three times the calls.
const PATIENCE: u32 = 20;

/// The number of tries that may still fail before calls are no longer retried.
pub(super) struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(PATIENCE))
    }
}

impl RetryBudget {
    /// Records a failed try. Returns whether a retry is allowed.
    pub(super) fn failed(&self) -> bool {
        self.change(|left| left.checked_sub(1))
    }

    /// Records a response of the forge.
    pub(super) fn answered(&self) {
        self.change(|left| (left < PATIENCE).then_some(left + 1));
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

/// Retries after this pause, or up to twice as long.
pub(super) fn policy(pause: Duration) -> ConstantBuilder {
    ConstantBuilder::default().with_delay(pause).with_max_times(TIMES).with_jitter()
}

/// Whether a response is a temporary failure of the forge, or of a proxy. The forge's own 500 is
/// often a row that it cannot show; a caller that reads around such rows does not retry.
pub(super) fn fails_for_now(call: &Call, answer: &Answer) -> bool {
    let read_around = call.reads_around && answer.is_own_failure();
    matches!(answer.status.as_u16(), 500 | 502..=504) && !read_around
}

/// A failed call that may be retried.
pub(super) enum Failed {
    /// No complete response.
    Broken { error: PortError, is_for_now: bool },
    /// A temporary failure of the forge.
    Answered(Answer),
}

impl Failed {
    pub(super) fn is_for_now(&self) -> bool {
        match self {
            Self::Broken { is_for_now, .. } => *is_for_now,
            Self::Answered(_) => true,
        }
    }

    pub(super) fn why(&self) -> String {
        match self {
            Self::Broken { error, .. } => error.message.clone(),
            Self::Answered(answer) => format!("HTTP {}", answer.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_tries_may_fail_in_a_row_and_one_more_for_each_answer() {
        let patience = RetryBudget::default();
        patience.answered();
        let failed = || (0..100).filter(|_| patience.failed()).count();
        assert_eq!(failed(), 20, "never more than at the start");
        patience.answered();
        patience.answered();
        assert_eq!(failed(), 2);
    }
}
