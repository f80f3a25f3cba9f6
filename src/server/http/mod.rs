//! The HTTP server: routes, limits, problems. Bytes in, calls of the controller and ports, JSON out.

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
use crate::server::probe::StoreProbe;
use crate::server::state::{Nudge, Parts, Role};
use crate::settings::Settings;
use crate::telemetry::Telemetry;

mod body;
mod etag;
mod explain;
mod guard;
mod health;
mod listen;
mod problem;
mod runs;
mod sides;
mod sweep;
mod webhook;

pub use listen::listen;
pub(crate) use problem::Refusal;

use guard::Guard;

/// Longest webhook body, in bytes.
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// Bytes of webhook bodies held at once, of all requests together: many big bodies at once are
/// refused instead of exhausting the memory.
const BODIES_LIMIT: usize = 64 * 1024 * 1024;
/// For a request's answer.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// For a sweep's report: it waits for forge and cloud.
const SWEEP_DEADLINE: Duration = Duration::from_mins(1);

/// What requests are answered from.
pub struct App {
    controller: Arc<Controller>,
    settings: Arc<Settings>,
    telemetry: Arc<Telemetry>,
    probe: Arc<StoreProbe>,
    pushes: Option<Arc<Pushes>>,
    nudge: Arc<Nudge>,
    role: Role,
    guard: Guard,
    /// Permits for [`BODIES_LIMIT`], one per [`body::PIECE`].
    bodies: Arc<Semaphore>,
}

impl App {
    /// For these parts; `loopback`: the server listens on loopback only.
    pub fn new(parts: &Parts, nudge: Arc<Nudge>, role: Role, loopback: bool) -> Arc<Self> {
        let Parts { settings, controller, telemetry, probe, pushes, ends: _ } = parts;
        Arc::new(Self {
            guard: Guard::new(settings.server.api_token.as_ref(), loopback),
            controller: controller.clone(),
            settings: settings.clone(),
            telemetry: telemetry.clone(),
            probe: probe.clone(),
            pushes: pushes.clone(),
            nudge,
            role,
            bodies: Arc::new(Semaphore::new(BODIES_LIMIT / body::PIECE)),
        })
    }
}

/// Every route of this role.
pub fn router(app: Arc<App>) -> Router {
    let mut routes = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    if app.role.reconciles() {
        routes = routes.nest("/v1", api(&app));
    }
    routes = routes.layer(deadline(REQUEST_DEADLINE));
    if app.role.ingests() {
        // Reading the body, taking it in, and the sweep each have a deadline of their own.
        let hooks = Router::new()
            .route("/webhook", post(webhook::take))
            .route("/", post(webhook::take))
            .layer(deadline(SWEEP_DEADLINE));
        routes = routes.merge(hooks);
    }
    let telemetry = app.telemetry.clone();
    routes
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .layer(CatchPanicLayer::custom(move |_: Box<dyn std::any::Any + Send>| {
            // The panic hook has logged where.
            telemetry.metrics.panicked("ingest");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect: the log tells where")
                .into_response()
        }))
        .layer(middleware::from_fn(dress))
        .with_state(app)
}

/// `/v1`, behind the guard.
fn api(app: &Arc<App>) -> Router<Arc<App>> {
    let quick = Router::new()
        .route("/runs", get(runs::list))
        .route("/runs/{name}", get(runs::one).delete(runs::delete))
        .route("/runs/{name}/plan", get(runs::plan))
        .route("/runs/{name}/retry", post(runs::retry))
        .route("/machines", get(sides::machines))
        .route("/machines/{id}/terminate", post(sides::terminate))
        .route("/registrations", get(sides::registrations))
        .route("/classes", get(sides::classes))
        .layer(deadline(REQUEST_DEADLINE));
    // These wait for forge and cloud.
    let slow = Router::new()
        .route("/sweep", post(sweep::sweep))
        .route("/explain/push", get(explain::push))
        .route("/explain/job/{id}", get(explain::job))
        .layer(deadline(SWEEP_DEADLINE));
    quick
        .merge(slow)
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .layer(middleware::from_fn_with_state(app.clone(), guard::guarded))
}

fn deadline(within: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, within)
}

/// Headers for every answer; and every error that is not a problem document yet becomes one:
/// the router's own rejections, wrong methods, deadlines.
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
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// The app, as handlers take it.
type Ctx = State<Arc<App>>;
