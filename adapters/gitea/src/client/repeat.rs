//! Which calls are tried again, and how often.
//!
//! A look asks the forge a few times, and one reading that fails ends it for ten seconds: a proxy
//! that breaks one connection in three would leave hardly a look alive. What may be asked twice is
//! tried again at once, unless the forge has not answered for a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::ConstantBuilder;

use super::call::{Answer, Call};

/// How often a call is tried again.
const TIMES: usize = 2;
/// So many tries may fail without an answer in between; each answer allows one more. A forge that is
/// down is not asked three times as often.
const PATIENCE: u32 = 20;

/// How many more tries may fail until calls of this forge are made once only.
pub(super) struct Patience(AtomicU32);

impl Default for Patience {
    fn default() -> Self {
        Self(AtomicU32::new(PATIENCE))
    }
}

impl Patience {
    /// A try failed. Answers whether another may be made.
    pub(super) fn failed(&self) -> bool {
        self.change(|left| left.checked_sub(1))
    }

    /// The forge has answered.
    pub(super) fn answered(&self) {
        self.change(|left| (left < PATIENCE).then_some(left + 1));
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

/// When a call is tried again: after such a pause or up to twice that.
pub(super) fn policy(pause: Duration) -> ConstantBuilder {
    ConstantBuilder::default().with_delay(pause).with_max_times(TIMES).with_jitter()
}

/// Whether an answer says that the forge, or what is in front of it, fails for now. Its own 500 is
/// often a row that it cannot show; who reads around such rows asks otherwise next.
pub(super) fn fails_for_now(call: &Call, answer: &Answer) -> bool {
    let read_around = call.reads_around && answer.is_own_failure();
    matches!(answer.status.as_u16(), 500 | 502..=504) && !read_around
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_tries_may_fail_in_a_row_and_one_more_for_each_answer() {
        let patience = Patience::default();
        patience.answered();
        let failed = || (0..100).filter(|_| patience.failed()).count();
        assert_eq!(failed(), 20, "never more than at the start");
        patience.answered();
        patience.answered();
        assert_eq!(failed(), 2);
    }
}
