//! The routes of each address that the server listens on.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::{App, Deadlines, Refusal, deadline};
use super::{
    backup, drift, events, explain, front, guard, health, hosts, log, openapi, page, pauses,
    problem, reload, runs, session, sides, status, sweep, usage, webhook,
};

/// The routes of each address.
pub struct Doors {
    /// Webhooks and probes.
    pub webhooks: Router,
    /// `/v1`, metrics and probes.
    pub api: Router,
    /// Metrics alone, without a token.
    pub metrics: Router,
}

impl Doors {
    /// Returns the routes of the role.
    pub fn of(app: &Arc<App>) -> Self {
        let deadlines = Deadlines::default();
        let webhooks = probes(deadlines)
            .merge(hooks(app, deadlines, post(webhook::take_delivery)))
            .route("/", get(front::of_webhooks))
            .fallback(|| async {
                Refusal::new(
                    StatusCode::NOT_FOUND,
                    "this address only takes webhooks: the API has its own, `server.api` of the \
                     configuration",
                )
            });
        // The one with the most routes first: those of the others are added to it again.
        let api = guarded(app, deadlines)
            .merge(page_or(app, deadlines, front::of_api))
            .merge(probes(deadlines))
            .fallback(missing)
            .layer(middleware::from_fn_with_state(app.clone(), hosts::named));
        let metrics = Router::new()
            .route("/metrics", get(health::metrics))
            .layer(deadline(deadlines.request))
            .fallback(|| async {
                Refusal::new(StatusCode::NOT_FOUND, "this address only has /metrics")
            });
        let [webhooks, api, metrics] = [webhooks, api, metrics].map(|routes| finish(routes, app));
        Self { webhooks, api, metrics }
    }
}

/// Returns the routes of the role at one address, where only one can be had.
pub fn everything(app: &Arc<App>, deadlines: Deadlines) -> Router {
    let hooks = hooks(app, deadlines, post(webhook::take));
    let routes = probes(deadlines).merge(hooks).merge(guarded(app, deadlines));
    let routes = routes.merge(page_or(app, deadlines, front::of_everything));
    finish(routes.fallback(missing), app)
}

/// The page, with this line at `/` for a caller that reads no HTML; of a replica without a page the
/// line alone.
fn page_or(app: &Arc<App>, deadlines: Deadlines, line: front::Line) -> Router<Arc<App>> {
    if app.role.reconciles() {
        return page::routes(app, deadlines, line);
    }
    let line = line(app.role);
    Router::new().route("/", get(move || async move { line }))
}

async fn missing() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "this path does not exist")
}

fn probes(deadlines: Deadlines) -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .layer(deadline(deadlines.request))
}

/// Webhooks, for which `take` is called.
fn hooks(app: &App, deadlines: Deadlines, take: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    if !app.role.ingests() {
        return Router::new();
    }
    // Reading the body, storing it, and the sweep each have their own deadline.
    Router::new().route("/webhook", take.clone()).route("/", take).layer(deadline(deadlines.sweep))
}

/// `/metrics` and `/v1`, behind the guard.
fn guarded(app: &Arc<App>, deadlines: Deadlines) -> Router<Arc<App>> {
    let metrics = Router::new()
        .route("/metrics", get(health::metrics))
        .layer(deadline(deadlines.request))
        .layer(middleware::from_fn_with_state(app.clone(), guard::metrics));
    if app.role.reconciles() {
        // Outside of the nested routes, the guard sees whole paths.
        let v1 = Router::new()
            .nest("/v1", v1(deadlines))
            .route("/openapi.json", get(openapi::document))
            .layer(middleware::from_fn_with_state(app.clone(), guard::guarded));
        return v1.merge(metrics).merge(sign_in(deadlines));
    }
    metrics.nest("/v1", Router::new().fallback(front::no_api))
}

/// A token that may read signs in, too: the handler asks for any.
fn sign_in(deadlines: Deadlines) -> Router<Arc<App>> {
    Router::new().route("/v1/sign-in", post(session::create)).layer(deadline(deadlines.request))
}

fn v1(deadlines: Deadlines) -> Router<Arc<App>> {
    let quick = Router::new()
        .route("/runs", get(runs::list))
        .route("/runs/{name}", get(runs::one).delete(runs::delete))
        .route("/runs/{name}/plan", get(runs::plan))
        .route("/runs/{name}/retry", post(runs::retry))
        .route("/machines", get(sides::machines))
        .route("/machines/{id}/terminate", post(sides::terminate))
        .route("/registrations", get(sides::registrations))
        .route("/classes", get(sides::classes))
        .route("/pause", post(pauses::pause_all))
        .route("/resume", post(pauses::resume_all))
        .route("/classes/{name}/pause", post(pauses::pause_class))
        .route("/classes/{name}/resume", post(pauses::resume_class))
        .route("/reload", post(reload::reload))
        .route("/status", get(status::status))
        .route("/events", get(events::events))
        .route("/drift", get(drift::drift))
        .route("/usage", get(usage::usage))
        .layer(deadline(deadlines.request));
    // These wait for forge and cloud, or read much.
    let slow = Router::new()
        .route("/sweep", post(sweep::sweep))
        .route("/machines/{id}/log", get(log::log))
        .route("/why", get(explain::why))
        .route("/explain/push", get(explain::push))
        .route("/explain/job/{id}", get(explain::explain_job))
        .route("/backup", get(backup::backup))
        .layer(deadline(deadlines.sweep));
    quick.merge(slow).fallback(missing)
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

/// Adds what every answer has.
fn finish(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    let telemetry = app.telemetry.clone();
    routes
        .layer(CatchPanicLayer::custom(move |_: Box<dyn std::any::Any + Send>| {
            // The panic hook has logged the place.
            telemetry.metrics.panicked("ingest");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log").into_response()
        }))
        .layer(middleware::from_fn(dress))
        .with_state(app.clone())
}
