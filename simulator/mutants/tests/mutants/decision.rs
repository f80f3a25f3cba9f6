//! Changed decisions: the real one, over a changed observation or with a changed plan.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Answer, AtWork, AttemptId, BootPromise, BootResult, BootStop, ClassName, ClockCheck, End,
    EndedBy, Job, Machine, MachineId, MachineState, Market, Observation, Outcome, Phase, Reason,
    Refusal, Registration, Registrations, Run, Times, Uid8,
};
use tinqs_ci_reconciler::plan::gc::gc;
use tinqs_ci_reconciler::plan::{
    Action, DISABLED_FOR, LAUNCH_WINDOW, Plan, READINGS_APART, Rule, plan,
};

use crate::mutant::Mutant;
use crate::reruns;

/// Longer than any history.
const FOREVER: SignedDuration = SignedDuration::from_hours(24 * 365);

/// Returns the decision with a mutant; `None` if the mutant does not change it.
pub(crate) fn with(mutant: Mutant) -> Option<fn(&Observation) -> Plan> {
    let changed: fn(&Observation) -> Plan = match mutant {
        Mutant::NoVoidNumbers => no_void_numbers,
        Mutant::TerminateSuperseded => |seen| terminating(seen, is_superseded),
        Mutant::TerminateFinished => {
            |seen| terminating(seen, |_, run, _| run.status.phase == Phase::Finished)
        }
        Mutant::TerminateCancelled => {
            |seen| terminating(seen, |_, run, _| run.status.outcome == Some(Outcome::Cancelled))
        }
        Mutant::TerminateIdle => |seen| terminating(seen, is_idle),
        Mutant::UnlistedMachineGone => unlisted_machine_gone,
        Mutant::UnlistedMachineLost => unlisted_machine_lost,
        Mutant::RefusalDefinitive => refusal_definitive,
        Mutant::SeatWithoutClass => seat_without_class,
        Mutant::ConsumptionDerived => consumption_derived,
        Mutant::NoRule20 => |seen| without(seen, Rule::Overdue),
        Mutant::NoRule21 => |seen| without(seen, Rule::Unregistered),
        Mutant::CanceledIgnored => {
            |seen| plan(&Observation { canceled: Vec::new(), ..seen.clone() })
        }
        Mutant::HoldIgnored => hold_ignored,
        Mutant::NoRule22 => |seen| without(seen, Rule::Hung),
        Mutant::HungByOneReading => hung_by_one_reading,
        Mutant::HungDespiteFailure => hung_despite_failure,
        Mutant::HungOnceDisabled => |seen| hung_soon(seen, true),
        Mutant::HungSoonUndisabled => |seen| hung_soon(seen, false),
        Mutant::ClockIgnored => clock_ignored,
        Mutant::InstallationIgnored => installation_ignored,
        Mutant::NoRule23 => |seen| without(seen, Rule::Spent),
        Mutant::NoRule24 => |seen| without(seen, Rule::Duplicate),
        Mutant::NoRule25 => |seen| without(seen, Rule::Void),
        Mutant::NoRule26 => |seen| without(seen, Rule::SeatFree),
        Mutant::TurnIgnored => |seen| plan(&Observation { turn_of: Vec::new(), ..seen.clone() }),
        Mutant::NoBackoff => no_backoff,
        Mutant::NoBootBreaker => no_boot_breaker,
        Mutant::BootBreakerNeverCloses => boot_breaker_never_closes,
        Mutant::RefusalsCountAsBoots => |seen| counting(seen, is_refused),
        Mutant::ReclaimsCountAsBoots => |seen| counting(seen, is_reclaimed),
        Mutant::DisplacedWaits => displaced_waits,
        Mutant::UnclaimedNotCounted => |seen| with_replacement(seen, true),
        Mutant::NothingUnclaimed => |seen| with_replacement(seen, false),
        Mutant::NoLateRule => |seen| with_times(seen, |times| times.boot_within = FOREVER),
        Mutant::RetireIdleOfFinished => retire_idle_of_finished,
        Mutant::CredentialsKept => credentials_kept,
        Mutant::DroppedNotEnded => dropped_not_ended,
        _ => return reruns::with(mutant),
    };
    Some(changed)
}

