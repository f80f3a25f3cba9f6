//! Drift: differences between runs, machines and registrations that have lasted longer than their
//! stage allows. Pure. No decision reads it: it says what the decisions have not yet achieved.

mod machines;
mod registrations;
mod runs;

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::times::{DRAIN_GRACE, FORGOTTEN_AFTER, VISIBLE_WITHIN, after};
use crate::model::{
    Attempt, AttemptId, ClassName, Drift, Failing, Machine, ObservedClass, Phase, Registration,
    Run, RunName, SeenSince,
};
use crate::ports::OpenRun;

pub(crate) use registrations::is_alone;
pub use runs::needs_record;

/// The time within which a waiting job gets an attempt: a poll, a reconcile and its calls.
pub const PENDING_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// The time from the decision of an attempt until its machine is listed.
pub const LISTED_WITHIN: SignedDuration =
    SignedDuration::from_secs(VISIBLE_WITHIN.as_secs() + PENDING_WITHIN.as_secs());
/// The time after which a machine past its deadline, or without its registration, is terminated.
pub const ENDED_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// The time within which the forge assigns a waiting job to an idle runner; less than half of the
/// default `idle_within`, after which the machine ends.
pub const ASSIGNED_WITHIN: SignedDuration = SignedDuration::from_secs(45);
/// The time within which the registration of a machine that is gone is removed.
pub const RETIRED_WITHIN: SignedDuration = SignedDuration::from_mins(3);
/// The same if no machine of it was seen: one may still appear for as long.
pub const RETIRED_UNSEEN_WITHIN: SignedDuration =
    SignedDuration::from_secs(FORGOTTEN_AFTER.as_secs() + 120);

/// The three sides as this process last listed them.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// The classes in order, with what is known of their offerings and breakers.
    pub classes: &'a [ObservedClass],
    /// The open runs.
    pub open: &'a [OpenRun],
    /// The records of some of them: those for which [`needs_record`] holds, and the running ones
    /// while some runner has been idle for long: a list may show one with a job as idle.
    pub records: &'a [Run],
    /// The machines, and when they were listed; `None`: never.
    pub machines: Option<(&'a [Machine], Timestamp)>,
    /// The registrations, and when they were listed; `None`: never, or the token may not.
    pub registrations: Option<(&'a [Registration], Timestamp)>,
    /// The times since which registrations are in a state.
    pub since: &'a SeenSince,
    /// The services that fail.
    pub failing: Failing,
    /// Whether the launch pacer has a token left.
    pub room: bool,
    /// The interval of sweeps, which wake what is to be removed.
    pub sweep_every: SignedDuration,
}

/// Returns whether some runner has been idle for so long at `now` that its machine may be drift.
pub fn needs_running(since: &SeenSince, now: Timestamp) -> bool {
    since.idle.values().any(|at| now > after(*at, ASSIGNED_WITHIN))
}

/// Returns the open drift, longest first. A machine is listed once, with what is worst about it.
/// Nothing is concluded from a list about the time after it was read.
pub fn drift(seen: &Snapshot<'_>, now: Timestamp) -> Vec<Drift> {
    let sides = Sides::of(seen, now);
    let mut all = runs::of(&sides);
    all.extend(machines::of(&sides));
    all.extend(registrations::of(&sides));
    all.sort_by(|a, b| {
        a.open_since.cmp(&b.open_since).then_with(|| a.kind.cmp(&b.kind)).then_with(|| {
            (&a.run, &a.machine, a.registration).cmp(&(&b.run, &b.machine, b.registration))
        })
    });
    all
}

/// The snapshot with indexes.
struct Sides<'a> {
    seen: &'a Snapshot<'a>,
    now: Timestamp,
    /// The open runs that machines and registrations name.
    open: HashMap<&'a RunName, &'a OpenRun>,
    records: HashMap<&'a RunName, &'a Run>,
    machines: HashMap<&'a AttemptId, Vec<&'a Machine>>,
    rows: HashMap<i64, &'a Registration>,
    /// The names of runners with a job, as the records of running jobs say.
    working: HashSet<&'a str>,
}

impl<'a> Sides<'a> {
    fn of(seen: &'a Snapshot<'a>, now: Timestamp) -> Self {
        let mut machines: HashMap<&AttemptId, Vec<&Machine>> = HashMap::new();
        for machine in seen.machines.map_or(&[][..], |(all, _)| all) {
            machines.entry(&machine.attempt_id).or_default().push(machine);
        }
        // Only these are looked up; there may be many others.
        let rows = seen.registrations.map_or(&[][..], |(all, _)| all);
        let named = machines.keys().map(|attempt_id| &attempt_id.run);
        let named: HashSet<&RunName> =
            named.chain(rows.iter().map(|row| &row.attempt_id.run)).collect();
        // A store may also list finished runs that are due for removal.
        let open = seen.open.iter().filter(|run| run.phase != Phase::Finished);
        let open = open.filter(|run| named.contains(&run.name));
        let working = seen.records.iter().filter(|run| run.status.phase == Phase::Running);
        Self {
            seen,
            now,
            open: open.map(|run| (&run.name, run)).collect(),
            records: seen.records.iter().map(|run| (&run.name, run)).collect(),
            machines,
            rows: rows.iter().map(|row| (row.id, row)).collect(),
            working: working.filter_map(|run| run.status.runner.as_deref()).collect(),
        }
    }

    /// Returns the class that serves a run.
    fn serving(&self, run: &OpenRun) -> Option<&'a ObservedClass> {
        self.seen.classes.iter().find(|seen| seen.class.serves(&run.repo, &run.runs_on))
    }

    fn class(&self, name: &ClassName) -> Option<&'a ObservedClass> {
        self.seen.classes.iter().find(|observed| observed.class.name == *name)
    }

    fn machines_of(&self, attempt_id: &AttemptId) -> &[&'a Machine] {
        self.machines.get(attempt_id).map_or(&[], Vec::as_slice)
    }

    /// Returns the open run that has this attempt as its active one.
    fn owner(&self, attempt_id: &AttemptId) -> Option<&'a OpenRun> {
        let run = self.open.get(&attempt_id.run)?;
        (run.attempt.as_ref() == Some(attempt_id)).then_some(run)
    }

    /// Returns the recorded attempt with this ID, if it is the latest one of a record that was read.
    fn attempt(&self, attempt_id: &AttemptId) -> Option<&'a Attempt> {
        let run = self.records.get(&attempt_id.run)?;
        let attempt = run.status.attempt.as_ref()?;
        (run.attempt_id(attempt.number) == *attempt_id).then_some(attempt)
    }

    /// Returns when the next sweep has woken a run, and the run was reconciled.
    fn next_sweep(&self) -> Timestamp {
        after(self.now, self.seen.sweep_every)
    }
}

/// Returns the time for which a runner of the class idles before its machine is late.
fn idles_for(class: Option<&ObservedClass>) -> SignedDuration {
    let times = class.map(|observed| observed.class.times.clone()).unwrap_or_default();
    times.idle_within.saturating_add(DRAIN_GRACE)
}
