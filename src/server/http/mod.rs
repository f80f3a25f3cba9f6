//! The HTTP server: routes, limits, and problem documents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tinqs_ci_reconciler::controller::Controller;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::push::Pushes;
use crate::server::live::Live;
use crate::server::probe::StoreProbe;
use crate::server::reload::Reloader;
use crate::server::state::{Parts, PollSignal, Role};
use crate::telemetry::Telemetry;

mod body;
mod drift;
mod etag;
mod explain;
mod guard;
mod health;
mod listen;
mod log;
mod page;
mod problem;
mod reload;
mod runs;
mod sides;
mod status;
mod sweep;
mod webhook;
mod work;

pub use listen::listen;
pub(crate) use problem::Refusal;

use guard::Guard;

/// The maximum size of a webhook body, in bytes.
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// The maximum size of all webhook bodies held at once, in bytes. More are rejected instead of
/// exhausting the memory.
const BODIES_LIMIT: usize = 64 * 1024 * 1024;

/// How long the server works on a request before it answers 504.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For most requests.
    pub request: Duration,
    /// For sweeps, explanations and logs, which wait for the forge and the cloud.
    pub sweep: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { request: Duration::from_secs(10), sweep: Duration::from_mins(1) }
    }
}

/// The state of the HTTP handlers.
pub struct App {
    controller: Arc<Controller>,
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    probe: Arc<StoreProbe>,
    pushes: Option<Arc<Pushes>>,
    poll_signal: Arc<PollSignal>,
    role: Role,
    guard: Guard,
    reloader: Option<Arc<Reloader>>,
    /// Permits for [`BODIES_LIMIT`], one per [`body::PIECE`].
    bodies: Arc<Semaphore>,
}

impl App {
    /// Creates the state from the parts. `loopback` says whether the server listens on loopback
    /// only.
    pub fn new(
        parts: &Parts,
        poll_signal: Arc<PollSignal>,
        role: Role,
        loopback: bool,
    ) -> Arc<Self> {
        let Parts { live, controller, telemetry, probe, pushes, reloader, ends: _ } = parts;
        Arc::new(Self {
            guard: Guard::new(live.clone(), loopback),
            controller: controller.clone(),
            live: live.clone(),
            telemetry: telemetry.clone(),
            probe: probe.clone(),
            pushes: pushes.clone(),
            poll_signal,
            role,
            reloader: reloader.clone(),
            bodies: Arc::new(Semaphore::new(BODIES_LIMIT / body::PIECE)),
        })
    }
}

/// Returns the routes of the role.
pub fn router(app: Arc<App>) -> Router {
    router_with(app, Deadlines::default())
}

/// Returns the routes of the role, with other deadlines than the default ones.
pub fn router_with(app: Arc<App>, deadlines: Deadlines) -> Router {
    let mut routes = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(deadline(deadlines.request));
    if app.role.reconciles() {
        routes = routes.nest("/v1", api(&app, deadlines)).merge(page::routes(&app, deadlines));
    }
    if app.role.ingests() {
        // Reading the body, storing it, and the sweep each have their own deadline.
        let hooks = Router::new()
            .route("/webhook", post(webhook::take))
            .route("/", post(webhook::take))
            .layer(deadline(deadlines.sweep));
        routes = routes.merge(hooks);
    }
    let telemetry = app.telemetry.clone();
    routes
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "this path does not exist") })
        .layer(CatchPanicLayer::custom(move |_: Box<dyn std::any::Any + Send>| {
            // The panic hook has logged the place.
            telemetry.metrics.panicked("ingest");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log").into_response()
        }))
        .layer(middleware::from_fn(dress))
        .with_state(app)
}

/// `/v1`, behind the guard.
fn api(app: &Arc<App>, deadlines: Deadlines) -> Router<Arc<App>> {
    let quick = Router::new()
        .route("/runs", get(runs::list))
        .route("/runs/{name}", get(runs::one).delete(runs::delete))
        .route("/runs/{name}/plan", get(runs::plan))
        .route("/runs/{name}/retry", post(runs::retry))
        .route("/machines", get(sides::machines))
        .route("/machines/{id}/terminate", post(sides::terminate))
        .route("/registrations", get(sides::registrations))
        .route("/classes", get(sides::classes))
        .route("/reload", post(reload::reload))
        .route("/status", get(status::status))
        .route("/drift", get(drift::drift))
        .layer(deadline(deadlines.request));
    // These wait for forge and cloud.
    let slow = Router::new()
        .route("/sweep", post(sweep::sweep))
        .route("/machines/{id}/log", get(log::log))
        .route("/why", get(explain::why))
        .route("/explain/push", get(explain::push))
        .route("/explain/job/{id}", get(explain::job))
        .layer(deadline(deadlines.sweep));
    quick
        .merge(slow)
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "this path does not exist") })
        .layer(middleware::from_fn_with_state(app.clone(), guard::guarded))
}

fn deadline(within: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, within)
}

/// Adds headers to every response, and turns other errors (the router's rejections, wrong methods,
/// deadlines) into problem documents.
async fn dress(request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    let mut answer = problem::from_answer(answer);
    let headers = answer.headers_mut();
    let fixed: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        // The page has a policy of its own, and its files are kept.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// The extractor of [`App`] in handlers.
type Ctx = State<Arc<App>>;