fn no_void_numbers(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    if let (Some(status), Some(run)) = (&mut plan.status, &seen.run) {
        let over = matches!(status.phase, Phase::Running | Phase::Finished);
        if over || status.reason() == Some(Reason::NoClass) {
            status.next = run.status.next;
        }
    }
    plan
}

fn without(seen: &Observation, omitted: Rule) -> Plan {
    let mut plan = plan(seen);
    plan.actions.retain(|action| match action {
        Action::Unseat { rule, .. }
        | Action::Retire { rule, .. }
        | Action::Disable { rule, .. }
        | Action::Rerun { rule, .. }
        | Action::Terminate { rule, .. } => *rule != omitted,
        Action::Launch { .. } | Action::Remove => true,
    });
    plan
}

fn hold_ignored(seen: &Observation) -> Plan {
    let mut seen = seen.clone();
    let promises = seen.machines.iter_mut().filter_map(|machine| machine.promise.as_mut());
    promises.for_each(|promise| promise.hold = SignedDuration::ZERO);
    plan(&seen)
}

/// Also terminates the live machines of the run's incarnation for which `wrong` holds.
fn terminating(seen: &Observation, wrong: fn(&Observation, &Run, &Machine) -> bool) -> Plan {
    let mut plan = plan(seen);
    let Some(run) = &seen.run else { return plan };
    let ours = seen.machines.iter().filter(|m| m.is_live() && m.attempt_id.uid == run.uid.short());
    for machine in ours.filter(|machine| wrong(seen, run, machine)) {
        let ended = |a: &Action| matches!(a, Action::Terminate { id, .. } if *id == machine.id);
        if !plan.actions.iter().any(ended) {
            plan.actions.push(Action::Terminate {
                id: machine.id.clone(),
                attempt_id: machine.attempt_id.clone(),
                rule: Rule::Unregistered,
            });
        }
    }
    plan
}

fn is_superseded(_: &Observation, run: &Run, machine: &Machine) -> bool {
    run.status.past.iter().any(|past| past.number == machine.attempt_id.number)
}

fn is_idle(seen: &Observation, _: &Run, machine: &Machine) -> bool {
    seen.registrations.by_id(machine.registration).is_some_and(appears_idle)
}

fn appears_idle(registration: &Registration) -> bool {
    registration.missing_since.is_none() && registration.online && !registration.busy
}

fn retire_idle_of_finished(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    if seen.run.as_ref().is_some_and(|run| run.status.phase == Phase::Finished) {
        let idle = seen.registrations.seen().iter().filter(|row| appears_idle(row));
        plan.actions.extend(idle.map(|row| Action::Retire {
            id: row.id,
            attempt_id: row.attempt_id.clone(),
            rule: Rule::Spent,
        }));
    }
    plan
}

/// Shows every answered machine that is not listed as gone.
fn unlisted_machine_gone(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let Some(run) = &seen.run else { return plan(seen) };
    let mut add = |number: u32, registration: i64, answers: Vec<Option<&Answer>>| {
        let attempt_id = run.attempt_id(number);
        for (placement, answer) in (0..).zip(answers) {
            let Some(answer) = answer else { continue };
            let mut machines = seen.machines.iter();
            if !machines.any(|m| m.attempt_id == attempt_id && m.placement == placement) {
                let id = answer.id.clone();
                shown.machines.push(gone(id, attempt_id.clone(), placement, registration));
            }
        }
    };
    if let Some(attempt) = &run.status.attempt {
        let answers = attempt.placements.iter().map(|p| p.answered.as_ref()).collect();
        add(attempt.number, attempt.runner.id, answers);
    }
    for past in &run.status.past {
        let answers = past.placements.iter().map(|p| p.answered.as_ref()).collect();
        add(past.number, past.registration, answers);
    }
    plan(&shown)
}

