//! What is decided from what is seen. Pure and total: rows 1 to 17 of the heart, and P1 and P2.
//!
//! The first row that fits gives the next status; [`crate::tidy`] adds what may be stopped or
//! freed. The rows are written in the heart's order, one function each where that helps.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class::{Class, ClassName, Machine, Times};
use crate::facts::{self, Facts};
use crate::observation::{Job, Observation};
use crate::ports::Limits;
use crate::run::{
    Attempt, Condition, End, Ended, InstanceId, Outcome, Phase, Placement, Reason, Refusal, Run,
    Slot, Status,
};
use crate::tidy;

/// How long a recorded attempt may be launched.
pub const LAUNCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long the cloud may hide a machine.
pub const VISIBLE_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// No launch lands later than this after its look began (60 s of look, 5 min of signature).
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// An attempt decided longer ago than this, never answered and not seen, has no machine.
pub const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(22);
/// A machine that idles so much longer than it should has not drained itself.
pub const DRAIN_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// The longest backing off.
pub const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(8);
/// The same in push mode, where idle machines cannot be told from taken jobs.
pub const LONGEST_BACKOFF_PUSH: SignedDuration = SignedDuration::from_hours(1);
/// No open run is left alone for longer.
pub const LONGEST_DUE: SignedDuration = SignedDuration::from_mins(10);
/// How many past attempts are kept for people.
const PAST_KEPT: usize = 5;

/// What a look does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The row that decided the status.
    pub row: Row,
    /// The next status; `None`: there is no record, or it goes.
    pub status: Option<Status>,
    /// What must be had before the next attempt is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// What is freed first, then what is launched or removed last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// What the next attempt needs: a seat where places are counted, and a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Prepare {
    /// The slot of the number `next`.
    pub slot: Slot,
    /// The class it is for.
    pub class: ClassName,
    /// Whether a seat must be taken: the class has a limit and the slot no seat in it yet.
    pub seat: Option<SeatLimits>,
    /// The repository that the seat is counted for.
    pub repo: String,
    /// Labels of the registration.
    pub labels: Vec<String>,
    /// The first placement.
    pub machine: Machine,
    /// How long its runner may idle.
    #[serde(with = "crate::class::friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub idle_within: SignedDuration,
    /// When it powers off whatever it does.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
}

/// Most seats in a class, and for one repository in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeatLimits {
    /// In the class.
    pub class: Option<u32>,
    /// For the repository.
    pub repo: Option<u32>,
}

impl From<SeatLimits> for Limits {
    fn from(SeatLimits { class, repo }: SeatLimits) -> Self {
        Self { class, repo }
    }
}

/// One effect, with the row that asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Give a seat back.
    Unseat {
        /// In which class.
        class: ClassName,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// Remove a registration.
    Retire {
        /// Which.
        id: i64,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// End a machine.
    Terminate {
        /// Which.
        id: InstanceId,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// Ask for the machine of a recorded placement.
    Launch {
        /// Whose.
        slot: Slot,
        /// Which placement.
        placement: u32,
    },
    /// Remove the record.
    Remove,
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// A row of the heart's tables.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Row {
            $($(#[$doc])* #[serde(rename = $number)] $name),+
        }

        impl Row {
            /// Every row.
            pub const ALL: &[Row] = &[$(Row::$name),+];

            /// Its number in the heart.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => $number),+ }
            }
        }
    };
}

rows! {
    /// There is no record; only tidying.
    NoRecord = "none",
    /// The record goes.
    Remove = "1",
    /// A person deleted it.
    Deleted = "2",
    /// The job is done.
    Done = "3",
    /// The job is absent.
    JobGone = "4",
    /// The job runs, anywhere.
    Running = "5",
    /// The job is blocked.
    Blocked = "6",
    /// It was finished and the job waits again.
    Reopen = "7",
    /// It has waited too long.
    GiveUp = "8",
    /// No class serves it.
    NoClass = "9",
    /// Its machine is on its way or idle.
    Live = "10",
    /// The recorded placement is asked for.
    Launch = "11",
    /// The cloud may still show a machine.
    Unseen = "12",
    /// The class's next machine, within the attempt.
    NextPlacement = "13",
    /// Another job took its machine; that job's is expected.
    Spare = "14",
    /// Not now: backing off, no capacity, paced.
    Hold = "15",
    /// A seat first.
    Seat = "16",
    /// The next attempt.
    NextAttempt = "17",
    /// A live machine past its deadline.
    Overdue = "20",
    /// A live machine whose registration is missing.
    Unregistered = "21",
    /// A registration whose machines are all gone.
    Spent = "23",
    /// A registration beside the recorded one.
    Twin = "24",
    /// A registration of a void number or of no record.
    Void = "25",
    /// A seat on those grounds, or of another class.
    SeatFree = "26",
    /// Push mode: the attempt got a job.
    PushConsumed = "P1",
    /// Push mode: the machine that got a job ended.
    PushEnded = "P2",
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.number())
    }
}

