//! SQS in JSON 1.0 on loopback: standard queues. Signatures are required but not checked. Real
//! time; visibility timeouts, delays and retention run `speed` times as fast, long polls do not.

mod answer;
mod json;
mod ops;
mod queue;
mod receive;
mod settings;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::Notify;

pub use queue::{QueueFaults, QueueSettings};

use crate::aws_wire::{
    Answer, Head, Latency, Ledger, ReadFault, Reply, Rules, Server, Service, caller, chance,
};
use crate::ec2_wire::EventTarget;
use json::Fault;
use queue::{Queue, read_handle};

/// Longest delay of a late message.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// Configuration of the wire.
#[derive(Clone, Debug)]
pub struct SqsOptions {
    /// Port on 127.0.0.1; 0: any free port.
    pub port: u16,
    /// Seed of the draws.
    pub seed: u64,
    /// Speed of visibility timeouts, delays and retention, as a multiple of real time.
    pub speed: u32,
    /// Twelve digits.
    pub account: String,
    /// `us-east-1`.
    pub region: String,
    /// Initial queues.
    pub queues: Vec<(String, QueueSettings)>,
    /// Latency of operations.
    pub latency: Latency,
    /// Faults of messages.
    pub queue_faults: QueueFaults,
    /// Share of batch entries that fail, from 0 to 1.
    pub batch_failures: f64,
    /// Maximum size of a batch in bytes.
    pub most_batch_bytes: usize,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 0,
            speed: 1,
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            queues: Vec::new(),
            latency: Latency { of: Vec::new(), other: Duration::from_millis(8) },
            queue_faults: QueueFaults::default(),
            batch_failures: 0.0,
            most_batch_bytes: 1 << 20,
        }
    }
}

impl SqsOptions {
    /// Creates options with one queue of default settings, without latency.
    pub fn with_queue(name: &str) -> Self {
        Self {
            queues: vec![(name.to_owned(), QueueSettings::default())],
            latency: Latency::default(),
            ..Self::default()
        }
    }

    fn quick(&self, real: SignedDuration) -> SignedDuration {
        real / i32::try_from(self.speed.max(1)).unwrap_or(i32::MAX)
    }
}

struct Shared {
    options: SqsOptions,
    queues: Mutex<BTreeMap<String, Queue>>,
    queue_faults: Mutex<QueueFaults>,
    batched: AtomicU64,
    polls: AtomicUsize,
    changed: Notify,
    url: OnceLock<String>,
}

fn no_queue() -> Fault {
    Fault::new("QueueDoesNotExist", "The specified queue does not exist.")
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, BTreeMap<String, Queue>> {
        self.queues.lock()
    }

    fn queue_faults(&self) -> QueueFaults {
        self.queue_faults.lock().clone()
    }

    fn url_of(&self, name: &str) -> String {
        let url = self.url.get().map_or("", String::as_str);
        format!("{url}/{}/{name}", self.options.account)
    }

    fn arn_of(&self, name: &str) -> String {
        format!("arn:aws:sqs:{}:{}:{name}", self.options.region, self.options.account)
    }

    /// Returns the queue that a call's `QueueUrl` names, by account and name; ignores the host.
    fn queue_name(&self, body: &Value) -> Result<String, Fault> {
        let url = json::text(body, "QueueUrl")?;
        let mut parts = url.trim_end_matches('/').rsplit('/');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next());
        let known = account == Some(self.options.account.as_str());
        if !known || !self.queues().contains_key(name) {
            return Err(no_queue());
        }
        Ok(name.to_owned())
    }

    fn post(
        &self,
        queue: &mut Queue,
        body: &str,
        attributes: Value,
        delay: SignedDuration,
    ) -> String {
        let queue_faults = self.queue_faults();
        let air = (&queue_faults, self.options.seed, self.options.quick(LATE));
        let id = queue.send(Timestamp::now(), body, attributes, delay, air);
        self.changed.notify_waiters();
        id
    }

    fn remove(&self, name: &str) {
        self.queues().remove(name);
        self.changed.notify_waiters();
    }

    fn poll(&self) -> Poll<'_> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        Poll(&self.polls)
    }

    fn fails_in_batch(&self) -> bool {
        let n = self.batched.fetch_add(1, Ordering::Relaxed);
        chance(self.options.seed, "sqs/batch", n, self.options.batch_failures)
    }
}

/// Counts a receive while it is in progress.
struct Poll<'a>(&'a AtomicUsize);

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Json(Arc<Shared>);

/// A parsed call.
struct Call {
    op: String,
    body: Value,
}

const TARGET: &str = "x-amz-target";

fn operation(headers: &HeaderMap) -> Option<&str> {
    headers.get(TARGET)?.to_str().ok()?.strip_prefix("AmazonSQS.")
}

impl Json {
    fn refuse(fault: &Fault) -> Reply {
        let body = json::error_body(&fault.code, &fault.message);
        Reply { status: fault.status(), code: fault.code.clone(), body, items: 0, tokens: (0, 0) }
    }
}

impl Service for Json {
    type Call = Call;
    const CONTENT_TYPE: &'static str = "application/x-amz-json-1.0";
    const THROTTLED: (&'static str, u16) = ("RequestThrottled", 400);

    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Head, Call), (Head, Reply)> {
        let op = operation(headers).unwrap_or_default().to_owned();
        let head = Head { service: "sqs", op: op.clone() };
        let refuse = |fault: Fault| (head.clone(), Self::refuse(&fault));
        if caller(headers).is_none() {
            let message = "Request is missing Authentication Token";
            return Err(refuse(Fault::new("MissingAuthenticationToken", message)));
        }
        match serde_json::from_slice(body) {
            Ok(body) => Ok((head, Call { op, body })),
            Err(_) => Err(refuse(Fault::new("SerializationException", "The body is not JSON."))),
        }
    }

