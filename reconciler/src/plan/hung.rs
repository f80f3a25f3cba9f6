//! Rule 22: machines that neither take a job nor end.
//!
//! That the forge calls a runner not busy is no evidence: its flag falls ten seconds after a report,
//! so that an outage or a silent job makes every running machine look idle. The rule requires that
//! the boot promise is over, that two readings show the registration, and that no job in progress
//! names the runner. Where the forge can disable a registration, the answer that it is disabled is
//! the first reading, and the second may follow soon: no job comes any more.

use jiff::{SignedDuration, Timestamp};

use super::attempt_state::runs_on;
use super::rules::{Action, Rule};
use super::times::after;
use crate::model::{
    AttemptId, BootPromise, ForgeRead, Job, Machine, Observation, Registration, Run, Status,
};

/// The time after the promise before the first reading counts: a machine's clock may lag.
pub const HUNG_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// The least time between the two readings.
pub const READINGS_APART: SignedDuration = SignedDuration::from_mins(2);
/// The same after the registration was disabled. A request for a job that was under way then is
/// over: a runner waits 30 s for its answer (`fetch_timeout`, which a class cannot set).
pub const DISABLED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// The first reading is recorded at most once in this time.
const WRITTEN_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// A live machine with a recorded attempt whose promise is over, and whose registration is there
/// and not busy.
pub(crate) struct Suspect<'a> {
    machine: &'a Machine,
    row: &'a Registration,
    /// The repository of its registration, as recorded.
    pub(crate) repo_id: i64,
    /// The end of the promise.
    over_at: Timestamp,
    hung_since: Option<Timestamp>,
    read: ForgeRead,
}

/// The fields of a recorded attempt that this rule needs.
struct Recorded {
    registration: i64,
    repo_id: i64,
    promise: Option<BootPromise>,
    hung_since: Option<Timestamp>,
}

fn recorded(run: &Run, number: u32) -> Option<Recorded> {
    if let Some(attempt) = run.status.attempt.as_ref().filter(|a| a.number == number) {
        return Some(Recorded {
            registration: attempt.runner.id,
            repo_id: attempt.runner.repo_id,
            promise: attempt.boot.promise(),
            hung_since: attempt.hung_since,
        });
    }
    let past = run.status.past.iter().find(|past| past.number == number)?;
    Some(Recorded {
        registration: past.registration,
        repo_id: past.repo_id,
        promise: past.promise,
        hung_since: past.hung_since,
    })
}

/// Returns the machines that may be hung. None where registrations, jobs or records cannot be read.
pub(crate) fn suspects(seen: &Observation) -> Vec<Suspect<'_>> {
    let (Some(run), Some(read)) = (&seen.run, seen.forge_read) else { return Vec::new() };
    if seen.job == Job::Unobservable || !seen.clock.agrees() {
        return Vec::new();
    }
    let uid = run.uid.short();
    let live = seen.machines.iter().filter(|m| m.is_live() && m.attempt_id.uid == uid);
    live.filter_map(|machine| {
        let Recorded { registration, repo_id, promise, hung_since } =
            recorded(run, machine.attempt_id.number)?;
        let row = seen.registrations.by_id(registration)?;
        let over_at = promise?.idle_until();
        let over_at = machine.promise.map_or(over_at, |tagged| tagged.idle_until().max(over_at));
        let is_over = seen.now > over_at && machine.registration == registration;
        let is_there = row.missing_since.is_none() && row.attempt_id == machine.attempt_id;
        let works = row.busy || runs_on(&seen.job, &machine.attempt_id);
        (is_over && is_there && !works).then_some(Suspect {
            machine,
            row,
            repo_id,
            over_at,
            hung_since,
            read,
        })
    })
    .collect()
}

