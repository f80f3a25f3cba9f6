//! The law of drift, checked once a minute against the true state of the world: what should not be
//! shows up as drift of the right kind once its stage allows it no longer, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Drift, DriftKind, End, Failing, Machine, MachineId, MachineState, ObservedClass, Phase, Reason,
    Registration, Run, RunName, SeenSince,
};
use tinqs_ci_reconciler::plan::drift::{
    ASSIGNED_WITHIN, ENDED_WITHIN, LISTED_WITHIN, RETIRED_UNSEEN_WITHIN, Snapshot, drift,
};
use tinqs_ci_reconciler::ports::OpenRun;

use super::Laws;

/// Within two checks, a minute apart, each change is seen.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// State of the check of drift, kept from one minute to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct DriftWatch {
    since: SeenSince,
    /// Time since which the job of a run waits without a live machine.
    without_machine: BTreeMap<RunName, Timestamp>,
    /// The number of drifts seen, by kind.
    seen: BTreeMap<&'static str, u64>,
}

/// The true state of the world in one minute: lists without lag.
pub(crate) struct Truth {
    /// The machines, also those that ended lately.
    pub(crate) machines: Vec<Machine>,
    /// The registrations; `None` if the token may not list them.
    pub(crate) rows: Option<Vec<Registration>>,
    /// The open runs.
    pub(crate) records: Vec<Run>,
    /// The runs whose jobs wait at the forge.
    pub(crate) waiting: BTreeSet<RunName>,
    /// The registrations of live machines that are no longer at the forge.
    pub(crate) missing: BTreeSet<i64>,
}

impl Truth {
    fn live(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| machine.is_live())
    }

    fn open(&self) -> Vec<OpenRun> {
        self.records.iter().map(OpenRun::of).collect()
    }
}

/// Keeps since when each of these is in a state.
fn follow<K: Ord + Clone>(since: &mut BTreeMap<K, Timestamp>, now: Timestamp, are: &BTreeSet<K>) {
    since.retain(|key, _| are.contains(key));
    for key in are {
        since.entry(key.clone()).or_insert(now);
    }
}

impl Laws {
    /// Checks the drift of this minute.
    pub(crate) fn drift_every_minute(&mut self, now: Timestamp, truth: &Truth) {
        self.watch_states(now, truth);
        let found = self.drift_of(now, truth);
        for one in &found {
            *self.drift.seen.entry(one.kind.label()).or_insert(0) += 1;
        }
        let mut wrong = missing_machines(&found, now, truth, &self.drift.since);
        wrong.extend(missing_runs(&found, now, truth, &self.drift.without_machine));
        wrong.extend(missing_rows(&found, now, &self.drift.since));
        wrong.extend(false_ones(&found, truth));
        for (about, what) in wrong {
            self.broken("drift", now, &about, what);
        }
    }

    /// Checks that nothing drifts after all work is done.
    pub(crate) fn drift_is_over(&mut self, now: Timestamp, truth: &Truth) {
        for one in self.drift_of(now, truth) {
            let what = format!("{} {} after all work is done", one.kind.label(), one.subject());
            self.broken("drift", now, one.run.as_str(), what);
        }
    }

    /// Returns how often each kind of drift was seen.
    pub fn drift_seen(&self) -> &BTreeMap<&'static str, u64> {
        &self.drift.seen
    }

    fn drift_of(&self, now: Timestamp, truth: &Truth) -> Vec<Drift> {
        let classes = self.classes.iter().cloned().map(ObservedClass::from);
        let classes: Vec<ObservedClass> = classes.collect();
        let open = truth.open();
        let seen = Snapshot {
            classes: &classes,
            open: &open,
            records: &truth.records,
            machines: Some((&truth.machines, now)),
            registrations: truth.rows.as_deref().map(|rows| (rows, now)),
            since: &self.drift.since,
            failing: Failing::default(),
            room: true,
            sweep_every: SignedDuration::from_mins(1),
        };
        drift(&seen, now)
    }

    fn watch_states(&mut self, now: Timestamp, truth: &Truth) {
        let rows = truth.rows.as_deref().unwrap_or_default();
        let idle = rows.iter().filter(|row| row.online && !row.busy).map(|row| row.id).collect();
        let remains = |row: &Registration| {
            let own = truth.machines.iter().filter(|m| m.attempt_id == row.attempt_id);
            own.into_iter().any(|m| m.state != MachineState::Gone)
        };
        let alone = rows.iter().filter(|row| !row.busy && !remains(row)).map(|row| row.id);
        let alone = alone.collect();
        let waits = |run: &&Run| {
            let waits = matches!(run.status.phase, Phase::Waiting | Phase::Starting);
            waits && truth.waiting.contains(&run.name)
        };
        let has_machine = |run: &Run| truth.live().any(|m| m.attempt_id.run == run.name);
        let without = truth.records.iter().filter(waits).filter(|run| !has_machine(run));
        let without = without.map(|run| run.name.clone()).collect();
        let DriftWatch { since, without_machine, seen: _ } = &mut self.drift;
        follow(&mut since.idle, now, &idle);
        follow(&mut since.alone, now, &alone);
        follow(&mut since.missing, now, &truth.missing);
        follow(without_machine, now, &without);
    }
}

