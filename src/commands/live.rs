//! Asks a running server what it sees: `/v1/status`.

use std::time::Duration;

use tinqs_ci_net::Distrust;

use super::reach::Reach;
use crate::api::Ready;
use crate::api::status::{StatusView, Webhooks};

/// The maximum time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The report of a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The server's address.
    pub(super) url: String,
    /// The state of the server; `None` if `/v1/status` cannot be read.
    pub(super) status: Option<StatusView>,
}

impl Live {
    /// Returns the deliveries that the server received; `None` if it accepts none, or does not say.
    pub(super) fn webhooks(&self) -> Option<&Webhooks> {
        self.status.as_ref()?.webhooks.as_ref()
    }
}

/// Asks the running server: that of `TINQS_CI_URL`, else that of the configuration. The error is a
/// sentence.
pub(super) async fn ask(reach: &Reach) -> Result<Live, String> {
    let url = reach.url.trim_end_matches('/').to_owned();
    let unasked = |why: String| format!("cannot ask {url}: {why}");
    // Anybody may ask this: it tells a missing token from another program.
    let (status, body) = get(reach, "/readyz").await.map_err(unasked)?;
    if !matches!((status, serde_json::from_str::<Ready>(&body)), (200 | 503, Ok(_))) {
        return Err(unasked(format!("not a tinqs-ci server (status {status})")));
    }
    let status = match get(reach, "/v1/status").await {
        Ok((200, text)) => serde_json::from_str(&text).ok(),
        Ok(_) | Err(_) => None,
    };
    Ok(Live { url, status })
}

async fn get(reach: &Reach, path: &str) -> Result<(u16, String), String> {
    let client = tinqs_ci_net::http_client_of(&reach.trust)
        .map_err(|error| cause(&error))?
        .timeout(DEADLINE)
        // A redirect would send the token elsewhere.
        .redirect(reqwest::redirect::Policy::none());
    let (client, url) = match &reach.socket {
        Some(socket) => (client.unix_socket(socket.as_path()), "http://localhost"),
        None => (client, reach.url.trim_end_matches('/')),
    };
    let request = client.build().map_err(|error| cause(&error))?.get(format!("{url}{path}"));
    let request = match &reach.token {
        Some(token) if reach.socket.is_none() => request.bearer_auth(token.expose()),
        _ => request,
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
    if let Some(why) = Distrust::of(error) {
        return why.to_string();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
