//! Authorization: a token of the API, a process that the socket has admitted, or a browser that has
//! signed in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::hosts::is_loopback;
use super::peer::Peer;
use super::ticket::{Purpose, Ticket, uid_name};
use super::{App, Refusal, cookie, origin};
use crate::server::audit::Change;
use crate::server::live::Live;
use crate::settings::{Right, Token};

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
    /// The right of the caller.
    pub(super) may: Right,
    /// The method of authentication.
    pub(super) by: AuthMethod,
}

/// The methods by which a caller is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthMethod {
    /// By a token.
    Token,
    /// By the socket: the ID of the user.
    Socket(u32),
    /// By the cookie of a session, which a browser also adds to what other pages make it send.
    Session,
}

impl Guard {
    /// The tokens are those of the settings in force.
    pub(super) fn new(live: Arc<Live>, loopback: bool) -> Self {
        Self { live, loopback }
    }

    /// Finds out which program calls.
    pub(super) fn identify(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Identity, Refusal> {
        if let Some(Peer::Unix { uid }) = Peer::of(extensions) {
            let by = AuthMethod::Socket(uid);
            return Ok(Identity { who: uid_name(uid), may: Right::Operate, by });
        }
        self.holder(bearer(headers).ok_or_else(unauthorized)?).ok_or_else(unauthorized)
    }

    /// Returns whose token this is.
    pub(super) fn holder(&self, given: &[u8]) -> Option<Identity> {
        let given = digest(given);
        let mut found = None;
        // Every token is compared, so that the duration does not tell which one it is.
        for token in self.live.settings().server.tokens() {
            if is_token(token.secret.expose(), &given) {
                let (who, by) = (token.name.clone(), AuthMethod::Token);
                found = Some(Identity { who, may: token.may, by });
            }
        }
        found
    }

    /// Finds out who calls: a program, or a browser with the cookie of a session.
    pub(super) fn identify_any(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        now: Timestamp,
    ) -> Result<Identity, Refusal> {
        let program = self.identify(headers, extensions);
        // A token that is given counts, also if it is wrong. Other credentials are those of a proxy.
        if program.is_ok() || bearer(headers).is_some() {
            return program;
        }
        let settings = self.live.settings();
        let mut sessions = cookie::values(headers, &settings.installation);
        let open = |sealed| self.open(sealed, Purpose::Session, now);
        sessions.find_map(open).map(|(_, caller)| caller).ok_or_else(unauthorized)
    }

    /// Returns the ticket for this purpose, and whom it admits.
    pub(super) fn open(
        &self,
        sealed: &str,
        purpose: Purpose,
        now: Timestamp,
    ) -> Option<(Ticket, Identity)> {
        let settings = self.live.settings();
        let (ticket, token) = Ticket::open(sealed, purpose, settings.server.tokens(), now)?;
        let identity = Identity { who: ticket.who(), may: token.may, by: AuthMethod::Session };
        Some((ticket, identity))
    }

    /// Returns a ticket that admits this caller, and what it allows; `None` if no token can sign it.
    pub(super) fn ticket(
        &self,
        caller: &Identity,
        purpose: Purpose,
        expires: Timestamp,
    ) -> Option<(String, Right)> {
        let settings = self.live.settings();
        let uid = match caller.by {
            AuthMethod::Socket(uid) => Some(uid),
            AuthMethod::Token | AuthMethod::Session => None,
        };
        let mut signers = settings.server.tokens();
        let signer: Option<&Token> = match uid {
            // The socket has no token: any that allows the same signs, else any.
            Some(_) => signers
                .find(|token| token.may >= caller.may)
                .or_else(|| settings.server.tokens().next()),
            None => signers.find(|token| token.name == caller.who),
        };
        let ticket = Ticket { token: signer?.name.clone(), uid, expires };
        Some((ticket.sealed(purpose, signer?), signer?.may))
    }

    /// Checks a reader of metrics: if only this host reaches the API, a caller on it needs no
    /// token.
    fn check_metrics(&self, request: &Request, now: Timestamp) -> Result<(), Refusal> {
        match self.identify_any(request.headers(), request.extensions(), now) {
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

    /// Checks a change: the caller may operate, and a browser sends it from the page of this server.
    pub(super) fn may_change(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.by == AuthMethod::Session {
            origin::check(headers)?;
        }
        self.needs(Right::Operate)
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
pub(super) async fn guarded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let now = app.telemetry.now();
    match app.guard.identify_any(request.headers(), request.extensions(), now) {
        Ok(caller) => pass(caller, request, next, |_, refusal| refusal.into_response()).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Lets the request of this caller pass. A change needs the right to operate, and is a line of the
/// audit log; `refuse` answers where the caller lacks it.
pub(super) async fn pass(
    caller: Identity,
    mut request: Request,
    next: Next,
    refuse: impl FnOnce(&HeaderMap, Refusal) -> Response,
) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        request.extensions_mut().insert(caller);
        return next.run(request).await;
    }
    let change = caller.change(request.extensions(), request.method(), request.uri());
    let response = match caller.may_change(request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refuse(request.headers(), refusal),
    };
    change.end(response.status().as_u16());
    response
}

/// Middleware of `/metrics`.
pub(super) async fn metrics(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.guard.check_metrics(&request, app.telemetry.now()) {
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

    fn with_cookie(guard: &Guard, cookie: &str, authorization: Option<&str>) -> Option<Identity> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().expect("a value"));
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization.parse().expect("a value"));
        }
        guard.identify_any(&headers, &Extensions::new(), Timestamp::UNIX_EPOCH).ok()
    }

    #[test]
    fn a_session_admits_like_the_token_that_signs_it_and_a_given_token_counts_more() {
        let guard = guard(&[("reads", Right::Read), ("operates", Right::Operate)]);
        let expires = Timestamp::UNIX_EPOCH + super::super::ticket::SESSION;
        for secret in ["reads", "operates"] {
            let caller = guard.holder(secret.as_bytes()).expect("known");
            let (sealed, may) = guard.ticket(&caller, Purpose::Session, expires).expect("signed");
            let cookie = format!("other=1; tinqs-ci.tinqs-ci={sealed}");
            let expected = Identity { by: AuthMethod::Session, ..caller.clone() };
            assert_eq!(with_cookie(&guard, &cookie, None), Some(expected));
            assert_eq!(may, caller.may);
            assert_eq!(with_cookie(&guard, &cookie, Some("Bearer wrong")), None);
            let given = with_cookie(&guard, &cookie, Some("Bearer reads")).expect("known");
            assert_eq!((given.may, given.by), (Right::Read, AuthMethod::Token));
        }
    }

    #[test]
    fn a_session_of_the_socket_keeps_its_user_and_allows_what_its_signer_allows() {
        let caller = Identity { who: uid_name(7), may: Right::Operate, by: AuthMethod::Socket(7) };
        let expires = Timestamp::UNIX_EPOCH + super::super::ticket::SESSION;
        let both = [("reads", Right::Read), ("operates", Right::Operate)];
        for (tokens, may) in [(&both[..], Right::Operate), (&both[..1], Right::Read)] {
            let guard = guard(tokens);
            let (sealed, allowed) =
                guard.ticket(&caller, Purpose::Session, expires).expect("signed");
            let found = with_cookie(&guard, &format!("tinqs-ci.tinqs-ci={sealed}"), None);
            let found = found.expect("admitted");
            assert_eq!((found.who.as_str(), found.may, allowed), ("uid 7", may, may));
        }
        assert_eq!(guard(&[]).ticket(&caller, Purpose::Session, expires), None);
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
