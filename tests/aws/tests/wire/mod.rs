//! `DynamoDB`'s wire on loopback: an emulator in this process behind a proxy that injects faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use dynoxide::Database;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tinqs_ci_aws::client;
use tinqs_ci_aws::store::DynamoStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Engine = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;

/// A fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection breaks before the effect.
    LoseCall,
    /// The connection breaks after the effect.
    LoseReply,
    /// The call is throttled.
    Throttle,
    /// The server fails internally.
    Broken,
    /// The caller lacks the right.
    Deny,
}

/// A fault of the next calls of an operation.
#[derive(Clone, Copy, Debug)]
struct Rule {
    operation: &'static str,
    fault: Fault,
    left: usize,
}

#[derive(Default)]
struct FaultInjector {
    rules: Vec<Rule>,
    /// Number of first tries during a storm; `None` without one.
    first_tries: Option<usize>,
    calls: BTreeMap<String, usize>,
    struck: usize,
}

/// The indexes that are being made, which the emulator has at once.
#[derive(Default)]
struct Indexes {
    /// The time that one takes.
    take: Duration,
    /// By table and name: when it is ready.
    ready_at: BTreeMap<(String, String), Instant>,
}

struct Shared {
    fault_injector: Mutex<FaultInjector>,
    indexes: Mutex<Indexes>,
    engine: Engine,
    address: String,
}

/// The wire, which stops on drop.
pub(crate) struct Wire {
    pub(crate) endpoint: String,
    pub(crate) database: Database,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Wire {
    pub(crate) async fn start() -> Self {
        let database = Database::memory().expect("an engine");
        let behind = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = behind.local_addr().expect("its address").to_string();
        let served = dynoxide::server::serve_on(behind, database.clone());
        let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", front.local_addr().expect("its address"));
        let engine = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let engine = engine.build(HttpConnector::new());
        let (fault_injector, indexes) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { fault_injector, indexes, engine, address });
        let tasks = vec![tokio::spawn(served), tokio::spawn(accept(front, shared.clone()))];
        Self { endpoint, database, shared, tasks }
    }

    fn fault_injector(&self) -> MutexGuard<'_, FaultInjector> {
        self.shared.fault_injector.lock()
    }

    /// Makes the next `left` calls of an operation fail.
    pub(crate) fn fail(&self, operation: &'static str, fault: Fault, left: usize) {
        self.fault_injector().rules.push(Rule { operation, fault, left });
    }

    /// Makes half of all first tries fail, with each fault in turn; second tries succeed.
    pub(crate) fn storm(&self) {
        self.fault_injector().first_tries = Some(0);
    }

    /// Makes each index that is added to a table take this time: meanwhile the table is UPDATING and
    /// the index CREATING, it cannot be read, and no other one can be added.
    pub(crate) fn indexes_take(&self, time: Duration) {
        self.shared.indexes.lock().take = time;
    }

    /// Returns the number of calls so far, including failed ones.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.fault_injector().calls.get(operation).copied().unwrap_or(0)
    }

    /// Returns the number of calls with a fault.
    pub(crate) fn struck(&self) -> usize {
        self.fault_injector().struck
    }

    /// Returns a client like that of `serve`.
    pub(crate) async fn client(&self) -> Client {
        let loader = client::loader().expect("a loader");
        let config = loader
            .endpoint_url(&self.endpoint)
            .region(aws_sdk_dynamodb::config::Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("AKIDTEST", "test", None, None, "test"))
            .load()
            .await;
        // The SDK counts retries per partition; tests must not share one.
        let partition = RetryPartition::new(self.endpoint.clone());
        let config = client::dynamodb(&config).config().to_builder().retry_partition(partition);
        Client::from_conf(config.build())
    }

    /// Creates a table and returns its store.
    pub(crate) async fn store(&self, table: &str, writer: &str) -> DynamoStore {
        let store = DynamoStore::new(self.client().await, table, writer);
        store.ensure_table().await.expect("a table");
        store
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let serve = service_fn(move |request| pass(shared.clone(), request));
        // An error means a broken connection, often on purpose.
        let served = hyper::server::conn::http1::Builder::new();
        tokio::spawn(async move { served.serve_connection(TokioIo::new(stream), serve).await });
    }
}

