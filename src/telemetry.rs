//! Turns each [`Report`] into a log line and metrics.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use tinqs_ci_reconciler::controller::{ActionKind, Event, ReconcileOutcome, Report, SweepReport};
use tinqs_ci_reconciler::model::{Class, InstallationId, Reason};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError};

use crate::push::Pass;
use crate::settings::{Settings, Tls};
use crate::words::services::ServiceReason;
use contacts::Change;
use unserved::Changes;

mod boot_stops;
mod clock;
mod contacts;
mod deliveries;
mod drift;
pub mod events;
mod failing_runs;
mod families;
pub mod labels;
pub mod lines;
mod logging;
pub mod metrics;
mod observed;
mod open_runs;
mod pauses;
mod progress;
mod samples;
mod scrape;
mod snapshot;
mod spot_breakers;
mod steps;
mod tell;
mod told_classes;
pub mod traces;
mod unserved;
mod waits;

pub use contacts::{Contact, Contacts, Failure, SERVICES};
pub use deliveries::{Deliveries, DeliveryCounts, Fault, Handled, RefusedDelivery};
pub use drift::{OpenDrift, ResolvedBy};
pub use events::Events;
pub use failing_runs::{FailingRun, FailingRuns};
pub use logging::{configure, filter, for_people, init};
pub use observed::{Observed, Seen, observe};
pub use open_runs::Listing;
pub use pauses::Pauses;
pub use samples::{MINUTES, Sample, Samples};
pub use scrape::HeldWakes;
pub use told_classes::ToldClasses;
pub use unserved::{Polled, Unserved};
pub use waits::{RecentWaits, Waits};

/// The maximum length of external text in a log field, in characters.
const FIELD_LIMIT: usize = 200;
/// The maximum number of lines about unserved labels that one poll logs.
const UNSERVED_LINES: usize = 10;

/// The state behind metrics, readiness and logs.
pub struct Telemetry {
    /// The metrics.
    pub metrics: metrics::Metrics,
    /// The last contact with each service.
    pub contacts: Contacts,
    /// The last listings.
    pub seen: Seen,
    /// Runs whose last reconcile failed at a service.
    pub failing_runs: FailingRuns,
    /// Waiting jobs that no class serves.
    pub unserved: Unserved,
    /// The waits of jobs.
    pub waits: Waits,
    /// Desired and actual machines of the last two hours.
    pub samples: Samples,
    /// Webhook deliveries.
    pub deliveries: Deliveries,
    /// The event log.
    pub events: Events,
    /// The pauses that were told.
    pub pauses: Pauses,
    /// The classes of which was told that their machines never come online.
    pub boot_stops: ToldClasses,
    /// The classes whose spot breakers were told.
    pub spot_breakers: ToldClasses,
    /// The open drift of the last poll.
    pub drift: OpenDrift,
    /// The time when this process started.
    pub started_at: Timestamp,
    /// Wake-ups that were taken from the queue and whose reconcile has not begun.
    pub held: HeldWakes,
    clock: Arc<dyn Clock>,
    /// The configured classes. A reload replaces them.
    classes: RwLock<Arc<[Class]>>,
    /// The ID of the installation, once its settings are in force.
    installation: RwLock<Option<InstallationId>>,
    shown: scrape::Shown,
    open_runs: open_runs::OpenRuns,
}

/// Returns the message of a panic.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a message".to_owned())
}

impl Telemetry {
    /// Creates the telemetry for these classes. Times come from the ports' clock.
    pub fn new(classes: &[Class], clock: Arc<dyn Clock>) -> Arc<Self> {
        let started_at = clock.now();
        Arc::new(Self {
            metrics: metrics::Metrics::new(classes),
            contacts: Contacts::default(),
            seen: Seen::default(),
            failing_runs: FailingRuns::default(),
            unserved: Unserved::default(),
            waits: Waits::default(),
            samples: Samples::default(),
            deliveries: Deliveries::default(),
            events: Events::new(started_at, events::KEPT),
            pauses: Pauses::default(),
            boot_stops: ToldClasses::default(),
            spot_breakers: ToldClasses::default(),
            drift: OpenDrift::default(),
            started_at,
            held: HeldWakes::default(),
            clock,
            classes: RwLock::new(classes.into()),
            installation: RwLock::default(),
            shown: scrape::Shown::default(),
            open_runs: open_runs::OpenRuns::default(),
        })
    }

