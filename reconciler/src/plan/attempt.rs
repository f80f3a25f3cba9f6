//! Rules 10 to 17: the current attempt and the next one.

use jiff::{SignedDuration, Timestamp};

use super::decide::Decision;
use super::last_lines::telling_line;
use super::record::at_limit_because;
use super::rules::{Action, Plan, Prepare, Rule};
use super::times::{
    BREAKER_RETRIES_AFTER, LONGEST_BACKOFF, PAUSED_AGAIN, SHOWN_AFTER, TURN_WITHIN, VISIBLE_WITHIN,
    after, launch_by, older,
};
use crate::model::{
    Attempt, Cause, End, Ended, EndedBy, Happened, MachineSpec, ObservedClass, OpenBreaker, Phase,
    Placement, Reason, Refusal,
};

impl<'a> Decision<'a> {
    /// Rules 10 to 12: the current attempt.
    pub(super) fn attempt_rules(mut self, observed: &'a ObservedClass) -> Plan {
        let now = self.now();
        let Some(attempt) = self.status.attempt.clone() else { return self.next_rules(observed) };
        if self.attempt_state.live
            && !self.attempt_state.consumed
            && self.attempt_state.late.is_none()
        {
            self.starting(SignedDuration::from_secs(30));
            return self.write(Rule::Live);
        }
        if attempt.ended.is_none()
            && !self.attempt_state.live
            && !self.attempt_state.consumed
            && let Some(placement) = attempt.placements.last()
            && !self.attempt_state.seen
        {
            match (&placement.answered, &placement.refused) {
                (None, None) if attempt.can_launch() && now <= launch_by(&attempt) => {
                    let own = attempt.class == observed.class.name;
                    if !own || self.is_recorded_here(&attempt) {
                        return self.launch(&attempt);
                    }
                    return match (stopped(observed, now), observed.open_breaker(now)) {
                        (Some(stopped), _) => self.launch_stopped(stopped, &attempt),
                        (None, Some(breaker)) => self.launch_held(observed, breaker, &attempt),
                        (None, None) => self.launch(&attempt),
                    };
                }
                (None, None) if now < after(launch_by(&attempt), SHOWN_AFTER) => {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Rule::Unseen);
                }
                // Nothing is concluded from a wait by a clock that may be wrong.
                (Some(_), _) | (None, None) if !self.seen.clock.agrees() => {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Rule::Unseen);
                }
                (Some(answer), _) if !older(now, answer.at, VISIBLE_WITHIN) => {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Rule::Unseen);
                }
                _ => {}
            }
        }
        self.next_rules(observed)
    }

    /// Rule 11.
    fn launch(mut self, attempt: &Attempt) -> Plan {
        let (number, current) = (attempt.number, attempt.current());
        if !self.is_recorded_here(attempt)
            && let Some(placement) =
                self.status.attempt.as_mut().and_then(|a| a.placements.last_mut())
        {
            placement.asked_again = true;
        }
        self.starting(SignedDuration::from_secs(15));
        let attempt_id = self.run.attempt_id(number);
        Plan {
            actions: vec![Action::Launch { attempt_id, placement: current }],
            ..self.write(Rule::Launch)
        }
    }

    /// Returns whether this reconcile recorded the current placement.
    fn is_recorded_here(&self, attempt: &Attempt) -> bool {
        self.seen.recorded_here == Some((attempt.number, attempt.current()))
    }

    /// Rule 15 instead of rule 11: the recorded placement may have been requested already, and is
    /// not requested again while the breaker is open.
    fn launch_held(
        mut self,
        observed: &ObservedClass,
        breaker: &OpenBreaker,
        attempt: &Attempt,
    ) -> Plan {
        self.tell_breaker_open(observed, breaker);
        self.held_placement(breaker.until, attempt)
    }

    /// The same while the class is paused, or has spent its budget.
    fn launch_stopped(mut self, stopped: Stopped, attempt: &Attempt) -> Plan {
        self.waiting(stopped.reason, stopped.message);
        self.held_placement(stopped.again, attempt)
    }

    fn held_placement(mut self, until: Timestamp, attempt: &Attempt) -> Plan {
        let over = after(launch_by(attempt), SignedDuration::from_secs(1));
        self.status.due = until.min(over).min(self.gives_up_at());
        self.write(Rule::Hold)
    }

    fn tell_breaker_open(&mut self, observed: &ObservedClass, breaker: &OpenBreaker) {
        let name = &observed.class.name;
        let minutes = BREAKER_RETRIES_AFTER.as_secs() / 60;
        let message = format!(
            "launches of class {name} are stopped, except one try every {minutes} min: {}",
            breaker.message
        );
        self.waiting(Reason::BreakerOpen, message);
    }

    /// Rules 13 to 17: there is no attempt, or it has ended.
    fn next_rules(mut self, observed: &'a ObservedClass) -> Plan {
        if let Some(machine) = self.next_placement(observed) {
            if let Some(attempt) = &mut self.status.attempt {
                let chosen = observed.chosen(&machine);
                attempt.placements.push(Placement { chosen, ..Placement::new(machine) });
            }
            self.starting(SignedDuration::ZERO);
            return self.write(Rule::NextPlacement);
        }
        let ends_now = self.status.attempt.as_ref().is_some_and(|a| a.ended.is_none());
        if let Some(end) = self.attempt_state.end {
            self.end(end);
        }
        let ended = self.status.attempt.as_ref().and_then(|a| a.ended);
        if let Some(Ended { why: End::Consumed, at }) = ended {
            let until = after(at, self.times.assign_within);
            // Used before this wait began: by this job, before it was re-run, so that no other job
            // gives a machine back.
            let is_displaced = at >= self.status.waiting_since;
            if is_displaced && self.now() < until && !self.seen.no_replacement {
                if let Some(attempt) = self.status.attempt.as_ref().map(|a| a.number)
                    && self.status.reason() != Some(Reason::MachineReassigned)
                {
                    self.happened(Happened::Reassigned { attempt });
                }
                self.waiting(
                    Reason::MachineReassigned,
                    "another job took this run's machine; it waits for the machine of that job"
                        .into(),
                );
                self.status.due = until;
                return self.write(Rule::MachineReassigned);
            }
        }
        if let Some(due) = self.hold(observed) {
            self.status.due = due.min(self.gives_up_at());
            if ends_now && let Some(until) = held_until(observed, self.now()) {
                // The end of the attempt is written anyway, so it carries the wait of the class.
                let until = until.min(after(self.now(), LONGEST_BACKOFF));
                let retry_at = self.status.retry_at.map_or(until, |at| at.max(until));
                self.status.retry_at = Some(retry_at);
                self.status.due = retry_at.min(self.gives_up_at());
            }
            return self.write(Rule::Hold);
        }
        self.next_attempt(observed)
    }

    pub(super) fn gives_up_at(&self) -> Timestamp {
        let last = after(self.status.waiting_since, self.times.give_up_after);
        after(last, SignedDuration::from_secs(1)).max(self.now())
    }

    /// Rule 13: after a definitive refusal in this reconcile, the class's next machine is requested.
    fn next_placement(&self, observed: &ObservedClass) -> Option<MachineSpec> {
        let attempt = self.status.attempt.as_ref().filter(|a| a.can_launch())?;
        let current = attempt.placements.last()?;
        let refused = current.refused.is_some_and(|r| r.why == Refusal::NoCapacity);
        // Recorded by this reconcile: nobody else has requested it, and its window is open.
        let recorded_here = self.is_recorded_here(attempt);
        let definitive = recorded_here && !current.asked_again;
        if !refused
            || !definitive
            || self.attempt_state.consumed
            || self.attempt_state.live
            || attempt.class != observed.class.name
            || observed.open_breaker(self.now()).is_some()
            || stopped(observed, self.now()).is_some()
        {
            return None;
        }
        let tried = |m: &MachineSpec| attempt.placements.iter().any(|p| p.machine.same_capacity(m));
        observed.choose(self.now(), self.was_lost(), |machine| !tried(machine)).cloned()
    }

    /// Returns whether the job may have lost a machine: it is run again, or the cloud took a machine
    /// of this run.
    fn was_lost(&self) -> bool {
        let is_again = self.status.wait.attempt.is_some_and(|number| number > 1);
        let uid = self.run.uid.short();
        let mut own = self.seen.machines.iter().filter(|m| m.attempt_id.uid == uid);
        is_again || own.any(|machine| machine.ended_by == Some(EndedBy::Cloud))
    }

    /// Returns what the cloud says about the end of the last attempt's machine, and what that
    /// printed.
    fn own_line(&self) -> Option<String> {
        let attempt = self.status.attempt.as_ref()?;
        let said = attempt.state_reason.as_ref().map(ToString::to_string);
        match (said, attempt.log.as_deref().and_then(telling_line)) {
            (Some(said), Some(line)) => Some(format!("{said}: {line}")),
            (said, line) => said.or(line),
        }
    }

    /// Rule 15: records why the next attempt must wait, and returns until when.
    fn hold(&mut self, observed: &ObservedClass) -> Option<Timestamp> {
        let now = self.now();
        if let Some(Stopped { reason, mut message, again }) = stopped(observed, now) {
            if let Some(line) = self.own_line().filter(|_| reason == Reason::BreakerOpen) {
                message = format!("{message}: {line}");
            }
            self.waiting(reason, message);
            return Some(again);
        }
        // A change between backoff and no capacity is not worth a write, nor is one from an open
        // breaker to backoff.
        let reason = self.status.reason();
        let stopped = reason == Some(Reason::BreakerOpen);
        let either = matches!(reason, Some(Reason::BackingOff | Reason::NoCapacity));
        if let Some(breaker) = observed.open_breaker(now) {
            if !stopped {
                self.tell_breaker_open(observed, breaker);
            }
            return Some(breaker.until.max(self.status.retry_at.unwrap_or(now)));
        }
        if let Some(at) = self.status.retry_at.filter(|at| *at > now) {
            let last = self.status.attempt.as_ref().and_then(|a| a.ended).map(|e| e.why);
            let mut why = last.map_or_else(|| "unknown".to_owned(), |end| end.to_string());
            if let Some(line) = self.own_line() {
                why = format!("{why}: {line}");
            }
            let n = self.status.failures;
            if !either && !stopped {
                let message = format!("{n} attempts in a row got no job; the last: {why}");
                self.waiting(Reason::BackingOff, message);
            }
            return Some(at);
        }
        if let Some(until) = unavailable_until(observed, now) {
            let (message, is_fault) = describe_unavailable(observed, now);
            if !either || is_fault {
                self.waiting(Reason::NoCapacity, message);
            }
            return Some(until.min(after(now, LONGEST_BACKOFF)));
        }
        if !self.seen.room {
            let message = "launches are paced to stay below the cloud's rate limit".to_owned();
            self.waiting(Reason::Paced, message);
            return Some(after(now, SignedDuration::from_secs(5)));
        }
        None
    }

    /// Rules 16 and 17. The attempt is recorded once its registration is known.
    fn next_attempt(mut self, observed: &ObservedClass) -> Plan {
        let attempt_id = self.run.attempt_id(self.status.next);
        let mut seats = self.seen.seats.iter();
        let seated = seats.any(|(c, s)| *s == attempt_id && *c == observed.class.name);
        let seat = (observed.class.has_limit() && !seated).then(|| observed.class.seat_limits());
        if seat.is_some() && !self.seen.turn_of.is_empty() {
            return self.leave_seat(observed);
        }
        let now = self.now();
        let Some(machine) = observed.choose(now, self.was_lost(), |_| true).cloned() else {
            // `hold` has found one, and the configuration allows no class without machines.
            return self.write(Rule::Hold);
        };
        let prepare = Prepare {
            attempt_id,
            class: observed.class.name.clone(),
            seat,
            repo: self.run.spec.job.repo.clone(),
            repo_id: self.run.spec.job.repo_id,
            labels: observed.class.runner_labels(&self.run.spec.runs_on),
            chosen: observed.chosen(&machine),
            machine,
            idle_within: self.times.idle_within,
            deadline: after(now, self.times.max_age),
            start_by: after(after(now, self.times.boot_within), self.times.boot_within),
            hold: self.times.hold,
        };
        let rule = if seat.is_some() { Rule::Seat } else { Rule::NextAttempt };
        self.status.phase = Phase::Waiting;
        // The earlier wait is over; `record` sets the next one.
        self.status.due = now;
        Plan { prepare: Some(prepare), ..self.write(rule) }
    }

    /// Rule 16 while the free seats of the class are for other runs. Those are woken; one that does
    /// not come is passed over by then.
    fn leave_seat(mut self, observed: &ObservedClass) -> Plan {
        self.waiting(Reason::AtLimit, at_limit_because(&observed.class.name));
        self.due_in(TURN_WITHIN);
        self.write(Rule::Seat)
    }
}

