//! Verifies and parses webhook deliveries. Pure.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue};
use hmac::{Hmac, KeyInit, Mac};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::WaitingJob;

use super::job_times;
use super::wire::{
    ApiJob, ApiRepository, is_shallow, owner_and_name, percent_decode, repository_of, waiting_job,
};

/// The reason why a delivery is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The forge does not send this content type: HTTP 415.
    #[error(
        "Gitea does not send this content type: expected `application/json` or \
         `application/x-www-form-urlencoded`"
    )]
    ContentType,
    /// A form without a readable `payload`: HTTP 400.
    #[error("the form holds no readable `payload`: expected `payload=<url-encoded JSON>`")]
    Form,
    /// No signature, or an empty one: HTTP 401. The forge sends an empty one if its hook has no
    /// secret.
    #[error(
        "the delivery is not signed: set the webhook's secret in Gitea to the value of \
         `forge.webhook_secret`"
    )]
    Unsigned,
    /// A wrong signature: HTTP 401.
    #[error(
        "the signature does not match: the webhook's secret in Gitea and `forge.webhook_secret` \
         must be the same"
    )]
    Signature,
}

/// Verifies a `POST` delivery and returns the JSON text that was signed: the body itself, or the
/// decoded `payload` of a form. Nothing of it has been parsed yet. (`GET` hooks carry the payload
/// in the query; the server accepts no `GET`.)
///
/// `X-Gitea-Signature` decides; `X-Hub-Signature-256` counts only if that header is absent. An
/// empty `secret` accepts nothing.
///
/// # Errors
/// [`Rejected`]; each reason names its HTTP status.
pub fn verify<'a>(
    secret: &Secret,
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: &'a [u8],
) -> Result<Cow<'a, [u8]>, Rejected> {
    let text = payload(content_type, body)?;
    check_signature(secret, headers, &text)?;
    Ok(text)
}

/// Returns the JSON text of a delivery without verifying its signature: for when no secret is
/// configured.
///
/// # Errors
/// As [`verify`], except for the signature.
pub fn payload<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejected> {
    let media = content_type.and_then(|t| t.split(';').next()).unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        Ok(Cow::Borrowed(body))
    } else if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        form_payload(body).map(Cow::Owned).ok_or(Rejected::Form)
    } else {
        Err(Rejected::ContentType)
    }
}

/// Returns the `payload` of a form or a query, decoded to the bytes that were signed.
pub fn form_payload(form: &[u8]) -> Option<Vec<u8>> {
    let value = form.split(|&b| b == b'&').find_map(|pair| pair.strip_prefix(b"payload="))?;
    percent_decode(value, true)
}

/// Verifies the signature of a JSON text, in constant time.
///
/// # Errors
/// [`Rejected::Unsigned`] or [`Rejected::Signature`].
pub fn check_signature(secret: &Secret, headers: &HeaderMap, text: &[u8]) -> Result<(), Rejected> {
    let signature = match one_header(headers, "x-gitea-signature")? {
        Some(value) => value.as_bytes(),
        None => one_header(headers, "x-hub-signature-256")?
            .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
            .ok_or(Rejected::Unsigned)?,
    };
    if signature.is_empty() {
        return Err(Rejected::Unsigned);
    }
    let expected = hex::decode(signature).map_err(|_| Rejected::Signature)?;
    // Anybody can sign with an empty key.
    if secret.expose().is_empty() {
        return Err(Rejected::Signature);
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|_| Rejected::Signature)?;
    mac.update(text);
    mac.verify_slice(&expected).map_err(|_| Rejected::Signature)
}

/// Returns the signature of a JSON text, as the forge sends it in `X-Gitea-Signature`.
pub fn sign(secret: &Secret, text: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(text);
    hex::encode(mac.finalize().into_bytes())
}

/// Returns a header that must not occur twice: it would be unclear which of the two was signed.
fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Rejected> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(Rejected::Signature) } else { Ok(first) }
}

/// The event's name: the exact one if the server sends it, else the group. Forgejo sends the same
/// headers, Gogs and GitHub send their own.
pub fn event_name(headers: &HeaderMap) -> Option<&str> {
    ["x-gitea-event-type", "x-gitea-event", "x-github-event", "x-gogs-event"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|name| !name.is_empty())
}

/// The content of a delivery. Each is only a hint: the forge's state, read back, decides.
///
/// It is stored until a replica takes it, also across an update: a new field needs a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "there are few at a time")]
pub enum Event {
    /// A job waits for a runner.
    Queued(WaitingJob),
    /// A job has changed.
    Job {
        /// The job's ID.
        job_id: i64,
        /// The runner that works on it, if sent. On `completed` it often is not: the row of an
        /// ephemeral runner is deleted before the payload is built.
        runner: Option<String>,
    },
    /// The forge blocks a job.
    Blocked {
        /// The job's ID.
        job_id: i64,
    },
    /// Jobs may have been created: read the job list soon.
    PollSoon,
}

