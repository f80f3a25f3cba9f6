//! Drift in words: what differs, what keeps it from being fixed, and what comes next.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Blocker, Drift, DriftKind, NextStep};

use super::lasting;
use super::reasons::advice;
use super::services::ServiceReason;

/// Returns a kind in lower-case words: `run without machine`.
pub fn kind(kind: DriftKind) -> String {
    kind.label().replace('_', " ")
}

/// Says what differs. `stated` is the message of the run's condition.
pub fn message(drift: &Drift, stated: Option<&str>, now: Timestamp) -> String {
    let lasts = lasting(now.duration_since(drift.since));
    let what = match drift.kind {
        DriftKind::RunWithoutMachine => {
            format!("its job has waited for {lasts}, and there is no machine for it")
        }
        DriftKind::MachineWithoutRun => {
            format!("it should have ended {lasts} ago, and no open run has it")
        }
        DriftKind::MachineWithoutRegistration if drift.next == NextStep::Terminate => {
            format!("its registration has been gone for {lasts}, and it is still up")
        }
        DriftKind::MachineWithoutRegistration => {
            format!("it was launched {lasts} ago, and its runner is not online")
        }
        DriftKind::RegistrationWithoutMachine => {
            format!("no machine has been seen for it for {lasts}")
        }
        DriftKind::JobNotAssigned => {
            format!("its runner has been idle for {lasts}, and the job of its run waits")
        }
        DriftKind::SurplusMachine => format!("no job has waited for it for {lasts}"),
        DriftKind::ExpiredMachine => format!("its deadline was {lasts} ago"),
        DriftKind::SpecMismatch => {
            "its kind, market, class or registration is not the recorded one".to_owned()
        }
    };
    match (drift.blocked_by, stated) {
        (None, _) => what,
        (Some(_), Some(stated)) if !stated.is_empty() => format!("{what}: {stated}"),
        (Some(blocker), _) => format!("{what}: waits for {}", waits_for(blocker)),
    }
}

/// Says what happens next, and when.
pub fn next(step: NextStep, by: Option<Timestamp>, now: Timestamp) -> String {
    let what = match step {
        NextStep::Launch if by.is_none() => {
            return "a machine is launched when another one ends".to_owned();
        }
        NextStep::Launch => "the next attempt follows",
        NextStep::Terminate => "it is terminated",
        NextStep::Retire => "it is removed at the forge",
        NextStep::PowerOff => "it powers itself off",
        NextStep::Nothing => return "nothing happens until a person acts".to_owned(),
    };
    match by.map(|by| by.duration_since(now)) {
        Some(left) if left.as_secs() > 0 => format!("{what} within {}", lasting(left)),
        Some(_) | None => format!("{what} soon"),
    }
}

/// Says what a person can do; empty if there is nothing to do.
pub fn fix(drift: &Drift) -> String {
    let machine = drift.machine.as_ref().map_or("MACHINE", |machine| machine.0.as_str());
    remedy(drift.kind, drift.blocked_by)
        .replace("RUN", drift.run.as_str())
        .replace("MACHINE", machine)
}

/// Returns the remedy, with `RUN` and `MACHINE` in place of their names.
fn remedy(kind: DriftKind, blocked_by: Option<Blocker>) -> &'static str {
    if let Some(blocker) = blocked_by {
        return service(blocker)
            .map_or_else(|| advice(blocker.as_str()).fix, |service| service.fix(""));
    }
    match kind {
        DriftKind::RunWithoutMachine => "see `tinqs-ci plan RUN` and the log of the server",
        DriftKind::MachineWithoutRun | DriftKind::ExpiredMachine => {
            "`tinqs-ci sweep`; if it stays, `tinqs-ci doctor` checks the right to terminate"
        }
        DriftKind::MachineWithoutRegistration => {
            "`tinqs-ci logs MACHINE` shows what its boot script and runner printed"
        }
        DriftKind::RegistrationWithoutMachine => "`tinqs-ci sweep`",
        DriftKind::JobNotAssigned => {
            "compare the labels of the runner at the forge with `runs-on` of the job"
        }
        DriftKind::SurplusMachine => "once no job runs on it: `tinqs-ci terminate MACHINE`",
        DriftKind::SpecMismatch => "find out who changed the machine or its tags",
    }
}