type Wrong = Vec<(String, String)>;

fn of_machine<'d>(found: &'d [Drift], id: &MachineId) -> Option<&'d Drift> {
    found.iter().find(|one| one.machine.as_ref() == Some(id))
}

/// Returns the machines that drift by the true state and are not reported, or as another kind.
fn missing_machines(found: &[Drift], now: Timestamp, truth: &Truth, since: &SeenSince) -> Wrong {
    use DriftKind as K;
    let mut wrong = Wrong::new();
    let open = truth.open();
    for machine in truth.live() {
        let row = truth.rows.iter().flatten().find(|row| row.id == machine.registration);
        let older = |at: Timestamp, most: SignedDuration| now.duration_since(at) > most;
        let goes_on = |of: &BTreeMap<i64, Timestamp>, most| {
            of.get(&machine.registration).is_some_and(|at| older(*at, most))
        };
        let has_run = open.iter().find(|run| run.name == machine.attempt_id.run);
        let of_run = |kind| if has_run.is_some() { kind } else { K::MachineWithoutRun };
        let expected = if older(machine.deadline, ENDED_WITHIN) {
            of_run(K::ExpiredMachine)
        } else if goes_on(&since.missing, ENDED_WITHIN + machine.hold()) {
            of_run(K::MachineWithoutRegistration)
        } else if row.is_some_and(|row| !row.online && !row.busy)
            && older(machine.launched_at, SignedDuration::from_mins(5))
        {
            K::MachineWithoutRegistration
        } else if older(machine.launched_at, SignedDuration::ZERO) && is_other(truth, machine) {
            K::SpecMismatch
        } else if older(machine.launched_at, ENDED_WITHIN) && is_twin(truth, machine) {
            K::SurplusMachine
        } else if works(truth, machine) {
            continue;
        } else if goes_on(&since.idle, ASSIGNED_WITHIN)
            && has_run.is_some_and(|run| {
                let waits = matches!(run.phase, Phase::Waiting | Phase::Starting) && !run.deleted;
                waits && run.attempt.as_ref() == Some(&machine.attempt_id)
            })
            && !is_blocked(truth, &machine.attempt_id.run)
        {
            K::JobNotAssigned
        } else if goes_on(&since.idle, SignedDuration::from_mins(4)) {
            K::SurplusMachine
        } else {
            continue;
        };
        let kind = of_machine(found, &machine.id).map(|one| one.kind);
        if kind != Some(expected) {
            let what = format!("machine {} drifts as {kind:?}, expected {expected:?}", machine.id);
            wrong.push((machine.attempt_id.run.to_string(), what));
        }
    }
    wrong
}

/// Whether the attempt that a machine was launched for is recorded with another machine.
fn is_other(truth: &Truth, machine: &Machine) -> bool {
    let run = truth.records.iter().find(|run| run.name == machine.attempt_id.run);
    let Some((run, attempt)) = run.and_then(|run| Some((run, run.status.attempt.as_ref()?))) else {
        return false;
    };
    if run.attempt_id(attempt.number) != machine.attempt_id {
        return false;
    }
    let index = usize::try_from(machine.placement).ok();
    let placement = index.and_then(|index| attempt.placements.get(index));
    placement.is_none_or(|placement| {
        let recorded = (&placement.machine.kind, placement.machine.market);
        recorded != (&machine.kind, machine.market)
            || (&attempt.class, attempt.runner.id) != (&machine.class, machine.registration)
    })
}

