//! One call to the forge: built, sent within its deadline, read within its bounds, and told apart
//! by what helps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use backon::Retryable as _;
use jiff::Timestamp;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError};

use super::call::{Answer, Call};
use super::repeat::{self, Patience, fails_for_now};

/// Most bytes of an answer. A page of 50 jobs has about 100 kB.
const BODY: usize = 32 * 1024 * 1024;
/// Redirects followed within the forge: a renamed repository gives one.
const REDIRECTS: usize = 3;

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the connection stands.
    pub connect: Duration,
    /// Until the answer is read, redirects and repetitions included.
    pub call: Duration,
    /// The shortest pause before a call is tried again; the longest is twice as long.
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

/// When the forge last answered, and when and how it last did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The last answer that was the forge's own: an error page of a proxy does not count.
    pub last_ok: Option<Timestamp>,
    /// The last failure, with a sentence for people.
    pub last_error: Option<(Timestamp, String)>,
}

/// Sends calls to one forge.
pub(super) struct Sender {
    http: reqwest::Client,
    base: String,
    token: Option<HeaderValue>,
    deadlines: Deadlines,
    clock: Arc<dyn Clock>,
    contact: Mutex<Contact>,
    patience: Patience,
    /// Credentials that no error may quote, should the forge echo them.
    secrets: Mutex<Vec<Secret>>,
}

