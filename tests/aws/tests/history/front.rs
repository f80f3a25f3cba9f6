//! A proxy in front of all AWS wires that counts every call and injects the planned faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::injected_fault::{InjectedFault, Place, Plan};

type Engine = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;
type Answer = Response<Full<Bytes>>;

/// Addresses of the wires, as `host:port`.
pub(crate) struct Upstreams {
    pub(crate) dynamodb: String,
    pub(crate) ec2: String,
    pub(crate) sqs: String,
}

struct Shared {
    plan: Mutex<Plan>,
    /// The access key whose calls are served; `None` while the controller is dead.
    alive: Mutex<Option<String>>,
    died: Notify,
    charged: Mutex<BTreeMap<&'static str, f64>>,
    behind: Upstreams,
    engine: Engine,
}

/// The proxy, which stops on drop.
pub(crate) struct Front {
    pub(crate) url: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn start(behind: Upstreams, plan: Plan) -> Self {
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

    /// Serves from now on the controller whose calls carry this access key.
    pub(crate) fn is_born(&self, key: &str) {
        *self.shared.alive.lock() = Some(key.to_owned());
    }

    /// Waits until the controller dies.
    pub(crate) async fn death(&self) {
        self.shared.died.notified().await;
    }

    pub(crate) fn plan<T>(&self, with: impl FnOnce(&Plan) -> T) -> T {
        with(&self.shared.plan.lock())
    }

    /// Returns the capacity units charged for each kind of call, from the responses.
    pub(crate) fn charged(&self) -> BTreeMap<&'static str, f64> {
        self.shared.charged.lock().clone()
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
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Otherwise a response in several writes waits for acknowledgments.
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

/// Returns the service and the kind of call; a write is distinguished by its item.
fn sort(headers: &HeaderMap, body: &[u8]) -> (&'static str, &'static str) {
    let (service, op) = text(headers, "x-amz-target").split_once('.').unwrap_or_default();
    match (service, op) {
        ("AmazonSQS", "SendMessageBatch") => ("sqs", "wake"),
        ("AmazonSQS", "ReceiveMessage") => ("sqs", "next"),
        ("AmazonSQS", "DeleteMessageBatch") => ("sqs", "done"),
        ("AmazonSQS", other) => panic!("unexpected call: {other}"),
        ("", _) => {
            let body = String::from_utf8_lossy(body);
            let action = body.split('&').find_map(|part| part.strip_prefix("Action="));
            let known = [
                "RunInstances",
                "DescribeInstances",
                "TerminateInstances",
                "DescribeImages",
                "DescribeSpotPriceHistory",
                "DescribeSubnets",
                "GetConsoleOutput",
            ];
            let known = known.into_iter().find(|known| action == Some(known));
            ("ec2", known.unwrap_or_else(|| panic!("unexpected call: {action:?}")))
        }
        (_, op) => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let key = |of: &str| body[of]["run_id"]["S"].as_str().unwrap_or_default().to_owned();
            let op = match (op, key("Item")) {
                ("PutItem", key) if key.starts_with("lease#") => "put lease",
                ("PutItem", _) => "put run",
                ("UpdateItem", _) if key("Key").starts_with("lease#") => "put lease",
                ("UpdateItem", _) => "seats",
                ("DeleteItem", _) => "delete run",
                ("TransactWriteItems", _) => "count run",
                ("GetItem", _) if key("Key").starts_with("seats#") => "get seats",
                ("GetItem", _) if key("Key").starts_with("lease#") => "get lease",
                ("GetItem", _) => "get run",
                ("BatchGetItem", _) if body.to_string().contains("seats-page#") => "get seats",
                ("BatchGetItem", _) => "get runs",
                ("Query", _) => "query",
                (other, _) => panic!("unexpected call: {other}"),
            };
            ("dynamodb", op)
        }
    }
}

/// Never returns, because a dead controller's calls get no reply.
async fn silence<T>() -> T {
    std::future::pending().await
}

async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let (service, op) = sort(&head.headers, &body);
    let of_the_living = {
        let alive = shared.alive.lock();
        let key = format!("Credential={}/", alive.as_deref().unwrap_or("nobody"));
        text(&head.headers, "authorization").contains(&key)
    };
    if !of_the_living {
        return silence().await;
    }
    let injected_fault =
        shared.plan.lock().begins(op, text(&head.headers, "amz-sdk-invocation-id"));
    let dies = || {
        *shared.alive.lock() = None;
        shared.died.notify_one();
    };
    match injected_fault {
        Some(InjectedFault::Refused) => return Ok(refusal(service)),
        Some(InjectedFault::DeadBefore) => {
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
        *shared.charged.lock().entry(op).or_default() += units(&body);
    }
    match injected_fault {
        Some(InjectedFault::ReplyLost | InjectedFault::FirstReplyLost) => {
            Err(io::Error::other("broken off on purpose"))
        }
        Some(InjectedFault::DeadAfter) => {
            dies();
            silence().await
        }
        _ => Ok(Response::from_parts(head, Full::new(body))),
    }
}

/// Returns the capacity units in a response.
fn units(body: &[u8]) -> f64 {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let charged = &body["ConsumedCapacity"];
    let several = charged.as_array().into_iter().flatten();
    let units = std::iter::once(charged).chain(several);
    units.filter_map(|charged| charged["CapacityUnits"].as_f64()).sum()
}

/// Returns the service's internal error in its own format.
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