/// Does so while the job runs, and no more.
fn unlisted_machine_lost(seen: &Observation) -> Plan {
    match seen.job {
        Job::Running { .. } => unlisted_machine_gone(seen),
        _ => plan(seen),
    }
}

fn gone(id: MachineId, attempt_id: AttemptId, placement: u32, registration: i64) -> Machine {
    Machine {
        id,
        attempt_id,
        placement,
        state: MachineState::Gone,
        launched_at: Timestamp::UNIX_EPOCH,
        deadline: Timestamp::MAX,
        registration,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName(String::new()),
        kind: String::new(),
        zone: String::new(),
        market: Market::default(),
    }
}

/// Shows a refused placement as requested by this reconcile alone.
fn refusal_definitive(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let attempt = shown.run.as_mut().and_then(|run| run.status.attempt.as_mut());
    let Some(attempt) = attempt else { return plan(seen) };
    let index = usize::try_from(attempt.current()).unwrap_or(usize::MAX);
    let Some(placement) = attempt.placements.last_mut() else { return plan(seen) };
    if placement.refused.is_none_or(|refused| refused.why != Refusal::NoCapacity) {
        return plan(seen);
    }
    let asked_again = std::mem::replace(&mut placement.asked_again, false);
    shown.recorded_here = Some((attempt.number, attempt.current()));
    let mut next = plan(&shown);
    if next.rule != Rule::NextPlacement {
        return plan(seen);
    }
    if let Some(attempt) = next.status.as_mut().and_then(|status| status.attempt.as_mut()) {
        attempt.placements[index].asked_again = asked_again;
    }
    next.actions = gc(seen);
    next
}

/// Shows each seat of the current, the next and the past attempts as one of the attempt's class.
fn seat_without_class(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let Some(run) = &seen.run else { return plan(seen) };
    let current = run.status.attempt.iter().map(|a| (a.number, &a.class));
    let past = run.status.past.iter().map(|p| (p.number, &p.class));
    let next = seen.class.iter().map(|observed| (run.status.next, &observed.class.name));
    for (number, own) in current.chain(past).chain(next) {
        let attempt_id = run.attempt_id(number);
        for (class, _) in shown.seats.iter_mut().filter(|(_, holder)| *holder == attempt_id) {
            class.clone_from(own);
        }
    }
    let mut plan = plan(&shown);
    for action in &mut plan.actions {
        if let Action::Unseat { class, attempt_id, .. } = action
            && let Some((held, _)) = seen.seats.iter().find(|(_, holder)| holder == attempt_id)
        {
            class.clone_from(held);
        }
    }
    plan
}

/// Concludes from the registration of the current attempt whether it got a job, whatever end is
/// recorded.
fn consumption_derived(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let attempt = shown.run.as_mut().and_then(|run| run.status.attempt.as_mut());
    let (Some(attempt), Job::Unobservable) = (attempt, &seen.job) else { return plan(seen) };
    let recorded = attempt.ended.take();
    let consumed = plan(&shown);
    if consumed.rule != Rule::PushConsumed {
        return plan(seen);
    }
    // The machine that got a job may be gone already: then the run is finished.
    if let (Some(run), Some(status)) = (&mut shown.run, consumed.status) {
        run.status = status;
    }
    let mut decided = plan(&shown);
    if let Some(attempt) = decided.status.as_mut().and_then(|status| status.attempt.as_mut()) {
        attempt.ended = recorded.or(attempt.ended);
    }
    decided.actions = gc(seen);
    decided
}

