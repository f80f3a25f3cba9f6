//! Sends one call to the forge within its deadline, reads the response within its size limit, and
//! classifies errors by their remedy.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use backon::Retryable as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError};

use super::call::{Answer, Call};
use super::credentials::Credentials;
use super::dates::Dates;
use super::repeat::{self, Failed, RetryBudget, fails_for_now};
use crate::config::Config;

/// Most bytes of a response. A page of 50 jobs has about 100 kB.
const BODY: usize = 32 * 1024 * 1024;
/// Most redirects within the forge: a renamed repository needs one.
const REDIRECTS: usize = 3;

/// The time limits of calls.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the connection is established.
    pub connect: Duration,
    /// Until the response is read, including redirects and retries.
    pub call: Duration,
    /// The shortest pause before a retry; the longest is twice as long.
    pub pause: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(15),
            pause: Duration::from_millis(200),
        }
    }
}

/// The last answer of the forge, and the last failure of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The last response of the forge itself: an error page of a proxy does not count.
    pub last_ok: Option<Timestamp>,
    /// The last failure, with a sentence for people.
    pub last_error: Option<(Timestamp, String)>,
}

/// Sends calls to one forge.
pub(super) struct Sender {
    http: reqwest::Client,
    base: String,
    deadlines: Deadlines,
    clock: Arc<dyn Clock>,
    contact: Mutex<Contact>,
    pub(super) dates: Dates,
    patience: RetryBudget,
    pub(super) credentials: Credentials,
}

