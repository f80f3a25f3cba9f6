//! The session of a browser: its cookie, and the one-time address that begins it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::guard::Identity;
use super::ticket::{Purpose, SESSION};
use super::{App, Ctx, Refusal, origin};
use crate::api::SignIn;
use crate::settings::Right;

/// The maximum number of cookies that are tried: a browser has two at most.
const TRIED: usize = 4;

/// Returns the names of the cookie, with and without TLS. Two installations at one host name have
/// different ones. A browser takes the first only from a server with TLS, and for this name alone.
fn names(installation: &str) -> [String; 2] {
    [format!("__Host-tinqs-ci.{installation}"), format!("tinqs-ci.{installation}")]
}

/// Returns the values of the cookie.
pub(super) fn cookies<'h>(
    headers: &'h HeaderMap,
    installation: &str,
) -> impl Iterator<Item = &'h str> {
    let names = names(installation);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(move |(name, _)| names.iter().any(|ours| ours == name));
    ours.map(|(_, value)| value).take(TRIED)
}

/// Returns the header that sets the cookie.
pub(super) fn begun(headers: &HeaderMap, installation: &str, sealed: &str) -> HeaderValue {
    cookie(origin::is_https(headers), installation, sealed, SESSION.as_secs())
}

/// Returns the headers that remove the cookie, whatever its name.
pub(super) fn ended(installation: &str) -> [HeaderValue; 2] {
    [true, false].map(|secure| cookie(secure, installation, "", 0))
}

fn cookie(secure: bool, installation: &str, value: &str, seconds: i64) -> HeaderValue {
    let [secured, plain] = names(installation);
    let (name, secure) = if secure { (secured, "; Secure") } else { (plain, "") };
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // The configuration allows no other letters in names.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        for text in [
            "a=1; tinqs-ci.acme=one;tinqs-ci.other=no",
            "tinqs-ci.acme; __Host-tinqs-ci.acme=two; tinqs-ci.acme.x=no",
        ] {
            headers.append(header::COOKIE, text.parse().expect("a value"));
        }
        assert_eq!(cookies(&headers, "acme").collect::<Vec<_>>(), ["one", "two"]);
        let many = "tinqs-ci.acme=x; ".repeat(100);
        headers.insert(header::COOKIE, many.parse().expect("a value"));
        assert_eq!(cookies(&headers, "acme").count(), TRIED);
    }

    #[test]
    fn the_cookie_is_for_the_server_alone_and_over_tls_for_nothing_else() {
        let mut headers = HeaderMap::new();
        let set = begun(&headers, "acme", "value");
        let expected = "tinqs-ci.acme=value; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict";
        assert_eq!(set, expected);
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://ci.example.com"));
        let set = begun(&headers, "acme", "value");
        assert_eq!(set, format!("__Host-{expected}; Secure"));
        let ended = ended("acme");
        assert!(ended.iter().all(|set| set.to_str().is_ok_and(|set| set.contains("Max-Age=0;"))));
    }
}