/// A delivery that the forge does not send: HTTP 400.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("the payload is not UTF-8 text")]
    Utf8,
    /// Nested deeper than any payload of the forge.
    #[error("the payload is nested too deeply")]
    Depth,
    /// Not JSON, or a field of another type than the forge's.
    #[error("the payload is not what Gitea sends: line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A job without an ID.
    #[error("the payload holds no `workflow_job.id`")]
    NoJob,
    /// A push or the like without its repository.
    #[error("the payload holds no `repository.id` or `repository.full_name`")]
    NoRepository,
    /// A push or the like without its ref or commit.
    #[error("the payload lacks its ref or its commit")]
    NoCommit,
    /// Far longer than any payload of its kind.
    #[error("the payload is longer than Gitea sends")]
    Size,
}

impl From<serde_json::Error> for Malformed {
    // The parser's message quotes the payload, which must not get into logs.
    fn from(error: serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

/// The payload of a changed job.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JobPayload {
    action: Option<String>,
    workflow_job: Option<ApiJob>,
    repository: Option<ApiRepository>,
}

/// Any payload: an object whose content is not read.
#[derive(Deserialize)]
struct AnyPayload {
    #[serde(rename = "action")]
    _action: Option<IgnoredAny>,
}

/// Parses a payload. An event that does not concern demand returns nothing.
///
/// # Errors
/// [`Malformed`] if the forge does not send such a payload, whatever the event.
pub fn decode(event: &str, json: &[u8]) -> Result<Vec<Event>, Malformed> {
    let text = std::str::from_utf8(json).map_err(|_| Malformed::Utf8)?;
    if !is_shallow(json) {
        return Err(Malformed::Depth);
    }
    // Checks the first byte, because serde accepts a list for an object's fields.
    if !text.trim_start().starts_with('{') {
        return Err(Malformed::Json { line: 1, column: 1 });
    }
    if event == "workflow_job" {
        return job_events(serde_json::from_str(text)?);
    }
    serde_json::from_str::<AnyPayload>(text)?;
    Ok(if may_make_jobs(event) { vec![Event::PollSoon] } else { Vec::new() })
}

fn job_events(payload: JobPayload) -> Result<Vec<Event>, Malformed> {
    let JobPayload { action, workflow_job, repository } = payload;
    let job = workflow_job.filter(|job| job.id > 0).ok_or(Malformed::NoJob)?;
    let action = action.filter(|a| !a.is_empty()).unwrap_or_else(|| job.status.clone());
    Ok(match action.as_str() {
        "queued" => vec![queued(repository.unwrap_or_default(), job)],
        // Blocked: it needs no runner yet, and sends `queued` when it does.
        "waiting" => vec![Event::Blocked { job_id: job.id }],
        // `in_progress`, `completed`, and any change of a newer server.
        _ => {
            let runner = Some(job.runner_name).filter(|name| !name.is_empty());
            vec![Event::Job { job_id: job.id, runner }]
        }
    })
}

/// If the delivery is incomplete or exceeds the limits, the job list is read instead.
fn queued(repository: ApiRepository, job: ApiJob) -> Event {
    let ApiRepository { id, full_name } = repository;
    let named = match owner_and_name(&full_name) {
        Some(_) => Some(full_name),
        None => repository_of(&job.url).map(|(owner, name)| format!("{owner}/{name}")),
    };
    named
        .filter(|_| id > 0)
        .and_then(|repo| {
            let created_at = job_times::created(&job, None);
            waiting_job(&repo, id, job, created_at)
        })
        .map_or(Event::PollSoon, Event::Queued)
}

/// The events of `modules/webhook/type.go` from which a workflow can start or go on.
fn may_make_jobs(event: &str) -> bool {
    let exact = ["create", "delete", "fork", "push", "release", "package", "wiki", "repository"];
    let families = ["issue", "pull_request", "workflow_run", "schedule"];
    exact.contains(&event) || families.iter().any(|family| event.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_accepted_with_the_same_secret_only() {
        let text = b"{}";
        let mut headers = HeaderMap::new();
        let signature = sign(&Secret::new("one"), text).parse().expect("a header");
        headers.insert("x-gitea-signature", signature);
        assert_eq!(check_signature(&Secret::new("one"), &headers, text), Ok(()));
        let other = check_signature(&Secret::new("two"), &headers, text);
        assert_eq!(other, Err(Rejected::Signature));
    }

    fn check(event: &str, json: &str, expected: &[Event]) {
        let got = decode(event, json.as_bytes()).expect("well-formed");
        assert_eq!(got, expected, "{event} {json}");
    }

    #[test]
    fn missing_null_and_new_fields_are_tolerated() {
        let job = |runner: Option<&str>| Event::Job { job_id: 7, runner: runner.map(Into::into) };
        let with = |action: &str, job: &str| {
            format!(r#"{{"action":"{action}","workflow_job":{{"id":7,{job}}},"new":[{{}}]}}"#)
        };
        let check_job = |json: &str, expected: &[Event]| check("workflow_job", json, expected);
        check_job(&with("in_progress", r#""runner_name":"vm""#), &[job(Some("vm"))]);
        check_job(&with("completed", r#""runner_name":null"#), &[job(None)]);
        check_job(&with("cancelling", r#""labels":null,"steps":null"#), &[job(None)]);
        let blocked = [Event::Blocked { job_id: 7 }];
        check_job(&with("waiting", r#""status":"waiting""#), &blocked);
        // The repository is missing, so the list must be read.
        check_job(&with("queued", r#""labels":["a"]"#), &[Event::PollSoon]);
        check_job(r#"{"action":null,"workflow_job":{"id":7,"status":"completed"}}"#, &[job(None)]);
    }

    #[test]
    fn a_queued_job_without_repository_is_named_by_its_url() {
        let json = r#"{"action":"queued","repository":{"id":3},"workflow_job":{"id":7,
            "url":"https://x/api/v1/repos/a/b/actions/jobs/7","labels":null}}"#;
        let [Event::Queued(job)] = &decode("workflow_job", json.as_bytes()).expect("decodes")[..]
        else {
            panic!("not one queued job");
        };
        assert_eq!((job.job.repo.as_str(), job.job.repo_id, job.job.job_id), ("a/b", 3, 7));
        assert!(job.runs_on.is_empty());
    }

    #[test]
    fn other_events_bring_the_poll_forward_and_unknown_ones_do_nothing() {
        for event in ["push", "create", "pull_request_sync", "issues", "workflow_run"] {
            check(event, r#"{"ref":"x"}"#, &[Event::PollSoon]);
        }
        for event in ["", "star", "workflow_jobs", "pus\u{202e}h"] {
            check(event, "{}", &[]);
        }
    }

    #[test]
    fn a_payload_that_the_forge_never_sends_is_malformed() {
        let cases: [(&str, &[u8]); 9] = [
            ("push", b""),
            ("push", b"[]"),
            ("push", b"\"x\""),
            ("push", b"{\"a\":\"\xff\"}"),
            ("push", b"{\"a\":1"),
            ("unknown", b"{}x"),
            ("workflow_job", b"{}"),
            ("workflow_job", br#"{"workflow_job":{"id":"7"}}"#),
            ("workflow_job", br#"["queued",{"id":7},null]"#),
        ];
        for (event, json) in cases {
            assert!(decode(event, json).is_err(), "{event} {}", String::from_utf8_lossy(json));
        }
    }

    #[test]
    fn a_signature_sent_twice_or_with_an_empty_secret_is_refused() {
        let sign = |key: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
            mac.update(b"{}");
            HeaderValue::from_str(&hex::encode(mac.finalize().into_bytes())).expect("hex")
        };
        let json = Some("application/json; charset=utf-8");
        let mut headers = HeaderMap::new();
        headers.append("x-gitea-signature", sign(b"s"));
        assert!(verify(&Secret::new("s"), &headers, json, b"{}").is_ok());
        headers.append("x-gitea-signature", sign(b"s"));
        let twice = verify(&Secret::new("s"), &headers, json, b"{}");
        assert_eq!(twice, Err(Rejected::Signature));
        let headers =
            HeaderMap::from_iter([("x-gitea-signature".parse().expect("name"), sign(b""))]);
        assert_eq!(verify(&Secret::default(), &headers, json, b"{}"), Err(Rejected::Signature));
        assert_eq!(
            verify(&Secret::new("s"), &headers, Some("text/plain"), b"{}"),
            Err(Rejected::ContentType)
        );
        assert_eq!(verify(&Secret::new("s"), &headers, None, b"{}"), Err(Rejected::ContentType));
        let form = Some("application/x-www-form-urlencoded");
        for body in [&b"x=1"[..], b"payload=%2", b"payload=%zz", b"payloads=1", b""] {
            assert_eq!(verify(&Secret::new("s"), &headers, form, body), Err(Rejected::Form));
        }
    }

    #[test]
    fn the_exact_event_name_is_preferred() {
        let mut headers = HeaderMap::new();
        assert_eq!(event_name(&headers), None);
        headers.insert("x-gogs-event", HeaderValue::from_static("push"));
        assert_eq!(event_name(&headers), Some("push"));
        headers.insert("x-gitea-event", HeaderValue::from_static("pull_request"));
        assert_eq!(event_name(&headers), Some("pull_request"));
        headers.insert("x-gitea-event-type", HeaderValue::from_static("pull_request_sync"));
        assert_eq!(event_name(&headers), Some("pull_request_sync"));
    }
}
