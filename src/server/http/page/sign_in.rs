//! Signing in and out: by a one-time address, or with a token.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::{answer, layout};
use crate::server::http::guard::Identity;
use crate::server::http::ticket::{Purpose, SESSION, Ticket};
use crate::server::http::{App, Ctx, Refusal, cookie, origin, session};

const USED: &str = "This address was used already, or has expired: `tinqs-ci open` prints another.";
const WRONG: &str = "This is no token of this server.";

/// The fields of a form or a query string. An empty value counts as unset.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    /// The code of a one-time address.
    code: String,
    /// A token.
    token: String,
    /// The screen that was asked for.
    to: String,
}

/// `GET /sign-in[?code=]`. The code is used by the button only: programs also load addresses, for a
/// preview of them.
pub(super) async fn page(
    State(app): Ctx,
    query: Result<Query<Given>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Query(given) = query.unwrap_or_default();
    if given.code.is_empty() {
        return answer(&headers, StatusCode::OK, form(&app, &given.to, None));
    }
    let now = app.telemetry.now();
    let open = app.guard.open(&given.code, Purpose::Code, now);
    let Some((_, caller)) = open.filter(|_| !app.codes.is_used(&given.code)) else {
        return answer(&headers, StatusCode::UNAUTHORIZED, form(&app, "", Some(USED)));
    };
    let may = session::word(caller.may);
    let main = html! {
        h1 { "Sign in" }
        p { "As " strong { (caller.who) } ", who may " (may) ", for " (SESSION.as_hours()) " hours." }
        form method="post" action="/sign-in" {
            input type="hidden" name="code" value=(given.code);
            button type="submit" autofocus { "Sign in" }
        }
    };
    answer(&headers, StatusCode::OK, screen(&app, &main))
}

/// Returns the page that asks for a token. `to` is the screen that was asked for.
pub(super) fn form(app: &App, to: &str, failed: Option<&str>) -> Markup {
    let main = html! {
        h1 { "Sign in" }
        @if let Some(failed) = failed { p.bad role="alert" { (failed) } }
        p { "On the host of the server, " code { "tinqs-ci open" } " prints an address that signs you in." }
        form.filter method="post" action="/sign-in" {
            label { "Token " input type="password" name="token" autocomplete="current-password" required autofocus; }
            input type="hidden" name="to" value=(to);
            button type="submit" { "Sign in" }
        }
        p.quiet { "The token is one of " code { "server.token" } ". It is not kept: the session ends after "
            (SESSION.as_hours()) " hours, or with the token." }
    };
    screen(app, &main)
}

fn screen(app: &App, main: &Markup) -> Markup {
    let installation = &app.live.settings().installation;
    layout::page(installation, None, ("", "Sign in"), app.telemetry.now(), main)
}

/// The parts of a request beside its form.
type Sent = (Method, Uri, HeaderMap, Extensions);

/// `POST /sign-in`: sets the cookie.
pub(super) async fn submit(
    State(app): Ctx,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    form: Result<Form<Given>, FormRejection>,
) -> Response {
    let sent = (method, uri, headers, extensions);
    match signed_in(&app, &sent, form) {
        Ok(response) => response,
        Err((status, failed)) => answer(&sent.2, status, self::form(&app, "", Some(&failed))),
    }
}

fn signed_in(
    app: &App,
    (method, uri, headers, extensions): &Sent,
    form: Result<Form<Given>, FormRejection>,
) -> Result<Response, (StatusCode, String)> {
    // Otherwise a page could sign a person in as somebody else.
    origin::check(headers).map_err(|Refusal { status, detail, .. }| (status, detail))?;
    let Form(given) =
        form.map_err(|error| (error.status(), "The form cannot be read.".to_owned()))?;
    let (ticket, caller) =
        admitted(app, &given).map_err(|failed| (StatusCode::UNAUTHORIZED, failed.to_owned()))?;
    let settings = app.live.settings();
    let tokens = &mut settings.server.tokens();
    let Some(signer) = tokens.find(|token| token.name == ticket.token) else {
        return Err((StatusCode::UNAUTHORIZED, WRONG.to_owned()));
    };
    let sealed = ticket.sealed(Purpose::Session, signer);
    let set =
        cookie::begun(headers, settings.server.tls.is_some(), &settings.installation, &sealed);
    caller.change(extensions, method, uri).end(StatusCode::OK.as_u16());
    let to = HeaderValue::from_str(own_path(&given.to)).unwrap_or(HeaderValue::from_static("/"));
    let headers = [(header::SET_COOKIE, set), (header::LOCATION, to)];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// Returns the session of a one-time address or of a token, and whom it admits.
fn admitted(app: &App, given: &Given) -> Result<(Ticket, Identity), &'static str> {
    let now = app.telemetry.now();
    let expires = now + SESSION;
    if given.code.is_empty() {
        let token = given.token.trim().as_bytes();
        let caller = app.guard.holder(token).ok_or(WRONG)?;
        return Ok((Ticket { token: caller.who.clone(), uid: None, expires }, caller));
    }
    let (code, caller) = app.guard.open(&given.code, Purpose::Code, now).ok_or(USED)?;
    if !app.codes.take(&given.code, &code, now) {
        return Err(USED);
    }
    Ok((Ticket { expires, ..code }, caller))
}

/// Returns a path of this server; another address becomes the overview.
fn own_path(to: &str) -> &str {
    let is_path = to.starts_with('/') && !to.starts_with("//") && to.len() <= 2_000;
    let is_plain = to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if is_path && is_plain { to } else { "/" }
}

/// `POST /sign-out`: removes the cookie.
pub(super) async fn out(
    State(app): Ctx,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    if let Err(Refusal { status, detail, .. }) = origin::check(&headers) {
        return answer(&headers, status, form(&app, "", Some(&detail)));
    }
    if let Ok(caller) = app.guard.identify_any(&headers, &extensions, app.telemetry.now()) {
        caller.change(&extensions, &method, &uri).end(StatusCode::OK.as_u16());
    }
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/sign-in")]).into_response();
    for cookie in cookie::ended(&app.live.settings().installation) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_a_screen_of_this_server_only() {
        for path in ["/", "/runs/job-7", "/runs?text=a&class=b"] {
            assert_eq!(own_path(path), path);
        }
        for other in
            ["", "runs", "//evil.example", "/\\evil.example", "https://evil.example", "/a b"]
        {
            assert_eq!(own_path(other), "/", "{other}");
        }
    }
}