/// What is to be done about a run.
pub fn plan(seen: &Observation) -> Plan {
    let mut plan = decide(seen);
    let mut actions = tidy::tidy(seen);
    actions.append(&mut plan.actions);
    plan.actions = actions;
    plan
}

/// The decision under way: the status as it will be, beside what is seen.
struct Decision<'a> {
    seen: &'a Observation,
    run: &'a Run,
    facts: Facts,
    times: Times,
    status: Status,
}

fn decide(seen: &Observation) -> Plan {
    let Some(run) = &seen.run else {
        return Plan { row: Row::NoRecord, status: None, prepare: None, actions: Vec::new() };
    };
    let times = seen.class.as_ref().map_or_else(Times::default, |class| class.times.clone());
    let mut status = run.status.clone();
    clamp(&mut status, seen);
    let facts = Facts::new(seen, run, &times);
    let decision = Decision { seen, run, facts, times, status };
    decision.first_rows()
}

/// Heals what a scrambled record may hold: times in the future, numbers out of order.
fn clamp(status: &mut Status, seen: &Observation) {
    let now = seen.now;
    let longest =
        if seen.job == Job::Unobservable { LONGEST_BACKOFF_PUSH } else { LONGEST_BACKOFF };
    status.waiting_since = status.waiting_since.min(now);
    status.finished_at = status.finished_at.map(|at| at.min(now));
    status.retry_at = status.retry_at.map(|at| at.min(now + longest));
    if status.phase == Phase::Finished {
        status.finished_at.get_or_insert(now);
        status.outcome.get_or_insert(Outcome::JobGone);
    } else {
        status.finished_at = None;
        status.outcome = None;
    }
    let used =
        status.past.iter().map(|p| p.number).chain(status.attempt.as_ref().map(|a| a.number));
    let least = used.max().map_or(1, |n| n.saturating_add(1));
    status.next = status.next.max(least);
}

impl<'a> Decision<'a> {
    fn now(&self) -> Timestamp {
        self.seen.now
    }

    fn write(self, row: Row) -> Plan {
        Plan { row, status: Some(self.status), prepare: None, actions: Vec::new() }
    }

    fn due_in(&mut self, wait: SignedDuration) {
        self.status.due = self.now() + wait;
    }

    /// Rows 1 to 9: the record and the job decide.
    fn first_rows(mut self) -> Plan {
        if self.may_be_removed() {
            return Plan {
                row: Row::Remove,
                status: None,
                prepare: None,
                actions: vec![Action::Remove],
            };
        }
        if self.run.deleted_at.is_some() {
            return self.deleted();
        }
        match &self.seen.job {
            Job::Done { conclusion } => {
                let outcome = Outcome::from(*conclusion);
                return self.finish(Row::Done, outcome);
            }
            Job::Absent => return self.finish(Row::JobGone, Outcome::JobGone),
            Job::Running { runner } => {
                let runner = runner.clone();
                self.status.runner = Some(runner);
                return self.running(Row::Running);
            }
            Job::Blocked => return self.blocked(),
            Job::Waiting => {
                if self.status.phase == Phase::Finished
                    && self.status.outcome != Some(Outcome::GaveUp)
                {
                    return self.reopen();
                }
                let released = self.status.phase == Phase::Running;
                let unblocked = self.status.reason() == Some(Reason::Blocked);
                if released || unblocked {
                    self.wait_anew();
                }
            }
            Job::Unobservable => {
                if let Some(decided) = self.push_rows() {
                    return decided;
                }
            }
        }
        let given_up = self.status.outcome == Some(Outcome::GaveUp);
        if given_up || self.now() > self.status.waiting_since + self.times.give_up_after {
            return self.finish(Row::GiveUp, Outcome::GaveUp);
        }
        match &self.seen.class {
            None => self.no_class(),
            Some(class) => self.attempt_rows(class),
        }
    }

    /// Row 1.
    fn may_be_removed(&self) -> bool {
        let wanted = matches!(self.seen.job, Job::Waiting | Job::Blocked);
        let kept = |since: Timestamp| self.now() <= since + self.times.keep;
        let over = match (self.run.deleted_at, self.status.finished_at) {
            (Some(deleted), _) if !wanted || !kept(deleted) => true,
            (_, Some(finished)) => !kept(finished),
            _ => false,
        };
        over && !self.seen.machines.iter().any(crate::observation::Instance::is_live)
            && !self.seen.registrations.seen().iter().any(|r| r.missing_since.is_none())
            && self.seen.seats.is_empty()
    }

