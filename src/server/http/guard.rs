//! Authorization: a token of the API, or a process that the socket has admitted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::hosts::is_loopback;
use super::peer::Peer;
use super::{App, Refusal};
use crate::server::audit::Change;
use crate::server::live::Live;
use crate::settings::Right;

/// Headers that a proxy adds; the caller is then not on this host.
const FORWARDING: [&str; 5] = ["forwarded", "x-real-ip", "x-client-ip", "via", "cf-connecting-ip"];
const FORWARDING_PREFIX: &str = "x-forwarded-";

/// Decides who may call `/v1`, start a sweep, and read metrics.
pub(super) struct Guard {
    live: Arc<Live>,
    /// Whether only this host reaches the API.
    loopback: bool,
}

/// A caller who is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of the token, or `uid 1000`.
    pub(super) who: String,
    /// What the caller may do.
    pub(super) may: Right,
}

impl Guard {
    /// The tokens are those of the settings in force.
    pub(super) fn new(live: Arc<Live>, loopback: bool) -> Self {
        Self { live, loopback }
    }

    /// Finds out who calls.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Identity, Refusal> {
        if let Some(Peer::Unix { uid }) = Peer::of(extensions) {
            return Ok(Identity { who: format!("uid {uid}"), may: Right::Operate });
        }
        self.holder(&bearer(headers).map(digest).ok_or_else(unauthorized)?)
    }

    /// Returns whose token has this digest.
    fn holder(&self, given: &[u8; 32]) -> Result<Identity, Refusal> {
        let mut found = None;
        // Every token is compared, so that the duration does not tell which one it is.
        for token in self.live.settings().server.tokens() {
            if is_token(token.secret.expose(), given) {
                found = Some(Identity { who: token.name.clone(), may: token.may });
            }
        }
        found.ok_or_else(unauthorized)
    }

    /// Finds out who reads a page: a browser sends a token as the password of Basic credentials.
    /// Never for changes: a browser adds such credentials to what other sites make it send, too.
    pub(super) fn identify_reader(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Identity, Refusal> {
        match password(headers) {
            Some(password) => self.holder(&digest(&password)),
            None => self.identify(headers, extensions),
        }
    }

    /// Checks a reader of metrics: if only this host reaches the API, a caller on it needs no
    /// token.
    fn check_metrics(&self, request: &Request) -> Result<(), Refusal> {
        match self.identify(request.headers(), request.extensions()) {
            Ok(_) => Ok(()),
            Err(_) if self.loopback => is_local(request.headers(), request.uri()),
            Err(refusal) => Err(refusal),
        }
    }
}

impl Identity {
    /// Checks that the caller has this right.
    pub(super) fn needs(&self, right: Right) -> Result<(), Refusal> {
        if self.may >= right {
            return Ok(());
        }
        let detail =
            format!("the token `{}` may only read: use one whose `may` is \"operate\"", self.who);
        Err(Refusal::new(StatusCode::FORBIDDEN, detail))
    }

    /// Begins the audit of a change that this caller asks for.
    pub(super) fn change(&self, extensions: &Extensions, method: &Method, uri: &Uri) -> Change {
        let from = Peer::of(extensions).map_or_else(|| "unknown".to_owned(), |p| p.to_string());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Change::begin(&self.who, &from, &format!("{method} {path}"))
    }
}

/// Compares SHA-256 digests: that does not reveal, by its duration, the token's length or how much
/// of it is correct.
fn is_token(token: &str, given: &[u8; 32]) -> bool {
    let differs = digest(token.as_bytes()).iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    // An empty token admits nobody.
    differs == 0 && !token.is_empty()
}

/// Middleware of `/v1`: a change needs the right to operate.
pub(super) async fn guarded(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        // The script of the page follows events.
        return match app.guard.identify_reader(request.headers(), request.extensions()) {
            Ok(_) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        };
    }
    let caller = match app.guard.identify(request.headers(), request.extensions()) {
        Ok(caller) => caller,
        Err(refusal) => return refusal.into_response(),
    };
    let change = caller.change(request.extensions(), request.method(), request.uri());
    let response = match caller.needs(Right::Operate) {
        Ok(()) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    change.end(response.status().as_u16());
    response
}

