//! Rules 1 to 9: decided by the record and the job, in the order of the decision table.

use jiff::{SignedDuration, Timestamp};

use super::attempt_state::{self, AttemptState, runs_on};
use super::boots;
use super::hung;
use super::rules::{Action, Plan, Rule};
use super::sanitize::sanitize;
use super::times::{FORGOTTEN_AFTER, LONGEST_BACKOFF_PUSH, after, older};
use crate::model::{
    Condition, End, Ended, Happened, Job, Machine, Observation, Outcome, Phase, Reason, Run,
    Status, Times,
};

/// The number of past attempts that are kept for people.
const PAST_KEPT: usize = 5;

/// A decision in progress: the next status beside the observation.
pub(super) struct Decision<'a> {
    pub(super) seen: &'a Observation,
    pub(super) run: &'a Run,
    pub(super) attempt_state: AttemptState,
    pub(super) times: Times,
    pub(super) status: Status,
}

/// A running job whose machine is gone.
pub(super) struct Lost {
    pub(super) condition: Condition,
    /// For the timeline, if it was not known before.
    pub(super) news: Option<Happened>,
}

pub(super) fn decide(seen: &Observation) -> Plan {
    let Some(run) = &seen.run else {
        return Plan { rule: Rule::NoRecord, status: None, prepare: None, actions: Vec::new() };
    };
    let times =
        seen.class.as_ref().map_or_else(Times::default, |observed| observed.class.times.clone());
    let mut status = run.status.clone();
    sanitize(&mut status, run, seen);
    hung::note(&mut status, seen);
    boots::note(&mut status, seen);
    let attempt_state = AttemptState::new(seen, run, &status, &times);
    let decision = Decision { seen, run, attempt_state, times, status };
    decision.first_rules()
}

