//! Builds without the feature `otlp`: no spans.

use std::future::Future;
use std::time::Duration;

use tinqs_ci_reconciler::controller::Report;
use tinqs_ci_reconciler::model::{Redactor, RunName};
use tinqs_ci_reconciler::plan::Plan;
use tinqs_ci_reconciler::ports::PortError;

use super::SpanDetails;
use super::variables::Collector;

pub(super) fn start(collector: &Collector, _replica: &str) {
    tracing::warn!(
        collector = collector.shown(),
        hint = "build with the feature `otlp`: `cargo build --release --features otlp`",
        "this build sends no traces",
    );
}

#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
pub(super) async fn flush(_within: Duration) {}

#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
pub(super) async fn stop(_within: Duration) {}

pub(super) fn hide(_redactor: Redactor) {}

pub(super) fn decide(
    decide: impl FnOnce() -> Plan,
    _told: impl FnOnce(&Plan) -> SpanDetails,
) -> Plan {
    decide()
}

pub(super) async fn reconcile(
    _name: &RunName,
    work: impl Future<Output = Option<Report>>,
    _told: impl FnOnce(&Option<Report>) -> SpanDetails,
) -> Option<Report> {
    work.await
}

pub(super) async fn root<T>(
    _name: &'static str,
    work: impl Future<Output = T>,
    _told: impl FnOnce(&T) -> SpanDetails,
) -> T {
    work.await
}

pub(super) async fn call<T>(
    _port: &'static str,
    _operation: &'static str,
    work: impl Future<Output = Result<T, PortError>>,
    _told: impl FnOnce(&Result<T, PortError>) -> SpanDetails,
) -> Result<T, PortError> {
    work.await
}

pub(super) fn tell(_name: &'static str, _value: &str) {}

pub(super) fn wakes(_name: &RunName) {}

pub(super) fn ids() -> Option<(String, String)> {
    None
}
