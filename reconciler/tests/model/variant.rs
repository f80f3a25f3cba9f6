//! The real decision, and broken ones: a model that cannot fail proves nothing.

use tinqs_ci_reconciler::model::{Observation, Phase};
use tinqs_ci_reconciler::plan::{Action, Plan, Rule, plan};

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
            | Self::NoSecondReading => {}
        }
        plan
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
        | Action::Terminate { rule, .. } => Some(*rule),
        Action::Launch { .. } | Action::Remove => None,
    }
}
