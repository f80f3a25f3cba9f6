//! The names under which the API may be called.
//!
//! A page of another site cannot read answers of this server, unless its name leads here (DNS
//! rebinding): then the browser sends that name as `Host`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::peer::Peer;
use super::{App, Refusal};

/// Middleware of the API's own address. The socket has no name.
pub(super) async fn named(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let by_socket = matches!(Peer::of(request.extensions()), Some(Peer::Unix { .. }));
    let names = &app.live.settings().server.hosts;
    let Some(address) = app.api.filter(|_| !by_socket) else { return next.run(request).await };
    if is_named(request.headers(), request.uri(), address, names) {
        return next.run(request).await;
    }
    let detail = "this server does not have the name of the request's `Host`: add it to \
                  `server.hosts`, or use the address of `server.api`";
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response()
}

/// Whether every host that the request names is one of this server.
fn is_named(headers: &HeaderMap, uri: &Uri, address: SocketAddr, names: &[String]) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let authorities = [host.to_str().ok(), uri.authority().map(Authority::as_str)];
    let Some(host) = authorities[0] else { return false };
    [Some(host), authorities[1]].into_iter().flatten().all(|host| is_ours(host, address, names))
}

fn is_ours(authority: &str, address: SocketAddr, names: &[String]) -> bool {
    let Some(host) = host_of(authority) else { return false };
    if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        // An address as `Host` is no name that leads elsewhere. Which ones a server on all
        // addresses has is not known.
        let ip = ip.to_canonical();
        return ip.is_loopback() || address.ip().is_unspecified() || address.ip() == ip;
    }
    host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether `host` or `host:port` names loopback: `localhost`, 127.0.0.0/8, `[::1]`.
pub(super) fn is_loopback(authority: &str) -> bool {
    host_of(authority).is_some_and(|host| {
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    })
}

/// Returns the host of `host` or `host:port`; `None` if the text is neither.
fn host_of(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') { authority.find(']')? + 1 } else { 0 };
    let (host, port) = match authority[end..].find(':') {
        Some(colon) => (&authority[..end + colon], Some(&authority[end + colon + 1..])),
        None => (authority, None),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let fits = is_bracketed || !host.contains([':', '[', ']', '@']);
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    (fits && is_port && !host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_server_has_its_configured_names_loopback_and_its_address() {
        let names = ["ci.example.com".to_owned()];
        let at =
            |address: &str, host: &str| is_ours(host, address.parse().expect("an address"), &names);
        for host in ["localhost:1", "127.0.0.1", "[::1]:8081", "CI.example.com:443", "10.0.0.5:1"] {
            assert!(at("10.0.0.5:8081", host), "{host}");
        }
        for host in ["10.0.0.6", "evil.example", "x.ci.example.com", "ci.example.com.", ""] {
            assert!(!at("10.0.0.5:8081", host), "{host}");
        }
        assert!(at("0.0.0.0:8081", "192.0.2.7:8081"), "one of all addresses");
        assert!(!at("0.0.0.0:8081", "evil.example"));
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let check = |hosts: &[&str], uri: &'static str| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().expect("a value"));
            }
            let address = SocketAddr::from(([127, 0, 0, 1], 8081));
            is_named(&headers, &Uri::from_static(uri), address, &[])
        };
        assert!(check(&["localhost"], "/v1/runs"));
        assert!(!check(&[], "/v1/runs"));
        assert!(!check(&["localhost", "evil.example"], "/v1/runs"));
        assert!(!check(&["localhost"], "http://evil.example/v1/runs"));
    }
}
