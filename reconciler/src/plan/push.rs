//! Rules P1 and P2: push mode, where jobs cannot be read.

use super::attempt_state;
use super::decide::Decision;
use super::rules::{Plan, Rule};
use crate::model::{End, Ended, Outcome, Phase};

impl<'a> Decision<'a> {
    /// Rules P1 and P2: the use of a registration shows the state of the job.
    pub(super) fn push_rules(&mut self) -> Option<Plan> {
        if self.status.phase == Phase::Finished {
            let outcome = self.status.outcome.unwrap_or(Outcome::MachineEnded);
            let rule = if outcome == Outcome::GaveUp { Rule::GiveUp } else { Rule::PushEnded };
            return Some(self.take().finish(rule, outcome));
        }
        let consumed = Ended { why: End::Consumed, at: self.now() };
        let (mut at_work, mut newly) = (self.attempt_state.busy, false);
        if let Some(attempt) = &mut self.status.attempt
            && attempt.ended.is_none_or(|e| e.why != End::Consumed)
            && (self.attempt_state.busy || (self.attempt_state.consumed && attempt.ended.is_none()))
        {
            attempt.ended = Some(consumed);
            newly = true;
        }
        for past in &mut self.status.past {
            let busy = attempt_state::at_work(
                self.seen,
                &self.run.attempt_id(past.number),
                past.registration,
            );
            at_work |= busy;
            if busy && past.ended.why != End::Consumed {
                past.ended = consumed;
                newly = true;
            }
        }
        if newly {
            self.status.failures = 0;
        }
        if newly || at_work {
            return Some(self.take().running(Rule::PushConsumed, None));
        }
        let taken = self.taken();
        if taken.is_empty() {
            return None;
        }
        if taken.iter().any(|n| !attempt_state::remains(self.seen, &self.run.attempt_id(*n))) {
            return Some(self.take().finish(Rule::PushEnded, Outcome::MachineEnded));
        }
        // Used, and its machine still exists: its job has ended or is about to.
        Some(self.take().running(Rule::PushConsumed, None))
    }

    /// Returns the numbers of the attempts that got a job.
    fn taken(&self) -> Vec<u32> {
        let used = |ended: &Ended| ended.why == End::Consumed;
        let current = self.status.attempt.iter().filter(|a| a.ended.as_ref().is_some_and(used));
        let past = self.status.past.iter().filter(|p| used(&p.ended));
        current.map(|a| a.number).chain(past.map(|p| p.number)).collect()
    }

    /// Clones the decision for methods that consume it.
    fn take(&mut self) -> Decision<'a> {
        Decision {
            seen: self.seen,
            run: self.run,
            attempt_state: self.attempt_state,
            times: self.times.clone(),
            status: self.status.clone(),
        }
    }
}
