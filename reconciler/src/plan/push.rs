//! P1 and P2: push mode, where no job can be looked at.

use super::decide::Decision;
use super::{Plan, Row};
use crate::facts;
use crate::run::{End, Ended, Outcome, Phase};

impl<'a> Decision<'a> {
    /// P1 and P2: without a job to look at, the use of a registration tells.
    pub(super) fn push_rows(&mut self) -> Option<Plan> {
        if self.status.phase == Phase::Finished {
            let outcome = self.status.outcome.unwrap_or(Outcome::MachineEnded);
            let row = if outcome == Outcome::GaveUp { Row::GiveUp } else { Row::PushEnded };
            return Some(self.take().finish(row, outcome));
        }
        let at = self.now();
        let consumed = Ended { why: End::Consumed, at };
        let mut newly = false;
        if let Some(attempt) = &mut self.status.attempt
            && self.facts.consumed
            && attempt.ended.is_none_or(|e| e.why != End::Consumed)
            && (attempt.ended.is_none() || self.facts.busy)
        {
            attempt.ended = Some(consumed);
            newly = true;
        }
        for past in &mut self.status.past {
            if past.ended.why != End::Consumed && facts::is_busy(self.seen, past.registration) {
                past.ended = consumed;
                newly = true;
            }
        }
        if newly {
            self.status.failures = 0;
            return Some(self.take().running(Row::PushConsumed));
        }
        let current = self
            .status
            .attempt
            .iter()
            .filter(|a| a.ended.is_some_and(|e| e.why == End::Consumed))
            .map(|a| a.number);
        let before =
            self.status.past.iter().filter(|p| p.ended.why == End::Consumed).map(|p| p.number);
        let taken: Vec<u32> = current.chain(before).collect();
        let working = |number: u32| facts::remains(self.seen, &self.run.slot(number));
        if taken.iter().any(|n| !working(*n)) {
            return Some(self.take().finish(Row::PushEnded, Outcome::MachineEnded));
        }
        if !taken.is_empty() {
            return Some(self.take().running(Row::PushConsumed));
        }
        None
    }

    /// The decision itself, where only a reference to it is at hand.
    fn take(&mut self) -> Decision<'a> {
        Decision {
            seen: self.seen,
            run: self.run,
            facts: self.facts,
            times: self.times.clone(),
            status: self.status.clone(),
        }
    }
}