/// Decides again without the backoff of the attempt that has just ended.
fn no_backoff(seen: &Observation) -> Plan {
    let first = plan(seen);
    let backs_off = |run: &Run| {
        let retry_at = first.status.as_ref().and_then(|status| status.retry_at);
        retry_at.is_some() && retry_at != run.status.retry_at
    };
    let mut shown = seen.clone();
    let (Some(run), Some(status)) =
        (shown.run.as_mut().filter(|run| backs_off(run)), &first.status)
    else {
        return first;
    };
    run.status = status.clone();
    run.status.retry_at = None;
    plan(&shown)
}

/// Records no machine that never came online.
fn no_boot_breaker(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    if let Some(attempt) = plan.status.as_mut().and_then(|status| status.attempt.as_mut()) {
        attempt.boot_result = None;
    }
    plan
}

/// Shows a class whose next attempt is minutes away, to each run that has waited for one.
fn boot_breaker_never_closes(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let status = seen.run.as_ref().map(|run| &run.status);
    let condition = status.and_then(|status| status.conditions.first());
    if condition.is_some_and(|it| it.reason == Reason::BreakerOpen)
        && let Some(class) = &mut shown.class
    {
        let until = seen.now + SignedDuration::from_mins(5);
        let since = seen.now;
        class.boot_stop = Some(BootStop { machines: 3, since, until, launch_failed: false });
    }
    plan(&shown)
}

/// Also counts ends for which `wrong` holds as machines that never came online.
fn counting(seen: &Observation, wrong: fn(&Observation, End) -> bool) -> Plan {
    let mut plan = plan(seen);
    let attempt = plan.status.as_mut().and_then(|status| status.attempt.as_mut());
    if let Some(attempt) = attempt
        && let Some(ended) = attempt.ended.filter(|ended| ended.at == seen.now)
        && wrong(seen, ended.why)
    {
        let result = BootResult { at: seen.now, online: false, launch_failed: false };
        attempt.boot_result = Some(result);
    }
    plan
}

fn is_refused(_: &Observation, why: End) -> bool {
    matches!(why, End::Refused(_))
}

fn is_reclaimed(seen: &Observation, why: End) -> bool {
    let by_cloud = |machine: &Machine| machine.ended_by == Some(EndedBy::Cloud);
    why == End::MachineGone && seen.machines.iter().any(by_cloud)
}

/// Shows a clock that agrees.
fn clock_ignored(seen: &Observation) -> Plan {
    plan(&Observation { clock: ClockCheck::Agrees, ..seen.clone() })
}

/// Shows every registration of another incarnation as one of this installation's.
fn installation_ignored(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let own = seen.run.as_ref().map(|run| run.uid.short());
    if let Registrations::Seen(rows) = &mut shown.registrations {
        for row in rows.iter_mut().filter(|row| Some(&row.attempt_id.uid) != own.as_ref()) {
            let uid = &row.attempt_id.uid.0;
            let hash = &uid[uid.len().saturating_sub(8)..];
            row.attempt_id.uid = Uid8(format!("{}{hash}", seen.installation));
        }
    }
    plan(&shown)
}

/// Shows a first reading two minutes ago as soon as one would count.
fn hung_by_one_reading(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    let earlier = |promise: &mut BootPromise| promise.start_by -= READINGS_APART;
    let read = Some(seen.now - READINGS_APART);
    if let Some(run) = &mut shown.run {
        if let Some(attempt) = &mut run.status.attempt {
            attempt.boot.start_by.iter_mut().for_each(|at| *at -= READINGS_APART);
            attempt.hung_since = read;
        }
        for past in &mut run.status.past {
            past.promise.iter_mut().for_each(earlier);
            past.hung_since = read;
        }
    }
    shown.machines.iter_mut().filter_map(|m| m.promise.as_mut()).for_each(earlier);
    let actions = gc(&shown);
    Plan { actions: with_own(seen, actions), ..plan(seen) }
}

/// Shows readings none of which ever failed.
fn hung_despite_failure(seen: &Observation) -> Plan {
    let mut shown = seen.clone();
    shown.forge_read.iter_mut().for_each(|read| read.steady_since = Timestamp::MIN);
    let actions = gc(&shown);
    Plan { actions: with_own(seen, actions), ..plan(seen) }
}