fn header<'r>(request: &'r Request<Incoming>, name: &str) -> &'r str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn pass(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let operation = header(&request, "x-amz-target").rsplit('.').next().unwrap_or_default();
    let operation = operation.to_owned();
    let first = header(&request, "amz-sdk-request").starts_with("attempt=1");
    let fault = strike(&shared, &operation, first);
    let broken = || io::Error::other("broken off on purpose");
    match fault {
        Some(Fault::LoseCall) => return Err(broken()),
        Some(Fault::Throttle) => {
            return Ok(refusal(400, "ProvisionedThroughputExceededException"));
        }
        Some(Fault::Broken) => return Ok(refusal(500, "InternalServerError")),
        Some(Fault::Deny) => return Ok(refusal(400, "AccessDeniedException")),
        Some(Fault::LoseReply) | None => {}
    }
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    head.uri = format!("http://{}/", shared.address).parse().map_err(io::Error::other)?;
    let call = shared.indexes.lock().concerns(&operation, &body);
    if let Some(code) = call.as_ref().and_then(|call| shared.indexes.lock().refuses(call)) {
        return Ok(refusal(400, code));
    }
    let asked = Request::from_parts(head, Full::new(body));
    let answer = shared.engine.request(asked).await.map_err(io::Error::other)?;
    let (mut head, body) = answer.into_parts();
    let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(call) = call.filter(|_| head.status.is_success())
        && let Some(shown) = shared.indexes.lock().shown(&call, &body)
    {
        body = Bytes::from(shown.to_string());
        for name in ["content-length", "x-amz-crc32"] {
            head.headers.remove(name);
        }
    }
    if fault.is_some() {
        return Err(broken());
    }
    Ok(Response::from_parts(head, Full::new(body)))
}

/// A call that concerns indexes.
struct IndexCall {
    operation: String,
    asked: Value,
}

impl IndexCall {
    fn text(&self, name: &str) -> String {
        self.asked[name].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the name of the index that the call adds.
    fn added(&self) -> Option<&str> {
        self.asked["GlobalSecondaryIndexUpdates"][0]["Create"]["IndexName"].as_str()
    }
}

impl Indexes {
    /// Returns the call if it concerns indexes that take time.
    fn concerns(&self, operation: &str, body: &[u8]) -> Option<IndexCall> {
        let slow = !self.take.is_zero() || !self.ready_at.is_empty();
        let concerned = slow && ["UpdateTable", "DescribeTable", "Query"].contains(&operation);
        let asked = serde_json::from_slice(body).ok().filter(|_| concerned)?;
        Some(IndexCall { operation: operation.to_owned(), asked })
    }

    fn is_made(&self, table: &str, index: &str) -> bool {
        let ready_at = self.ready_at.get(&(table.to_owned(), index.to_owned()));
        ready_at.is_some_and(|at| Instant::now() < *at)
    }

    /// Returns the code with which `DynamoDB` refuses a call while an index is being made.
    fn refuses(&self, call: &IndexCall) -> Option<&'static str> {
        let table = call.text("TableName");
        let busy = || self.ready_at.keys().any(|(of, name)| *of == table && self.is_made(of, name));
        match call.operation.as_str() {
            "Query" if self.is_made(&table, &call.text("IndexName")) => Some("ValidationException"),
            "UpdateTable" if call.added().is_some() && busy() => Some("LimitExceededException"),
            _ => None,
        }
    }

    /// Notes an index that was added, and returns the answer with the state of the indexes.
    fn shown(&mut self, call: &IndexCall, body: &[u8]) -> Option<Value> {
        let table = call.text("TableName");
        if let Some(index) = call.added() {
            let ready_at = Instant::now() + self.take;
            self.ready_at.insert((table.clone(), index.to_owned()), ready_at);
        }
        let mut answer: Value = serde_json::from_slice(body).ok()?;
        let part = if call.operation == "DescribeTable" { "Table" } else { "TableDescription" };
        let described = answer.get_mut(part)?;
        let mut updating = false;
        for index in described["GlobalSecondaryIndexes"].as_array_mut()? {
            let name = index["IndexName"].as_str().unwrap_or_default().to_owned();
            if self.is_made(&table, &name) {
                updating = true;
                index["IndexStatus"] = json!("CREATING");
                index["Backfilling"] = json!(true);
            }
        }
        if updating {
            described["TableStatus"] = json!("UPDATING");
        }
        Some(answer)
    }
}

fn strike(shared: &Shared, operation: &str, first: bool) -> Option<Fault> {
    let mut fault_injector = shared.fault_injector.lock();
    *fault_injector.calls.entry(operation.to_owned()).or_default() += 1;
    let rule =
        fault_injector.rules.iter_mut().find(|rule| rule.operation == operation && rule.left > 0);
    let mut fault = rule.map(|rule| {
        rule.left -= 1;
        rule.fault
    });
    if let Some(tries) = fault_injector.first_tries.as_mut().filter(|_| first) {
        *tries += 1;
        let kinds = [Fault::LoseReply, Fault::LoseCall, Fault::Throttle, Fault::Broken];
        let turn = *tries / 2 % kinds.len();
        fault = fault.or((*tries % 2 == 0).then_some(kinds[turn]));
    }
    fault_injector.struck += usize::from(fault.is_some());
    fault
}

fn refusal(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": "on purpose",
    });
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status.try_into().expect("a status");
    let kind = "application/x-amz-json-1.0".parse().expect("a value");
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// Waits up to 30 s for a value.
pub(crate) async fn until<T>(what: &str, mut so: impl AsyncFnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = so().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "timed out after 30 s waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
