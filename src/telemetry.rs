//! What operators are told: a [`Report`] becomes a log line and metrics.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::{ActionKind, Fact, LookResult, Report, SweepReport};
use tinqs_ci_reconciler::model::{Class, Reason};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, RunStore};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::push::Pass;

mod families;
pub mod labels;
pub mod lines;
pub mod metrics;
mod observed;
mod snapshot;

pub use observed::{Contact, Contacts, Observed, SERVICES, Seen, observe};

/// Longest text from outside in a log field, in characters.
const FIELD_LIMIT: usize = 200;

/// What is told and remembered for telling.
pub struct Telemetry {
    /// The metrics.
    pub metrics: metrics::Metrics,
    /// The last contact with each service.
    pub contacts: Contacts,
    /// What the last listings held.
    pub seen: Seen,
    /// Wake-ups taken from the queue and not looked at yet.
    pub held: AtomicUsize,
    clock: Arc<dyn Clock>,
    /// Scrapes set the same gauges: one at a time.
    scraping: tokio::sync::Mutex<()>,
}

/// Starts logging to stderr: JSON lines, or short ones where stderr is a terminal. `filter` is
/// what `TINQS_CI_LOG` or `RUST_LOG` say (`info`, `debug`, `tinqs_ci=trace`); without one, or
/// where it cannot be read, `info`. A second call changes nothing. Panics are logged too.
pub fn init(filter: Option<&str>, replica: &str) {
    let asked = filter.filter(|text| !text.trim().is_empty());
    let parsed = asked.map(str::parse::<Targets>);
    let refused = matches!(parsed, Some(Err(_)));
    let filter = match parsed {
        Some(Ok(filter)) => filter,
        Some(Err(_)) | None => Targets::new().with_default(LevelFilter::INFO),
    };
    // The SDK's own lines hold whole requests, and those hold identities.
    let filter = filter.with_target("aws_", LevelFilter::WARN);
    let form = if std::io::stderr().is_terminal() {
        lines::Form::Human {
            colour: anstream::stderr().current_choice() != anstream::ColorChoice::Never,
        }
    } else {
        lines::Form::Json
    };
    let lines = lines::layer(form, replica, std::io::stderr);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        return;
    }
    if refused {
        tracing::warn!("the log filter cannot be read: expected e.g. `info` or `tinqs_ci=debug`");
    }
    std::panic::set_hook(Box::new(|panic| {
        let message = panic_message(panic.payload());
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, error = short(&message), "a defect: please report it");
    }));
}

/// What a panic said, as far as it is text.
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

impl Telemetry {
    /// For these classes; times come from the ports' clock.
    pub fn new(classes: &[Class], clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            metrics: metrics::Metrics::new(classes),
            contacts: Contacts::default(),
            seen: Seen::default(),
            held: AtomicUsize::new(0),
            clock,
            scraping: tokio::sync::Mutex::new(()),
        })
    }

    /// Now, by the ports' clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells of a look.
    pub fn record(&self, report: &Report, elapsed: Duration) {
        self.metrics.look(report, elapsed);
        log_look(report, elapsed);
        log_breakers(report);
    }

    /// Counts the evaluations of a pass over what was pushed.
    pub fn record_pushes(&self, pass: &Pass) {
        for (result, took) in &pass.told {
            self.metrics.push(*result, *took);
        }
    }

    /// Tells of a poll (`demand`) or of a sweep (`sweep`).
    pub fn record_sweep(&self, controller: &'static str, report: &SweepReport, elapsed: Duration) {
        self.metrics.sweep(controller, report, elapsed, self.now());
        for error in &report.errors {
            tracing::warn!(controller, error = short(error), "a reading failed; it is read again");
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
            "a pass is over",
        );
    }

    /// Prometheus text. Reads the store's open runs; cloud and forge are told as last listed, so
    /// that a scrape calls neither.
    pub async fn scrape(&self, classes: &[Class], store: &dyn RunStore) -> String {
        let _one_at_a_time = self.scraping.lock().await;
        let now = self.now();
        // Where the store does not answer, what was shown before stays, with its time.
        if let Ok(open) = store.open(now).await {
            let (_, machines) = self.seen.machines();
            let (_, registrations) = self.seen.registrations();
            let held = self.held.load(Ordering::Relaxed);
            snapshot::Snapshot {
                classes,
                open: &open,
                machines: &machines,
                registrations: &registrations,
                held,
                now,
            }
            .show(&self.metrics);
        }
        let unreadable = u32::try_from(store.unreadable()).unwrap_or(u32::MAX);
        self.metrics.unreadable.set(f64::from(unreadable));
        self.metrics.text()
    }
}

/// One line for a look that did something, with what it did.
fn log_look(report: &Report, elapsed: Duration) {
    // A field without a value is left out of the line.
    let run = report.name.as_str();
    let class = report.class.as_ref().map(|class| class.0.as_str());
    let repo = Some(short(&report.repo)).filter(|repo| !repo.is_empty());
    let slot = report.effects.iter().rev().find_map(|effect| effect.slot.as_deref());
    let machine = report
        .effects
        .iter()
        .rev()
        .find(|effect| matches!(effect.action, ActionKind::Launch | ActionKind::Terminate));
    let machine = machine.map(|effect| effect.target.as_str());
    let actions: Vec<&str> = report.effects.iter().map(|e| labels::action(e.action)).collect();
    let action = Some(actions.join("+")).filter(|action| !action.is_empty());
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
                run, slot, class, repo, machine, action, outcome, phase, reason, error, error_kind,
                elapsed_ms, $message
            )
        };
    }
    match (report.result, failed) {
        (_, Some((_, (ErrorKind::Denied | ErrorKind::Invalid, _)))) => {
            line!(error, "a look was refused something: an operator must act");
        }
        (LookResult::Error, _) | (_, Some(_)) => line!(warn, "a look failed; it is repeated"),
        (LookResult::Acted, None) => line!(info, "looked at a run"),
        (LookResult::Conflict, None) => line!(debug, "another wrote first; it is looked at again"),
        (LookResult::Settled, None) => line!(debug, "a run is settled"),
    }
}

/// One line when the launches of a class are stopped, and one when they go on.
fn log_breakers(report: &Report) {
    let run = report.name.as_str();
    for fact in &report.facts {
        match fact {
            Fact::BreakerOpened { class, broken } => tracing::error!(
                run,
                class = class.0.as_str(),
                reason = ?broken.why,
                error = short_message(&broken.message),
                until = %broken.until,
                "the launches of a class are stopped, but for a try each 5 min: an operator must act",
            ),
            Fact::BreakerClosed { class, open_seconds } => tracing::info!(
                run,
                class = class.0.as_str(),
                open_seconds,
                "the launches of a class go on",
            ),
            Fact::Started { .. } | Fact::Finished { .. } | Fact::Created => {}
        }
    }
}

/// A refusal with its remedy, which stands at its end.
fn short_message(text: &str) -> String {
    text.chars().take(4 * FIELD_LIMIT).collect()
}

/// Text from outside for a log field.
fn short(text: &str) -> String {
    text.chars().take(FIELD_LIMIT).collect()
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
