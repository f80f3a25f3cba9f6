//! Asks a running server what it sees: `/v1/status`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tinqs_ci_reconciler::model::Secret;

use crate::api::Ready;
use crate::api::status::{StatusView, Webhooks};
use crate::settings::{Env, Settings};

/// The maximum time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a running server reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The server's address.
    pub(super) url: String,
    /// What is well there and what is not; `None` if `/v1/status` cannot be read.
    pub(super) status: Option<StatusView>,
}

impl Live {
    /// Returns the deliveries that the server received; `None` if it accepts none, or does not say.
    pub(super) fn webhooks(&self) -> Option<&Webhooks> {
        self.status.as_ref()?.webhooks.as_ref()
    }
}

/// Returns the address at which this host reaches a server that listens at `listen`.
pub(super) fn local_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks the running server: that of `TINQS_CI_URL`, else the one that the settings configure. The
/// error is a sentence.
pub(super) async fn ask(settings: &Settings, env: &Env) -> Result<Live, String> {
    let variable = |name: &str| env.get(name).filter(|text| !text.is_empty());
    let token = variable("TINQS_CI_API_TOKEN").map(|token| Secret::new(token.as_str()));
    let (url, token) = if let Some(url) = variable("TINQS_CI_URL") {
        // The configured token is not sent to another server.
        (url.trim_end_matches('/').to_owned(), token)
    } else {
        let url = format!("http://{}", local_address(settings.server.listen));
        (url, token.or_else(|| settings.server.api_token.clone()))
    };
    let unasked = |why: String| format!("cannot ask {url}: {why}");
    // Anybody may ask this: it tells a missing token from another program.
    let (status, body) = get(&format!("{url}/readyz"), None).await.map_err(unasked)?;
    if !matches!((status, serde_json::from_str::<Ready>(&body)), (200 | 503, Ok(_))) {
        return Err(unasked(format!("not a tinqs-ci server (status {status})")));
    }
    let status = match get(&format!("{url}/v1/status"), token.as_ref()).await {
        Ok((200, text)) => serde_json::from_str(&text).ok(),
        Ok(_) | Err(_) => None,
    };
    Ok(Live { url, status })
}

async fn get(url: &str, token: Option<&Secret>) -> Result<(u16, String), String> {
    let client = tinqs_ci_net::http_client()
        .timeout(DEADLINE)
        // A redirect would send the token elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| cause(&error))?;
    let request = client.get(url);
    let request = match token {
        Some(token) => request.bearer_auth(token.expose()),
        None => request,
    };
    let answer = request.send().await.map_err(|error| cause(&error))?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await.map_err(|error| cause(&error))?))
}

/// Returns the innermost cause, such as "connection refused", without the address.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.5:80", "10.0.0.5:80"),
        ] {
            let expected = expected.parse().expect("an address");
            assert_eq!(local_address(listen.parse().expect("an address")), expected);
        }
    }
}
