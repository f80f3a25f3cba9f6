//! The runtime API of AWS Lambda, simulated on loopback.
//! Source: AWS Lambda Developer Guide, "Using the Lambda runtime API".

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};

/// A function's response: its value or its error.
type Answer = Result<Value, Value>;

/// The simulated runtime, and a Function URL that turns posts to `/hook` into events.
#[derive(Clone)]
pub(crate) struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    events: mpsc::UnboundedSender<(String, Value)>,
    waiting: AsyncMutex<mpsc::UnboundedReceiver<(String, Value)>>,
    answers: Mutex<HashMap<String, oneshot::Sender<Answer>>>,
    /// Time limit of an invocation.
    limit: Duration,
    /// Response statuses of the Function URL.
    statuses: Mutex<Vec<u16>>,
}

impl Runtime {
    /// Starts the runtime. Returns its `host:port` as well.
    pub(crate) async fn start(limit: Duration) -> (Self, String) {
        let (events, waiting) = mpsc::unbounded_channel();
        let waiting = AsyncMutex::new(waiting);
        let (answers, statuses) = (Mutex::default(), Mutex::default());
        let runtime = Self { inner: Arc::new(Inner { events, waiting, answers, limit, statuses }) };
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/hook", post(hook))
            .with_state(runtime.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        (runtime, address)
    }

    /// Invokes the function and waits for its response.
    pub(crate) async fn invoke(&self, event: Value) -> Answer {
        let id = uuid::Uuid::new_v5(
            &uuid::Uuid::NAMESPACE_OID,
            format!("{:?}{event}", SystemTime::now()).as_bytes(),
        );
        let (sender, answer) = oneshot::channel();
        self.inner.answers.lock().insert(id.to_string(), sender);
        self.inner.events.send((id.to_string(), event)).expect("the runtime is there");
        let most = self.inner.limit + Duration::from_secs(20);
        tokio::time::timeout(most, answer).await.expect("an answer in time").expect("an answer")
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.inner.statuses.lock().clone()
    }

    fn answer(&self, id: &str, answer: Answer) -> StatusCode {
        match self.inner.answers.lock().remove(id) {
            Some(waits) => {
                let _ = waits.send(answer);
                StatusCode::ACCEPTED
            }
            None => StatusCode::BAD_REQUEST,
        }
    }
}

async fn next(State(runtime): State<Runtime>) -> impl IntoResponse {
    let (id, event) = runtime.inner.waiting.lock().await.recv().await.expect("it lives");
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("now") + runtime.inner.limit;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:1:function:f".into()),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".into()),
    ];
    (headers, Json(event))
}

async fn answered(
    State(runtime): State<Runtime>,
    Path(id): Path<String>,
    body: Bytes,
) -> StatusCode {
    runtime.answer(&id, Ok(serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

async fn failed(State(runtime): State<Runtime>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    runtime.answer(&id, Err(serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// Handles a webhook to the Function URL.
async fn hook(State(runtime): State<Runtime>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let headers: HashMap<&str, &str> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let answer = runtime.invoke(request("/webhook", &json!(headers), &body)).await;
    let status = answer.ok().and_then(|answer| answer["statusCode"].as_u64()).unwrap_or(599);
    let status = u16::try_from(status).unwrap_or(599);
    runtime.inner.statuses.lock().push(status);
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// Returns an HTTP request as a Function URL event, payload version 2.
pub(crate) fn request(path: &str, headers: &Value, body: &[u8]) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous", "apiId": "abc", "domainName": "abc.lambda-url.example.com",
            "http": {
                "method": if body.is_empty() { "GET" } else { "POST" },
                "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "Go-http-client/1.1",
            },
            "requestId": "id", "routeKey": "$default", "stage": "$default",
            "time": "25/Nov/2026:19:03:58 +0000", "timeEpoch": 1_795_633_438_000_i64,
        },
        "body": STANDARD.encode(body), "isBase64Encoded": true,
    })
}
