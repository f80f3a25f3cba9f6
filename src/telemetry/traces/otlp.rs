//! Builds with the feature `otlp`: spans by the SDK of OpenTelemetry.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use opentelemetry::trace::{
    FutureExt as _, Link, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use parking_lot::{Mutex, RwLock};
use tinqs_ci_reconciler::controller::Report;
use tinqs_ci_reconciler::model::{Redactor, RunName};
use tinqs_ci_reconciler::plan::Plan;
use tinqs_ci_reconciler::ports::PortError;

use super::SpanDetails;
use super::variables::Collector;
use crate::telemetry::short;
use phases::Phases;

mod phases;
mod sender;

/// The maximum number of woken runs that are kept until their next reconcile.
const WOKEN: usize = 1024;

/// The one engine of this process: like the log, traces belong to the process.
static ENGINE: OnceLock<Engine> = OnceLock::new();

struct Engine {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// Runs that were woken within a span, the last one at the end.
    woken: Mutex<VecDeque<(RunName, SpanContext)>>,
}

/// Cuts credentials out; apart from the engine, because settings may be read before it starts.
static REDACTOR: RwLock<Option<Redactor>> = RwLock::new(None);

pub(super) fn start(collector: &Collector, replica: &str) {
    if ENGINE.get().is_some() {
        return;
    }
    let shown = collector.shown();
    let provider = match provider(collector, replica) {
        Ok(provider) => provider,
        Err(error) => {
            tracing::warn!(collector = shown, error, "no traces are sent");
            return;
        }
    };
    let tracer = provider.tracer("tinqs-ci");
    if ENGINE.set(Engine { provider, tracer, woken: Mutex::default() }).is_ok() {
        tracing::info!(collector = shown, "sending traces");
    }
}

fn provider(collector: &Collector, replica: &str) -> Result<SdkTracerProvider, String> {
    let url = collector.url.to_string();
    let service = collector.service.clone();
    let sender = sender::Sender::new(collector)?;
    let exporter = SpanExporter::builder().with_http().with_http_client(sender).with_endpoint(url);
    // Its errors may have the address.
    let exporter = exporter.build().map_err(|_| "the exporter cannot be built".to_owned())?;
    let own = [
        KeyValue::new("service.name", "tinqs-ci"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", replica.to_owned()),
    ];
    // What comes later precedes: the variables are the last.
    let resource = Resource::builder_empty().with_attributes(own);
    let resource = resource.with_detector(Box::new(TelemetryResourceDetector));
    let resource = resource.with_detector(Box::new(EnvResourceDetector::new()));
    let resource =
        resource.with_attributes(service.map(|name| KeyValue::new("service.name", name)));
    let resource = resource.build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

pub(super) async fn flush(within: Duration) {
    end(within, |provider| provider.force_flush().is_ok()).await;
}

pub(super) async fn stop(within: Duration) {
    end(within, move |provider| provider.shutdown_with_timeout(within).is_ok()).await;
}

/// Ends something that blocks, apart from the runtime, which sends the spans meanwhile.
async fn end(within: Duration, work: impl FnOnce(&SdkTracerProvider) -> bool + Send + 'static) {
    let Some(engine) = ENGINE.get() else { return };
    let work = tokio::task::spawn_blocking(move || work(&engine.provider));
    if !matches!(tokio::time::timeout(within, work).await, Ok(Ok(true))) {
        tracing::debug!("not all spans are sent");
    }
}

pub(super) fn hide(redactor: Redactor) {
    *REDACTOR.write() = Some(redactor);
}

pub(super) fn decide(
    decide: impl FnOnce() -> Plan,
    told: impl FnOnce(&Plan) -> SpanDetails,
) -> Plan {
    let phases = Context::map_current(|context| context.get::<Arc<Phases>>().cloned());
    let (Some(engine), Some(phases)) = (ENGINE.get(), phases) else { return decide() };
    phases.end();
    let context = engine.span("plan", SpanKind::Internal, &phases.reconcile, None);
    let plan = decide();
    close(&context, told(&plan));
    if plan.prepare.is_some() || !plan.actions.is_empty() {
        phases.act(engine);
    }
    plan
}

pub(super) async fn reconcile(
    name: &RunName,
    work: impl Future<Output = Option<Report>>,
    told: impl FnOnce(&Option<Report>) -> SpanDetails,
) -> Option<Report> {
    let Some(engine) = ENGINE.get() else { return work.await };
    let woken_by = engine.woken_by(name);
    let root = engine.span("reconcile", SpanKind::Consumer, &Context::new(), woken_by);
    root.span().set_attribute(KeyValue::new("run", name.to_string()));
    let phases = Arc::new(Phases::observing(engine, root.clone()));
    let report = work.with_context(root.with_value(phases.clone())).await;
    phases.end();
    close(&root, told(&report));
    report
}

pub(super) async fn root<T>(
    name: &'static str,
    work: impl Future<Output = T>,
    told: impl FnOnce(&T) -> SpanDetails,
) -> T {
    let Some(engine) = ENGINE.get() else { return work.await };
    let kind = if name == "ingest" { SpanKind::Server } else { SpanKind::Internal };
    let context = engine.span(name, kind, &Context::new(), None);
    let done = work.with_context(context.clone()).await;
    close(&context, told(&done));
    done
}

pub(super) async fn call<T>(
    port: &'static str,
    operation: &'static str,
    work: impl Future<Output = Result<T, PortError>>,
    told: impl FnOnce(&Result<T, PortError>) -> SpanDetails,
) -> Result<T, PortError> {
    let Some((engine, parent)) = ENGINE.get().and_then(|engine| Some((engine, parent(engine)?)))
    else {
        return work.await;
    };
    let name = format!("{port} {operation}");
    let context = engine.span(name, SpanKind::Client, &parent, None);
    let answer = work.with_context(context.clone()).await;
    close(&context, told(&answer));
    answer
}

/// Returns the context that a call belongs to: that of the phase, or of the root.
fn parent(engine: &Engine) -> Option<Context> {
    let (phases, current) = Context::map_current(|context| {
        (context.get::<Arc<Phases>>().cloned(), context.has_active_span().then(|| context.clone()))
    });
    phases.map(|phases| phases.current(engine)).or(current)
}

pub(super) fn tell(name: &'static str, value: &str) {
    if ENGINE.get().is_some() {
        let attribute = KeyValue::new(name, redacted(value));
        Context::map_current(|context| context.span().set_attribute(attribute));
    }
}

pub(super) fn wakes(name: &RunName) {
    let Some(engine) = ENGINE.get() else { return };
    let by = Context::map_current(|context| context.span().span_context().clone());
    if by.is_sampled() {
        let mut woken = engine.woken.lock();
        if woken.len() == WOKEN {
            woken.pop_front();
        }
        woken.push_back((name.clone(), by));
    }
}

pub(super) fn ids() -> Option<(String, String)> {
    ENGINE.get()?;
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        ids.is_sampled().then(|| (ids.trace_id().to_string(), ids.span_id().to_string()))
    })
}

