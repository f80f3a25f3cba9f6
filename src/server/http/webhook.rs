//! `POST /webhook` and `POST /`: stores what a delivery announces before it answers.

mod inbox;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tinqs_ci_reconciler::controller::{Hint, ReconcileOutcome};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::PortError;

use super::body::{self, BodyBudget, Keep};
use super::peer::Client;
use super::{App, Ctx, Refusal, sweep};
use crate::push::Pushes;
use crate::settings::Right;
use crate::telemetry::traces::{self, SpanDetails};
use crate::telemetry::{Fault, Handled, labels};
use tinqs_ci_gitea::demand;
use tinqs_ci_gitea::trigger_event::TriggerEvent;
use tinqs_ci_gitea::webhook::{self, Rejected};

/// The deadline for storing a delivery. The forge itself waits 5 s.
const INGEST_DEADLINE: Duration = Duration::from_secs(10);
/// The maximum size of a sweep request, in bytes.
const CLEANUP_LIMIT: usize = 256;
/// Headers of a delivery, which a sweep request does not have.
const DELIVERY: [&str; 6] = [
    "x-gitea-signature",
    "x-hub-signature-256",
    "x-gitea-event",
    "x-github-event",
    "x-gogs-event",
    "x-gitea-delivery",
];

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    /// Its content is stored.
    Accepted,
    /// It does not concern demand.
    Ignored,
}

/// Handles a delivery or a sweep request, where one address has everything.
pub(super) async fn take(State(app): Ctx, request: Request) -> Response {
    handle(app, request, true).await
}

/// Handles a delivery at the address of webhooks, which opens nothing of the API, also not to the
/// holder of a token.
pub(super) async fn take_delivery(State(app): Ctx, request: Request) -> Response {
    handle(app, request, false).await
}

async fn handle(app: Arc<App>, request: Request, may_sweep: bool) -> Response {
    let (began, at) = (Instant::now(), app.telemetry.now());
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let event = webhook::event_name(headers);
    let client = Client::of(&parts.extensions);
    let taken = match receive(&app, headers, body, client).await {
        // Boxed: its large state would burden every delivery.
        Ok(Received::Cleanup) if may_sweep => return Box::pin(cleanup(&app, &parts)).await,
        Ok(Received::Cleanup) => return no_sweep().into_response(),
        Ok(Received::Delivery(body)) => ingest(&app, headers, event.unwrap_or(""), &body).await,
        Ok(Received::PollSignal) => {
            app.poll_signal.poll_soon();
            Ok(Acceptance::Accepted)
        }
        Err(refusal) => Err(refusal),
    };
    let result = match &taken {
        Ok(Acceptance::Accepted) => "accepted",
        Ok(Acceptance::Ignored) => "ignored",
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => "bad_signature",
        Err(refusal) if refusal.status.is_client_error() => "bad_payload",
        Err(_) => "error",
    };
    app.telemetry.metrics.webhook(labels::event(event), result, began.elapsed(), at);
    app.telemetry.deliveries.note(handled(&taken), at);
    let delivery = || header_text(headers, "x-gitea-delivery");
    match taken {
        Ok(_) => {
            tracing::debug!(request_id = delivery(), outcome = result, "handled webhook");
            (StatusCode::ACCEPTED, Json(json!({ "result": result }))).into_response()
        }
        Err(refusal) => {
            let error = refusal.detail.as_str();
            tracing::warn!(request_id = delivery(), outcome = result, error, "rejected webhook");
            refusal.into_response()
        }
    }
}

fn handled(taken: &Result<Acceptance, Refusal>) -> Handled {
    match taken {
        Ok(Acceptance::Accepted) => Handled::Accepted,
        Ok(Acceptance::Ignored) => Handled::Ignored,
        Err(refusal) => Handled::Refused {
            why: refusal.detail.clone(),
            fault: match refusal.status {
                StatusCode::UNAUTHORIZED => Fault::Signature,
                status if status.is_client_error() => Fault::Content,
                _ => Fault::Ours,
            },
        },
    }
}

