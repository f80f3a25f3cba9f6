//! Traces: spans of what a server does, for a collector that speaks OTLP.
//!
//! A root span is an `ingest`, a `reconcile`, a poll (`demand`) or a `sweep`. A reconcile has the
//! phases `observe`, `plan` and `act`, and below a phase or a root is one span per call of a port. A
//! span has only what this file and its callers name: no library adds one of its own, because those
//! may have addresses with credentials. Without the feature `otlp` all of this does nothing.

use std::future::Future;
use std::time::Duration;

use tinqs_ci_reconciler::controller::{Controller, Report, SweepReport};
use tinqs_ci_reconciler::model::{Observation, Reason, Redactor, RunName, Secret};
use tinqs_ci_reconciler::plan::{self, Plan};
use tinqs_ci_reconciler::ports::PortError;

use super::labels;
use crate::settings::Env;

mod inbox;
#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;
mod variables;

pub use inbox::inbox;
#[cfg(not(feature = "otlp"))]
use off as engine;
#[cfg(feature = "otlp")]
use otlp as engine;

/// Whether this build can send traces.
pub const OTLP: bool = cfg!(feature = "otlp");

/// The attributes of a span, and its error, told when its work is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanDetails {
    /// Names, as in the log, and values. Credentials of the configuration are cut out.
    pub attributes: Vec<(&'static str, String)>,
    /// The error, if the work failed; credentials are cut out likewise.
    pub error: Option<String>,
}

impl SpanDetails {
    /// Adds an attribute.
    pub fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        self.with_some(name, Some(value))
    }

    /// Adds an attribute, if there is a value.
    pub fn with_some(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.attributes.extend(value.map(|value| (name, value.into())));
        self
    }

    /// Says that the work failed, if there is an error.
    pub fn failed(self, error: Option<&str>) -> Self {
        Self { error: error.map(str::to_owned), ..self }
    }
}

/// Starts to send traces if the standard variables name a collector (`OTEL_EXPORTER_OTLP_ENDPOINT`).
/// A variable that cannot be used causes one warning, and the process serves without traces.
/// `replica` names this process. A second call does nothing.
pub fn start(env: &Env, replica: &str) {
    match variables::collector(env) {
        Ok(None) => {}
        Ok(Some(collector)) => engine::start(&collector, replica),
        Err(error) => tracing::warn!(error, "no traces are sent"),
    }
}

/// Sends what is left, within this time.
pub async fn flush(within: Duration) {
    engine::flush(within).await;
}

/// Sends what is left, within this time, and ends the traces.
pub async fn stop(within: Duration) {
    engine::stop(within).await;
}

/// Cuts these credentials out of all that spans say from now on.
pub(super) fn hide(secrets: &[Secret]) {
    engine::hide(Redactor::new(secrets));
}

/// Lets the spans of reconciles have phases.
pub fn phased(controller: Controller) -> Controller {
    controller.deciding_by(decide)
}

/// Decides, between the phases `observe` and `act`, or two of `act`.
fn decide(seen: &Observation) -> Plan {
    engine::decide(|| plan::plan(seen), |plan| of_plan(seen, plan))
}

/// Reconciles a run; `None` means that it panicked.
pub async fn reconcile(
    name: &RunName,
    work: impl Future<Output = Option<Report>>,
) -> Option<Report> {
    engine::reconcile(name, work, |report| of_report(report.as_ref())).await
}

/// Polls (`demand`) or sweeps (`sweep`); `None` means that it panicked.
pub async fn pass(
    controller: &'static str,
    work: impl Future<Output = Option<SweepReport>>,
) -> Option<SweepReport> {
    engine::root(controller, work, |report| of_sweep(report.as_ref())).await
}

/// Ingests a verified delivery.
pub async fn ingest<T>(work: impl Future<Output = T>, told: impl FnOnce(&T) -> SpanDetails) -> T {
    engine::root("ingest", work, told).await
}

/// Calls a port. There is a span only within another one: loops that wait for work have none.
pub(super) async fn call<T>(
    port: &'static str,
    operation: &'static str,
    work: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    engine::call(port, operation, work, |answer| of_call(port, operation, answer.as_ref().err()))
        .await
}

/// Adds an attribute to the span of the work in progress.
pub fn tell(name: &'static str, value: &str) {
    engine::tell(name, value);
}

/// Notes that the work in progress wakes a run: the span of its next reconcile in this process
/// links to it.
pub(super) fn wakes(name: &RunName) {
    engine::wakes(name);
}

/// Returns the IDs of trace and span of the work in progress, if they are sent.
pub(super) fn ids() -> Option<(String, String)> {
    engine::ids()
}

fn of_plan(seen: &Observation, plan: &Plan) -> SpanDetails {
    let current = seen.run.as_ref().and_then(|run| {
        let attempt = run.status.attempt.as_ref()?;
        Some(run.attempt_id(attempt.number).to_string())
    });
    let next = plan.prepare.as_ref().map(|prepare| prepare.attempt_id.to_string());
    SpanDetails::default()
        .with("rule", plan.rule.to_string())
        .with_some("attempt_id", next.or(current))
}

fn of_report(report: Option<&Report>) -> SpanDetails {
    let Some(report) = report else { return panicked() };
    SpanDetails::default()
        .with("outcome", labels::pass_result(report.result))
        .with_some("class", report.class.as_ref().map(|class| class.0.as_str()))
        .with_some("repo", Some(report.repo.clone()).filter(|repo| !repo.is_empty()))
        .with_some("attempt_id", labels::attempt_id(report))
        .with_some("action", labels::actions(report))
        .with_some("phase", report.phase.map(|phase| format!("{phase:?}")))
        .with_some("reason", report.reason.map(Reason::as_str))
        .failed(report.error.as_deref())
}

fn of_sweep(report: Option<&SweepReport>) -> SpanDetails {
    let Some(report) = report else { return panicked() };
    SpanDetails::default()
        .with("leader", report.leader.to_string())
        .with("created", report.created.to_string())
        .with("woken", report.woken.to_string())
        .failed(report.errors.first().map(String::as_str))
}

fn of_call(port: &'static str, operation: &'static str, error: Option<&PortError>) -> SpanDetails {
    SpanDetails::default()
        .with("port", port)
        .with("operation", operation)
        .with_some("error_kind", error.map(|error| labels::error_kind(error.kind)))
        .failed(error.map(ToString::to_string).as_deref())
}

fn panicked() -> SpanDetails {
    SpanDetails::default().with("outcome", "panic").failed(Some("panicked: a bug, see the log"))
}
