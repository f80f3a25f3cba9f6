//! A collector of traces on loopback, which keeps what it receives.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Wire;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type All = Arc<Mutex<Vec<Received>>>;

/// The collector, which stops on drop.
pub(crate) struct Collector {
    pub(crate) url: String,
    received: All,
    task: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Collector {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        Self::at(0).await.expect("a free port")
    }

    /// Starts it on this port, if that is free.
    pub(crate) async fn at(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let received = All::default();
        let routes = Router::new().fallback(keep).with_state(received.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("the collector serves");
        });
        Ok(Self { url, received, task })
    }

    /// Returns what it received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// Returns the spans that it received so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received().iter().flat_map(|request| decoded(&request.body)).collect()
    }
}

async fn keep(State(all): State<All>, uri: Uri, headers: HeaderMap, body: Bytes) {
    all.lock().push(Received { path: uri.path().to_owned(), headers, body });
}

/// A span, as far as tests read it.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The attributes of its resource.
    pub(crate) resource: BTreeMap<String, String>,
    /// The spans that it links to.
    pub(crate) links: Vec<String>,
    /// The message, if it failed.
    pub(crate) error: Option<String>,
    pub(crate) times: (u64, u64),
}

impl Span {
    pub(crate) fn is(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|found| found == value)
    }
}

fn decoded(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("the body is a request of OTLP");
    let mut spans = Vec::new();
    for group in request.resource_spans {
        let resource = texts(&group.resource.map(|found| found.attributes).unwrap_or_default());
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(read(&span, resource.clone()));
        }
    }
    spans
}

fn read(span: &Wire, resource: BTreeMap<String, String>) -> Span {
    let status = span.status.clone().unwrap_or_default();
    Span {
        trace: hex::encode(&span.trace_id),
        id: hex::encode(&span.span_id),
        parent: hex::encode(&span.parent_span_id),
        name: span.name.clone(),
        attributes: texts(&span.attributes),
        resource,
        links: span.links.iter().map(|link| hex::encode(&link.span_id)).collect(),
        error: (status.code == i32::from(StatusCode::Error)).then_some(status.message),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    };
    attributes.iter().filter_map(|pair| Some((pair.key.clone(), text(pair)?))).collect()
}
