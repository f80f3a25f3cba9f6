//! The answer of `/v1/drift`, with words.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::controller::DriftReport;
use tinqs_ci_reconciler::model::{Blocker, Drift, DriftKind, NextStep, Run, RunName};
use tinqs_ci_reconciler::ports::OpenRun;

use crate::words;

/// The differences between runs, machines and registrations that last longer than their stage
/// allows, as this process has last listed the three. Since when a runner is idle, or a
/// registration is alone or missing, is what this process has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftList {
    /// The time of the answer.
    #[schemars(with = "String")]
    pub now: Timestamp,
    /// The time when this process last listed the machines; `null` if it has not yet, so that no
    /// drift of machines is known.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub machines_listed_at: Option<Timestamp>,
    /// The open drift, longest first.
    pub items: Vec<DriftView>,
}

/// A difference that has lasted longer than its stage allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DriftView {
    /// The kind of the difference.
    pub kind: DriftKind,
    /// The class; `null` if no class serves the job, or if it is not known.
    pub class: Option<String>,
    /// The run, or the run that the machine or registration was made for.
    pub run: String,
    /// `owner/name`; empty if it is not known.
    pub repo: String,
    /// The name of the job; empty if it is not known.
    pub job: String,
    /// The URL of the job's page at the forge; empty if it is not known.
    pub url: String,
    /// The machine, if it is about one.
    pub machine: Option<String>,
    /// The registration, if it is about one.
    pub registration: Option<i64>,
    /// The time when the difference began.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// The time until which its stage allowed it: since then it is drift.
    #[schemars(with = "String")]
    pub open_since: Timestamp,
    /// The cause that keeps it from being fixed; `null` if there is none.
    pub blocked_by: Option<Blocker>,
    /// The difference, and what keeps it from being fixed, as a sentence.
    pub message: String,
    /// The next step, taken without a person.
    pub next: NextStep,
    /// The latest time of the next step; `null` if it is not known.
    #[schemars(with = "Option<String>")]
    pub by: Option<Timestamp>,
    /// The remedy for a person; empty if there is nothing to do.
    pub fix: String,
}

impl DriftView {
    /// Returns the name of what drifts: a machine, a registration, or else the run.
    pub fn subject(&self) -> String {
        match (&self.machine, self.registration) {
            (Some(machine), _) => machine.clone(),
            (None, Some(registration)) => registration.to_string(),
            (None, None) => self.run.clone(),
        }
    }
}

/// Returns the views of a report about these open runs; at most so many.
pub fn drift_views(
    report: &DriftReport,
    open: &[OpenRun],
    now: Timestamp,
    most: usize,
) -> Vec<DriftView> {
    let shown = &report.drift[..report.drift.len().min(most)];
    let names: HashSet<&RunName> = shown.iter().map(|one| &one.run).collect();
    let records = report.records.iter().map(|run| (&run.name, run)).collect();
    let open = open.iter().filter(|run| names.contains(&run.name));
    let repos = open.map(|run| (&run.name, &*run.repo)).collect();
    shown.iter().map(|one| view(one, &records, &repos, now)).collect()
}

/// Returns the view of one. `records` and `repos`: by run, of those that are known.
fn view(
    one: &Drift,
    records: &HashMap<&RunName, &Run>,
    repos: &HashMap<&RunName, &str>,
    now: Timestamp,
) -> DriftView {
    let record = records.get(&one.run);
    let about = record.map(|run| &run.spec.about);
    let repo = record.map(|run| run.spec.job.repo.as_str());
    let repo = repo.or_else(|| repos.get(&one.run).copied());
    let stated = record.and_then(|run| run.status.conditions.first());
    let stated = stated.filter(|condition| Blocker::of(condition.reason) == one.blocked_by);
    let stated = stated.map(|condition| condition.message.as_str());
    DriftView {
        kind: one.kind,
        class: one.class.as_ref().map(ToString::to_string),
        run: one.run.to_string(),
        repo: repo.unwrap_or_default().to_owned(),
        job: about.map(|about| about.job.clone()).unwrap_or_default(),
        url: about.map(|about| about.url.clone()).unwrap_or_default(),
        machine: one.machine.as_ref().map(ToString::to_string),
        registration: one.registration,
        since: one.since,
        open_since: one.open_since,
        blocked_by: one.blocked_by,
        message: words::drift::message(one, stated, now),
        next: one.next,
        by: one.by,
        fix: words::drift::fix(one),
    }
}
