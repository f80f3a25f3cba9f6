//! The one-time address with which the session of a browser begins.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::guard::Identity;
use super::ticket::Purpose;
use super::{App, Ctx, Refusal};
use crate::api::SignIn;
use crate::settings::Right;

/// `POST /v1/sign-in`: a one-time address for the browser of a program's user. A session does not
/// suffice, or it would never end.
pub(super) async fn create(State(app): Ctx, request: Request) -> Response {
    let caller = match app.guard.identify(request.headers(), request.extensions()) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let change = caller.change(request.extensions(), request.method(), request.uri());
    let response = match address(&app, caller) {
        Ok(address) => Json(address).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    change.end(response.status().as_u16());
    response
}

fn address(app: &Arc<App>, caller: Identity) -> Result<SignIn, Refusal> {
    let expires_at = app.codes.end(app.telemetry.now());
    let (code, may) = app.guard.ticket(&caller, Purpose::Code, expires_at).ok_or_else(|| {
        let detail = "no token is configured that could sign: add a `[[server.token]]`";
        Refusal::new(StatusCode::CONFLICT, detail)
    })?;
    let may = word(may).to_owned();
    Ok(SignIn { path: format!("/sign-in?code={code}"), expires_at, who: caller.who, may })
}

/// Returns the word of a right, as the configuration writes it.
pub(super) fn word(may: Right) -> &'static str {
    match may {
        Right::Read => "read",
        Right::Operate => "operate",
    }
}
