//! Servers on loopback that answer by a script and record their requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// A request: `GET /v1/runs?limit=200`, `If-Match`, `Authorization`, and the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordedRequest {
    pub(crate) line: String,
    pub(crate) if_match: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) last_event_id: Option<String>,
    pub(crate) body: String,
}

/// A response: status, `ETag`, body. A body that is a text stands for the log of a machine, whose
/// state is given instead of the `ETag`; or for a stream of events, if that says `stream`.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) u16, pub(crate) Option<&'static str>, pub(crate) Value);

type Script = Arc<dyn Fn(&RecordedRequest, usize) -> Answer + Send + Sync>;

#[derive(Clone)]
struct Stage {
    script: Script,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    times: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A running server; stops when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<RecordedRequest>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Starts a server. The script gets the request and how often that line was requested before.
    pub(crate) fn new(
        script: impl Fn(&RecordedRequest, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))
            .expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::default();
        let stage =
            Stage { script: Arc::new(script), asked: Arc::clone(&asked), times: Arc::default() };
        let app = Router::new().fallback(answer).with_state(stage);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, asked, _runtime: runtime }
    }

    /// Returns all requests so far.
    pub(crate) fn asked(&self) -> Vec<RecordedRequest> {
        self.asked.lock().clone()
    }

    /// Returns the lines of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn answer(
    State(stage): State<Stage>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let asked = RecordedRequest {
        line: format!("{method} {uri}"),
        if_match: header("if-match"),
        authorization: header("authorization"),
        last_event_id: header("last-event-id"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let before = {
        let mut times = stage.times.lock();
        let times = times.entry(asked.line.clone()).or_default();
        *times += 1;
        *times - 1
    };
    let Answer(status, etag, body) = (stage.script)(&asked, before);
    stage.asked.lock().push(asked);
    let status = StatusCode::from_u16(status).expect("a status");
    if let (Value::String(stream), Some("stream")) = (&body, etag) {
        return (status, [("content-type", "text/event-stream")], stream.clone()).into_response();
    }
    if let Value::String(log) = body {
        // With 204 the text is empty: there is no output.
        let machine = etag.unwrap_or("up");
        let headers =
            [("content-type", "text/plain; charset=utf-8"), ("tinqs-ci-machine-state", machine)];
        return (status, headers, log).into_response();
    }
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(etag) = etag {
        response.headers_mut().insert("etag", etag.parse().expect("a header"));
    }
    response
}

/// Returns a problem document.
pub(crate) fn problem(status: u16, detail: &str) -> Answer {
    let title = StatusCode::from_u16(status).expect("a status").to_string();
    Answer(
        status,
        None,
        json!({ "type": "about:blank", "title": title, "status": status, "detail": detail }),
    )
}
