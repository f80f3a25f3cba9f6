//! The handler of all requests.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::fmt::rfc2822;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::call::Call;
use super::faults::RequestFault;
use super::{Shared, api, rpc};
use crate::loopback::{CUT, Gate, HALF, Switch};

/// Larger bodies are refused.
const MAX_BODY: usize = 4 << 20;

/// Serves until stopped.
pub(super) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    let gated = Arc::clone(&shared);
    let gate = Gate::new(listener, move || !gated.state().faults.down);
    let router = Router::new().fallback(handle).with_state(shared);
    let service = router.into_make_service_with_connect_info::<Switch>();
    // Returns no error; a closed channel means that the owner is gone, which also stops the server.
    let _ = axum::serve(gate, service)
        .with_graceful_shutdown(async {
            let _ = stopped.await;
        })
        .await;
}

/// Dates each response by the clock of the forge.
async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let mut response = respond(&shared, &switch, request).await;
    let now = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&shared.now());
    if let Some(date) = now.ok().and_then(|now| HeaderValue::try_from(now).ok()) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn respond(shared: &Arc<Shared>, switch: &Switch, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let (fault, delay) = {
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
    match fault {
        RequestFault::Fine => answer(shared, request).await,
        RequestFault::Fail => {
            let body = json!({"message": "service unavailable"});
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
        RequestFault::Error => {
            let body = json!({"message": "internal server error"});
            (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response()
        }
        RequestFault::Html => {
            let page = "<html><head><title>502</title></head><body>bad gateway</body></html>";
            let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
            (StatusCode::INTERNAL_SERVER_ERROR, kind, page).into_response()
        }
        RequestFault::Half => {
            let response = answer(shared, request).await;
            switch.set(HALF);
            response
        }
        RequestFault::Lost => {
            let response = answer(shared, request).await;
            switch.set(CUT);
            response
        }
        RequestFault::Cut => {
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