    fn carry_out<'a>(&'a self, call: &'a Call, read_fault: &'a ReadFault) -> Answer<'a> {
        Box::pin(async move {
            match ops::answer(&self.0, &call.op, &call.body, read_fault).await {
                Ok((body, items)) => Reply {
                    status: 200,
                    code: String::new(),
                    body: body.to_string(),
                    items,
                    tokens: (0, 0),
                },
                Err(fault) => Self::refuse(&fault),
            }
        })
    }

    fn error(&self, _: &Head, code: &str, status: u16, message: &str) -> Reply {
        let body = json::error_body(code, message);
        Reply { status, code: code.to_owned(), body, items: 0, tokens: (0, 0) }
    }

    /// A receive whose caller is gone must not hide messages.
    fn ends_with_its_caller(headers: &HeaderMap) -> bool {
        operation(headers) == Some("ReceiveMessage")
    }

    /// Returns the error code of the older protocol, which clients check.
    fn error_header(code: &str) -> Option<(HeaderName, String)> {
        let old = match code {
            "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
            "QueueNameExists" => "QueueAlreadyExists".to_owned(),
            "BatchEntryIdsNotDistinct"
            | "BatchRequestTooLong"
            | "EmptyBatchRequest"
            | "InvalidBatchEntryId"
            | "MessageNotInflight"
            | "TooManyEntriesInBatchRequest" => format!("AWS.SimpleQueueService.{code}"),
            other => other.to_owned(),
        };
        Some((HeaderName::from_static("x-amzn-query-error"), format!("{old};Sender")))
    }

    fn latency(&self, op: &str) -> Duration {
        self.0.options.latency.of(op) / self.0.options.speed.max(1)
    }
}

/// A running SQS. Stops when dropped.
pub struct SqsWire {
    shared: Arc<Shared>,
    server: Server<Json>,
}

impl SqsWire {
    /// Binds and serves. Must be called in a tokio runtime.
    pub fn start(options: SqsOptions) -> io::Result<Self> {
        let queues = options.queues.iter().map(|(n, s)| (n.clone(), Queue::new(s.clone())));
        let (port, queue_faults) = (options.port, options.queue_faults.clone());
        let shared = Arc::new(Shared {
            queues: Mutex::new(queues.collect()),
            queue_faults: Mutex::new(queue_faults),
            options,
            batched: AtomicU64::new(0),
            polls: AtomicUsize::new(0),
            changed: Notify::new(),
            url: OnceLock::new(),
        });
        let server = Server::start(Arc::new(Json(Arc::clone(&shared))), port)?;
        // A call before this sees an empty host, which is ignored.
        let _ = shared.url.set(server.url());
        Ok(Self { shared, server })
    }

    /// Returns the endpoint: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns the URL of a queue.
    pub fn queue_url(&self, name: &str) -> String {
        self.shared.url_of(name)
    }

    /// Returns the ARN of a queue.
    pub fn queue_arn(&self, name: &str) -> String {
        self.shared.arn_of(name)
    }

    /// Returns every call so far. As JSON: `GET /_ledger`.
    pub fn ledger(&self) -> Ledger {
        self.server.ledger()
    }

    /// Changes the faults from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Rules)) {
        self.server.rules(change);
    }

    /// Changes the faults of messages from now on.
    pub fn queue_faults(&self, queue_faults: QueueFaults) {
        *self.shared.queue_faults.lock() = queue_faults;
    }

    /// Returns the bodies of all messages in a queue, including hidden ones, oldest first.
    pub fn bodies(&self, name: &str) -> Vec<String> {
        self.shared.queues().get(name).map(Queue::bodies).unwrap_or_default()
    }

    /// Takes the visible messages out of a queue, at most `most`, and returns their IDs and bodies:
    /// as an event source mapping of Lambda, whose function handles all of them.
    pub fn take(&self, name: &str, most: usize) -> Vec<(String, String)> {
        let (shared, now) = (&self.shared, Timestamp::now());
        let found = receive::take(shared, name, now, most, None, false).unwrap_or_default();
        let queue_faults = shared.queue_faults();
        for received in &found {
            if let (Some(handle), Some(queue)) =
                (read_handle(&received.handle), shared.queues().get_mut(name))
            {
                queue.delete(now, handle, (&queue_faults, shared.options.seed));
            }
        }
        found.into_iter().map(|received| (received.message.id, received.message.body)).collect()
    }

    /// Returns the number of receives in progress, most of which wait for messages.
    pub fn polls(&self) -> usize {
        self.shared.polls.load(Ordering::SeqCst)
    }

    /// Puts a body into a queue without a call on the wire, `delay` later. No effect without such a
    /// queue.
    pub fn post(&self, name: &str, body: &str, delay: Duration) {
        post(&self.shared, name, body, delay);
    }

    /// Returns a function that puts bodies into a queue, for
    /// [`crate::ec2_wire::Ec2Wire::send_events`].
    pub fn target(&self, name: &str) -> EventTarget {
        let (shared, name) = (Arc::clone(&self.shared), name.to_owned());
        Arc::new(move |body, delay| post(&shared, &name, &body, delay))
    }

    /// Removes a queue with its messages, as an operator might by mistake.
    pub fn remove_queue(&self, name: &str) {
        self.shared.remove(name);
    }
}

fn post(shared: &Shared, name: &str, body: &str, delay: Duration) {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
    if let Some(queue) = shared.queues().get_mut(name) {
        shared.post(queue, body, Value::Null, delay);
    }
}
