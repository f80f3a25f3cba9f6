//! A proxy in front of all AWS wires that authorizes each call as AWS does: by the policies of the
//! role whose access key signed it.

use std::collections::{BTreeMap, BTreeSet};
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
use tinqs_ci_testing::iam::{Call, Policy};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::needs::{self, Tags};

type Engine = hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>;
type Answer = Response<Full<Bytes>>;

/// Addresses of the wires, as URLs.
pub(crate) struct Upstreams {
    pub(crate) dynamodb: String,
    pub(crate) ec2: String,
    pub(crate) sqs: String,
}

/// A role: each of its policies must allow a call.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    pub(crate) policies: Vec<Policy>,
}

/// The calls that were allowed or refused so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    /// The allowed actions of each role.
    pub(crate) used: BTreeMap<&'static str, BTreeSet<String>>,
    /// The refused calls, as `role: action on resource`.
    pub(crate) refused: BTreeSet<String>,
}

struct Shared {
    behind: Upstreams,
    /// By access key.
    roles: BTreeMap<String, Role>,
    book: Mutex<Book>,
    /// The tags of the machines that were launched.
    tagged: Mutex<BTreeMap<String, Tags>>,
    engine: Engine,
}

/// The proxy, which stops on drop.
pub(crate) struct Gate {
    pub(crate) url: String,
    shared: Arc<Shared>,
    served: JoinHandle<()>,
}

impl Gate {
    pub(crate) async fn start(behind: Upstreams, roles: BTreeMap<String, Role>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let engine = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let engine = engine.build(HttpConnector::new());
        let (book, tagged) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { behind, roles, book, tagged, engine });
        let served = tokio::spawn(accept(listener, shared.clone()));
        Self { url, shared, served }
    }

    pub(crate) fn book(&self) -> Book {
        self.shared.book.lock().clone()
    }
}

impl Drop for Gate {
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

/// Returns the access key ID that signed a request.
fn signer(headers: &HeaderMap) -> &str {
    let signed = text(headers, "authorization").split_once("Credential=");
    signed.and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default()
}

impl Shared {
    /// Authorizes a call and notes it.
    ///
    /// # Errors
    /// The call that is not allowed, in AWS's words.
    fn authorize(&self, signer: &str, target: &str, body: &[u8]) -> Result<(), String> {
        let needed = needs::needs(target, body, &self.tagged.lock());
        let mut book = self.book.lock();
        let role = self.roles.get(signer);
        let name = role.map_or("nobody", |role| role.name);
        let needed = needed.inspect_err(|why| {
            book.refused.insert(format!("{name}: {why}"));
        })?;
        let allows = |call: &Call| {
            role.is_some_and(|role| role.policies.iter().all(|policy| policy.allows(call)))
        };
        if let Some(Call { action, resource, .. }) = needed.iter().find(|call| !allows(call)) {
            book.refused.insert(format!("{name}: {action} on {resource}"));
            return Err(format!(
                "User: arn:aws:sts::{}:assumed-role/{name}/test is not authorized to perform: \
                 {action} on resource: {resource} because no identity-based policy allows the \
                 {action} action",
                needs::ACCOUNT
            ));
        }
        let actions = needed.into_iter().map(|call| call.action);
        book.used.entry(name).or_default().extend(actions);
        Ok(())
    }

    /// Notes the tags of the machines that a launch made.
    fn launched(&self, body: &[u8], answer: &[u8]) {
        let params = needs::form(body);
        if params.get("Action").is_none_or(|action| action != "RunInstances") {
            return;
        }
        let tags = needs::tags(&params, "instance");
        let answer = String::from_utf8_lossy(answer);
        for rest in answer.split("<instanceId>").skip(1) {
            let id = rest.split('<').next().unwrap_or_default().to_owned();
            self.tagged.lock().insert(id, tags.clone());
        }
    }
}

async fn pass(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = text(&head.headers, "x-amz-target").to_owned();
    if let Err(why) = shared.authorize(signer(&head.headers), &target, &body) {
        return Ok(refusal(&target, &why));
    }
    let behind = match target.split_once('.') {
        Some(("AmazonSQS", _)) => &shared.behind.sqs,
        Some(_) => &shared.behind.dynamodb,
        None => &shared.behind.ec2,
    };
    head.uri = format!("{behind}/").parse().map_err(io::Error::other)?;
    let asked = Request::from_parts(head, Full::new(body.clone()));
    let answer = shared.engine.request(asked).await.map_err(io::Error::other)?;
    let (head, answer) = answer.into_parts();
    let answer = answer.collect().await.map_err(io::Error::other)?.to_bytes();
    if target.is_empty() {
        shared.launched(&body, &answer);
    }
    Ok(Response::from_parts(head, Full::new(answer)))
}

/// Returns the refusal in the service's own format.
fn refusal(target: &str, why: &str) -> Answer {
    let (status, kind, body) = if target.is_empty() {
        let body = format!(
            "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not \
             authorized to perform this operation. {why}</Message></Error></Errors>\
             <RequestID>0</RequestID></Response>"
        );
        (403, "text/xml;charset=UTF-8", body)
    } else {
        let code = "com.amazon.coral.service#AccessDeniedException";
        let body = serde_json::json!({ "__type": code, "Message": why, "message": why });
        let status = if target.starts_with("AmazonSQS") { 403 } else { 400 };
        (status, "application/x-amz-json-1.0", body.to_string())
    };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    answer.headers_mut().insert("content-type", kind.parse().expect("a value"));
    answer
}
