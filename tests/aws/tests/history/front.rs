//! One address before all of AWS's wires: it knows every call, and lets go wrong what is planned.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::mishap::{Mishap, Place, Plan};

type Engine = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;
type Answer = Response<Full<Bytes>>;

/// Where the wires are, `host:port`.
pub(crate) struct Behind {
    pub(crate) dynamodb: String,
    pub(crate) ec2: String,
    pub(crate) sqs: String,
}

struct Shared {
    plan: Mutex<Plan>,
    /// Calls of this access key alone are heard; `None`: the controller is dead.
    alive: Mutex<Option<String>>,
    died: Notify,
    charged: Mutex<BTreeMap<&'static str, f64>>,
    behind: Behind,
    engine: Engine,
}

/// The front. It ends with the value.
pub(crate) struct Front {
    pub(crate) url: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub(crate) async fn start(behind: Behind, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let engine = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let engine = engine.build(HttpConnector::new());
        let (plan, alive, died) = (Mutex::new(plan), Mutex::default(), Notify::new());
        let charged = Mutex::default();
        let shared = Arc::new(Shared { plan, alive, died, charged, behind, engine });
        let served = tokio::spawn(accept(listener, shared.clone()));
        Self { url, shared, served }
    }

    /// From now on a controller lives whose calls carry this access key.
    pub(crate) fn is_born(&self, key: &str) {
        *lock(&self.shared.alive) = Some(key.to_owned());
    }

    /// Waits until the controller dies.
    pub(crate) async fn death(&self) {
        self.shared.died.notified().await;
    }

    pub(crate) fn plan<T>(&self, with: impl FnOnce(&Plan) -> T) -> T {
        with(&lock(&self.shared.plan))
    }

    /// What the table has charged for each kind of call, as its answers say.
    pub(crate) fn charged(&self) -> BTreeMap<&'static str, f64> {
        lock(&self.shared.charged).clone()
    }

    pub(crate) fn history(&self) -> Vec<Place> {
        self.plan(|plan| plan.history().to_vec())
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.served.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Answers are written in pieces, which would else wait for one another.
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        let serve = service_fn(move |request| pass(shared.clone(), request));
        let served = hyper::server::conn::http1::Builder::new();
        connections
            .spawn(async move { served.serve_connection(TokioIo::new(stream), serve).await });
        while connections.try_join_next().is_some() {}
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A service, and what is asked of it: a write says what it writes.
fn sort(headers: &HeaderMap, body: &[u8]) -> (&'static str, &'static str) {
    let (service, op) = text(headers, "x-amz-target").split_once('.').unwrap_or_default();
    match (service, op) {
        ("AmazonSQS", "SendMessageBatch") => ("sqs", "wake"),
        ("AmazonSQS", "ReceiveMessage") => ("sqs", "next"),
        ("AmazonSQS", "DeleteMessageBatch") => ("sqs", "done"),
        ("AmazonSQS", other) => panic!("a call that no history makes: {other}"),
        ("", _) => {
            let body = String::from_utf8_lossy(body);
            let action = body.split('&').find_map(|part| part.strip_prefix("Action="));
            let known =
                ["RunInstances", "DescribeInstances", "TerminateInstances", "DescribeImages"];
            let known = known.into_iter().find(|known| action == Some(known));
            ("ec2", known.unwrap_or_else(|| panic!("a call that no history makes: {action:?}")))
        }
        (_, op) => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let key = |of: &str| body[of]["run_id"]["S"].as_str().unwrap_or_default().to_owned();
            let op = match (op, key("Item")) {
                ("PutItem", key) if key.starts_with("lease#") => "put lease",
                ("PutItem", key) if key.starts_with("seats#") => "first seat",
                ("PutItem", _) => "put run",
                ("UpdateItem", _) => "seats",
                ("DeleteItem", _) => "delete run",
                ("GetItem", _) if key("Key").starts_with("seats#") => "get seats",
                ("GetItem", _) => "get run",
                ("BatchGetItem", _) => "get runs",
                ("Query", _) => "query",
                (other, _) => panic!("a call that no history makes: {other}"),
            };
            ("dynamodb", op)
        }
    }
}

/// A dead controller's calls are never answered, and nor is what it had still to say heard.
async fn silence<T>() -> T {
    std::future::pending().await
}

async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (service, op) = sort(&head.headers, &body);
    let of_the_living = {
        let alive = lock(&shared.alive);
        let key = format!("Credential={}/", alive.as_deref().unwrap_or("nobody"));
        text(&head.headers, "authorization").contains(&key)
    };
    if !of_the_living {
        return silence().await;
    }
    let mishap = lock(&shared.plan).begins(op, text(&head.headers, "amz-sdk-invocation-id"));
    let dies = || {
        *lock(&shared.alive) = None;
        shared.died.notify_one();
    };
    match mishap {
        Some(Mishap::Refused) => return Ok(refusal(service)),
        Some(Mishap::DeadBefore) => {
            dies();
            return silence().await;
        }
        Some(_) | None => {}
    }
    let behind = match service {
        "sqs" => &shared.behind.sqs,
        "ec2" => &shared.behind.ec2,
        _ => &shared.behind.dynamodb,
    };
    head.uri = format!("http://{behind}/").parse().map_err(io::Error::other)?;
    let asked = Request::from_parts(head, Full::new(body));
    let answer = shared.engine.request(asked).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if service == "dynamodb" {
        *lock(&shared.charged).entry(op).or_default() += units(&body);
    }
    match mishap {
        Some(Mishap::ReplyLost | Mishap::FirstReplyLost) => {
            Err(io::Error::other("broken off on purpose"))
        }
        Some(Mishap::DeadAfter) => {
            dies();
            silence().await
        }
        _ => Ok(Response::from_parts(head, Full::new(body))),
    }
}

/// What an answer says that it costs.
fn units(body: &[u8]) -> f64 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let charged = &body["ConsumedCapacity"];
    let several = charged.as_array().into_iter().flatten();
    let units = std::iter::once(charged).chain(several);
    units.filter_map(|charged| charged["CapacityUnits"].as_f64()).sum()
}

/// The service's own trouble, in its own words.
fn refusal(service: &str) -> Answer {
    let (kind, body) = match service {
        "ec2" => (
            "text/xml;charset=UTF-8",
            "<Response><Errors><Error><Code>InternalError</Code><Message>on purpose</Message>\
             </Error></Errors><RequestID>0</RequestID></Response>",
        ),
        "sqs" => (
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.sqs#InternalFailure","message":"on purpose"}"#,
        ),
        _ => (
            "application/x-amz-json-1.0",
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"on purpose"}"#,
        ),
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
    answer.headers_mut().insert("content-type", kind.parse().expect("a value"));
    answer
}
