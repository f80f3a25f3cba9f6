//! Authorization: the API token, or a caller on this host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::{App, Refusal};
use crate::server::live::Live;

/// Headers that a proxy adds; the caller is then not on this host.
const FORWARDING: [&str; 5] = ["forwarded", "x-real-ip", "x-client-ip", "via", "cf-connecting-ip"];
const FORWARDING_PREFIX: &str = "x-forwarded-";

/// Decides who may call `/v1`, start a sweep, and read metrics.
pub(super) struct Guard {
    live: Arc<Live>,
    loopback: bool,
}

impl Guard {
    /// The token is that of the settings in force.
    pub(super) fn new(live: Arc<Live>, loopback: bool) -> Self {
        Self { live, loopback }
    }

    /// SHA-256 of the token. Comparing digests does not reveal, by its duration, the token's length
    /// or how much of it is correct.
    fn token(&self) -> Option<[u8; 32]> {
        let settings = self.live.settings();
        settings.server.api_token.as_ref().map(|token| match token.expose() {
            // An empty token must admit nobody: no text has this digest.
            "" => [0; 32],
            text => digest(text.as_bytes()),
        })
    }

    /// Checks a caller of `/v1` and sweeps: needs the token, or, if none is configured and the
    /// server listens on loopback, a local caller.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        match self.token() {
            Some(token) if has_token(&token, headers) => Ok(()),
            None if self.loopback => is_local(headers, uri),
            Some(_) | None => Err(unauthorised()),
        }
    }

    /// Checks a reader of metrics: on loopback a local caller needs no token.
    pub(super) fn check_metrics(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        if self.token().is_some_and(|token| has_token(&token, headers)) {
            Ok(())
        } else if self.loopback {
            is_local(headers, uri)
        } else {
            Err(unauthorised())
        }
    }
}

fn has_token(token: &[u8; 32], headers: &HeaderMap) -> bool {
    let Some(given) = bearer(headers) else { return false };
    let given = digest(given);
    token.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Middleware of `/v1`.
pub(super) async fn guarded(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.guard.check(request.headers(), request.uri()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn unauthorised() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "the API token is missing or wrong: send `Authorization: Bearer <server.api_token>`",
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
        let help = "without `server.api_token` only direct local requests are allowed";
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

/// Whether `host` or `host:port` names loopback: `localhost`, 127.0.0.0/8, `[::1]`.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("x"))),
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if authority.starts_with('[') {
        return host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tinqs_ci_reconciler::model::Secret;

    use super::*;
    use crate::settings::{Env, parse};

    #[test]
    fn only_loopback_authorities_count_as_loopback() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.8.7:8080", "[::1]", "[::1]:1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "localhost.evil.example",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "localhost:",
            "0.0.0.0",
            "192.168.0.1:8080",
            "[::1",
            "[::1]x",
            "[::2]",
            "::1",
            "user@localhost",
            "2130706433",
            "0177.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_empty_configured_token_admits_nobody() {
        let text = "[forge]\nurl = \"http://forge\"";
        let mut settings =
            parse(text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings;
        settings.server.api_token = Some(Secret::new(""));
        let guard = Guard::new(Arc::new(Live::new(settings)), true);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().expect("a value"));
        headers.insert(header::AUTHORIZATION, "Bearer ".parse().expect("a value"));
        let refused = guard.check(&headers, &Uri::from_static("/v1/runs")).expect_err("refused");
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
}
