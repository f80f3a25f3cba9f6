//! The choice of the dues of runs that are also sent as delayed messages. Pure.
//!
//! Nothing runs between invocations, so a due would wait for the schedule. A message is a wake-up
//! like any other: one that comes early, late, twice or for a finished run causes a reconcile that
//! finds nothing to do. It must not cause further messages without end, because each reconcile ends
//! with a due: a message that SQS delivers twice would become two that go on for ever. Hence
//!
//! - a reconcile sends one message at most, and none while an earlier or equal one of its run is on
//!   the way, as far as this process knows;
//! - so a process has one message per run on the way (more only while dues come nearer, each for a
//!   reconcile that something else caused), and whatever arrives beyond it sends nothing;
//! - a process that AWS has replaced leaves at most its own behind, for 15 minutes.
//!
//! The number of messages is bounded by runs times processes, however often SQS repeats them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::LONGEST_DELAY;

/// The shortest delay, for a due that has passed: what `serve` waits between two checks.
const SHORTEST_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// The delayed messages of this process.
#[derive(Debug, Default)]
pub(super) struct DueMessages {
    /// The arrival time of the earliest message on the way for each run.
    on_the_way: BTreeMap<RunName, Timestamp>,
}

impl DueMessages {
    /// Returns the delay of the message to send for this due, and counts it as sent; `None`: an
    /// earlier one is on the way, or the due is further ahead than a delay can be.
    pub(super) fn delay(
        &mut self,
        name: &RunName,
        due: Timestamp,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        // Those of the past have come, or are lost.
        self.on_the_way.retain(|_, at| *at > now);
        let delay = due.duration_since(now).max(SHORTEST_DELAY);
        let at = now.checked_add(delay).ok().filter(|_| delay <= LONGEST_DELAY)?;
        if self.on_the_way.get(name).is_some_and(|earlier| *earlier <= at) {
            return None;
        }
        self.on_the_way.insert(name.clone(), at);
        Some(delay)
    }

    /// Notes that the message could not be sent.
    pub(super) fn failed(&mut self, name: &RunName) {
        self.on_the_way.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn delay(messages: &mut DueMessages, id: i64, due: i64, now: i64) -> Option<i64> {
        messages.delay(&RunName::job(id), at(due), at(now)).map(|delay| delay.as_secs())
    }

    #[test]
    fn a_run_has_one_message_on_the_way() {
        let mut messages = DueMessages::default();
        assert_eq!(delay(&mut messages, 1, 130, 100), Some(30));
        assert_eq!(delay(&mut messages, 2, 130, 100), Some(30), "another run");
        // Reconciled again for other reasons: the first one comes early enough.
        assert_eq!(delay(&mut messages, 1, 130, 101), None);
        assert_eq!(delay(&mut messages, 1, 190, 110), None);
        // Nearer: the other one comes as well, and then finds this one's successor.
        assert_eq!(delay(&mut messages, 1, 115, 111), Some(4));
        assert_eq!(delay(&mut messages, 1, 175, 115), Some(60));
        assert_eq!(delay(&mut messages, 1, 190, 130), None);
    }

    #[test]
    fn a_message_that_comes_often_has_one_successor() {
        let mut messages = DueMessages::default();
        let mut sent = 0;
        for minute in 0..60 {
            let now = minute * 60;
            // Each message comes a hundred times.
            for _ in 0..100 {
                sent += usize::from(delay(&mut messages, 1, now + 60, now).is_some());
            }
        }
        assert_eq!(sent, 60);
    }

    #[test]
    fn a_due_of_the_past_comes_in_a_second_and_one_of_the_far_future_not_at_all() {
        let mut messages = DueMessages::default();
        assert_eq!(delay(&mut messages, 1, 10, 100), Some(1));
        assert_eq!(delay(&mut messages, 2, 1_000, 100), Some(900));
        assert_eq!(delay(&mut messages, 3, 1_001, 100), None);
        let forever = messages.delay(&RunName::job(4), Timestamp::MAX, at(100));
        assert_eq!(forever, None);
        assert_eq!(messages.on_the_way.len(), 2);
        // Forgotten once they have come.
        assert_eq!(delay(&mut messages, 5, 2_000, 1_990), Some(10));
        assert_eq!(messages.on_the_way.len(), 1);
    }

    #[test]
    fn a_message_that_could_not_be_sent_is_sent_by_the_next_reconcile() {
        let mut messages = DueMessages::default();
        assert_eq!(delay(&mut messages, 1, 130, 100), Some(30));
        messages.failed(&RunName::job(1));
        assert_eq!(delay(&mut messages, 1, 130, 101), Some(29));
    }
}
