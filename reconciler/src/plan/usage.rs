//! The use of a run's machines: noted while they are listed, counted once when the run is finished
//! and all of them have ended. Pure; no decision depends on it.

use jiff::{SignedDuration, Timestamp};

use super::times::older;
use crate::model::{
    Amount, ClassName, End, Ended, EndedBy, EndedWithin, Happened, Machine, MachineId,
    MachineState, MicroUsd, Outcome, Run, RunUsage, Seconds, Status, Times, Usage, UsageKey,
    UsedMachine,
};

/// A machine that ended longer ago is on no list any more.
const UNLISTED_AFTER: SignedDuration = SignedDuration::from_hours(2);
/// The end of a machine of an open run waits this long for another write of the record; clouds list
/// an ended machine for half an hour and more.
const NOTED_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// An end that the cloud does not date counts as seen if lists show the machine up and over within
/// this time: three sweeps.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// The times of a machine as this process has seen them in lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighted {
    /// Time at which a list last showed it live.
    pub live_at: Option<Timestamp>,
    /// Time at which a list first showed it ending or gone.
    pub over_at: Option<Timestamp>,
    /// Time at which it ended, as the cloud reported it.
    pub ended_at: Option<Timestamp>,
    /// The party that ended it, as the cloud reported it.
    pub ended_by: Option<EndedBy>,
}

impl Sighted {
    /// Returns these times, with the end that the observed machine reports before the one known.
    fn with(self, machine: &Machine) -> Self {
        Self {
            ended_at: machine.ended_at.or(self.ended_at),
            ended_by: machine.ended_by.or(self.ended_by),
            ..self
        }
    }
}

/// Notes the machines of a run as they are observed. `now`: after that, because machines without a
/// dated end are over by then; `None` if the clock is not known to be right. Then only what the cloud
/// dates is noted, of machines that are live or known.
pub fn note(
    run: &mut Run,
    seen: &[Machine],
    price: impl Fn(&Machine) -> Option<MicroUsd>,
    sighted: impl Fn(&MachineId) -> Sighted,
    now: Option<Timestamp>,
) {
    let uid = run.uid.short();
    if run.is_open() {
        run.status.usage.job_counted = false;
    }
    for machine in seen.iter().filter(|machine| machine.attempt_id.uid == uid) {
        let sighted = sighted(&machine.id).with(machine);
        let used = &mut run.status.usage.machines;
        let at = match used.iter().position(|known| known.id == machine.id) {
            Some(at) => at,
            None if is_put_away(machine, sighted, now) => continue,
            None => match first_seen(machine, now) {
                Some(new) => {
                    used.push(new);
                    used.len() - 1
                }
                None => continue,
            },
        };
        let known = &mut used[at];
        if known.counted {
            continue;
        }
        known.price = known.price.or_else(|| price(machine));
        // What a stale list shows does not revive it.
        if !machine.is_live() {
            ends(known, sighted, machine.state == MachineState::Gone, now);
        }
    }
    // Lists showed the end of one that is listed no more, and nothing could be written meanwhile.
    let is_listed = |used: &UsedMachine| seen.iter().any(|machine| machine.id == used.id);
    for used in &mut run.status.usage.machines {
        if !used.counted && used.over_by().is_none() && !is_listed(used) {
            ends(used, sighted(&used.id), false, now);
        }
    }
    if let Some(now) = now {
        put_away(run, now);
    }
}

/// Returns whether an unknown machine was forgotten before: it ended long ago, or is only said to
/// have ended because the cloud does not know its ID. The launch of each such machine was noted.
fn is_put_away(machine: &Machine, sighted: Sighted, now: Option<Timestamp>) -> bool {
    let over_at = sighted.ended_at.or(sighted.over_at);
    let is_recent = now.zip(over_at).is_some_and(|(now, at)| !older(now, at, UNLISTED_AFTER));
    !machine.is_live() && !is_recent
}

/// Notes the end of a machine by the best evidence: the time that the cloud tells, else the list
/// that showed it soon after, else the times between which it must have been.
fn ends(known: &mut UsedMachine, sighted: Sighted, is_gone: bool, now: Option<Timestamp>) {
    known.ended_by = sighted.ended_by.or(known.ended_by);
    let told = sighted.ended_at.or(known.ended_at);
    if let Some(at) = told {
        known.ended_at = Some(at.max(known.launched_at));
        known.ended_within = None;
        return;
    }
    let over_at = sighted.over_at.or(now.filter(|_| is_gone));
    let (Some(by), Some(_)) = (over_at, now) else { return };
    let by = by.max(known.launched_at);
    let after = sighted.live_at.map_or(known.launched_at, |at| at.clamp(known.launched_at, by));
    // Another replica may have seen it earlier, or longer up.
    let within = known.ended_within.map_or(EndedWithin { after, by }, |noted| {
        let by = noted.by.min(by);
        EndedWithin { after: noted.after.max(after).min(by), by }
    });
    if older(within.by, within.after, SEEN_WITHIN) {
        known.ended_within = Some(within);
    } else {
        (known.ended_at, known.ended_within) = (Some(within.by), None);
    }
}

