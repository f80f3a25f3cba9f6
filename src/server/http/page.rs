//! The web page: the state of the installation for people, rendered on the server.
//!
//! Each screen shows the answer of a function that `/v1` uses too, so that both never disagree. It
//! reads only. Without a script it is current when it is loaded; the script loads it again.

mod assets;
mod classes;
mod layout;
mod machines;
mod overview;
mod parts;
mod run;
mod runs;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::Markup;

use super::{App, Deadlines, Refusal, deadline, front};

/// Only own files: no inline scripts or styles, and nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// A screen for a caller that does not read HTML.
const PLAIN: &str = "tinqs-ci: the page for browsers; see /v1/status, /healthz and /metrics\n";

/// Returns the routes of the page, behind the guard, and those of its files.
pub(super) fn routes(app: &Arc<App>, deadlines: Deadlines) -> Router<Arc<App>> {
    let screens = Router::new()
        .route("/", get(overview::page))
        .route("/runs", get(runs::page))
        .route("/runs/{name}", get(run::page))
        .route("/machines", get(machines::page))
        .route("/classes", get(classes::page))
        .layer(middleware::from_fn_with_state(app.clone(), admitted))
        .layer(deadline(deadlines.sweep));
    screens.route("/assets/{file}", get(assets::file))
}

/// Middleware of the screens. A browser asks its user for a token, as the password.
async fn admitted(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !reads_html(headers) && request.uri().path() == "/" {
        return front::of_everything(State(app)).await.into_response();
    }
    let Err(refusal) = app.guard.identify_reader(headers, request.extensions()) else {
        return next.run(request).await;
    };
    let mut response = refused(headers, refusal);
    let ask = HeaderValue::from_static("Basic realm=\"tinqs-ci: a token as the password\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    response
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
        (header::VARY, "accept"),
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
