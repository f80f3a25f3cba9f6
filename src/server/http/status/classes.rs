//! The classes of `/v1/status`.

use std::collections::HashMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Class, ClassName, Phase, serving};

use super::{App, StatusData, class_of};
use crate::api::BudgetUse;
use crate::api::status::{ClassStatus, ClassWaits, ReasonCount};
use crate::telemetry::RecentWaits;

/// Counts the machines and runs of each class, and the reasons of its waiting runs.
pub(super) fn all(app: &App, classes: &[Class], known: &StatusData) -> Vec<ClassStatus> {
    let mut phases: HashMap<&ClassName, [usize; 3]> = HashMap::new();
    let mut desired: HashMap<&ClassName, usize> = HashMap::new();
    let mut oldest: HashMap<&ClassName, Timestamp> = HashMap::new();
    for run in known.open.as_deref().unwrap_or_default() {
        let Some(class) = serving(classes, &run.repo, &run.runs_on) else { continue };
        let counts = phases.entry(&class.name).or_default();
        if run.phase != Phase::Finished && !run.deleted {
            *desired.entry(&class.name).or_default() += 1;
        }
        if run.phase == Phase::Waiting && !run.deleted {
            let since = oldest.entry(&class.name).or_insert(run.waiting_since);
            *since = run.waiting_since.min(*since);
        }
        match run.phase {
            Phase::Waiting => counts[0] += 1,
            Phase::Starting => counts[1] += 1,
            Phase::Running => counts[2] += 1,
            Phase::Finished => {}
        }
    }
    let mut reasons: HashMap<&ClassName, HashMap<&'static str, usize>> = HashMap::new();
    for run in &known.waiting {
        let (Some(class), Some(reason)) = (class_of(classes, run), run.status.reason()) else {
            continue;
        };
        *reasons.entry(class).or_default().entry(reason.as_str()).or_default() += 1;
    }
    let of_class = |class: &Class| {
        let [waiting, starting, running] = phases.get(&class.name).copied().unwrap_or_default();
        let counted = reasons.get(&class.name).into_iter().flatten();
        let mut reasons: Vec<ReasonCount> = counted
            .map(|(reason, runs)| ReasonCount { reason: (*reason).to_owned(), runs: *runs })
            .collect();
        reasons.sort_by(|a, b| b.runs.cmp(&a.runs).then_with(|| a.reason.cmp(&b.reason)));
        let machines = known.machines.iter();
        ClassStatus {
            name: class.name.to_string(),
            limit: class.limit,
            budget: BudgetUse::of(&known.spend.budgets, &class.name),
            machines: machines.filter(|m| m.class == class.name && m.is_live()).count(),
            desired: desired.get(&class.name).copied().unwrap_or(0),
            open: waiting + starting + running,
            waiting,
            oldest_waiting_since: oldest.get(&class.name).copied(),
            starting,
            running,
            reasons,
            waits: app.telemetry.waits.of(&class.name.0, known.now).map(waits),
        }
    };
    classes.iter().map(of_class).collect()
}

pub(super) fn waits(recent: RecentWaits) -> ClassWaits {
    let RecentWaits { jobs, p50_seconds, p95_seconds } = recent;
    ClassWaits { jobs, p50_seconds, p95_seconds }
}