impl Sender {
    pub(super) fn new(
        base: &Url,
        token: Option<&Secret>,
        deadlines: Deadlines,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, super::Error> {
        let mut builder = tinqs_ci_net::http_client()
            .user_agent(concat!("tinqs-ci/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(deadlines.connect)
            // Followed by hand: within the forge only, so that the token never leaves it.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(base) {
            builder = builder.no_proxy();
            if base.scheme() == "http" {
                // Nothing will be encrypted: the host's certificates are not even read.
                builder = builder.tls_certs_only([]);
            }
        }
        let http = builder.build().map_err(super::Error::Build)?;
        let header = |token: &Secret| {
            let mut value = HeaderValue::from_str(&format!("token {}", token.expose()))
                .map_err(|_| super::Error::Token)?;
            value.set_sensitive(true);
            Ok::<_, super::Error>(value)
        };
        Ok(Self {
            http,
            base: base.as_str().trim_end_matches('/').to_owned(),
            token: token.map(header).transpose()?,
            deadlines,
            clock,
            contact: Mutex::default(),
            patience: Patience::default(),
            secrets: Mutex::new(token.cloned().into_iter().collect()),
        })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// How long a list may take, all its pages together: far more than one of 20,000 rows does.
    pub(super) fn list_deadline(&self) -> Duration {
        self.deadlines.call * 8
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn contact(&self) -> Contact {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No error will quote this.
    pub(super) fn keep_secret(&self, secret: &Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if !secrets.contains(secret) {
            // Tokens change seldom; the bound is for a forge that gives another one each time.
            secrets.truncate(16);
            secrets.push(secret.clone());
        }
    }

    /// Sends a call and reads the whole answer, whatever its status is.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, PortError> {
        let sent = tokio::time::timeout(self.deadlines.call, self.send_following(call)).await;
        let result = sent.unwrap_or_else(|_| {
            let within = self.deadlines.call.as_secs_f32();
            Err(self.error(call, ErrorKind::Unavailable, &format!("no answer within {within} s")))
        });
        let now = self.clock.now();
        let mut contact = self.contact.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(answer) if !answer.status.is_server_error() && !answer.is_html() => {
                contact.last_ok = Some(now);
            }
            Ok(answer) => {
                let page = if answer.is_html() { ", a page for people" } else { "" };
                contact.last_error = Some((now, format!("HTTP {}{page}", answer.status)));
            }
            Err(error) => contact.last_error = Some((now, error.message.clone())),
        }
        drop(contact);
        result
    }

    /// Sends a call whose answer is an object, and reads it.
    pub(super) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, PortError> {
        let answer = self.send(call).await?;
        self.read(call, &answer)
    }

    /// Reads a good answer that is an object; anything else is an error by what helps.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        call: &Call,
        answer: &Answer,
    ) -> Result<T, PortError> {
        self.read_from(call, answer, b'{')
    }

    /// Reads a good answer that begins so: a derived type would take a list for an object too.
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
                "a page for people came where JSON was expected: is `forge.url` the address of \
                 Gitea itself, is a login page or a proxy in between?"
            } else {
                "the answer is not what Gitea sends"
            };
            // A reading that is answered by JSON of another kind will be answered so again. What
            // changes something may have happened all the same.
            let is_json = answer.parse::<serde::de::IgnoredAny>().is_some();
            let other_kind = is_json && call.method == Method::GET;
            let kind = if other_kind { ErrorKind::Invalid } else { ErrorKind::Unavailable };
            self.error(call, kind, what)
        })
    }

    async fn send_following(&self, call: &Call) -> Result<Answer, PortError> {
        let mut url = format!("{}{}", self.base, call.path);
        for _ in 0..=REDIRECTS {
            let answer = self.send_repeating(call, &url).await?;
            let next = self.redirect_within(call, &url, &answer);
            match next {
                Some(next) => url = next,
                None => return Ok(answer),
            }
        }
        Err(self.error(call, ErrorKind::Unavailable, "the forge redirects in a circle"))
    }

    /// Where a reading is to be asked instead: only at the forge itself.
    fn redirect_within(&self, call: &Call, url: &str, answer: &Answer) -> Option<String> {
        if !answer.status.is_redirection() || call.method != Method::GET {
            return None;
        }
        let here = Url::parse(url).ok()?;
        let there = here.join(answer.header(header::LOCATION)?).ok()?;
        let within = there.origin() == here.origin()
            && there.path().starts_with(Url::parse(&self.base).ok()?.path())
            && there.path().contains("/api/v1/");
        within.then(|| there.into())
    }

    /// What fails for now is tried again, where the call may be made twice.
    async fn send_repeating(&self, call: &Call, url: &str) -> Result<Answer, PortError> {
        let result = (|| self.send_once(call, url))
            .retry(repeat::policy(self.deadlines.pause))
            .when(|failed: &Failed| call.repeats && failed.is_for_now() && self.patience.failed())
            .notify(|failed: &Failed, pause: Duration| {
                let (operation, why) = (call.operation, failed.why());
                tracing::debug!(operation, why, ?pause, "a call is tried again");
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

    async fn send_once(&self, call: &Call, url: &str) -> Result<Answer, Failed> {
        let mut request = self.http.request(call.method.clone(), url);
        if let Some(token) = self.token.as_ref().filter(|_| call.with_token) {
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
                format!("no connection to {}: is the forge up, is `forge.url` right?", self.base)
            } else {
                "the connection broke before the answer".to_owned()
            };
            failed(&what, error)
        })?;
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| failed("the connection broke within the answer", error))?
        {
            if body.len() + chunk.len() > BODY {
                let error = self.error(call, ErrorKind::Unavailable, "the answer is over 32 MiB");
                return Err(Failed::Broken { is_for_now: false, error });
            }
            body.extend_from_slice(&chunk);
        }
        let answer =
            Answer { status: response.status(), headers: response.headers().clone(), body };
        if fails_for_now(call, &answer) { Err(Failed::Answered(answer)) } else { Ok(answer) }
    }

    /// What an answer that is not a success means.
    pub(super) fn refusal(&self, call: &Call, answer: &Answer) -> PortError {
        let status = answer.status;
        let words = self.words(answer);
        if answer.is_html() {
            let what = format!(
                "{status} with a page for people, not the forge's own answer: is the forge \
                 starting, is a proxy in between?"
            );
            return self.error(call, ErrorKind::Unavailable, &what);
        }
        let (kind, what) = match status.as_u16() {
            401 if self.token.is_none() && call.with_token => {
                (ErrorKind::Denied, format!("`forge.token` is needed: {}", call.needs()))
            }
            401 => (
                ErrorKind::Denied,
                format!("the forge does not accept the token: make a new one; {}", call.needs()),
            ),
            403 => {
                (ErrorKind::Denied, format!("the token in `forge.token` may not: {}", call.needs()))
            }
            429 => (ErrorKind::Throttled, "the forge asks for a slower pace".to_owned()),
            404 => (
                ErrorKind::Unavailable,
                "not found: does what `forge.scope` names exist, is the server Gitea 1.25 or newer?"
                    .to_owned(),
            ),
            300..=399 => (
                ErrorKind::Unavailable,
                "a redirect that leads away: set `forge.url` to the address it leads to".to_owned(),
            ),
            400 | 405 | 409 | 410 | 413..=415 | 422 => {
                (ErrorKind::Invalid, "the forge refuses the request".to_owned())
            }
            _ => (ErrorKind::Unavailable, "the forge fails".to_owned()),
        };
        self.error(call, kind, &format!("{status}: {what}{words}"))
    }

    /// An error of this call, without secrets.
    pub(super) fn error(&self, call: &Call, kind: ErrorKind, what: &str) -> PortError {
        let path: String = call.path.chars().take(200).collect();
        let message = format!("{} {path}: {what}", call.method);
        PortError::new("forge", call.operation, kind, self.redacted(&message))
    }

    /// The forge's own words, on one line, ` (…)`; empty where there are none.
    pub(super) fn words(&self, answer: &Answer) -> String {
        #[derive(Deserialize)]
        struct Words {
            #[serde(default)]
            message: Option<String>,
        }
        let words = answer.parse::<Words>().and_then(|w| w.message).unwrap_or_default();
        let line: String = self
            .redacted(&words)
            .chars()
            .take(200)
            .map(|c| if c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic() { c } else { '?' })
            .collect();
        if line.trim().is_empty() { String::new() } else { format!(" ({})", line.trim()) }
    }

    fn redacted(&self, text: &str) -> String {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = secrets.iter().filter(|secret| !secret.is_short()).map(Secret::expose);
        known.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
    }
}

/// A call that did not succeed and may be tried again.
enum Failed {
    /// There is no whole answer.
    Broken { error: PortError, is_for_now: bool },
    /// The answer says that the forge fails for now.
    Answered(Answer),
}

impl Failed {
    fn is_for_now(&self) -> bool {
        match self {
            Self::Broken { is_for_now, .. } => *is_for_now,
            Self::Answered(_) => true,
        }
    }

    fn why(&self) -> String {
        match self {
            Self::Broken { error, .. } => error.message.clone(),
            Self::Answered(answer) => format!("HTTP {}", answer.status),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