impl Engine {
    /// Begins a span and returns the context of what is below it.
    fn span(
        &self,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: SpanKind,
        parent: &Context,
        link: Option<SpanContext>,
    ) -> Context {
        let mut builder = SpanBuilder::from_name(name).with_kind(kind);
        if let Some(link) = link {
            builder = builder.with_links(vec![Link::with_context(link)]);
        }
        parent.with_span(self.tracer.build_with_context(builder, parent))
    }

    /// Returns the span that woke a run last, and forgets it.
    fn woken_by(&self, name: &RunName) -> Option<SpanContext> {
        let mut woken = self.woken.lock();
        let by = woken.iter().rev().find(|(run, _)| run == name).map(|(_, by)| by.clone());
        woken.retain(|(run, _)| run != name);
        by
    }
}

/// Ends a span.
fn close(context: &Context, told: SpanDetails) {
    let span = context.span();
    let SpanDetails { attributes, error } = told;
    span.set_attributes(
        attributes.into_iter().map(|(name, value)| KeyValue::new(name, redacted(&value))),
    );
    if let Some(error) = error {
        span.set_status(Status::error(redacted(&error)));
    }
    span.end();
}

/// Returns a text without the credentials of the configuration, cut to the length of a log field. A
/// credential at the cut is whole when it is looked for.
fn redacted(text: &str) -> String {
    short(&without(REDACTOR.read().as_ref(), text))
}

fn without(redactor: Option<&Redactor>, text: &str) -> String {
    match redactor {
        Some(redactor) => {
            String::from_utf8_lossy(&redactor.redact(text.as_bytes(), 0)).into_owned()
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::Secret;

    use super::*;

    #[test]
    fn credentials_of_the_configuration_are_cut_out() {
        let redactor = Redactor::new(&[Secret::new("forge-token-1"), Secret::new("a+b/long-key")]);
        let text = "GET /x?token=forge-token-1: 401, a%2Bb%2Flong-key is unknown";
        assert_eq!(
            without(Some(&redactor), text),
            "GET /x?token=[secret]: 401, [secret] is unknown"
        );
        assert_eq!(without(None, text), text);
    }
}