/// Whether a machine of the same attempt is live that was launched before it.
fn is_twin(truth: &Truth, machine: &Machine) -> bool {
    let older = |other: &Machine| {
        (other.launched_at, &other.id) < (machine.launched_at, &machine.id)
            && other.attempt_id == machine.attempt_id
    };
    truth.live().any(older)
}

/// Whether a running job is recorded on the machine's runner: the forge may show it as idle.
fn works(truth: &Truth, machine: &Machine) -> bool {
    let attempt_id = machine.attempt_id.to_string();
    let running = truth.records.iter().filter(|run| run.status.phase == Phase::Running);
    running.into_iter().any(|run| run.status.runner.as_deref() == Some(attempt_id.as_str()))
}

fn is_blocked(truth: &Truth, name: &RunName) -> bool {
    let record = truth.records.iter().find(|run| run.name == *name);
    record.is_some_and(|run| run.status.reason() == Some(Reason::Blocked))
}

/// Runs that must drift, and do not.
fn missing_runs(
    found: &[Drift],
    now: Timestamp,
    truth: &Truth,
    without: &BTreeMap<RunName, Timestamp>,
) -> Wrong {
    let mut wrong = Wrong::new();
    for run in &truth.records {
        let Some(since) = without.get(&run.name) else { continue };
        if run.deleted_at.is_some() || run.status.reason() == Some(Reason::Blocked) {
            continue;
        }
        // A new attempt after a machine, or after another job took it, has its own time.
        let ended = run.status.attempt.iter().filter_map(|attempt| attempt.ended);
        let ended = ended.chain(run.status.past.iter().map(|past| past.ended));
        let fresh: Vec<Timestamp> = ended
            .filter(|ended| {
                !matches!(
                    ended.why,
                    End::Refused(_) | End::NeverAnswered | End::NeverSeen | End::Superseded
                )
            })
            .map(|ended| ended.at)
            .collect();
        let latest = run.status.attempt.as_ref().filter(|_| !fresh.is_empty());
        let began = latest.map(|attempt| attempt.decided_at);
        let last = fresh.into_iter().chain(began).fold(run.status.waiting_since, Timestamp::max);
        let allowed = LISTED_WITHIN + SignedDuration::from_mins(1) + SEEN_WITHIN;
        let is_due = now.duration_since((*since).max(last)) > allowed;
        let drifts =
            found.iter().any(|one| one.kind == DriftKind::RunWithoutMachine && one.run == run.name);
        if is_due && !drifts {
            wrong.push((run.name.to_string(), format!("{} waits and does not drift", run.name)));
        }
    }
    wrong
}

/// Registrations that must drift, and do not.
fn missing_rows(found: &[Drift], now: Timestamp, since: &SeenSince) -> Wrong {
    let mut wrong = Wrong::new();
    for (id, at) in &since.alone {
        let is_due = now.duration_since(*at) > RETIRED_UNSEEN_WITHIN;
        if is_due && !found.iter().any(|one| one.registration == Some(*id)) {
            let what = format!("registration {id} has no machine and does not drift");
            wrong.push((String::new(), what));
        }
    }
    wrong
}

/// Returns the reported drift that is wrong: of a machine that is not live, of a registration that
/// is gone or busy, or of a run that has a machine or needs none.
fn false_ones(found: &[Drift], truth: &Truth) -> Wrong {
    let mut wrong = Wrong::new();
    let mut subjects = BTreeSet::new();
    for one in found {
        let is_true = match (&one.machine, one.registration) {
            (Some(id), _) => truth.live().any(|machine| machine.id == *id),
            (None, Some(id)) => truth.rows.iter().flatten().any(|row| row.id == id && !row.busy),
            (None, None) => truth.records.iter().any(|run| {
                let id = run.status.attempt.as_ref().filter(|a| a.ended.is_none());
                let id = id.map(|attempt| run.attempt_id(attempt.number));
                let needs = run.deleted_at.is_none() && run.status.phase != Phase::Running;
                run.name == one.run
                    && needs
                    && !truth.live().any(|m| Some(&m.attempt_id) == id.as_ref())
            }),
        };
        if !is_true || one.open_since < one.since || !subjects.insert(one.subject()) {
            let what = format!("{} {} is no drift: {one:?}", one.kind.label(), one.subject());
            wrong.push((one.run.to_string(), what));
        }
    }
    wrong
}