    /// Follows the settings that are put in force.
    pub fn configure(&self, settings: &Settings) {
        traces::hide(&settings.secrets());
        self.metrics.configure(&settings.classes);
        *self.classes.write() = settings.classes.as_slice().into();
        *self.installation.write() = Some(InstallationId::of(&settings.installation));
        let tls = settings.server.tls.as_ref();
        self.metrics.config.certificate(tls.map(Tls::expires_at));
        // Credentials show themselves as a constant.
        let digest = Sha256::digest(format!("{settings:?}").as_bytes());
        self.metrics.config.named(&hex::encode(&digest[..6]));
    }

    /// Returns the time of the ports' clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Notes a call to a service, and logs when the service begins to fail or works again.
    fn contact(&self, service: &'static str, operation: &'static str, error: Option<&PortError>) {
        let change = self.contacts.note(service, operation, error, self.now());
        if let Some(change) = &change {
            self.tell_service(service, change);
        }
        match change {
            Some(Change::Began(failure)) => {
                self.metrics.service_failing(service, failure.since);
                let fix = ServiceReason::of(service, failure.kind)
                    .map(|reason| reason.fix(&failure.message));
                tracing::warn!(
                    service,
                    operation = failure.operation,
                    error_kind = labels::error_kind(failure.kind),
                    error = short(&failure.message),
                    fix,
                    "service fails, will retry",
                );
            }
            Some(Change::Ended { after }) => {
                self.metrics.service_failing(service, Timestamp::UNIX_EPOCH);
                tracing::info!(service, failing_seconds = after.as_secs(), "service works again");
            }
            None => {}
        }
    }

    /// Logs and counts a reconcile.
    pub fn record(&self, report: &Report, elapsed: Duration) {
        self.metrics.reconcile(report, elapsed);
        self.failing_runs.note(report);
        self.waits.note(report, self.now());
        self.drift.note(report);
        log_reconcile(report, elapsed);
        log_breakers(report);
        clock::log(report);
        self.tell_breakers(report);
        progress::log(report);
    }

    /// Counts the evaluations of a pass over the inbox.
    pub fn record_pushes(&self, pass: &Pass) {
        for (result, took) in &pass.told {
            self.metrics.push(*result, *took);
        }
    }

    /// Logs and counts a poll (`demand`) or a sweep (`sweep`).
    pub fn record_sweep(&self, controller: &'static str, report: &SweepReport, elapsed: Duration) {
        self.metrics.sweep(controller, report, elapsed, self.now());
        if controller == "demand" {
            let changes = self.unserved.note(report, self.now());
            log_unserved(&changes);
            self.tell_unserved(changes);
            self.metrics.unserved(self.unserved.last().map_or(0, |last| last.jobs));
        }
        for error in &report.errors {
            tracing::warn!(controller, error = short(error), "call failed, will retry");
        }
        let elapsed_ms = milliseconds(elapsed);
        if report.created > 0 {
            tracing::info!(controller, created = report.created, elapsed_ms, "found waiting jobs");
        }
        tracing::debug!(
            controller,
            leader = report.leader,
            waiting_jobs = report.waiting_jobs,
            unserved_jobs = report.unserved_jobs,
            woken = report.woken,
            machines = report.machines,
            registrations = report.registrations,
            seats = report.seats,
            elapsed_ms,
            "pass finished",
        );
    }
}

