//! Sends spans to the collector.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::http::header::RETRY_AFTER;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tinqs_ci_net::{Trust, http_client_of};
use tinqs_ci_reconciler::text::chain;
use tokio::runtime::Handle;

use super::super::variables::Collector;
use crate::telemetry::short;

/// The client of the exporter. The thread of the exporter waits for requests, and the runtime of the
/// server makes them: the thread has none of its own.
pub(super) struct Sender {
    http: reqwest::Client,
    runtime: Handle,
    collector: String,
    failing: AtomicBool,
}

/// Its client may hold credentials.
impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("collector", &self.collector).finish_non_exhaustive()
    }
}

impl Sender {
    /// Creates a sender, within the runtime that makes its requests.
    ///
    /// # Errors
    /// The file of authorities cannot be used, or there is no runtime.
    pub(super) fn new(collector: &Collector) -> Result<Self, String> {
        let trust = match &collector.authorities {
            None => Trust::System,
            Some(file) => {
                let shown = file.display();
                let text = std::fs::read(file)
                    .map_err(|error| format!("cannot read the authorities `{shown}`: {error}"))?;
                Trust::also(&text).map_err(|flaw| format!("the file `{shown}` {flaw}"))?
            }
        };
        let client = http_client_of(&trust).map_err(|error| chain(&error))?;
        // Headers with a credential go to the configured address only.
        let client = client.timeout(collector.timeout).redirect(reqwest::redirect::Policy::none());
        let http = client.build().map_err(|error| chain(&error))?;
        let runtime = Handle::try_current().map_err(|error| error.to_string())?;
        let collector = collector.shown();
        Ok(Self { http, runtime, collector, failing: AtomicBool::new(false) })
    }

    /// Tells once that the collector is away, and once that it is there again.
    fn note(&self, failure: Option<&str>) {
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        let collector = self.collector.as_str();
        match failure {
            Some(error) if !failed_before => {
                let error = short(error);
                tracing::warn!(collector, error, "cannot send traces, they are dropped");
            }
            None if failed_before => {
                tracing::info!(collector, "the collector takes traces again");
            }
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let http = self.http.clone();
        let sent = async move {
            // Takes credentials of the address into a header. Its timer begins here, too.
            let sent = http.request(parts.method, parts.uri.to_string());
            sent.headers(parts.headers).body(body).send().await
        };
        let answer = match self.runtime.spawn(sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let error = chain(&error.without_url());
                self.note(Some(&error));
                return Err(error.into());
            }
            // The server has ended.
            Err(error) => return Err(error.into()),
        };
        let status = answer.status();
        let refusal = (!status.is_success()).then(|| format!("the collector answered {status}"));
        self.note(refusal.as_deref());
        // The exporter tries again as these two say. The text of the answer counts for nothing.
        let mut response = Response::builder().status(status);
        if let Some(later) = answer.headers().get(RETRY_AFTER) {
            response = response.header(RETRY_AFTER, later);
        }
        Ok(response.body(Bytes::new())?)
    }
}
