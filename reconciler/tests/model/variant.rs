//! The real decision, and broken ones: a model that cannot fail proves nothing.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{End, Observation, Phase, Registrations};
use tinqs_ci_reconciler::plan::gc::gc;
use tinqs_ci_reconciler::plan::{
    Action, DISABLED_FOR, LAUNCH_WINDOW, Plan, READINGS_APART, Rule, plan,
};

/// The decision to explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The real one.
    Real,
    /// Nothing is freed or terminated by this rule.
    Without(Rule),
    /// A finished run's machine is terminated, as if it must be idle.
    TerminateFinished,
    /// The machine is launched before its attempt is recorded.
    LaunchBeforeRecord,
    /// The record is written even if somebody else wrote it since.
    NoCompareAndSet,
    /// A refusal moves on to the next machine although another reconcile may have launched too.
    RefusalIsDefinitive,
    /// Entering Running and Finished, and being finished, does not void the number `next`.
    NoVoidNumbers,
    /// A machine that is not listed is gone.
    GoneWhenUnlisted,
    /// A registration is retired as soon as its run is finished.
    RetireFinished,
    /// Things without a record are judged by a record that was read before them.
    NoSecondReading,
    /// The credentials of an attempt stay in its record.
    CredentialsKept,
    /// An attempt without an answer loses its credentials, does not end, and is launched again.
    DroppedNotEnded,
    /// Rule 22 is content with one reading.
    HungByOneReading,
    /// Rule 22 ignores readings that failed between its two.
    HungDespiteFailure,
    /// Rule 22 takes every runner for one without a job.
    HungWithoutJobList,
    /// Rule 22 ends a machine in the reconcile that disables its registration.
    HungOnceDisabled,
    /// A runner serves every repository.
    RegisterInScope,
}

impl Variant {
    /// Returns the plan for a run.
    pub(crate) fn plan(self, seen: &Observation) -> Plan {
        let mut seen = seen.clone();
        if self == Self::RefusalIsDefinitive
            && let Some(attempt) = seen.run.as_mut().and_then(|r| r.status.attempt.as_mut())
        {
            attempt.placements.iter_mut().for_each(|p| p.asked_again = false);
            seen.recorded_here = Some((attempt.number, attempt.current()));
        }
        let mut plan = plan(&seen);
        match self {
            Self::CredentialsKept => keep_credentials(&seen, &mut plan),
            Self::DroppedNotEnded => keep_open(&seen, &mut plan),
            Self::HungByOneReading
            | Self::HungDespiteFailure
            | Self::HungWithoutJobList
            | Self::HungOnceDisabled => {
                let is_hung = |a: &Action| matches!(a, Action::Terminate { rule: Rule::Hung, .. });
                plan.actions.retain(|action| !is_hung(action));
                plan.actions.extend(gc(&self.shown(seen)).into_iter().filter(is_hung));
            }
            Self::Without(rule) => plan.actions.retain(|action| ground(action) != Some(rule)),
            Self::TerminateFinished if finishes(&plan) => {
                let live = seen.machines.iter().filter(|m| m.is_live());
                plan.actions.extend(live.map(|m| Action::Terminate {
                    id: m.id.clone(),
                    attempt_id: m.attempt_id.clone(),
                    rule: Rule::Done,
                }));
            }
            Self::RetireFinished if finishes(&plan) => {
                let idle = seen.registrations.seen().iter();
                let idle = idle.filter(|r| r.missing_since.is_none() && !r.busy);
                plan.actions.extend(idle.map(|r| Action::Retire {
                    id: r.id,
                    attempt_id: r.attempt_id.clone(),
                    rule: Rule::Done,
                }));
            }
            Self::NoVoidNumbers => {
                if let (Some(status), Some(run)) = (&mut plan.status, &seen.run)
                    && matches!(status.phase, Phase::Running | Phase::Finished)
                {
                    status.next = run.status.next;
                }
            }
            Self::Real
            | Self::TerminateFinished
            | Self::LaunchBeforeRecord
            | Self::NoCompareAndSet
            | Self::RefusalIsDefinitive
            | Self::GoneWhenUnlisted
            | Self::RetireFinished
            | Self::NoSecondReading
            | Self::RegisterInScope => {}
        }
        plan
    }

    /// Returns what rule 22 is shown.
    fn shown(self, mut seen: Observation) -> Observation {
        match self {
            Self::HungByOneReading => {
                let read = Some(seen.now - READINGS_APART);
                let earlier = |at: &mut Timestamp| *at -= READINGS_APART;
                if let Some(run) = &mut seen.run {
                    if let Some(attempt) = &mut run.status.attempt {
                        attempt.boot.start_by.iter_mut().for_each(earlier);
                        attempt.hung_since = read;
                    }
                    for past in &mut run.status.past {
                        past.promise.iter_mut().for_each(|p| earlier(&mut p.start_by));
                        past.hung_since = read;
                    }
                }
                let tags = seen.machines.iter_mut().filter_map(|m| m.promise.as_mut());
                tags.for_each(|promise| earlier(&mut promise.start_by));
            }
            Self::HungDespiteFailure => {
                let reads = seen.forge_read.iter_mut();
                reads.for_each(|read| read.steady_since = Timestamp::MIN);
            }
            Self::HungOnceDisabled => {
                if let Registrations::Seen(rows) = &mut seen.registrations {
                    let disabled = rows.iter_mut().filter(|row| row.disabled == Some(true));
                    let since = Some(seen.now - DISABLED_FOR);
                    disabled.for_each(|row| row.disabled_since = since);
                }
            }
            _ => seen.at_work.iter_mut().for_each(|jobs| jobs.runners.clear()),
        }
        seen
    }
}

fn keep_credentials(seen: &Observation, plan: &mut Plan) {
    let before = seen.run.as_ref().and_then(|run| run.status.attempt.as_ref());
    let after = plan.status.as_mut().and_then(|status| status.attempt.as_mut());
    if let (Some(before), Some(after)) = (before, after)
        && before.number == after.number
    {
        after.runner.token = before.runner.token.clone();
    }
}

fn keep_open(seen: &Observation, plan: &mut Plan) {
    let Some(run) = &seen.run else { return };
    let was_open = run.status.attempt.as_ref().is_some_and(|attempt| attempt.ended.is_none());
    let Some(status) = &mut plan.status else { return };
    let Some(attempt) = status.attempt.as_mut().filter(|_| was_open) else { return };
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
}

fn finishes(plan: &Plan) -> bool {
    plan.status.as_ref().is_some_and(|status| status.phase == Phase::Finished)
}

fn ground(action: &Action) -> Option<Rule> {
    match action {
        Action::Unseat { rule, .. }
        | Action::Retire { rule, .. }
        | Action::Disable { rule, .. }
        | Action::Rerun { rule, .. }
        | Action::Terminate { rule, .. } => Some(*rule),
        Action::Launch { .. } | Action::Remove => None,
    }
}