/// The kind of a received request.
enum Received {
    /// A sweep request.
    Cleanup,
    /// A delivery that must be verified.
    Delivery(body::BufferedBody),
    /// An unverified delivery, because no secret is configured: it only triggers a poll.
    PollSignal,
}

async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    client: Client,
) -> Result<Received, Refusal> {
    let keep = match app.live.settings().forge.webhook_secret {
        Some(_) => Keep::All,
        // Unverified content is not used.
        None => Keep::Start(CLEANUP_LIMIT),
    };
    // Check before reading the body. An empty body may have no content type.
    let media = content_type(headers);
    let unknown = matches!(webhook::payload(media, b""), Err(Rejected::ContentType));
    if unknown && media.is_some() {
        return Err(rejected(Rejected::ContentType));
    }
    let memory = BodyBudget { shares: &app.bodies, client };
    let buffered = body::read(headers, body, keep, &memory).await?;
    let delivered = DELIVERY.iter().any(|name| headers.contains_key(*name));
    if !delivered && buffered.length == buffered.bytes.len() && is_cleanup(&buffered.bytes) {
        return Ok(Received::Cleanup);
    }
    if unknown {
        return Err(rejected(Rejected::ContentType));
    }
    Ok(match app.live.settings().forge.webhook_secret {
        Some(_) => Received::Delivery(buffered),
        None => Received::PollSignal,
    })
}

/// An empty body, or `{"action":"cleanup"}` and nothing else.
fn is_cleanup(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Cleanup {
        action: String,
    }
    body.trim_ascii().is_empty()
        || (body.len() <= CLEANUP_LIMIT
            && serde_json::from_slice::<Cleanup>(body)
                .is_ok_and(|request| request.action == "cleanup"))
}

async fn cleanup(app: &Arc<App>, request: &Parts) -> Response {
    let caller = match app.guard.identify(&request.headers, &request.extensions) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let change = caller.change(&request.extensions, &request.method, &request.uri);
    let response = match caller.needs(Right::Operate) {
        Ok(()) => sweep::now(app).await.into_response(),
        Err(refusal) => refusal.into_response(),
    };
    change.end(response.status().as_u16());
    response
}

async fn ingest(
    app: &App,
    headers: &HeaderMap,
    event: &str,
    body: &body::BufferedBody,
) -> Result<Acceptance, Refusal> {
    let payload = verify(app, headers, &body.bytes).map_err(rejected)?;
    // Only those that are verified: others may come in any number.
    let stored = store(app, event, &payload);
    traces::ingest(stored, |taken| told(headers, event, taken)).await
}

/// Returns what the span of a delivery says.
fn told(headers: &HeaderMap, event: &str, taken: &Result<Acceptance, Refusal>) -> SpanDetails {
    let outcome = match taken {
        Ok(Acceptance::Accepted) => "accepted",
        Ok(Acceptance::Ignored) => "ignored",
        Err(refusal) if refusal.status.is_client_error() => "bad_payload",
        Err(_) => "error",
    };
    let delivery = header_text(headers, "x-gitea-delivery");
    SpanDetails::default()
        .with("event", labels::event(Some(event)))
        .with_some("request_id", Some(delivery).filter(|delivery| !delivery.is_empty()))
        .with("outcome", outcome)
        .failed(taken.as_ref().err().map(|refusal| refusal.detail.as_str()))
}

