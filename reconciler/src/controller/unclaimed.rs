//! Counts the machines that displaced runs may still get.
//!
//! A runner takes the oldest job that fits its labels, not the one it was launched for. Machines of
//! one repository with one set of labels are therefore interchangeable. A machine whose own job
//! still waits counts for that job; every other one that is live, unused and not late is *unclaimed*,
//! and goes to a displaced run. This is a cache: losing it costs time, never safety, and whatever is
//! not known counts as a machine that may come.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::by_run::ByRun;
use super::displaced::{Group, Terms, set_of};
use crate::model::{Attempt, AttemptId, Machine, Phase, Registration, Run, RunName};
use crate::plan::times::{VISIBLE_WITHIN, older};
use crate::ports::{OpenRun, WaitingJob};

/// The maximum number of cached runs and used machines; then the cache is cleared.
const KEPT: usize = 50_000;
/// A run or a used machine without news for this long is forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// A webhook tells within this time which job a machine took. Then its run is not woken for it.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// Whether a job waits for a runner, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// It waited at this time.
    Seen(Timestamp),
    /// It did not wait any more at this time.
    Over(Timestamp),
}

/// The known state of a run.
#[derive(Debug)]
struct RunState {
    /// The ID of its repository; 0: not known.
    repo_id: i64,
    labels: Arc<[String]>,
    wait: Wait,
    /// The attempt that has neither ended nor been refused, and when it was decided.
    attempt: Option<(AttemptId, Timestamp)>,
    /// Whether the record says that the run makes no further attempt.
    is_settled: bool,
    /// Time of the last news of it.
    at: Timestamp,
}

impl RunState {
    /// Returns whether its job waited at `since` or later.
    fn waits(&self, since: Timestamp) -> bool {
        matches!(self.wait, Wait::Seen(at) if at >= since)
    }
}

/// A machine that took a job.
#[derive(Debug)]
struct Use {
    /// By when it was first seen.
    since: Timestamp,
    /// Whether it is known which job it took.
    is_known: bool,
    /// Whether it was concluded from a list that does not show its registration.
    is_absent: bool,
    /// Whether the run that it was launched for knows it, or was woken.
    is_told: bool,
}

/// Interchangeable machines and the jobs that they take, as far as this process knows them.
#[derive(Default)]
pub(super) struct Unclaimed(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    runs: HashMap<RunName, RunState>,
    used: HashMap<AttemptId, Use>,
    /// Time at which the forge was last asked for its waiting jobs.
    listed_at: Option<Timestamp>,
    /// The displaced runs that wait, oldest job first.
    displaced: BTreeMap<Group, BTreeMap<(i64, RunName), Terms>>,
}

impl Inner {
    /// Returns since when what is known is current: since the last list of waiting jobs.
    fn since(&self, terms: &Terms, now: Timestamp) -> Timestamp {
        let lately = now - terms.assign_within;
        self.listed_at.map_or(lately, |at| at.max(lately))
    }

    /// Returns whether a run is known to wait; another replica may have reconciled it.
    fn waits(&self, name: &RunName, since: Timestamp) -> bool {
        self.runs.get(name).is_some_and(|run| run.waits(since))
    }
}