fn first_seen(machine: &Machine, now: Option<Timestamp>) -> Option<UsedMachine> {
    // A cloud that tells no time of the launch.
    let unknown = machine.launched_at == Timestamp::UNIX_EPOCH;
    Some(UsedMachine {
        id: machine.id.clone(),
        attempt: machine.attempt_id.number,
        launched_at: if unknown { now? } else { machine.launched_at },
        ended_at: None,
        ended_within: None,
        ended_by: None,
        price: None,
        counted: false,
    })
}

/// Forgets machines that no list shows any more; what is not counted of them is kept as a sum.
fn put_away(run: &mut Run, now: Timestamp) {
    let RunUsage { machines, mut earlier, job_counted } = std::mem::take(&mut run.status.usage);
    let over = |used: &UsedMachine| used.over_by().is_some_and(|at| older(now, at, UNLISTED_AFTER));
    let (over, machines): (Vec<_>, Vec<_>) = machines.into_iter().partition(over);
    for used in over.iter().filter(|used| !used.counted) {
        add(&mut earlier, run, used);
    }
    run.status.usage = RunUsage { machines, earlier, job_counted };
}

/// Returns what a write of this finished run adds to the usage, and marks it as counted. `None` as
/// long as a machine is not seen to have ended. `class`: the one that serves the run now.
pub fn count(run: &mut Run, class: Option<&ClassName>, now: Timestamp) -> Option<Usage> {
    if run.is_open() || awaits_end(run) {
        return None;
    }
    let job = !run.status.usage.job_counted && ran(run);
    if !job && !run.status.usage.is_pending() {
        return None;
    }
    run.status.usage.job_counted |= job;
    Some(counted(run, u64::from(job), class, now))
}

/// Returns what is left to count of a run whose record is about to be removed: no machine of it is
/// live. Nobody saw when a machine ended that is noted as up.
pub fn count_rest(run: &mut Run, class: Option<&ClassName>, now: Timestamp) -> Option<Usage> {
    if !run.status.usage.is_pending() {
        return None;
    }
    for used in run.status.usage.machines.iter_mut().filter(|used| used.over_by().is_none()) {
        let by = now.max(used.launched_at);
        used.ended_within = Some(EndedWithin { after: used.launched_at, by });
    }
    Some(counted(run, 0, class, now))
}

fn counted(run: &mut Run, jobs: u64, class: Option<&ClassName>, now: Timestamp) -> Usage {
    let mut amount = std::mem::take(&mut run.status.usage.earlier);
    amount += Amount { jobs, ..Amount::default() };
    for at in 0..run.status.usage.machines.len() {
        if !run.status.usage.machines[at].counted {
            add(&mut amount, run, &run.status.usage.machines[at]);
            run.status.usage.machines[at].counted = true;
        }
    }
    Usage { key: key(run, class, now), amount }
}

fn key(run: &Run, class: Option<&ClassName>, now: Timestamp) -> UsageKey {
    let status = &run.status;
    let over = status.finished_at.or(run.deleted_at).unwrap_or(now);
    let recorded = status.attempt.as_ref().map(|attempt| &attempt.class);
    let recorded = recorded.or_else(|| status.past.last().map(|past| &past.class));
    UsageKey {
        day: jiff::tz::TimeZone::UTC.to_datetime(over).date(),
        class: recorded.or(class).cloned().unwrap_or_else(|| ClassName(String::new())),
        repo: run.spec.job.repo.clone(),
        workflow: run.spec.about.workflow.clone(),
    }
}

/// Returns whether the run is over and has a machine that was not seen to end.
pub fn awaits_end(run: &Run) -> bool {
    let mut machines = run.status.usage.machines.iter();
    !run.is_open() && machines.any(|used| !used.counted && used.over_by().is_none())
}

/// Returns whether a reconcile of this run has something to note or count because this machine has
/// ended: its end is not noted, or the run is finished and the machine is not counted.
pub fn lacks_end(run: &Run, machine: &Machine) -> bool {
    let is_left =
        |used: &UsedMachine| !used.counted && (!run.is_open() || used.over_by().is_none());
    let known = run.status.usage.machines.iter().find(|used| used.id == machine.id);
    machine.attempt_id.uid == run.uid.short() && known.is_none_or(is_left)
}

/// Returns whether a record must be written because the end of a machine would be forgotten: it is
/// not noted, and the machine will soon be on no list.
pub(super) fn is_overdue(stored: &RunUsage, usage: &RunUsage, now: Timestamp) -> bool {
    let noted = |used: &UsedMachine| {
        stored.machines.iter().any(|known| known.id == used.id && known.over_by().is_some())
    };
    usage.machines.iter().any(|used| {
        !used.counted
            && used.over_by().is_some_and(|at| older(now, at, NOTED_WITHIN))
            && !noted(used)
    })
}

