//! Sockets that can be cut, and the one handler behind which everything is.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::faults::Weather;
use super::{Shared, api, rpc};

/// Larger bodies are refused.
const MAX_BODY: usize = 4 << 20;

/// A request, read whole.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Call {
    /// A header as text; empty where it is missing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The first value of a query parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Serves until told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    let gate = Gate { listener, shared: Arc::clone(&shared) };
    let router = Router::new().fallback(handle).with_state(shared);
    let service = router.into_make_service_with_connect_info::<Switch>();
    // Ends without an error; a closed channel means that the owner is gone, which is the same.
    let _ = axum::serve(gate, service)
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        })
        .await;
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let (weather, delay) = {
        let mut state = shared.state();
        *state.counters.calls.entry(api::route(request.method(), &path)).or_default() += 1;
        state.faults.strike(&path)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if shared.state().stopped {
        switch.set(CUT);
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match weather {
        Weather::Fine => answer(&shared, request).await,
        Weather::Fail => {
            let body = json!({"message": "service unavailable"});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
        Weather::Error => {
            let body = json!({"message": "internal server error"});
            (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
        }
        Weather::Html => {
            let page = "<html><head><title>502</title></head><body>bad gateway</body></html>";
            let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, kind, page).into_response()
        }
        Weather::Half => {
            let response = answer(&shared, request).await;
            switch.set(HALF);
            response
        }
        Weather::Lost => {
            let response = answer(&shared, request).await;
            switch.set(CUT);
            response
        }
        Weather::Cut => {
            switch.set(CUT);
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn answer(shared: &Shared, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: query.map(|q| q.0).unwrap_or_default(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    };
    match call.path.strip_prefix("/api/actions/runner.v1.RunnerService/") {
        Some(method) => rpc::answer(shared, &call, method),
        None => api::answer(shared, &call),
    }
}

const OPEN: u8 = 0;
const HALF: u8 = 1;
const CUT: u8 = 2;

/// Says what becomes of the bytes of one connection from now on.
#[derive(Clone)]
struct Switch(Arc<AtomicU8>);

impl Switch {
    fn set(&self, to: u8) {
        self.0.store(to, Ordering::SeqCst);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Connected<IncomingStream<'_, Gate>> for Switch {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().switch.clone()
    }
}

/// The listener; shuts the door at once while the server is down.
struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Listener for Gate {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let down = self.shared.state().faults.down;
                    if !down {
                        let switch = Switch(Arc::new(AtomicU8::new(OPEN)));
                        return (Socket { stream, switch }, peer);
                    }
                }
                // Out of file descriptors, most likely: others may close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that its handler can cut.
struct Socket {
    stream: TcpStream,
    switch: Switch,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.switch.get() {
            OPEN => Pin::new(&mut self.stream).poll_write(cx, buf),
            HALF => {
                // The head and half of the body; should they come apart, the head alone.
                let head = buf.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
                let end = head + (buf.len() - head) / 2;
                let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..end]);
                if written.is_ready() {
                    self.switch.set(CUT);
                }
                written
            }
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
