//! `DynamoDB` on loopback: an emulator in this process behind a proxy that counts calls and
//! capacity units.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use dynoxide::Database;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::figure::Result;

/// Calls and capacity units of the table so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// By operation.
    pub(crate) calls: BTreeMap<String, usize>,
    /// Write units from the responses; a refused write reports none and is charged one.
    pub(crate) written: f64,
    /// Read units from the responses.
    pub(crate) read: f64,
    /// Writes whose condition failed.
    pub(crate) refused: usize,
    /// Responses with any other error.
    pub(crate) failed: usize,
}

struct Shared {
    engine: Client<HttpConnector, Full<Bytes>>,
    address: String,
    books: Mutex<Books>,
}

/// The database and its proxy, which stop on drop.
pub(crate) struct Table {
    /// `http://127.0.0.1:port`.
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Table {
    /// Starts an empty database. Must be called in a runtime.
    pub(crate) async fn start() -> Result<Self> {
        let behind = TcpListener::bind("127.0.0.1:0").await?;
        let address = behind.local_addr()?.to_string();
        let served = dynoxide::server::serve_on(behind, Database::memory()?);
        let front = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", front.local_addr()?);
        let engine = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let shared = Arc::new(Shared { engine, address, books: Mutex::default() });
        let tasks = vec![tokio::spawn(served), tokio::spawn(accept(front, shared.clone()))];
        Ok(Self { endpoint, shared, tasks })
    }

    /// Returns the counts so far.
    pub(crate) fn books(&self) -> Books {
        self.shared.books().clone()
    }

    /// Returns the address of the emulator itself, where calls are not counted.
    pub(crate) fn engine(&self) -> String {
        format!("http://{}", self.shared.address)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }

    fn enter(&self, operation: &str, answer: &Response<Bytes>) {
        let body = String::from_utf8_lossy(answer.body());
        let mut books = self.books();
        *books.calls.entry(operation.to_owned()).or_default() += 1;
        if answer.status().is_success() {
            match operation {
                "PutItem" | "UpdateItem" | "DeleteItem" => books.written += units(&body),
                _ => books.read += units(&body),
            }
        } else if body.contains("ConditionalCheckFailedException") {
            books.refused += 1;
            books.written += 1.0;
        } else {
            books.failed += 1;
        }
    }
}

/// Returns the capacity units in a response, one number per table. Does not parse JSON, because
/// lists are long.
fn units(body: &str) -> f64 {
    let told = body.split("\"CapacityUnits\":").skip(1);
    let digits = told.map(|rest| rest.split([',', '}']).next().unwrap_or_default().trim());
    digits.filter_map(|digits| digits.parse::<f64>().ok()).sum()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Otherwise a response in two writes waits for the peer's acknowledgment.
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        let serve = service_fn(move |request| pass(shared.clone(), request));
        let served = hyper::server::conn::http1::Builder::new();
        // An error means a broken connection.
        tokio::spawn(async move { served.serve_connection(TokioIo::new(stream), serve).await });
    }
}

async fn pass(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, io::Error> {
    let (mut head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|t| t.rsplit('.').next()).unwrap_or_default().to_owned();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    head.uri = format!("http://{}/", shared.address).parse().map_err(io::Error::other)?;
    let asked = Request::from_parts(head, Full::new(body));
    let answer = shared.engine.request(asked).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let answer = Response::from_parts(head, body);
    shared.enter(&operation, &answer);
    Ok(answer.map(Full::new))
}
