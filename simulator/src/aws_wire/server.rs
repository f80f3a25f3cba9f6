//! The HTTP server: reads a call, applies faults, records it in the ledger.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::faults::{CallFaults, Kind, Rules};
use super::ledger::{Entry, Ledger};
use crate::loopback::{CUT, Gate, HALF, Switch};

/// Larger bodies are refused.
const MAX_BODY: usize = 4 << 20;

/// The response of a service.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Error code; empty on success.
    pub(crate) code: String,
    pub(crate) body: String,
    pub(crate) items: usize,
    pub(crate) tokens: (u32, u32),
}

pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// Service and operation of a call.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) service: &'static str,
    pub(crate) op: String,
}

/// The faults of one reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadFault {
    pub(crate) stale: jiff::SignedDuration,
    pub(crate) omit: bool,
    pub(crate) omit_zones: Vec<String>,
    pub(crate) page_error: Option<u64>,
    pub(crate) draw: u64,
}

impl ReadFault {
    fn of(call_faults: &CallFaults) -> Self {
        let mut read_fault = Self { draw: call_faults.draw, ..Self::default() };
        for kind in &call_faults.kinds {
            match kind {
                Kind::Stale(by) => read_fault.stale = *by,
                Kind::Omit => read_fault.omit = true,
                Kind::OmitZone(zone) => read_fault.omit_zones.push(zone.clone()),
                Kind::PageError(page) => read_fault.page_error = Some(*page),
                Kind::Error { .. }
                | Kind::Delay(_)
                | Kind::DelayReply(_)
                | Kind::DropBefore
                | Kind::DropAfter
                | Kind::ResetMidBody
                | Kind::Throttle => {}
            }
        }
        read_fault
    }
}

/// A service behind the server.
pub(crate) trait Service: Send + Sync + 'static {
    /// A parsed call.
    type Call: Send + Sync;
    /// Content type of its responses.
    const CONTENT_TYPE: &'static str;
    /// Its error code and HTTP status for too many calls.
    const THROTTLED: (&'static str, u16);

    /// Parses a call, or returns the error response.
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Head, Self::Call), (Head, Reply)>;
    /// Executes a call.
    fn carry_out<'a>(&'a self, call: &'a Self::Call, read_fault: &'a ReadFault) -> Answer<'a>;
    /// Returns an error in the format of this service.
    fn error(&self, head: &Head, code: &str, status: u16, message: &str) -> Reply;
    /// Returns whether a call is aborted when its caller disconnects; otherwise it is executed
    /// anyway.
    fn ends_with_its_caller(headers: &HeaderMap) -> bool;
    /// Returns the header that accompanies an error.
    fn error_header(code: &str) -> Option<(HeaderName, String)>;
    /// Returns the latency of an operation.
    fn latency(&self, op: &str) -> Duration;
}

struct Shared<S> {
    service: Arc<S>,
    state: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    rules: Rules,
    ledger: Ledger,
}

impl<S> Shared<S> {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.state.lock()
    }
}

/// A running server. Stops when dropped.
pub(crate) struct Server<S: Service> {
    shared: Arc<Shared<S>>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl<S: Service> Server<S> {
    /// Binds 127.0.0.1 and serves. Must be called in a tokio runtime.
    pub(crate) fn start(service: Arc<S>, port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let shared = Arc::new(Shared { service, state: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(run(Arc::clone(&shared), listener, stopped));
        Ok(Self { shared, address, stop: Some(stop) })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.shared.books().ledger.clone()
    }

    pub(crate) fn rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.books().rules);
    }
}

impl<S: Service> Drop for Server<S> {
    fn drop(&mut self) {
        self.rules(|rules| rules.down = true);
        if let Some(stop) = self.stop.take() {
            // The server may have stopped already.
            let _ = stop.send(());
        }
    }
}

async fn run<S: Service>(
    shared: Arc<Shared<S>>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    let server = Arc::clone(&shared);
    let gate = Gate::new(listener, move || !server.books().rules.down);
    let router = Router::new().fallback(handle::<S>).with_state(shared);
    let service = router.into_make_service_with_connect_info::<Switch>();
    // Returns no error; a closed channel means that the owner is gone, which also stops the server.
    let _ = axum::serve(gate, service)
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        })
        .await;
}