impl Unclaimed {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        *self.inner() = Inner::default();
    }

    /// Notes the record of a run, and whether its job waits.
    pub(super) fn observed(&self, run: &Run, waits: bool, at: Timestamp) {
        {
            let mut inner = self.inner();
            if inner.runs.len() >= KEPT {
                *inner = Inner::default();
            }
            let wait = if waits { Wait::Seen(at) } else { Wait::Over(at) };
            let known = inner.runs.entry(run.name.clone()).or_insert_with(|| RunState {
                repo_id: run.spec.job.repo_id,
                labels: set_of(&run.spec.runs_on),
                wait,
                attempt: None,
                is_settled: false,
                at,
            });
            // A webhook or a poll may have told more meanwhile.
            known.wait = match (known.wait, wait) {
                (Wait::Over(over), _) if !waits || over >= at => Wait::Over(over),
                (Wait::Seen(seen), Wait::Seen(_)) => Wait::Seen(seen.max(at)),
                _ => wait,
            };
            known.at = at;
        }
        self.recorded(run);
    }

    /// Notes the record of a run that is known.
    pub(super) fn recorded(&self, run: &Run) {
        let refused = |a: &Attempt| a.placements.last().is_some_and(|it| it.refused.is_some());
        let attempt = run.status.attempt.as_ref();
        let attempt = attempt.filter(|attempt| attempt.ended.is_none() && !refused(attempt));
        if let Some(known) = self.inner().runs.get_mut(&run.name) {
            known.attempt = attempt.map(|a| (run.attempt_id(a.number), a.decided_at));
            known.is_settled = run.status.phase == Phase::Running || !run.is_open();
        }
    }

    /// Notes that the job of a run took the machine of an attempt.
    pub(super) fn took(&self, taker: &RunName, attempt_id: &AttemptId, now: Timestamp) {
        let mut inner = self.inner();
        if let Some(known) = inner.runs.get_mut(taker)
            && matches!(known.wait, Wait::Seen(_))
        {
            known.wait = Wait::Over(now);
        }
        if inner.used.len() >= KEPT {
            *inner = Inner::default();
        }
        let fresh = || Use { since: now, is_known: true, is_absent: false, is_told: false };
        let machine = inner.used.entry(attempt_id.clone()).or_insert_with(fresh);
        machine.is_known = true;
        machine.is_absent = false;
        machine.is_told |= attempt_id.run == *taker;
    }

    /// Notes that the run of an attempt is woken because its machine took a job.
    pub(super) fn told(&self, attempt_id: &AttemptId) {
        if let Some(machine) = self.inner().used.get_mut(attempt_id) {
            machine.is_told = true;
        }
    }

    /// Notes a list of registrations that was asked for at `began_at` and read by `read_at`, by which
    /// these machines are used or not.
    pub(super) fn listed_rows<'a>(
        &self,
        rows: &ByRun<Registration>,
        machines: impl Iterator<Item = &'a Machine>,
        (began_at, read_at): (Timestamp, Timestamp),
    ) {
        let mut inner = self.inner();
        if inner.used.len() >= KEPT {
            *inner = Inner::default();
        }
        for machine in machines.filter(|m| !older(read_at, m.launched_at, FORGOTTEN_AFTER)) {
            let attempt_id = &machine.attempt_id;
            let row = rows.of(&attempt_id.run).find(|row| row.id == machine.registration);
            // A registration is made before the launch.
            let is_absent = row.is_none() && machine.launched_at < began_at;
            if is_absent || row.is_some_and(|row| row.busy) {
                let fresh = || Use { since: read_at, is_known: false, is_absent, is_told: false };
                inner.used.entry(attempt_id.clone()).or_insert_with(fresh).is_absent &= is_absent;
            } else if row.is_some() && inner.used.get(attempt_id).is_some_and(|u| u.is_absent) {
                inner.used.remove(attempt_id);
            }
        }
    }

    /// Returns the runs whose machine took a job and that do not know it, once: if it is known which
    /// job, or if no webhook told it.
    pub(super) fn untold(&self, now: Timestamp) -> Vec<RunName> {
        let mut inner = self.inner();
        let Inner { runs, used, .. } = &mut *inner;
        let mut names = Vec::new();
        for (attempt_id, machine) in used.iter_mut().filter(|(_, machine)| !machine.is_told) {
            let own = runs.get(&attempt_id.run).filter(|known| !known.is_settled);
            let own = own.and_then(|known| known.attempt.as_ref());
            let is_current = own.is_some_and(|(own, _)| own == attempt_id);
            let is_late = machine.is_known || older(now, machine.since, TOLD_WITHIN);
            if is_current && is_late {
                machine.is_told = true;
                names.push(attempt_id.run.clone());
            }
        }
        names.sort();
        names
    }

    /// Notes the forge's list of waiting jobs, asked for at `asked_at`, and the open runs. Returns
    /// the runs whose jobs do not wait any more, of which no webhook told.
    pub(super) fn listed_jobs(
        &self,
        jobs: &[WaitingJob],
        open: &[OpenRun],
        asked_at: Timestamp,
    ) -> Vec<RunName> {
        let mut inner = self.inner();
        inner.listed_at = Some(asked_at);
        inner.used.retain(|_, machine| !older(asked_at, machine.since, FORGOTTEN_AFTER));
        let waiting: HashMap<RunName, i64> =
            jobs.iter().map(|job| (RunName::job(job.job.job_id), job.job.repo_id)).collect();
        for run in open.iter().filter(|run| !run.name.is_push()) {
            let repo_id = waiting.get(&run.name).copied();
            let known = inner.runs.entry(run.name.clone()).or_insert_with(|| RunState {
                repo_id: repo_id.unwrap_or_default(),
                labels: set_of(&run.runs_on),
                wait: repo_id.map_or(Wait::Over(asked_at), |_| Wait::Seen(asked_at)),
                attempt: None,
                is_settled: false,
                at: asked_at,
            });
            known.at = known.at.max(asked_at);
            known.is_settled |= run.phase == Phase::Running;
        }
        // Another replica may have made their next attempts.
        let launched = open.iter().filter(|run| run.attempt.is_some()).map(|run| &run.name);
        let launched: HashSet<&RunName> = launched.collect();
        inner.displaced.retain(|_, runs| {
            runs.retain(|(_, name), _| waiting.contains_key(name) && !launched.contains(name));
            !runs.is_empty()
        });
        inner.runs.retain(|_, known| !older(asked_at, known.at, FORGOTTEN_AFTER));
        let mut started = Vec::new();
        for (name, known) in &mut inner.runs {
            let is_listed = waiting.contains_key(name);
            match known.wait {
                Wait::Seen(at) | Wait::Over(at) if at >= asked_at => {}
                Wait::Over(_) if !is_listed => {}
                Wait::Seen(_) if !is_listed => {
                    known.wait = Wait::Over(asked_at);
                    started.push(name.clone());
                }
                _ => known.wait = Wait::Seen(asked_at),
            }
        }
        started.sort();
        started
    }

    /// Returns how many machines displaced runs of a group may still get: unclaimed ones, those that
    /// may be launched yet although their job does not wait, and those taken by jobs that are not
    /// known, because each of these may have left an unclaimed one.
    pub(super) fn coming(
        &self,
        group: &Group,
        terms: &Terms,
        machines: &ByRun<Machine>,
        now: Timestamp,
    ) -> usize {
        let inner = self.inner();
        let (lately, since) = (now - terms.assign_within, inner.since(terms, now));
        let boot_within = terms.boot_within.min(FORGOTTEN_AFTER);
        let mut coming = 0;
        for machine in machines.all().iter().filter(|m| m.repo_id == group.repo_id) {
            let attempt_id = &machine.attempt_id;
            let known = inner.runs.get(&attempt_id.run);
            let fits = known.map_or(machine.class == terms.class, |k| k.labels == group.labels);
            if !fits || older(now, machine.launched_at, boot_within) {
                continue;
            }
            coming += usize::from(match inner.used.get(attempt_id) {
                Some(used) => !used.is_known && used.since >= since,
                None => machine.is_live() && known.is_none_or(|known| !known.waits(since)),
            });
        }
        let may_launch = |(name, known): &(&RunName, &RunState)| {
            let Wait::Over(over) = known.wait else { return false };
            known.labels == group.labels
                && group.serves(known.repo_id)
                && match &known.attempt {
                    Some((attempt_id, at)) => {
                        let mut own = machines.of(name);
                        !older(now, *at, VISIBLE_WITHIN)
                            && !inner.used.contains_key(attempt_id)
                            && !own.any(|machine| machine.attempt_id == *attempt_id)
                    }
                    None => !known.is_settled && over >= lately,
                }
        };
        coming + inner.runs.iter().filter(may_launch).count()
    }

    /// Notes that a displaced run waits.
    pub(super) fn waits(&self, run: &Run, group: Group, terms: Terms) {
        let mut inner = self.inner();
        let job_id = run.spec.job.job_id;
        inner.displaced.entry(group).or_default().insert((job_id, run.name.clone()), terms);
    }

    /// Notes that a run does not wait as a displaced one.
    pub(super) fn leaves(&self, run: &Run) {
        let own = (run.spec.job.job_id, run.name.clone());
        self.inner().displaced.retain(|_, runs| {
            runs.remove(&own);
            !runs.is_empty()
        });
    }

    /// Returns how many displaced runs of the group with older jobs wait.
    pub(super) fn older(&self, group: &Group, terms: &Terms, run: &Run, now: Timestamp) -> usize {
        let inner = self.inner();
        let (own, since) = ((run.spec.job.job_id, run.name.clone()), inner.since(terms, now));
        let Some(runs) = inner.displaced.get(group) else { return 0 };
        runs.range(..own).filter(|((_, name), _)| inner.waits(name, since)).count()
    }

    /// Returns the groups in which displaced runs wait: all, or those whose machines may take the
    /// job of this run.
    pub(super) fn groups(&self, of: Option<&Run>) -> Vec<(Group, Terms)> {
        let inner = self.inner();
        if inner.displaced.is_empty() {
            return Vec::new();
        }
        let of = of.map(|run| (set_of(&run.spec.runs_on), run.spec.job.repo_id));
        let is_of = |group: &Group| {
            of.as_ref().is_none_or(|(labels, repo)| group.labels == *labels && group.serves(*repo))
        };
        let groups = inner.displaced.iter().filter(|(group, _)| is_of(group));
        groups.filter_map(|(g, runs)| Some((g.clone(), runs.values().next()?.clone()))).collect()
    }

    /// Removes and returns the displaced runs of a group for which none of so many machines is left.
    pub(super) fn without_machine(
        &self,
        group: &Group,
        terms: &Terms,
        coming: usize,
        now: Timestamp,
    ) -> Vec<RunName> {
        let mut inner = self.inner();
        let since = inner.since(terms, now);
        let Some(mut runs) = inner.displaced.remove(group) else { return Vec::new() };
        let current = runs.keys().filter(|(_, name)| inner.waits(name, since));
        let left: Vec<(i64, RunName)> = current.skip(coming).cloned().collect();
        runs.retain(|run, _| !left.contains(run));
        if !runs.is_empty() {
            inner.displaced.insert(group.clone(), runs);
        }
        left.into_iter().map(|(_, name)| name).collect()
    }
}