/// Shows registrations that are disabled, or cannot be, as if that were so for long enough; jobs
/// that were not read are none.
fn hung_soon(seen: &Observation, disabled: bool) -> Plan {
    let mut shown = seen.clone();
    let cannot_disable = seen.forge_read.is_some_and(|read| read.cannot_disable);
    let is_meant =
        |row: &Registration| if disabled { row.disabled == Some(true) } else { cannot_disable };
    if let Registrations::Seen(rows) = &mut shown.registrations {
        for row in rows.iter_mut().filter(|row| is_meant(row)) {
            (row.disabled, row.disabled_since) = (Some(true), Some(seen.now - DISABLED_FOR));
        }
    }
    shown.forge_read.iter_mut().for_each(|read| read.steady_since = Timestamp::MIN);
    let status = seen.run.as_ref().map(|run| &run.status);
    let current = status.and_then(|status| status.attempt.as_ref()).map(|a| a.runner.repo_id);
    let past = status.into_iter().flat_map(|status| &status.past).map(|past| past.repo_id);
    let is_unread = |id: &i64| !seen.at_work.iter().any(|jobs| jobs.repo_id == *id);
    let unread: BTreeSet<i64> = current.into_iter().chain(past).filter(is_unread).collect();
    let none = unread.into_iter().map(|repo_id| AtWork { repo_id, runners: Vec::new() });
    shown.at_work.extend(none);
    let actions = gc(&shown);
    Plan { actions: with_own(seen, actions), ..plan(seen) }
}

/// Adds the actions of the plan itself: launches and removals.
fn with_own(seen: &Observation, mut actions: Vec<Action>) -> Vec<Action> {
    let own = plan(seen).actions.into_iter();
    actions.extend(own.filter(|a| matches!(a, Action::Launch { .. } | Action::Remove)));
    actions
}

/// Keeps the credentials of the attempt.
fn credentials_kept(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    let before = seen.run.as_ref().and_then(|run| run.status.attempt.as_ref());
    let after = plan.status.as_mut().and_then(|status| status.attempt.as_mut());
    if let (Some(before), Some(after)) = (before, after)
        && before.number == after.number
    {
        after.runner.token = before.runner.token.clone();
        after.boot.git_token.clone_from(&before.boot.git_token);
    }
    plan
}

/// Keeps an attempt without an answer open, and launches it as long as it may be launched.
fn dropped_not_ended(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    let (Some(run), Some(status)) = (&seen.run, &mut plan.status) else { return plan };
    let was_open = run.status.attempt.as_ref().is_some_and(|attempt| attempt.ended.is_none());
    let Some(attempt) = status.attempt.as_mut().filter(|_| was_open) else { return plan };
    if attempt.ended.is_some_and(|ended| ended.why == End::Superseded) {
        attempt.ended = None;
        status.timeline.pop();
    } else if plan.rule == Rule::Unseen
        && !attempt.has_credentials()
        && seen.now <= attempt.decided_at + LAUNCH_WINDOW
    {
        let (attempt_id, placement) = (run.attempt_id(attempt.number), attempt.current());
        plan.actions.push(Action::Launch { attempt_id, placement });
    }
    plan
}

fn displaced_waits(seen: &Observation) -> Plan {
    let seen = Observation { no_replacement: false, ..seen.clone() };
    with_times(&seen, |times| times.assign_within = FOREVER)
}

/// Shows whether a machine may come for a displaced run, whatever was counted.
fn with_replacement(seen: &Observation, comes: bool) -> Plan {
    plan(&Observation { no_replacement: !comes, ..seen.clone() })
}

fn with_times(seen: &Observation, change: fn(&mut Times)) -> Plan {
    let mut shown = seen.clone();
    shown.class.iter_mut().for_each(|observed| change(&mut observed.class.times));
    plan(&shown)
}