async fn handle<S: Service>(
    State(shared): State<Arc<Shared<S>>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    if request.method() == Method::GET && request.uri().path() == "/_ledger" {
        return axum::Json(shared.books().ledger.clone()).into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = read(body).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if S::ends_with_its_caller(&parts.headers) {
        return serve(&shared, &parts.headers, &body, &switch).await;
    }
    // A separate task, so the call is executed even if its caller disconnects.
    let task = tokio::spawn(async move { serve(&shared, &parts.headers, &body, &switch).await });
    task.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn read(body: Body) -> Result<Vec<u8>, axum::Error> {
    Ok(to_bytes(body, MAX_BODY).await?.to_vec())
}

async fn serve<S: Service>(
    shared: &Shared<S>,
    headers: &HeaderMap,
    body: &[u8],
    switch: &Switch,
) -> Response {
    let at = Timestamp::now();
    let service = &shared.service;
    let (head, call) = match service.read(headers, body) {
        Ok((head, call)) => (head, Ok(call)),
        Err((head, reply)) => (head, Err(reply)),
    };
    let (call_faults, down) = {
        let mut books = shared.books();
        (books.rules.strike(head.service, &head.op), books.rules.down)
    };
    let struck = |wanted: &Kind| call_faults.kinds.contains(wanted);
    let mut cut = down || struck(&Kind::DropBefore);
    let mut late = Duration::ZERO;
    let reply = if cut {
        None
    } else {
        let mut before = service.latency(&head.op);
        let mut refusal = None;
        for kind in &call_faults.kinds {
            match kind {
                Kind::Delay(wait) => before += *wait,
                Kind::DelayReply(wait) => late += *wait,
                Kind::Error { code, status } => refusal = Some((code.as_str(), *status)),
                Kind::Throttle => refusal = Some(S::THROTTLED),
                Kind::DropBefore
                | Kind::DropAfter
                | Kind::ResetMidBody
                | Kind::Stale(_)
                | Kind::Omit
                | Kind::OmitZone(_)
                | Kind::PageError(_) => {}
            }
        }
        wait(before).await;
        Some(match (refusal, call) {
            (Some((code, status)), _) => service.error(&head, code, status, "simulated"),
            (None, Err(reply)) => reply,
            (None, Ok(call)) => service.carry_out(&call, &ReadFault::of(&call_faults)).await,
        })
    };
    cut |= struck(&Kind::DropAfter);
    let number = {
        let mut books = shared.books();
        books.ledger.entries.push(entry(at, &head, headers, body.len(), reply.as_ref(), cut));
        books.ledger.entries.len()
    };
    wait(late).await;
    match reply {
        Some(reply) if !cut => {
            if struck(&Kind::ResetMidBody) {
                switch.set(HALF);
            }
            write::<S>(reply, number)
        }
        _ => {
            switch.set(CUT);
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn entry(
    at: Timestamp,
    head: &Head,
    headers: &HeaderMap,
    bytes_in: usize,
    reply: Option<&Reply>,
    cut: bool,
) -> Entry {
    Entry {
        at,
        caller: caller(headers).unwrap_or_default().to_owned(),
        service: head.service.to_owned(),
        op: head.op.clone(),
        items: reply.map_or(0, |r| r.items),
        bytes_in,
        bytes_out: reply.map_or(0, |r| r.body.len()),
        tokens: reply.map_or((0, 0), |r| r.tokens),
        status: reply.filter(|_| !cut).map_or(0, |r| r.status),
        code: reply.map_or_else(String::new, |r| r.code.clone()),
    }
}

/// Returns the access key ID of `AWS4-HMAC-SHA256 Credential=<id>/<date>/…`, or `None` for an
/// unsigned request. The signature is not checked.
pub(crate) fn caller(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let rest = text.strip_prefix("AWS4-HMAC-SHA256")?.trim_start();
    let (id, _) = rest.strip_prefix("Credential=")?.split_once('/')?;
    (!id.is_empty()).then_some(id)
}

/// Returns a request ID in the form of a UUID.
pub(crate) fn request_id(of: &[u8]) -> String {
    let hex = hex::encode(&Sha256::digest(of)[..16]);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
    parts.join("-")
}

fn write<S: Service>(reply: Reply, number: usize) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Reply { body, code, .. } = reply;
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(S::CONTENT_TYPE));
    let id = request_id(&number.to_be_bytes());
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    let noted = Some(code).filter(|code| !code.is_empty()).and_then(|code| S::error_header(&code));
    if let Some((name, value)) = noted
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(name, value);
    }
    response
}