impl Suspect<'_> {
    fn counts_from(&self) -> Timestamp {
        after(self.over_at, HUNG_AFTER)
    }

    /// Whether the forge gives its runner no job any more, or cannot be told so.
    fn is_fenced(&self) -> bool {
        self.row.disabled == Some(true) || self.read.cannot_disable
    }

    /// Returns the first reading that counts: after the promise, and none failed since then.
    fn first_reading(&self) -> Option<Timestamp> {
        self.hung_since.filter(|at| *at > self.counts_from() && *at >= self.read.steady_since)
    }

    /// Returns when the second reading is due after its registration was disabled, if this process
    /// knows that, and no reading failed since then.
    fn due_once_disabled(&self) -> Option<Timestamp> {
        let is_disabled = self.row.disabled == Some(true);
        let since = self.row.disabled_since.filter(|_| is_disabled);
        since.filter(|at| *at >= self.read.steady_since).map(|at| after(at, DISABLED_FOR))
    }

    /// Returns whether its registration is disabled for long enough.
    fn is_disabled_for_long(&self, now: Timestamp) -> bool {
        self.due_once_disabled().is_some_and(|due| now >= due)
    }

    /// Returns whether a reading counts by what the record keeps.
    fn counts_by_record(&self, now: Timestamp) -> bool {
        self.is_fenced() && now > self.counts_from()
    }

    /// Returns whether a reading counts now, so that the jobs matter.
    pub(crate) fn counts(&self, now: Timestamp) -> bool {
        self.is_disabled_for_long(now) || self.counts_by_record(now)
    }

    /// Returns whether this reading is the second one: only the jobs are missing.
    fn is_read_twice(&self, now: Timestamp) -> bool {
        let first = self.first_reading().filter(|_| self.is_fenced());
        self.is_disabled_for_long(now)
            || first.is_some_and(|first| now >= after(first, READINGS_APART))
    }

    /// Returns when the first reading is to be recorded, if this reading becomes it. After a failed
    /// reading the forge must have answered for a while, because each record of it is a write.
    fn new_first_reading(&self, now: Timestamp) -> Option<Timestamp> {
        let ForgeRead { steady_since, at, .. } = self.read;
        let is_steady = self.hung_since.is_none_or(|last| {
            at >= after(last, WRITTEN_EVERY) && at >= after(steady_since, READINGS_APART)
        });
        let counts = self.counts_by_record(now) && at >= steady_since;
        (counts && is_steady && self.first_reading().is_none()).then_some(at)
    }

    /// Returns whether the jobs were read, and none names its runner.
    fn has_no_job(&self, seen: &Observation) -> bool {
        let read = seen.at_work.iter().find(|at_work| at_work.repo_id == self.repo_id);
        let name = self.machine.attempt_id.to_string();
        read.is_some_and(|jobs| {
            jobs.runners.iter().all(|runner| {
                let is_unnamed = runner.id == 0 && runner.name.is_empty();
                !is_unnamed && runner.id != self.row.id && runner.name != name
            })
        })
    }
}

/// Returns when the second reading is due of a machine whose registration was disabled just now.
pub(crate) fn second_reading(seen: &Observation) -> Option<Timestamp> {
    let due = |suspect: &Suspect<'_>| suspect.due_once_disabled().filter(|due| *due > seen.now);
    suspects(seen).iter().filter_map(due).min()
}

/// Returns the actions of rule 22: registrations that are disabled before the first reading, and
/// machines that are terminated after the second.
pub(super) fn actions(seen: &Observation) -> Vec<Action> {
    let action = |suspect: &Suspect<'_>| {
        let attempt_id: AttemptId = suspect.machine.attempt_id.clone();
        if !suspect.is_fenced() {
            return Some(Action::Disable { id: suspect.row.id, attempt_id, rule: Rule::Hung });
        }
        let is_hung = suspect.is_read_twice(seen.now) && suspect.has_no_job(seen);
        let id = suspect.machine.id.clone();
        is_hung.then_some(Action::Terminate { id, attempt_id, rule: Rule::Hung })
    };
    suspects(seen).iter().filter_map(action).collect()
}

/// Records the first reading of each suspect.
pub(super) fn note(status: &mut Status, seen: &Observation) {
    for suspect in suspects(seen) {
        let Some(at) = suspect.new_first_reading(seen.now) else { continue };
        let number = suspect.machine.attempt_id.number;
        let current = status.attempt.iter_mut().filter(|a| a.number == number);
        let past = status.past.iter_mut().filter(|p| p.number == number);
        current
            .map(|a| &mut a.hung_since)
            .chain(past.map(|p| &mut p.hung_since))
            .for_each(|hung_since| *hung_since = Some(at));
    }
}