/// The reason that a class launches nothing, whatever the cloud offers.
struct Stopped {
    reason: Reason,
    message: String,
    /// Latest time of the next reconcile of its runs.
    again: Timestamp,
}

/// Returns what stops the class: a pause, else its budget, or else machines that never come online.
fn stopped(observed: &ObservedClass, now: Timestamp) -> Option<Stopped> {
    let again = after(now, PAUSED_AGAIN);
    if let Some(pause) = &observed.paused {
        return Some(Stopped { reason: Reason::Paused, message: pause.message(), again });
    }
    let name = &observed.class.name;
    if let Some(stop) = observed.budget_stop(now) {
        let message = stop.message(name);
        return Some(Stopped { reason: Reason::Budget, message, again: again.min(stop.until) });
    }
    let stop = observed.boot_stop(now)?;
    let message = stop.message(name);
    Some(Stopped { reason: Reason::BreakerOpen, message, again: again.min(stop.until) })
}

/// Returns until when the class launches nothing.
fn held_until(observed: &ObservedClass, now: Timestamp) -> Option<Timestamp> {
    observed
        .open_breaker(now)
        .map(|breaker| breaker.until)
        .or_else(|| unavailable_until(observed, now))
}

/// Returns why no offering of the class is available, and whether the configuration is wrong.
fn describe_unavailable(observed: &ObservedClass, now: Timestamp) -> (String, bool) {
    let name = &observed.class.name;
    let causes = observed.class.machines.iter().map(|it| observed.unavailable_because(it, now));
    // If nothing had a price, the budget would stop the class.
    let mut causes = causes.filter(|cause| *cause != Some(Cause::Unpriced));
    let first = causes.next().flatten();
    match first.filter(|first| causes.all(|cause| cause == Some(*first))) {
        Some(Cause::Unsupported) => {
            let what = "is offered in its subnets: check its `kinds` and `subnets`";
            (format!("no machine of class {name} {what}"), true)
        }
        Some(Cause::Market) => {
            let what = "the account may not use the market of any machine of class";
            (format!("{what} {name}: run `tinqs-ci doctor`"), true)
        }
        Some(Cause::Quota) => {
            (format!("the account's limit is reached for every machine of class {name}"), false)
        }
        Some(Cause::Addresses) => (format!("no subnet of class {name} has a free address"), false),
        _ => (format!("no capacity for any machine of class {name}"), false),
    }
}

/// Returns when an offering of the class is available again; `None` if one is available now.
fn unavailable_until(observed: &ObservedClass, now: Timestamp) -> Option<Timestamp> {
    let unavailable: Option<Vec<Timestamp>> =
        observed.class.machines.iter().map(|m| observed.unavailable_until(m, now)).collect();
    let never = || after(now, SignedDuration::from_mins(5));
    unavailable.map(|unavailable| unavailable.into_iter().min().unwrap_or_else(never))
}
