//! The web page: the state of the installation for people, rendered on the server.
//!
//! Each screen shows the answer of a function that `/v1` uses too, so that both never disagree; each
//! action is one of `/v1`. Without a script it is current when it is loaded; the script loads it again.
//! A person signs in with a token or a one-time address, and a cookie stands for that.

mod actions;
mod assets;
mod chart;
mod classes;
mod layout;
mod machines;
mod overview;
mod parts;
mod run;
mod runs;
mod sign_in;
mod steps;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use maud::Markup;

use super::front::Line;
use super::{App, Deadlines, Refusal, deadline, guard, problem};

/// Only own files: no inline scripts or styles, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The maximum size of a form, in bytes.
const FORM: usize = 8 * 1024;

/// A screen for a caller that does not read HTML.
const PLAIN: &str = "tinqs-ci: the page for browsers; see /v1/status, /healthz and /metrics\n";

/// Returns the routes of the page, behind the guard, and those of its files. `line` is for a caller
/// that reads no HTML.
pub(super) fn routes(app: &Arc<App>, deadlines: Deadlines, line: Line) -> Router<Arc<App>> {
    let screens = Router::new()
        .route("/", get(overview::page))
        .route("/runs", get(runs::page))
        .route("/runs/{name}", get(run::page))
        .route("/machines", get(machines::page))
        .route("/classes", get(classes::page))
        .route("/usage", get(usage::page))
        .route("/usage.csv", get(usage::csv))
        .merge(acting())
        .layer(DefaultBodyLimit::max(FORM))
        .layer(middleware::from_fn_with_state((app.clone(), line), admitted))
        .layer(deadline(deadlines.sweep));
    let sign_in = Router::new()
        .route("/sign-in", get(sign_in::page).post(sign_in::submit))
        .route("/sign-out", post(sign_in::out))
        .layer(DefaultBodyLimit::max(FORM))
        .layer(deadline(deadlines.request));
    screens.merge(sign_in).route("/assets/{file}", get(assets::file))
}

/// Returns the routes of the actions of a person.
fn acting() -> Router<Arc<App>> {
    let pause = || get(actions::ask_pause).post(actions::pause);
    Router::new()
        .route("/runs/{name}/{action}", get(actions::ask_run).post(actions::do_run))
        .route("/machines/{id}/terminate", get(actions::ask_terminate).post(actions::terminate))
        .route("/pause", pause())
        .route("/resume", pause())
        .route("/classes/{name}/pause", pause())
        .route("/classes/{name}/resume", pause())
        .route("/sweep", get(actions::ask_sweep).post(actions::sweep))
}

/// Middleware of the screens. A person who has not signed in gets the page for that.
async fn admitted(
    State((app, line)): State<(Arc<App>, Line)>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if !reads_html(headers) && request.uri().path() == "/" {
        return line(app.role).into_response();
    }
    match app.guard.identify_any(headers, request.extensions(), app.telemetry.now()) {
        Ok(caller) => guard::pass(caller, request, next, refused).await,
        Err(refusal) if !reads_html(headers) => refusal.into_response(),
        Err(refusal) => {
            let asked = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let form = sign_in::form(&app, asked, None);
            let mut response = answer(headers, refusal.status, form);
            let scheme = problem::BEARER;
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            response
        }
    }
}

/// Whether a caller reads HTML.
fn reads_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    accepts.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
}

/// Returns a screen, or what a caller that reads no HTML gets.
fn answer(headers: &HeaderMap, status: StatusCode, markup: Markup) -> Response {
    if !reads_html(headers) {
        return (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], PLAIN)
            .into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // A form of the page says where it comes from; other sites learn nothing.
        (header::REFERRER_POLICY, "same-origin"),
        (header::VARY, "accept, cookie"),
    ];
    (status, headers, markup.into_string()).into_response()
}

/// Returns a screen that says what failed.
fn refused(headers: &HeaderMap, refusal: Refusal) -> Response {
    if !reads_html(headers) {
        return refusal.into_response();
    }
    let status = refusal.status;
    answer(headers, status, layout::failure(status, &refusal.detail))
}

#[cfg(test)]
mod tests;