impl Sender {
    pub(super) fn new(
        base: &Url,
        forge: &Config,
        deadlines: Deadlines,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, super::Error> {
        let mut builder = tinqs_ci_net::http_client()
            .user_agent(concat!("tinqs-ci/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(deadlines.connect)
            // Followed by hand, and only within the forge, so that the token never leaves it.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(base) {
            builder = builder.no_proxy();
            if base.scheme() == "http" {
                // Nothing will be encrypted, so the host's certificates are not read.
                builder = builder.tls_certs_only([]);
            }
        }
        let http = builder.build().map_err(super::Error::Build)?;
        Ok(Self {
            http,
            base: base.as_str().trim_end_matches('/').to_owned(),
            deadlines,
            clock,
            contact: Mutex::default(),
            dates: Dates::default(),
            patience: RetryBudget::default(),
            credentials: Credentials::new(forge)?,
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn has_token(&self) -> bool {
        self.credentials.token().is_some()
    }

    /// Time limit for a list, all its pages together: far more than 20,000 rows need.
    pub(super) fn list_deadline(&self) -> Duration {
        self.deadlines.call * 8
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn contact(&self) -> Contact {
        self.contact.lock().clone()
    }

    /// Sends a call and reads the whole response, whatever its status.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, PortError> {
        let sent = tokio::time::timeout(self.deadlines.call, self.send_with_token(call)).await;
        let result = sent.unwrap_or_else(|_| {
            let within = self.deadlines.call.as_secs_f32();
            Err(self.error(call, ErrorKind::Unavailable, &format!("no answer within {within} s")))
        });
        let now = self.clock.now();
        let mut contact = self.contact.lock();
        match &result {
            Ok(answer) if !answer.status.is_server_error() && !answer.is_html() => {
                contact.last_ok = Some(now);
            }
            Ok(answer) => {
                let page = if answer.is_html() { " (HTML page)" } else { "" };
                contact.last_error = Some((now, format!("HTTP {}{page}", answer.status)));
            }
            Err(error) => contact.last_error = Some((now, error.message.clone())),
        }
        drop(contact);
        result
    }

    /// Sends a call whose response is an object, and parses it.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, PortError> {
        let answer = self.send(call).await?;
        self.read(call, &answer)
    }

    /// Parses a successful response that is an object; anything else is an error.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        call: &Call,
        answer: &Answer,
    ) -> Result<T, PortError> {
        self.read_from(call, answer, b'{')
    }

    /// Parses a successful response with this first byte: a derived type would accept a list for an
    /// object.
    pub(super) fn read_from<T: DeserializeOwned>(
        &self,
        call: &Call,
        answer: &Answer,
        begin: u8,
    ) -> Result<T, PortError> {
        if !answer.status.is_success() {
            return Err(self.refusal(call, answer));
        }
        let begins = answer.body.trim_ascii_start().first() == Some(&begin);
        answer.parse().filter(|_| begins).ok_or_else(|| {
            let what = if answer.is_html() {
                "an HTML page came instead of JSON: check that `forge.url` is the address of Gitea \
                 itself, with no login page or proxy in between"
            } else {
                "the response is not what Gitea sends"
            };
            // A read that returns other JSON will return it again. A write may have happened
            // nevertheless.
            let is_json = answer.parse::<serde::de::IgnoredAny>().is_some();
            let other_kind = is_json && call.method == Method::GET;
            let kind = if other_kind { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            self.error(call, kind, what)
        })
    }

    /// Sends a call. If the forge rejects the token and there is a new one by now, sends it again:
    /// a rejected call did nothing.
    async fn send_with_token(&self, call: &Call) -> Result<Answer, PortError> {
        let token = self.credentials.token().filter(|_| call.with_token);
        let answer = self.send_following(call, token.as_ref()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || answer.is_html() || token.is_none() {
            return Ok(answer);
        }
        match self.credentials.renewed(token.as_ref()) {
            Some(renewed) => self.send_following(call, Some(&renewed)).await,
            None => Ok(answer),
        }
    }

    async fn send_following(
        &self,
        call: &Call,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, PortError> {
        let mut url = format!("{}{}", self.base, call.path);
        for _ in 0..=REDIRECTS {
            let answer = self.send_repeating(call, &url, token).await?;
            let next = self.redirect_within(call, &url, &answer);
            match next {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(self.error(
            call,
            ErrorKind::Unavailable,
            "the forge redirects too often: check `forge.url`",
        ))
    }

    /// The target of a redirected read, if it is within the forge.
    fn redirect_within(&self, call: &Call, url: &str, answer: &Answer) -> Option<String> {
        if !answer.status.is_redirection() || call.method != Method::GET {
            return None;
        }
        let current = Url::parse(url).ok()?;
        let target = current.join(answer.header(header::LOCATION)?).ok()?;
        let within = target.origin() == current.origin()
            && target.path().starts_with(Url::parse(&self.base).ok()?.path())
            && target.path().contains("/api/v1/");
        within.then(|| target.into())
    }

    /// Retries temporary failures if the call may be repeated.
    async fn send_repeating(
        &self,
        call: &Call,
        url: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, PortError> {
        let result = (|| self.send_once(call, url, token))
            .retry(repeat::policy(self.deadlines.pause))
            .when(|failed: &Failed| call.repeats && failed.is_for_now() && self.patience.failed())
            .notify(|failed: &Failed, pause: Duration| {
                let (operation, why) = (call.operation, failed.why());
                tracing::debug!(operation, why, ?pause, "retrying call");
            })
            .await;
        match result {
            Ok(answer) => {
                self.patience.answered();
                Ok(answer)
            }
            Err(Failed::Answered(answer)) => Ok(answer),
            Err(Failed::Broken { error, .. }) => Err(error),
        }
    }

    async fn send_once(
        &self,
        call: &Call,
        url: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failed> {
        let mut request = self.http.request(call.method.clone(), url);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        request = request.header(header::ACCEPT, "application/json");
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let failed = |what: &str, error: reqwest::Error| Failed::Broken {
            is_for_now: !error.is_timeout(),
            error: self.error(call, ErrorKind::Unavailable, what).caused_by(error.without_url()),
        };
        let mut response = request.send().await.map_err(|error| {
            let what = if error.is_connect() {
                format!(
                    "cannot connect to {}: check that the forge is up and `forge.url` is right",
                    self.base
                )
            } else {
                "the connection broke before the response".to_owned()
            };
            failed(&what, error)
        })?;
        self.dates.note(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| failed("the connection broke during the response", error))?
        {
            if body.len() + chunk.len() > BODY {
                let error =
                    self.error(call, ErrorKind::Unavailable, "the response is larger than 32 MiB");
                return Err(Failed::Broken { is_for_now: false, error });
            }
            body.extend_from_slice(&chunk);
        }
        let answer =
            Answer { status: response.status(), headers: response.headers().clone(), body };
        if fails_for_now(call, &answer) { Err(Failed::Answered(answer)) } else { Ok(answer) }
    }

    /// Converts an unsuccessful response to an error.
    pub(super) fn refusal(&self, call: &Call, answer: &Answer) -> PortError {
        let status = answer.status;
        let words = self.words(answer);
        if answer.is_html() {
            let what = format!(
                "{status} with an HTML page, not a response of the forge itself: check whether the \
                 forge is starting, or a proxy is in between"
            );
            return self.error(call, ErrorKind::Unavailable, &what);
        }
        let (kind, what) = match status.as_u16() {
            401 if !self.has_token() && call.with_token => {
                (ErrorKind::Denied, format!("`forge.token` is required: {}", call.needs()))
            }
            401 => (
                ErrorKind::Denied,
                format!(
                    "the forge does not accept `forge.token`, which has expired or was deleted: \
                     create a new one; {}",
                    call.needs()
                ),
            ),
            403 => (ErrorKind::Denied, format!("`forge.token` lacks permission: {}", call.needs())),
            429 => (ErrorKind::Throttled, "the forge limits the rate of requests".to_owned()),
            404 => (
                ErrorKind::Unavailable,
                "not found: check that `forge.scope` exists and the server is Gitea 1.25 or newer"
                    .to_owned(),
            ),
            300..=399 => (
                ErrorKind::Unavailable,
                "redirected to another address: set `forge.url` to it".to_owned(),
            ),
            400 | 405 | 409 | 410 | 413..=415 | 422 => {
                (ErrorKind::Invalid, "the forge rejected the request".to_owned())
            }
            _ => (ErrorKind::Unavailable, "the forge failed".to_owned()),
        };
        self.error(call, kind, &format!("{status}: {what}{words}"))
    }

    /// Returns an error of this call, without secrets.
    pub(super) fn error(&self, call: &Call, kind: ErrorKind, what: &str) -> PortError {
        let path: String = call.path.chars().take(200).collect();
        let message = format!("{} {path}: {what}", call.method);
        PortError::new("forge", call.operation, kind, self.credentials.redacted(&message))
    }

    /// Returns the forge's own message on one line, as ` (…)`; empty if there is none.
    pub(super) fn words(&self, answer: &Answer) -> String {
        #[derive(Deserialize)]
        struct Words {
            #[serde(default)]
            message: Option<String>,
        }
        let words = answer.parse::<Words>().and_then(|w| w.message).unwrap_or_default();
        let line: String = self
            .credentials
            .redacted(&words)
            .chars()
            .take(200)
            .map(|c| if c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic() { c } else { '?' })
            .collect();
        if line.trim().is_empty() { String::new() } else { format!(" ({})", line.trim()) }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
