//! Drift as metrics and log lines: what is open now, what passed its time, and who resolved it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{ActionKind, Report};
use tinqs_ci_reconciler::model::{Blocker, Drift, DriftKind, Failing};

use super::{Telemetry, labels};
use crate::words;
use crate::words::services::ServiceReason;

/// The maximum number of log lines about drift per poll.
const LINES: usize = 10;

/// The party that resolved drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvedBy {
    /// An effect of a reconcile.
    Controller,
    /// Nobody: the machine ended, or the job started or ended.
    Itself,
    /// A person, through the API.
    Operator,
}

impl ResolvedBy {
    fn label(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Itself => "self",
            Self::Operator => "operator",
        }
    }
}

/// The open drift of the last poll.
#[derive(Default)]
pub struct OpenDrift(Mutex<BTreeMap<(DriftKind, String), Open>>);

struct Open {
    class: String,
    since: Timestamp,
    by: ResolvedBy,
}

impl OpenDrift {
    /// Notes that somebody acted on a run, a machine or a registration.
    pub(super) fn acted(&self, subject: &str, by: ResolvedBy) {
        let mut open = self.0.lock();
        for ((_, own), one) in open.iter_mut() {
            if own == subject {
                one.by = by;
            }
        }
    }

    /// Notes the effects of a reconcile.
    pub(super) fn note(&self, report: &Report) {
        if self.0.lock().is_empty() {
            return;
        }
        for effect in report.effects.iter().filter(|effect| effect.error.is_none()) {
            match effect.action {
                ActionKind::Launch => self.acted(report.name.as_str(), ResolvedBy::Controller),
                ActionKind::Terminate | ActionKind::Disable | ActionKind::Retire => {
                    self.acted(&effect.target, ResolvedBy::Controller);
                }
                _ => {}
            }
        }
    }
}

impl Telemetry {
    /// Returns the services that fail, as far as they block machines.
    pub fn failing(&self) -> Failing {
        let of = |service: &str| {
            let failure = self.contacts.of(service).failing()?.clone();
            words::drift::blocker(ServiceReason::of(service, failure.kind)?)
        };
        Failing { forge: of("forge"), cloud: of("compute") }
    }

    /// Notes that a person acted on a run or a machine.
    pub fn acted_on(&self, subject: &str) {
        self.drift.acted(subject, ResolvedBy::Operator);
    }

    /// Notes the open drift; `None` if another replica polls.
    pub fn note_drift(&self, drift: Option<&[Drift]>) {
        let now = self.now();
        let mut open = self.drift.0.lock();
        let Some(drift) = drift else {
            open.clear();
            self.metrics.drift.show(&BTreeMap::new(), &BTreeMap::new());
            return;
        };
        let mut counts: BTreeMap<(String, DriftKind, &'static str), u32> = BTreeMap::new();
        let mut oldest: BTreeMap<(String, DriftKind), Timestamp> = BTreeMap::new();
        let mut found: BTreeSet<(DriftKind, String)> = BTreeSet::new();
        let mut new: Vec<&Drift> = Vec::new();
        for one in drift {
            let class = self.metrics.class(one.class.as_ref().map(|class| class.0.as_str()));
            let blocked_by = one.blocked_by.map_or(labels::NOT_BLOCKED, Blocker::label);
            *counts.entry((class.to_owned(), one.kind, blocked_by)).or_default() += 1;
            let since = oldest.entry((class.to_owned(), one.kind)).or_insert(one.open_since);
            *since = (*since).min(one.open_since);
            let key = (one.kind, one.subject());
            found.insert(key.clone());
            open.entry(key).or_insert_with(|| {
                self.metrics.drift.detected(class, one.kind);
                new.push(one);
                let by = ResolvedBy::Itself;
                Open { class: class.to_owned(), since: one.open_since, by }
            });
        }
        let resolved = open.extract_if(.., |key, _| !found.contains(key));
        for ((kind, subject), Open { class, since, by }) in resolved {
            let lasted = now.duration_since(since);
            self.metrics.drift.resolved(&class, kind, by.label(), lasted);
            let seconds = lasted.as_secs();
            tracing::info!(
                kind = kind.as_str(),
                subject,
                by = by.label(),
                seconds,
                "drift resolved"
            );
        }
        self.metrics.drift.show(&counts, &oldest);
        log(&new, now);
    }
}

fn log(new: &[&Drift], now: Timestamp) {
    for one in new.iter().take(LINES) {
        tracing::warn!(
            kind = one.kind.as_str(),
            run = one.run.as_str(),
            machine = one.machine.as_ref().map(|machine| machine.0.as_str()),
            registration = one.registration,
            class = one.class.as_ref().map(|class| class.0.as_str()),
            blocked_by = one.blocked_by.map(Blocker::as_str),
            line = format!(
                "{}, {}: {}",
                words::drift::kind(one.kind),
                one.subject(),
                words::drift::message(one, None, now)
            ),
            "drift detected",
        );
    }
    let more = new.len().saturating_sub(LINES);
    if more > 0 {
        tracing::warn!(more, "further drift detected, see `tinqs-ci drift`");
    }
}