/// Logs a reconcile and its actions on one line.
fn log_reconcile(report: &Report, elapsed: Duration) {
    // `None` leaves the field out.
    let run = report.name.as_str();
    let class = report.class.as_ref().map(|class| class.0.as_str());
    let repo = Some(short(&report.repo)).filter(|repo| !repo.is_empty());
    let attempt_id = labels::attempt_id(report);
    let machine = report
        .effects
        .iter()
        .rev()
        .find(|effect| matches!(effect.action, ActionKind::Launch | ActionKind::Terminate));
    let machine = machine.map(|effect| effect.target.as_str());
    let action = labels::actions(report);
    let phase = report.phase.map(|phase| format!("{phase:?}"));
    let reason = report.reason.map(Reason::as_str);
    let outcome = labels::pass_result(report.result);
    let failed = report.effects.iter().find_map(|effect| Some((effect, effect.error.as_ref()?)));
    let error = match (&report.error, failed) {
        (Some(error), _) => Some(short(error)),
        (None, Some((effect, (_, message)))) => {
            Some(short(&format!("{}: {message}", labels::action(effect.action))))
        }
        (None, None) => None,
    };
    let error_kind = failed.map(|(_, (kind, _))| labels::error_kind(*kind));
    let elapsed_ms = milliseconds(elapsed);
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                run, attempt_id, class, repo, machine, action, outcome, phase, reason, error,
                error_kind, elapsed_ms, $message
            )
        };
    }
    match (report.result, failed) {
        (_, Some((_, (ErrorKind::Denied | ErrorKind::Invalid, _)))) => {
            line!(error, "reconcile denied, an operator must act");
        }
        (ReconcileOutcome::Error, _) | (_, Some(_)) => line!(warn, "reconcile failed, will retry"),
        (ReconcileOutcome::Acted, None) => line!(info, "reconciled run"),
        (ReconcileOutcome::Conflict, None) => line!(debug, "write conflict, requeued"),
        (ReconcileOutcome::Settled, None) => line!(debug, "run is settled"),
    }
}

/// Logs new sets of labels that no class serves, and those that are gone.
fn log_unserved(changes: &Changes) {
    for set in changes.new.iter().take(UNSERVED_LINES) {
        let job = set.examples.first();
        let nearest = set.nearest.as_ref();
        tracing::warn!(
            labels = short(&set.runs_on.join(",")),
            jobs = set.jobs,
            repo = job.map(|job| short(&job.repo)),
            job = job.map(|job| job.job_id),
            nearest_class = nearest.map(|near| near.class.0.as_str()),
            lacks = nearest.map(|near| short(&near.lacks.join(","))),
            serves_only = nearest
                .filter(|near| !near.repos.is_empty())
                .map(|near| short(&near.repos.join(","))),
            "no class serves waiting jobs",
        );
    }
    let more = changes.new.len().saturating_sub(UNSERVED_LINES);
    if more > 0 {
        tracing::warn!(more, "no class serves further sets of labels, see `tinqs-ci status`");
    }
    for (labels, after) in changes.gone.iter().take(UNSERVED_LINES) {
        let labels = short(&labels.join(","));
        tracing::info!(labels, unserved_seconds = after.as_secs(), "no job asks for these labels");
    }
}

/// Logs when a class's breaker opens or closes.
fn log_breakers(report: &Report) {
    let run = report.name.as_str();
    for event in &report.events {
        match event {
            Event::BreakerOpened { class, breaker } => tracing::error!(
                run,
                class = class.0.as_str(),
                reason = ?breaker.why,
                error = short_message(&breaker.message),
                until = %breaker.until,
                "breaker opened, an operator must act; launches are retried every 5 min",
            ),
            Event::BreakerClosed { class, open_seconds } => {
                tracing::info!(run, class = class.0.as_str(), open_seconds, "breaker closed");
            }
            _ => {}
        }
    }
}

/// Cuts a refusal, whose remedy stands at its end and must be kept.
fn short_message(text: &str) -> String {
    text.chars().take(4 * FIELD_LIMIT).collect()
}

/// Cuts external text for a log field.
fn short(text: &str) -> String {
    text.chars().take(FIELD_LIMIT).collect()
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
