//! Rows 10 to 17: the attempt that goes on, and the next one.

use jiff::{SignedDuration, Timestamp};

use super::decide::Decision;
use super::{Action, LAUNCH_WINDOW, Plan, Prepare, Row, SHOWN_WITHIN, SeatLimits, VISIBLE_WITHIN};
use crate::class::{Class, Machine};
use crate::facts::{self, after, older};
use crate::mutant::{self, Mutant};
use crate::run::{Attempt, End, Ended, Phase, Placement, Reason, Refusal};

impl<'a> Decision<'a> {
    /// Rows 10 to 12: the attempt that goes on.
    pub(super) fn attempt_rows(mut self, class: &'a Class) -> Plan {
        let now = self.now();
        let Some(attempt) = self.status.attempt.clone() else { return self.next_rows(class) };
        if self.facts.live && !self.facts.consumed && self.facts.late.is_none() {
            self.starting(SignedDuration::from_secs(30));
            return self.write(Row::Live);
        }
        if attempt.ended.is_none()
            && !self.facts.live
            && !self.facts.consumed
            && let Some(placement) = attempt.placements.last()
            && !self.facts.seen
        {
            match (&placement.answered, &placement.refused) {
                (None, None) if !older(now, attempt.decided_at, LAUNCH_WINDOW) => {
                    return self.launch(&attempt);
                }
                (None, None) if now < after(attempt.decided_at, SHOWN_WITHIN) => {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Row::Unseen);
                }
                (Some(answer), _)
                    if !older(now, answer.at, VISIBLE_WITHIN)
                        && !mutant::on(Mutant::UnlistedMachineGone) =>
                {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Row::Unseen);
                }
                _ => {}
            }
        }
        self.next_rows(class)
    }

    /// Row 11.
    fn launch(mut self, attempt: &Attempt) -> Plan {
        let (number, current) = (attempt.number, attempt.current());
        if self.seen.recorded_here != Some((number, current))
            && let Some(placement) =
                self.status.attempt.as_mut().and_then(|a| a.placements.last_mut())
        {
            placement.asked_again = true;
        }
        self.starting(SignedDuration::from_secs(15));
        let slot = self.run.slot(number);
        Plan {
            actions: vec![Action::Launch { slot, placement: current }],
            ..self.write(Row::Launch)
        }
    }

    /// Rows 13 to 17: there is no attempt, or it is over.
    fn next_rows(mut self, class: &'a Class) -> Plan {
        if let Some(machine) = self.next_placement(class) {
            if let Some(attempt) = &mut self.status.attempt {
                attempt.placements.push(Placement {
                    machine,
                    asked_again: false,
                    answered: None,
                    refused: None,
                });
            }
            self.starting(SignedDuration::ZERO);
            return self.write(Row::NextPlacement);
        }
        let ends_now = self.status.attempt.as_ref().is_some_and(|a| a.ended.is_none());
        if let Some(end) = self.facts.end {
            self.end(end);
        }
        let ended = self.status.attempt.as_ref().and_then(|a| a.ended);
        if let Some(Ended { why: End::Consumed, at }) = ended {
            let until = after(at, self.times.assign_within);
            let expected = self.now() < until && !self.seen.no_spare;
            if expected || mutant::on(Mutant::RobbedWaits) {
                self.waiting(
                    Reason::SpareExpected,
                    "another job took its machine; that job's machine is expected to take this one"
                        .into(),
                );
                self.status.due = until;
                return self.write(Row::Spare);
            }
        }
        if let Some((reason, message, due)) = self.hold(class) {
            // While one of the two holds it back, which one is not worth a write.
            let either = |r: Reason| matches!(r, Reason::BackingOff | Reason::NoCapacity);
            if !(either(reason) && self.status.reason().is_some_and(either)) {
                self.waiting(reason, message);
            }
            self.status.due = due.min(self.gives_up_at());
            if ends_now && let Some(until) = short_until(class, self.now()) {
                // For those that have not been refused themselves: this write is made anyhow.
                let retry_at = self.status.retry_at.map_or(until, |at| at.max(until));
                self.status.retry_at = Some(retry_at);
                self.status.due = retry_at.min(self.gives_up_at());
            }
            return self.write(Row::Hold);
        }
        self.next_attempt(class)
    }

    pub(super) fn gives_up_at(&self) -> Timestamp {
        let last = after(self.status.waiting_since, self.times.give_up_after);
        after(last, SignedDuration::from_secs(1)).max(self.now())
    }

    /// Row 13: a definitive refusal of this look moves on to the class's next machine.
    fn next_placement(&self, class: &Class) -> Option<Machine> {
        let attempt = self.status.attempt.as_ref().filter(|a| a.ended.is_none())?;
        let current = attempt.placements.last()?;
        let refused = current.refused.is_some_and(|r| r.why == Refusal::NoCapacity);
        // By this look, which also recorded it: nobody else has asked, and its window is open.
        let here = self.seen.recorded_here == Some((attempt.number, attempt.current()));
        let definitive = here && !current.asked_again || mutant::on(Mutant::RefusalDefinitive);
        if !refused
            || !definitive
            || self.facts.consumed
            || self.facts.live
            || attempt.class != class.name
        {
            return None;
        }
        let tried = |m: &Machine| attempt.placements.iter().any(|p| p.machine.same_capacity(m));
        let fits = |m: &&Machine| !tried(m) && class.short_until(m, self.now()).is_none();
        class.machines.iter().find(fits).cloned()
    }

    /// Row 15: reasons not to try now.
    fn hold(&self, class: &Class) -> Option<(Reason, String, Timestamp)> {
        let now = self.now();
        if let Some(at) = self.status.retry_at.filter(|at| *at > now) {
            let last = self.status.attempt.as_ref().and_then(|a| a.ended).map(|e| e.why);
            let why = last.map_or_else(|| "unknown".to_owned(), facts::describe_end);
            let n = self.status.failures;
            return Some((
                Reason::BackingOff,
                format!("{n} attempts in a row got no job; the last: {why}"),
                at,
            ));
        }
        if let Some(until) = short_until(class, now) {
            return Some((
                Reason::NoCapacity,
                format!("no capacity for any machine of class {}", class.name),
                until,
            ));
        }
        if !self.seen.room {
            let message = "launches are paced below the cloud's own limit".to_owned();
            return Some((Reason::Paced, message, after(now, SignedDuration::from_secs(5))));
        }
        None
    }

    /// Rows 16 and 17. The attempt itself is written once its registration is known.
    fn next_attempt(mut self, class: &Class) -> Plan {
        let slot = self.run.slot(self.status.next);
        let seated =
            self.seen.seats.iter().any(|(c, s)| {
                *s == slot && (*c == class.name || mutant::on(Mutant::SeatWithoutClass))
            });
        let seat = (class.has_limit() && !seated && !mutant::on(Mutant::NoLimit))
            .then_some(SeatLimits { class: class.limit, repo: class.repo_limit });
        let now = self.now();
        let free = |m: &&Machine| class.short_until(m, now).is_none();
        let Some(machine) = class.machines.iter().find(free).cloned() else {
            // `hold` has found one; a class without machines is refused with the configuration.
            return self.write(Row::Hold);
        };
        let prepare = Prepare {
            slot,
            class: class.name.clone(),
            seat,
            repo: self.run.spec.job.repo.clone(),
            labels: class.runner_labels(&self.run.spec.runs_on),
            machine,
            idle_within: self.times.idle_within,
            deadline: after(now, self.times.max_age),
        };
        let row = if seat.is_some() { Row::Seat } else { Row::NextAttempt };
        self.status.phase = Phase::Waiting;
        // What held it back before is over; `record` says what comes instead.
        self.status.due = now;
        Plan { prepare: Some(prepare), ..self.write(row) }
    }
}

/// When a machine of the class may have capacity again, where none is remembered to have any.
fn short_until(class: &Class, now: Timestamp) -> Option<Timestamp> {
    let short: Option<Vec<Timestamp>> =
        class.machines.iter().map(|m| class.short_until(m, now)).collect();
    let never = || after(now, SignedDuration::from_mins(5));
    short.map(|short| short.into_iter().min().unwrap_or_else(never))
}
