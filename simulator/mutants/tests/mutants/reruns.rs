//! Changed decisions about jobs whose machines the cloud took.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Conclusion, EndedBy, FailedJob, Interruption, Job, MachineId, Market, Observation,
    ObservedClass, Phase, RerunJobs, RerunScope, RerunView,
};
use tinqs_ci_reconciler::plan::{Action, Plan, plan};

use crate::mutant::Mutant;

/// Returns the decision with a mutant; `None` if the mutant does not change it.
pub(crate) fn with(mutant: Mutant) -> Option<fn(&Observation) -> Plan> {
    let changed: fn(&Observation) -> Plan = match mutant {
        Mutant::RerunWithoutEvidence => without_evidence,
        Mutant::RerunDespiteCancel => |seen| {
            changing_view(seen, |view| {
                let canceled = Some(Job::Done { conclusion: Conclusion::Cancelled });
                let jobs = view.run.iter_mut();
                jobs.for_each(|run| run.jobs.retain(|job| job.state != canceled));
            })
        },
        Mutant::RerunWithoutLimit => {
            |seen| changing_view(seen, |view| each(view, |job| job.limit = u32::MAX))
        }
        Mutant::RerunWithoutWait => |seen| {
            changing_view(seen, |view| {
                let ago = SignedDuration::from_hours(1);
                each(view, |job| {
                    job.reruns.iter_mut().for_each(|reruns| reruns.asked_at -= ago);
                });
            })
        },
        Mutant::RerunOfAllFailed => of_all_failed,
        Mutant::RerunOfTerminated => |seen| as_taken(seen, EndedBy::Request),
        Mutant::RerunOfSelfEnded => |seen| as_taken(seen, EndedBy::Itself),
        Mutant::RerunOfAnyEnd => of_any_end,
        Mutant::RerunOfEarlierFailure => of_earlier_failure,
        Mutant::NoRerun => no_rerun,
        Mutant::SwappedMachineUntold => swapped_machine_untold,
        Mutant::EarlyReportFinal => early_report_final,
        Mutant::TakenPoolsIgnored => |seen| {
            changing_class(seen, |class| {
                class.pools.iter_mut().for_each(|pool| pool.taken_at = None);
            })
        },
        Mutant::RerunLikeAnyOther => like_any_other,
        Mutant::SpotBreakerIgnored => {
            |seen| changing_class(seen, |class| class.spot_breaker = None)
        }
        _ => return None,
    };
    Some(changed)
}

/// A running job is noted as one whose machine was taken.
fn without_evidence(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    if let Some(status) = &mut plan.status
        && status.phase == Phase::Running
        && let Some(runner) = status.runner.clone().filter(|runner| !runner.is_empty())
    {
        let (machine, at) = (MachineId("i-taken".to_owned()), seen.now);
        let taken = Interruption { runner, machine, at, failed_at: None, denied: None };
        status.interrupted.get_or_insert(taken);
    }
    plan
}

fn changing_view(seen: &Observation, change: impl Fn(&mut RerunView)) -> Plan {
    let mut seen = seen.clone();
    seen.rerun.iter_mut().for_each(change);
    plan(&seen)
}

fn each(view: &mut RerunView, change: impl Fn(&mut FailedJob)) {
    std::iter::once(&mut view.own).chain(&mut view.others).for_each(change);
}

fn of_all_failed(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    for action in &mut plan.actions {
        if let Action::Rerun { scope, .. } = action {
            *scope = RerunScope::Failed;
        }
    }
    plan
}

/// Machines that ended so are shown as taken by the cloud.
fn as_taken(seen: &Observation, by: EndedBy) -> Plan {
    let mut seen = seen.clone();
    let machines = seen.machines.iter_mut().chain(&mut seen.elsewhere);
    for machine in machines.filter(|machine| machine.ended_by == Some(by)) {
        machine.ended_by = Some(EndedBy::Cloud);
    }
    plan(&seen)
}

/// The noted interruption does not tell which end of the job it caused.
fn of_any_end(seen: &Observation) -> Plan {
    let mut seen = seen.clone();
    let noted = seen.run.iter_mut().filter_map(|run| run.status.interrupted.as_mut());
    noted.for_each(|noted| noted.failed_at = None);
    plan(&seen)
}

/// Each machine that the cloud took ended when its job did.
fn of_earlier_failure(seen: &Observation) -> Plan {
    let Some(at) = seen.times.completed_at else { return plan(seen) };
    let mut seen = seen.clone();
    let machines = seen.machines.iter_mut().chain(&mut seen.elsewhere);
    for machine in machines.filter(|machine| machine.ended_by == Some(EndedBy::Cloud)) {
        machine.ended_at = Some(at);
    }
    let noted = seen.run.iter_mut().filter_map(|run| run.status.interrupted.as_mut());
    noted.for_each(|noted| noted.at = at);
    plan(&seen)
}

fn no_rerun(seen: &Observation) -> Plan {
    changing_class(seen, |observed| observed.class.rerun.jobs = RerunJobs::Never)
}

fn changing_class(seen: &Observation, change: impl Fn(&mut ObservedClass)) -> Plan {
    let mut seen = seen.clone();
    seen.class.iter_mut().for_each(change);
    plan(&seen)
}

/// The condition of a job on the runner of another run is left out.
fn swapped_machine_untold(seen: &Observation) -> Plan {
    let mut plan = plan(seen);
    let running = seen.run.as_ref().filter(|_| matches!(seen.job, Job::Running { .. }));
    if let (Some(run), Some(status)) = (running, &mut plan.status) {
        let runner = status.runner.as_deref();
        let attempt_id = runner.and_then(|runner| run.attempt_of(runner));
        if attempt_id.is_some_and(|attempt_id| attempt_id.run != run.name) {
            status.conditions.clear();
        }
    }
    plan
}

fn early_report_final(seen: &Observation) -> Plan {
    let mut seen = seen.clone();
    let machines = seen.machines.iter_mut().chain(&mut seen.elsewhere);
    machines.for_each(|machine| machine.market = Market::OnDemand);
    plan(&seen)
}

/// The decision does not know the number of the job's attempt, which is recorded all the same.
fn like_any_other(seen: &Observation) -> Plan {
    let mut changed = seen.clone();
    changed.times.attempt = None;
    changed.run.iter_mut().for_each(|run| run.status.wait.attempt = None);
    let mut plan = plan(&changed);
    let known = seen.run.as_ref().and_then(|run| run.status.wait.attempt);
    if let Some(status) = &mut plan.status {
        status.wait.attempt = seen.times.attempt.or(known);
    }
    plan
}