impl Decision<'_> {
    pub(super) fn now(&self) -> Timestamp {
        self.seen.now
    }

    /// Returns whether a wait is over, by a clock that agrees with the true time.
    pub(super) fn is_over(&self, since: Timestamp, wait: SignedDuration) -> bool {
        self.seen.clock.agrees() && older(self.now(), since, wait)
    }

    pub(super) fn write(self, rule: Rule) -> Plan {
        Plan { rule, status: Some(self.status), prepare: None, actions: Vec::new() }
    }

    pub(super) fn due_in(&mut self, wait: SignedDuration) {
        self.status.due = after(self.now(), wait);
    }

    /// Rules 1 to 9.
    fn first_rules(mut self) -> Plan {
        if self.may_be_removed() {
            return Plan {
                rule: Rule::Remove,
                status: None,
                prepare: None,
                actions: vec![Action::Remove],
            };
        }
        if self.run.deleted_at.is_some() {
            return self.deleted();
        }
        match &self.seen.job {
            Job::Done { conclusion } => return self.done(*conclusion),
            Job::Absent => return self.finish(Rule::JobGone, Outcome::JobGone),
            Job::Running { runner } => {
                let runner = self.known_runner(runner);
                self.note_interruption(&runner);
                let lost = self.lost(&runner);
                self.status.runner = Some(runner);
                self.status.wait.starts(self.seen.times, self.status.waiting_since);
                self.numbered();
                return self.running(Rule::Running, lost);
            }
            Job::Blocked => return self.blocked(),
            Job::Waiting => {
                if self.status.phase == Phase::Finished
                    && self.status.outcome != Some(Outcome::GaveUp)
                {
                    return self.reopen();
                }
                if self.status.phase == Phase::Running {
                    self.happened(self.reopened());
                    self.restart_wait();
                }
                self.unblocked();
                self.numbered();
            }
            Job::Unobservable => {
                if let Some(decided) = self.push_rules() {
                    return decided;
                }
                self.unblocked();
            }
        }
        let given_up = self.status.outcome == Some(Outcome::GaveUp);
        if given_up || self.is_over(self.status.waiting_since, self.times.give_up_after) {
            return self.finish(Rule::GiveUp, Outcome::GaveUp);
        }
        match &self.seen.class {
            None => self.no_class(),
            Some(observed) => self.attempt_rules(observed),
        }
    }

    /// Rule 1.
    fn may_be_removed(&self) -> bool {
        let job_waits = matches!(self.seen.job, Job::Waiting | Job::Blocked);
        let within_keep = |since: Timestamp| !self.is_over(since, self.times.keep);
        let over = match (self.run.deleted_at, self.status.finished_at) {
            (Some(deleted), _) if !job_waits || !within_keep(deleted) => true,
            (_, Some(finished)) => !within_keep(finished),
            _ => false,
        };
        over && !self.seen.machines.iter().any(Machine::is_live)
            && !self.seen.registrations.seen().iter().any(|r| r.missing_since.is_none())
            && self.seen.seats.is_empty()
    }

    /// Rule 2: a deleted run keeps no attempt; with `--now` its machines are terminated.
    fn deleted(mut self) -> Plan {
        let at = self.run.deleted_at.unwrap_or(self.now());
        self.supersede(End::Deleted);
        self.status.attempt = None;
        if self.status.phase != Phase::Finished {
            self.status.phase = Phase::Waiting;
        }
        self.status.retry_at = None;
        self.tell(
            Reason::Deleted,
            at,
            "the run is deleted: its job gets no machine; `tinqs-ci retry` reverts that".into(),
        );
        self.due_in(SignedDuration::from_secs(60));
        let mut actions = Vec::new();
        if self.run.terminate_now {
            let uid = self.run.uid.short();
            let machines =
                self.seen.machines.iter().filter(|m| m.is_live() && m.attempt_id.uid == uid);
            actions.extend(machines.map(|m| Action::Terminate {
                id: m.id.clone(),
                attempt_id: m.attempt_id.clone(),
                rule: Rule::Deleted,
            }));
        }
        Plan { actions, ..self.write(Rule::Deleted) }
    }

    /// Rules 3, 4, 8 and P2.
    pub(super) fn finish(mut self, rule: Rule, outcome: Outcome) -> Plan {
        self.end_if_consumed();
        if (self.status.phase, self.status.outcome) != (Phase::Finished, Some(outcome)) {
            self.happened(match outcome {
                Outcome::GaveUp => Happened::GaveUp,
                outcome => Happened::Finished { outcome },
            });
        }
        let now = self.now();
        let status = &mut self.status;
        if status.phase != Phase::Finished {
            status.phase = Phase::Finished;
            void_next(status);
        }
        status.outcome = Some(outcome);
        status.retry_at = None;
        status.conditions.clear();
        let finished_at = *status.finished_at.get_or_insert(now);
        status.due = after(finished_at, self.times.keep);
        self.write(rule)
    }

    /// Rules 5 and P1. `lost`: its machine is gone.
    pub(super) fn running(mut self, rule: Rule, lost: Option<Lost>) -> Plan {
        self.end_if_consumed();
        self.started();
        let status = &mut self.status;
        if status.phase != Phase::Running {
            status.phase = Phase::Running;
            void_next(status);
        }
        status.finished_at = None;
        status.outcome = None;
        status.retry_at = None;
        status.conditions.clear();
        if let Some(Lost { condition, news }) = lost {
            status.conditions.push(condition);
            if let Some(news) = news {
                status.happened(self.seen.now, news);
            }
        }
        // In push mode others wait for its end, and only a reconcile detects that.
        let awaited = rule == Rule::PushConsumed && !self.run.spec.needed_by.is_empty();
        self.due_in(SignedDuration::from_secs(if awaited { 15 } else { 60 }));
        self.write(rule)
    }

    /// Rule 6.
    fn blocked(mut self) -> Plan {
        self.status.phase = Phase::Waiting;
        self.status.finished_at = None;
        self.status.outcome = None;
        (self.status.runner, self.status.interrupted) = (None, None);
        self.status.wait.started_at = None;
        if self.status.reason() != Some(Reason::Blocked) {
            self.happened(Happened::Blocked);
        }
        self.tell(
            Reason::Blocked,
            self.now(),
            "the forge blocks the job: it waits for needs, approval or concurrency".into(),
        );
        self.due_in(SignedDuration::from_secs(60));
        self.write(Rule::Blocked)
    }

    /// Rule 7.
    fn reopen(mut self) -> Plan {
        self.status.phase = Phase::Waiting;
        self.status.finished_at = None;
        self.status.outcome = None;
        self.happened(self.reopened());
        self.restart_wait();
        self.numbered();
        self.status.due = self.now();
        self.write(Rule::Reopen)
    }

    /// A job that was blocked waits for a machine only from now on.
    fn unblocked(&mut self) {
        if self.status.reason() == Some(Reason::Blocked) {
            self.happened(Happened::Unblocked);
            self.restart_wait();
        }
    }

    fn restart_wait(&mut self) {
        self.status.failures = 0;
        self.status.retry_at = None;
        (self.status.runner, self.status.interrupted) = (None, None);
        self.status.waiting_since = self.now();
        self.status.wait.restart(self.now());
        self.status.conditions.clear();
    }

    fn reopened(&self) -> Happened {
        Happened::Reopened { job_attempt: self.seen.times.attempt }
    }

    /// Notes the number of this attempt of the job.
    fn numbered(&mut self) {
        self.status.wait.attempt = self.seen.times.attempt.or(self.status.wait.attempt);
    }

    /// Rule 3: notes the start of a job that ended before it was seen running. A finished run stays
    /// as it is.
    pub(super) fn ran(&mut self) {
        if self.status.phase != Phase::Finished {
            self.status.wait.starts(self.seen.times, self.status.waiting_since);
            self.numbered();
        }
    }

    /// Rule 9.
    fn no_class(mut self) -> Plan {
        if self.status.phase != Phase::Waiting || self.status.reason() != Some(Reason::NoClass) {
            void_next(&mut self.status);
        }
        let labels = self.run.spec.runs_on.join(", ");
        let near = self.seen.nearest.as_ref();
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        self.waiting(Reason::NoClass, format!("no class serves the labels [{labels}]{near}"));
        self.due_in(SignedDuration::from_mins(5));
        self.write(Rule::NoClass)
    }

    pub(super) fn starting(&mut self, wait: SignedDuration) {
        self.status.phase = Phase::Starting;
        self.status.conditions.clear();
        self.due_in(wait);
        self.status.due = self.status.due.min(self.gives_up_at());
    }

    pub(super) fn waiting(&mut self, reason: Reason, message: String) {
        self.status.phase = Phase::Waiting;
        self.tell(reason, self.now(), message);
    }

    /// Adds to the timeline, together with the change that it tells.
    pub(super) fn happened(&mut self, what: Happened) {
        self.status.happened(self.seen.now, what);
    }

    pub(super) fn tell(&mut self, reason: Reason, since: Timestamp, message: String) {
        tell(&mut self.status, reason, since, message);
    }

    /// Rules 3 to 5: records that the attempt was used.
    pub(super) fn end_if_consumed(&mut self) {
        if self.attempt_state.consumed {
            self.end(End::Consumed);
        }
    }

    /// Records once why the attempt ended, and the backoff that follows.
    pub(super) fn end(&mut self, why: End) {
        let at = self.now();
        let Some(attempt) = self.status.attempt.as_mut().filter(|a| a.ended.is_none()) else {
            return;
        };
        attempt.ended = Some(Ended { why, at });
        let result = boots::result(self.seen, self.run, attempt, why, &self.times);
        attempt.boot_result = result.or(attempt.boot_result);
        let number = attempt.number;
        let attempt_id = self.run.attempt_id(number);
        if why == End::MachineGone {
            attempt.state_reason = boots::state_reason(self.seen, &attempt_id);
        }
        // That its own job runs on it is told as the start of the job.
        if why != End::Consumed || !runs_on(&self.seen.job, &attempt_id) {
            self.happened(Happened::AttemptEnded { attempt: number, why });
        }
        if why == End::Consumed {
            self.status.failures = 0;
            self.status.retry_at = None;
            return;
        }
        self.status.failures = self.status.failures.saturating_add(1);
        self.status.retry_at =
            attempt_state::backoff(self.status.failures, &attempt_id).map(|wait| after(at, wait));
        if self.seen.job == Job::Unobservable && attempt_state::idle_ends(&self.status) >= 3 {
            self.status.retry_at = Some(after(at, LONGEST_BACKOFF_PUSH));
        }
    }

    /// Moves the attempt to the past ones.
    fn supersede(&mut self, why: End) {
        let live = live_attempts(self.seen, self.run);
        supersede(&mut self.status, why, self.seen.now, &live);
    }
}