/// Middleware of `/metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.guard.check_metrics(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "the API token is missing or wrong: send `Authorization: Bearer TOKEN` with one of \
         `server.token`",
    )
}

fn digest(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Returns the bearer credential of a request; `None` if there are several headers.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ") && values.next().is_none();
    is_bearer.then(|| token.trim_ascii())
}

/// Returns the password of Basic credentials; `None` if there are several headers.
fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || values.next().is_some() {
        return None;
    }
    let mut pair = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair.split_off(colon + 1))
}

/// Checks that a caller without a token is on this host: not behind a proxy, and not a page of
/// another site in a local browser (which sends `Origin`, or, after DNS rebinding, a foreign
/// `Host`).
fn is_local(headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        let help = "without a token only direct local requests are allowed";
        Err(Refusal::new(StatusCode::FORBIDDEN, format!("{why}: {help}")))
    };
    let forwarded = headers.keys().any(|name| {
        FORWARDING.contains(&name.as_str()) || name.as_str().starts_with(FORWARDING_PREFIX)
    });
    if forwarded {
        return refuse("the request was forwarded");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() || !host.is_some_and(is_loopback) {
        return refuse("`Host` is not a loopback address");
    }
    if uri.authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        return refuse("the request's host is not a loopback address");
    }
    let foreign = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| host);
        !host.is_some_and(is_loopback)
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    if origins.any(|origin| origin.to_str().map_or(true, foreign)) {
        return refuse("the request comes from another site");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tinqs_ci_reconciler::model::Secret;

    use super::*;
    use crate::settings::{Env, Token, parse};

    fn guard(tokens: &[(&str, Right)]) -> Guard {
        let text = "[forge]\nurl = \"http://forge\"";
        let mut settings =
            parse(text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings;
        let token = |(secret, may): &(&str, Right)| Token {
            name: format!("of {secret}"),
            secret: Secret::new(*secret),
            may: *may,
        };
        settings.server.tokens = tokens.iter().map(token).collect();
        Guard::new(Arc::new(Live::new(settings)), true)
    }

    fn identify(guard: &Guard, authorization: &str) -> Result<Identity, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().expect("a value"));
        guard.identify(&headers, &Extensions::new())
    }

    #[test]
    fn a_reader_may_send_a_token_as_the_password_and_a_change_may_not() {
        let guard = guard(&[("s3cret:with-colon", Right::Read)]);
        let encoded = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let cases = [
            (encoded("anybody:s3cret:with-colon"), true),
            (encoded(":s3cret:with-colon"), true),
            (encoded("anybody:wrong"), false),
            (encoded("s3cret:with-colon"), false),
            (encoded("anybody:"), false),
            ("Basic ???".to_owned(), false),
            ("Bearer s3cret:with-colon".to_owned(), true),
        ];
        for (authorization, admitted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, authorization.parse().expect("a value"));
            let reader = guard.identify_reader(&headers, &Extensions::new());
            assert_eq!(reader.is_ok(), admitted, "{authorization}");
            let is_bearer = authorization.starts_with("Bearer");
            assert_eq!(identify(&guard, &authorization).is_ok(), is_bearer, "{authorization}");
        }
    }

    #[test]
    fn an_empty_configured_token_admits_nobody() {
        let guard = guard(&[("", Right::Operate)]);
        let refused = identify(&guard, "Bearer ").expect_err("refused");
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn each_token_has_its_own_name_and_right() {
        let guard = guard(&[("first", Right::Read), ("second", Right::Operate)]);
        let first = identify(&guard, "Bearer first").expect("known");
        assert_eq!((first.who.as_str(), first.may), ("of first", Right::Read));
        assert_eq!(first.needs(Right::Read), Ok(()));
        let refused = first.needs(Right::Operate).expect_err("refused");
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let second = identify(&guard, "bearer second").expect("known");
        assert_eq!(second.needs(Right::Operate), Ok(()));
        assert!(identify(&guard, "Bearer third").is_err());
    }

    #[test]
    fn a_process_at_the_socket_needs_no_token() {
        let mut extensions = Extensions::new();
        extensions.insert(Peer::Unix { uid: 7 });
        let caller = guard(&[]).identify(&HeaderMap::new(), &extensions).expect("admitted");
        assert_eq!((caller.who.as_str(), caller.may), ("uid 7", Right::Operate));
    }
}
