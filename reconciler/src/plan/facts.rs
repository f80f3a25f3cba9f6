//! What an observation says of an attempt: is it live, consumed, late, over. Pure.

use jiff::SignedDuration;

use super::times::{DRAIN_GRACE, LONGEST_BACKOFF, SHOWN_WITHIN, VISIBLE_WITHIN, after, older};
use crate::model::{
    Attempt, End, Instance, InstanceState, Job, Observation, Refusal, Registrations, Run, Slot,
    Status, Times, hash_hex,
};
use crate::mutant::{self, Mutant};

/// What is seen of the current attempt.
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each named where it decides")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// A machine of its slot is booting or up.
    pub(crate) live: bool,
    /// A machine of its current placement is seen, in whatever state.
    pub(crate) seen: bool,
    /// Its registration was used.
    pub(crate) consumed: bool,
    /// Its registration is at work now.
    pub(crate) busy: bool,
    /// Its machine is there and should have got ready, or a job, or ended by now.
    pub(crate) late: Option<End>,
    /// Why it is over, if it is.
    pub(crate) end: Option<End>,
}

impl Facts {
    pub(crate) fn new(seen: &Observation, run: &Run, status: &Status, times: &Times) -> Self {
        let mut facts =
            Self { live: false, seen: false, consumed: false, busy: false, late: None, end: None };
        let Some(attempt) = &status.attempt else { return facts };
        let slot = run.slot(attempt.number);
        let current = attempt.current();
        let of_slot = || seen.machines.iter().filter(|m| m.slot == slot);
        facts.live = of_slot().any(Instance::is_live);
        facts.seen = of_slot().any(|m| m.placement == current);
        facts.busy = at_work(seen, &slot, attempt.runner.id);
        facts.consumed = consumed(seen, attempt, &slot);
        if let Some(machine) = of_slot().find(|m| m.is_live()) {
            facts.late = late(seen, attempt, machine, facts.consumed, times);
        }
        facts.end = attempt.ended.map(|e| e.why).or_else(|| over(seen, attempt, facts));
        facts
    }
}

/// Whether an attempt is at work: its registration is busy. Where registrations cannot be seen in
/// push mode, its machine is up.
pub(crate) fn at_work(seen: &Observation, slot: &Slot, registration: i64) -> bool {
    match &seen.registrations {
        Registrations::Seen(_) => seen
            .registrations
            .by_id(registration)
            .is_some_and(|r| r.busy && r.missing_since.is_none()),
        Registrations::Unknown => {
            seen.job == Job::Unobservable
                && seen.machines.iter().any(|m| m.slot == *slot && m.state == InstanceState::Up)
        }
    }
}

/// Whether a machine of the slot is booting, up or on its way out.
pub(crate) fn remains(seen: &Observation, slot: &Slot) -> bool {
    seen.machines.iter().any(|m| m.slot == *slot && m.state != InstanceState::Gone)
}

/// Its registration is missing or busy, or a job is seen running on its name.
fn consumed(seen: &Observation, attempt: &Attempt, slot: &Slot) -> bool {
    if let Job::Running { runner } = &seen.job
        && *runner == attempt.runner.name
    {
        return true;
    }
    let row = seen.registrations.by_id(attempt.runner.id);
    row.is_some_and(|r| r.missing_since.is_some()) || at_work(seen, slot, attempt.runner.id)
}

fn late(
    seen: &Observation,
    attempt: &Attempt,
    machine: &Instance,
    consumed: bool,
    times: &Times,
) -> Option<End> {
    if mutant::on(Mutant::NoLateRule) {
        return None;
    }
    let since = machine.launched_at;
    let online = match &seen.registrations {
        Registrations::Seen(_) => {
            seen.registrations.by_id(attempt.runner.id).is_some_and(|r| r.online)
        }
        Registrations::Unknown => machine.state == InstanceState::Up,
    };
    if !online && !consumed && older(seen.now, since, times.boot_within) {
        return Some(End::NeverReady);
    }
    // It drains itself by what it was told, not by what a new configuration says.
    let drained =
        times.boot_within.saturating_add(attempt.boot.idle_within).saturating_add(DRAIN_GRACE);
    (!consumed && older(seen.now, since, drained)).then_some(End::NotAssigned)
}

fn over(seen: &Observation, attempt: &Attempt, facts: Facts) -> Option<End> {
    if facts.consumed {
        return Some(End::Consumed);
    }
    if facts.live {
        return facts.late;
    }
    if facts.seen {
        return Some(End::MachineGone);
    }
    let Some(placement) = attempt.placements.last() else { return Some(End::NeverAnswered) };
    if let Some(refused) = placement.refused {
        return Some(End::Refused(refused.why));
    }
    match &placement.answered {
        Some(_) if mutant::on(Mutant::UnlistedMachineGone) => Some(End::MachineGone),
        Some(answer) if older(seen.now, answer.at, VISIBLE_WITHIN) => Some(End::NeverSeen),
        None if seen.now >= after(attempt.decided_at, SHOWN_WITHIN) => Some(End::NeverAnswered),
        Some(_) | None => None,
    }
}

/// How long to wait after so many failures in a row: not at all after the first, then 15 s doubling
/// to 8 min, spread downwards by up to a quarter by a hash of the slot.
pub(crate) fn backoff(failures: u32, slot: &Slot) -> Option<SignedDuration> {
    let doublings = failures.checked_sub(2)?.min(8);
    let longest = LONGEST_BACKOFF.as_secs();
    let full = 15_i64.saturating_mul(1 << doublings).min(longest) * 1000;
    let hash = i64::from_str_radix(&hash_hex(&[&slot.to_string()])[..4], 16).unwrap_or(0);
    Some(SignedDuration::from_millis(full - full / 4 * hash / 0xffff))
}

/// How many machines in a row ended idle, refusals not counted.
pub(crate) fn idle_ends(status: &Status) -> usize {
    let ended = status.attempt.iter().filter_map(|a| a.ended.map(|e| e.why));
    let past = status.past.iter().rev().map(|p| p.ended.why);
    ended
        .chain(past)
        .filter(|end| !matches!(end, End::Refused(_)))
        .take_while(|end| matches!(end, End::MachineGone | End::NotAssigned))
        .count()
}

/// An end in words.
pub(crate) fn describe_end(end: End) -> String {
    match end {
        End::Consumed => "its runner got a job",
        End::MachineGone => "the machine ended before it got a job",
        End::Refused(Refusal::NoCapacity) => "the cloud has no capacity",
        End::Refused(Refusal::Limit) => "an account limit is reached",
        End::Refused(Refusal::Denied) => "the cloud denied it: see `tinqs-ci doctor`",
        End::Refused(Refusal::Invalid) => {
            "the cloud calls the request wrong: see `tinqs-ci doctor`"
        }
        End::NeverSeen => "the machine was promised and never seen",
        End::NeverAnswered => "the launch was never answered",
        End::NeverReady => "the machine did not come online in time",
        End::NotAssigned => "the forge gave its idle runner no job",
        End::Deleted => "a person deleted the run",
    }
    .to_owned()
}