/// Returns whether the job ran on a machine of ours, as far as it is known.
fn ran(run: &Run) -> bool {
    let status = &run.status;
    match &status.runner {
        Some(runner) => run.attempt_of(runner).is_some(),
        None => status.wait.started_at.is_some() || used_at(status, None).is_some(),
    }
}

/// Returns when an attempt's runner was seen to have got a job; `None`: of any attempt.
fn used_at(status: &Status, number: Option<u32>) -> Option<Timestamp> {
    let current = status.attempt.iter().filter_map(|a| Some((a.number, a.ended?)));
    let past = status.past.iter().map(|past| (past.number, past.ended));
    let is_it = |(of, ended): &(u32, Ended)| {
        ended.why == End::Consumed && number.is_none_or(|number| number == *of)
    };
    current.chain(past).find(is_it).map(|(_, ended)| ended.at)
}

/// Adds the seconds of a machine that is over.
fn add(amount: &mut Amount, run: &Run, used: &UsedMachine) {
    let until = up_until(run, used);
    amount.add_seconds(split(run, used, until), used.price);
    let unknown = used.over_by().map_or(0, |by| between(until, by));
    amount.unknown_end = amount.unknown_end.saturating_add(unknown);
}

/// Returns until when a machine was up as far as it is known: until its end, or until it was last
/// seen up, which it also was when the run's own job started on it.
fn up_until(run: &Run, used: &UsedMachine) -> Timestamp {
    match (used.ended_at, used.ended_within) {
        (Some(at), _) => at,
        (None, None) => used.launched_at,
        (None, Some(EndedWithin { after, by })) => {
            let runner = run.attempt_id(used.attempt).to_string();
            let is_own = run.status.runner.as_deref() == Some(runner.as_str());
            let started_at = run.status.wait.started_at.filter(|_| is_own);
            started_at.map_or(after, |at| at.max(after)).min(by)
        }
    }
}

/// Divides the seconds of a machine, which was up until then, by their use. Their sum is that time.
fn split(run: &Run, used: &UsedMachine, until: Timestamp) -> Seconds {
    let from = used.launched_at;
    let Some((start, end, own)) = job_on(run, used) else { return without_job(run, used, until) };
    let (start, end) = (start.clamp(from, until), end.unwrap_or(until));
    let end = end.clamp(start, until);
    let busy = between(start, end);
    let outcome = run.status.outcome;
    let failed = own && matches!(outcome, Some(Outcome::MachineLost | Outcome::MaxAge));
    Seconds {
        boot: between(from, start),
        idle: between(end, until),
        busy: if failed { 0 } else { busy },
        lost: if failed { busy } else { 0 },
    }
}

/// Returns from when to when a machine had a job, and whether that was its run's own. When the job
/// of another run ended is not recorded: a machine ends soon after its job.
fn job_on(run: &Run, used: &UsedMachine) -> Option<(Timestamp, Option<Timestamp>, bool)> {
    let status = &run.status;
    let attempt_id = run.attempt_id(used.attempt).to_string();
    let noticed_at = used_at(status, Some(used.attempt));
    let is_own = match status.runner.as_deref() {
        Some(runner) => runner == attempt_id,
        None => noticed_at.is_some() && status.wait.started_at.is_some(),
    };
    if !is_own {
        return noticed_at.map(|at| (at, None, false));
    }
    let told = status.timeline.iter().rev().find(|milestone| {
        matches!(&milestone.what, Happened::Started { runner, .. } if *runner == attempt_id)
    });
    let start = status.wait.started_at.or(told.map(|milestone| milestone.at)).or(noticed_at)?;
    Some((start, status.finished_at, true))
}

/// A machine without a job: it waited for one as long as it may and powered itself off, or it was
/// of no use.
fn without_job(run: &Run, used: &UsedMachine, until: Timestamp) -> Seconds {
    let attempt = run.status.attempt.as_ref().filter(|attempt| attempt.number == used.attempt);
    let limit =
        attempt.map_or_else(|| Times::default().idle_within, |attempt| attempt.boot.idle_within);
    let limit = u64::try_from(limit.as_secs()).unwrap_or(0);
    let all = between(used.launched_at, until);
    let ended_itself = used.ended_at.is_some() && used.ended_by == Some(EndedBy::Itself);
    if ended_itself && all > limit {
        Seconds { boot: all - limit, idle: limit, ..Seconds::default() }
    } else {
        Seconds { lost: all, ..Seconds::default() }
    }
}

/// Counts whole seconds so that adjacent spans add up.
fn between(from: Timestamp, until: Timestamp) -> u64 {
    u64::try_from(until.as_second() - from.as_second()).unwrap_or(0)
}