async fn store(app: &App, event: &str, payload: &[u8]) -> Result<Acceptance, Refusal> {
    let events = webhook::decode(event, payload)
        .map_err(|malformed| Refusal::new(StatusCode::BAD_REQUEST, malformed.to_string()))?;
    if !app.role.reconciles() {
        let stored = Box::pin(inbox::store(app, event, payload, events)).await?;
        return Ok(if stored { Acceptance::Accepted } else { Acceptance::Ignored });
    }
    let mode = match &app.pushes {
        Some(pushes) => pushes.demand().known(),
        None => Some(demand::Mode::Jobs),
    };
    let demand::Demand { hints, poll_soon, blocked } = demand::hints(events, mode);
    for job_id in blocked {
        app.controller.saw_blocked(job_id);
    }
    let pushed = match app.pushes.as_ref().filter(|pushes| pushes.wants(event)) {
        Some(pushes) => Box::pin(take_push(pushes, event, payload)).await?,
        None => false,
    };
    if pushed && hints.is_empty() {
        return Ok(Acceptance::Accepted);
    }
    if hints.is_empty() && (!poll_soon || mode == Some(demand::Mode::Push)) {
        return Ok(Acceptance::Ignored);
    }
    if let Some(run) = hints.first().map(announced) {
        traces::tell("run", run.as_str());
    }
    let began = Instant::now();
    // Boxed: its large state would burden the deliveries that only go to the inbox.
    let ingest = Box::pin(app.controller.ingest(&hints));
    let ingested = tokio::time::timeout(INGEST_DEADLINE, ingest).await;
    let result = match &ingested {
        Ok(Ok(_)) => ReconcileOutcome::Acted,
        Ok(Err(_)) | Err(_) => ReconcileOutcome::Error,
    };
    app.telemetry.metrics.pass("ingest", result, began.elapsed(), app.telemetry.now());
    // The job list also shows what this delivery omits or failed to store.
    app.poll_signal.poll_soon();
    match ingested {
        Ok(Ok(created)) => {
            if created > 0 {
                // The first reconcile of each run is logged at `info`.
                tracing::debug!(created, "webhook announced waiting jobs");
            }
            Ok(Acceptance::Accepted)
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "cannot store webhook");
            Err(not_durable())
        }
        Err(_) => Err(not_durable()),
    }
}

/// Returns the run that a hint is about.
fn announced(hint: &Hint) -> RunName {
    match hint {
        Hint::Queued(job) => RunName::job(job.job.job_id),
        Hint::Job { job_id, .. } => RunName::job(*job_id),
    }
}

/// Returns the JSON text of a delivery that one of the secrets signs.
fn verify<'a>(app: &App, headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Rejected> {
    let settings = app.live.settings();
    // Never reached without a secret; the empty default accepts nothing.
    let first = settings.forge.webhook_secret.clone().unwrap_or_default();
    let mut payload = webhook::verify(&first, headers, content_type(headers), body);
    for secret in &settings.server.webhook_secrets {
        if matches!(payload, Err(Rejected::Signature)) {
            payload = webhook::verify(secret, headers, content_type(headers), body);
        }
    }
    payload
}

/// Stores a trigger event, in push mode and while the mode is undecided. It is evaluated later,
/// because that calls the forge. Returns `false` if no workflow can start from it.
async fn take_push(pushes: &Pushes, event: &str, payload: &[u8]) -> Result<bool, Refusal> {
    let trigger_event = TriggerEvent::of(event, payload)
        .map_err(|malformed| Refusal::new(StatusCode::BAD_REQUEST, malformed.to_string()))?;
    let Some(trigger_event) = trigger_event else { return Ok(false) };
    in_time(pushes.take_in(trigger_event)).await.map(|()| true)
}

/// Waits for a write of the inbox.
async fn in_time(write: impl Future<Output = Result<bool, PortError>>) -> Result<(), Refusal> {
    match tokio::time::timeout(INGEST_DEADLINE, write).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => {
            let detail = "too many deliveries wait for evaluation: send it again later";
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(60))
        }
        Ok(Err(error)) => {
            tracing::warn!(error = %error, "cannot store webhook");
            Err(not_durable())
        }
        Err(_) => Err(not_durable()),
    }
}

fn no_sweep() -> Refusal {
    let detail = "this address only takes webhooks: `POST /v1/sweep` at `server.api` sweeps";
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

fn not_durable() -> Refusal {
    let detail = "cannot store the delivery: send it again; the next poll also finds its job";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(10)
}

fn rejected(why: Rejected) -> Refusal {
    let status = match why {
        Rejected::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Rejected::Form => StatusCode::BAD_REQUEST,
        Rejected::Unsigned | Rejected::Signature => StatusCode::UNAUTHORIZED,
    };
    Refusal::new(status, why.to_string())
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Returns a header for the log, cut to 100 characters.
fn header_text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.chars().take(100).collect()
}