    /// Row 2: a tombstone keeps no attempt; with `--now` its machines are ended.
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
            "deleted: this job gets no machine; `retry` takes that back".into(),
        );
        self.due_in(SignedDuration::from_secs(60));
        let mut actions = Vec::new();
        if self.run.terminate_now {
            let uid = self.run.uid.short();
            let ours = self.seen.machines.iter().filter(|m| m.is_live() && m.slot.uid == uid);
            actions.extend(ours.map(|m| Action::Terminate {
                id: m.id.clone(),
                slot: m.slot.clone(),
                row: Row::Deleted,
            }));
        }
        Plan { actions, ..self.write(Row::Deleted) }
    }

    /// Rows 3, 4, 8 and P2.
    fn finish(mut self, row: Row, outcome: Outcome) -> Plan {
        self.end_if_consumed();
        let now = self.now();
        let status = &mut self.status;
        if status.phase != Phase::Finished {
            status.phase = Phase::Finished;
            status.next += 1;
        }
        status.outcome = Some(outcome);
        status.retry_at = None;
        status.conditions.clear();
        let finished_at = *status.finished_at.get_or_insert(now);
        status.due = finished_at + self.times.keep;
        self.write(row)
    }

    /// Row 5 and P1.
    fn running(mut self, row: Row) -> Plan {
        self.end_if_consumed();
        let status = &mut self.status;
        if status.phase != Phase::Running {
            status.phase = Phase::Running;
            status.next += 1;
        }
        status.finished_at = None;
        status.outcome = None;
        status.retry_at = None;
        status.conditions.clear();
        self.due_in(SignedDuration::from_secs(60));
        self.write(row)
    }

    /// Row 6.
    fn blocked(mut self) -> Plan {
        self.status.phase = Phase::Waiting;
        self.status.finished_at = None;
        self.status.outcome = None;
        self.status.runner = None;
        self.tell(
            Reason::Blocked,
            self.now(),
            "the forge holds the job back: needs, approval or concurrency".into(),
        );
        self.due_in(SignedDuration::from_secs(60));
        self.write(Row::Blocked)
    }

    /// Row 7.
    fn reopen(mut self) -> Plan {
        self.status.phase = Phase::Waiting;
        self.status.finished_at = None;
        self.status.outcome = None;
        self.wait_anew();
        self.status.due = self.now();
        self.write(Row::Reopen)
    }

    fn wait_anew(&mut self) {
        self.status.failures = 0;
        self.status.retry_at = None;
        self.status.runner = None;
        self.status.waiting_since = self.now();
        self.status.conditions.clear();
    }

    /// Row 9.
    fn no_class(mut self) -> Plan {
        if self.status.phase != Phase::Waiting || self.status.reason() != Some(Reason::NoClass) {
            self.status.next += 1;
        }
        let labels = self.run.spec.runs_on.join(", ");
        self.waiting(Reason::NoClass, format!("no class serves the labels [{labels}]"));
        self.due_in(SignedDuration::from_mins(5));
        self.write(Row::NoClass)
    }

    /// P1 and P2: without a job to look at, the use of a registration tells.
    fn push_rows(&mut self) -> Option<Plan> {
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

    /// Rows 10 to 12: the attempt that goes on.
    fn attempt_rows(mut self, class: &'a Class) -> Plan {
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
            let window_ends = attempt.decided_at + LAUNCH_WINDOW;
            match (&placement.answered, &placement.refused) {
                (None, None) if now <= window_ends => return self.launch(&attempt),
                (None, None) if now < window_ends + LANDS_WITHIN + VISIBLE_WITHIN => {
                    self.starting(SignedDuration::from_secs(10));
                    return self.write(Row::Unseen);
                }
                (Some(answer), _) if now <= answer.at + VISIBLE_WITHIN => {
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
        let end = self.facts.end.unwrap_or(End::NeverAnswered);
        self.end(end);
        let ended = self.status.attempt.as_ref().and_then(|a| a.ended);
        if let Some(Ended { why: End::Consumed, at }) = ended {
            let until = at + self.times.assign_within;
            if self.now() < until {
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
            self.waiting(reason, message);
            self.status.due = due.min(self.gives_up_at());
            return self.write(Row::Hold);
        }
        self.next_attempt(class)
    }

    fn gives_up_at(&self) -> Timestamp {
        (self.status.waiting_since + self.times.give_up_after + SignedDuration::from_secs(1))
            .max(self.now())
    }

    /// Row 13: a definitive refusal of this look moves on to the class's next machine.
    fn next_placement(&self, class: &Class) -> Option<Machine> {
        let attempt = self.status.attempt.as_ref().filter(|a| a.ended.is_none())?;
        let current = attempt.placements.last()?;
        let refused = current.refused.is_some_and(|r| r.why == Refusal::NoCapacity);
        // The waits of 22 minutes rest on `decided_at`: no placement is begun once its window closed.
        let open = self.now() <= attempt.decided_at + LAUNCH_WINDOW;
        if !refused
            || current.asked_again
            || self.facts.consumed
            || self.facts.live
            || !open
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
        let short: Vec<Option<Timestamp>> =
            class.machines.iter().map(|m| class.short_until(m, now)).collect();
        if short.iter().all(Option::is_some) {
            let until =
                short.into_iter().flatten().min().unwrap_or(now + SignedDuration::from_mins(5));
            return Some((
                Reason::NoCapacity,
                format!("no capacity for any machine of class {}", class.name),
                until,
            ));
        }
        if !self.seen.room {
            let message = "launches are paced below the cloud's own limit".to_owned();
            return Some((Reason::Paced, message, now + SignedDuration::from_secs(5)));
        }
        None
    }

    /// Rows 16 and 17. The attempt itself is written once its registration is known.
    fn next_attempt(mut self, class: &Class) -> Plan {
        let slot = self.run.slot(self.status.next);
        let seated = self.seen.seats.iter().any(|(c, s)| *c == class.name && *s == slot);
        let seat = (class.has_limit() && !seated)
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
            deadline: now + self.times.max_age,
        };
        let row = if seat.is_some() { Row::Seat } else { Row::NextAttempt };
        self.status.phase = Phase::Waiting;
        // What held it back before is over; `record` says what comes instead.
        self.status.due = now;
        Plan { prepare: Some(prepare), ..self.write(row) }
    }

    fn starting(&mut self, wait: SignedDuration) {
        self.status.phase = Phase::Starting;
        self.status.conditions.clear();
        self.due_in(wait);
        self.status.due = self.status.due.min(self.gives_up_at());
    }

    fn waiting(&mut self, reason: Reason, message: String) {
        self.status.phase = Phase::Waiting;
        self.tell(reason, self.now(), message);
    }

    fn tell(&mut self, reason: Reason, since: Timestamp, message: String) {
        tell(&mut self.status, reason, since, message);
    }

    /// Rows 3 to 5: an attempt that was used is recorded as that.
    fn end_if_consumed(&mut self) {
        if self.facts.consumed {
            self.end(End::Consumed);
        }
    }

    /// Records why the attempt is over, once, and what follows from it.
    fn end(&mut self, why: End) {
        let at = self.now();
        let Some(attempt) = self.status.attempt.as_mut().filter(|a| a.ended.is_none()) else {
            return;
        };
        attempt.ended = Some(Ended { why, at });
        let slot = self.run.slot(attempt.number);
        if why == End::Consumed {
            self.status.failures = 0;
            self.status.retry_at = None;
            return;
        }
        self.status.failures = self.status.failures.saturating_add(1);
        self.status.retry_at = facts::backoff(self.status.failures, &slot).map(|wait| at + wait);
        if self.seen.job == Job::Unobservable && facts::idle_ends(&self.status) >= 3 {
            self.status.retry_at = Some(at + LONGEST_BACKOFF_PUSH);
        }
    }

    /// Moves the attempt to the past ones.
    fn supersede(&mut self, why: End) {
        supersede(&mut self.status, why, self.seen.now);
    }
}

/// Says why a run is not further on; `since` stays while the reason does.
pub(crate) fn tell(status: &mut Status, reason: Reason, since: Timestamp, message: String) {
    let since = status.conditions.iter().find(|c| c.reason == reason).map_or(since, |c| c.since);
    status.conditions = vec![Condition { reason, since, message }];
}

/// Moves the attempt to the past ones: all decided within 22 minutes, and the last 5.
pub(crate) fn supersede(status: &mut Status, why: End, now: Timestamp) {
    if let Some(attempt) = status.attempt.take() {
        status.past.push(attempt.into_past(Ended { why, at: now }));
    }
    let many = status.past.len().saturating_sub(PAST_KEPT);
    let mut index = 0;
    status.past.retain(|past| {
        index += 1;
        index > many || now <= past.decided_at + FORGOTTEN_AFTER
    });
}