/// Voids the number `next`: a concurrent preparation of it fails.
fn void_next(status: &mut Status) {
    status.next = status.next.saturating_add(1);
}

/// Sets the condition of a run. `since` stays as long as the reason does.
pub(crate) fn tell(status: &mut Status, reason: Reason, since: Timestamp, message: String) {
    let since = status.conditions.iter().find(|c| c.reason == reason).map_or(since, |c| c.since);
    status.conditions = vec![Condition { reason, since, message }];
}

/// Returns the numbers of the run's attempts that have a live machine.
pub fn live_attempts(seen: &Observation, run: &Run) -> Vec<u32> {
    let uid = run.uid.short();
    let own = seen.machines.iter().filter(|m| m.is_live() && m.attempt_id.uid == uid);
    own.map(|m| m.attempt_id.number).collect()
}

/// Moves the attempt to the past ones. Keeps all decided within 22 minutes, those with a live
/// machine (`live`), because rule 22 needs their record, and the last 5.
pub(crate) fn supersede(status: &mut Status, why: End, now: Timestamp, live: &[u32]) {
    if let Some(attempt) = status.attempt.take() {
        if attempt.ended.is_none() {
            status.happened(now, Happened::AttemptEnded { attempt: attempt.number, why });
        }
        status.past.push(attempt.into_past(Ended { why, at: now }));
    }
    let many = status.past.len().saturating_sub(PAST_KEPT);
    let mut index = 0;
    status.past.retain(|past| {
        index += 1;
        index > many || live.contains(&past.number) || !older(now, past.decided_at, FORGOTTEN_AFTER)
    });
}