fn waits_for(blocker: Blocker) -> &'static str {
    service(blocker).map_or_else(|| advice(blocker.as_str()).waits_for, ServiceReason::waits_for)
}

/// Returns the failure of a service that a blocker names.
fn service(blocker: Blocker) -> Option<ServiceReason> {
    Some(match blocker {
        Blocker::ForgeDenied => ServiceReason::ForgeDenied,
        Blocker::ForgeUnreachable => ServiceReason::ForgeUnreachable,
        Blocker::CloudDenied => ServiceReason::CloudDenied,
        Blocker::CloudUnreachable => ServiceReason::CloudUnreachable,
        Blocker::NoClass
        | Blocker::MachineReassigned
        | Blocker::BackingOff
        | Blocker::NoCapacity
        | Blocker::Paused
        | Blocker::Budget
        | Blocker::Paced
        | Blocker::AtLimit
        | Blocker::BreakerOpen => return None,
    })
}

/// Returns the blocker that the failure of a service is; `None` if it blocks no launch by itself.
pub fn blocker(reason: ServiceReason) -> Option<Blocker> {
    Blocker::ALL.iter().find(|blocker| service(**blocker) == Some(reason)).copied()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tinqs_ci_reconciler::model::RunName;

    use super::*;

    fn drift(kind: DriftKind, blocked_by: Option<Blocker>, next: NextStep) -> Drift {
        Drift {
            kind,
            class: None,
            run: RunName::job(1),
            machine: None,
            registration: None,
            since: Timestamp::UNIX_EPOCH,
            open_since: Timestamp::UNIX_EPOCH,
            blocked_by,
            next,
            by: None,
        }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn every_kind_and_blocker_has_words_and_a_name_that_others_use() {
        let mut told = std::collections::BTreeSet::new();
        for one in DriftKind::ALL {
            let text = message(&drift(*one, None, NextStep::PowerOff), None, after(250));
            assert!(told.insert(text.clone()) && text.len() > 20, "{text}");
            assert!(!remedy(*one, None).is_empty() && !kind(*one).contains('_'));
        }
        for blocker in Blocker::ALL {
            assert!(waits_for(*blocker).len() > 10, "{blocker:?}");
            if let Some(service) = service(*blocker) {
                assert_eq!(service.as_str(), blocker.as_str());
                assert_eq!(super::blocker(service), Some(*blocker));
            }
        }
        assert_eq!(blocker(ServiceReason::StoreFailing), None);
    }

    #[test]
    fn the_message_of_the_run_says_why() {
        let waits = DriftKind::RunWithoutMachine;
        let one = drift(waits, Some(Blocker::NoCapacity), NextStep::Launch);
        assert_eq!(
            message(&one, Some("no capacity for any machine of class gpu"), after(250)),
            "its job has waited for 4 min, and there is no machine for it: no capacity for any \
             machine of class gpu"
        );
        assert_eq!(
            message(&one, None, after(250)),
            "its job has waited for 4 min, and there is no machine for it: waits for the cloud to \
             have capacity for its class"
        );
    }

    #[test]
    fn a_remedy_names_the_run_and_the_machine() {
        let waits =
            drift(DriftKind::RunWithoutMachine, Some(Blocker::BackingOff), NextStep::Launch);
        assert!(fix(&waits).ends_with("then `tinqs-ci retry job-1` tries at once"));
        let mut idle = drift(DriftKind::SurplusMachine, None, NextStep::PowerOff);
        idle.machine = Some(tinqs_ci_reconciler::model::MachineId("i-7".to_owned()));
        assert_eq!(fix(&idle), "once no job runs on it: `tinqs-ci terminate i-7`");
    }

    #[test]
    fn the_next_step_has_a_time() {
        let rows = [
            (NextStep::Launch, Some(38), "the next attempt follows within 38 s"),
            (NextStep::Launch, None, "a machine is launched when another one ends"),
            (NextStep::Terminate, Some(60), "it is terminated within 1 min"),
            (NextStep::Retire, Some(-1), "it is removed at the forge soon"),
            (NextStep::PowerOff, Some(3_600), "it powers itself off within 1 h"),
            (NextStep::Nothing, None, "nothing happens until a person acts"),
        ];
        for (step, by, words) in rows {
            assert_eq!(next(step, by.map(|by| after(100 + by)), after(100)), words);
        }
    }
}
