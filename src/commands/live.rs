//! Asks a running server what it sees: `/readyz` and `/metrics`.

use std::time::Duration;

use jiff::Timestamp;

use super::reach::Reach;
use crate::api::{Health, Part, Ready};

/// The maximum time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a running server reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// The server's address.
    pub(super) url: String,
    /// Whether it is ready, and its services.
    pub(super) ready: Ready,
    /// Its webhooks; `None` if its metrics cannot be read.
    pub(super) webhooks: Option<Webhooks>,
}

impl Live {
    /// Whether the forge denies the server's calls.
    pub(super) fn forge_denies(&self) -> Option<&Part> {
        let forge = self.ready.parts.get("forge")?;
        let denied = forge.state == Health::Failing && forge.error.as_deref() == Some("denied");
        denied.then_some(forge)
    }
}

/// The deliveries since the server's start, and the last accepted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Webhooks {
    /// Stored, or without relevance.
    pub(super) accepted: u64,
    /// Refused because the signature is missing or wrong.
    pub(super) bad_signature: u64,
    /// Refused because the forge does not send such deliveries.
    pub(super) bad_payload: u64,
    /// Not stored because of an error of this server.
    pub(super) errors: u64,
    /// Jobs that only a poll found, not a delivery.
    pub(super) found_by_poll: u64,
    /// The time of the last accepted one.
    pub(super) last: Option<Timestamp>,
}

impl Webhooks {
    /// Returns all deliveries.
    pub(super) fn count(&self) -> u64 {
        self.accepted + self.bad_signature + self.bad_payload + self.errors
    }

    /// Reads them from the text of `/metrics`.
    pub(super) fn parse(metrics: &str) -> Self {
        let mut webhooks = Self::default();
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some(value) = whole(value) else { continue };
            if series == "tinqs_ci_webhook_last_accepted_timestamp_seconds" {
                let second = i64::try_from(value).ok().filter(|second| *second > 0);
                webhooks.last = second.and_then(|second| Timestamp::from_second(second).ok());
            }
            if series == "tinqs_ci_resync_found_jobs_total" {
                webhooks.found_by_poll = value;
            }
            let Some(labels) = series.strip_prefix("tinqs_ci_webhooks_total{") else { continue };
            let is = |result: &str| labels.contains(&format!("result=\"{result}\""));
            let count = if is("accepted") || is("ignored") {
                &mut webhooks.accepted
            } else if is("bad_signature") {
                &mut webhooks.bad_signature
            } else if is("bad_payload") {
                &mut webhooks.bad_payload
            } else {
                &mut webhooks.errors
            };
            *count = count.saturating_add(value);
        }
        webhooks
    }
}

/// Returns a value of a metric without its fraction.
fn whole(value: &str) -> Option<u64> {
    value.split('.').next()?.parse().ok()
}

/// Asks the running server: that of `TINQS_CI_URL`, else that of the configuration. The error is a
/// sentence.
pub(super) async fn ask(reach: &Reach) -> Result<Live, String> {
    let url = reach.url.trim_end_matches('/').to_owned();
    let unasked = |why: String| format!("cannot ask {url}: {why}");
    let (status, body) = get(reach, "/readyz").await.map_err(unasked)?;
    let ready: Ready = match (status, serde_json::from_str(&body)) {
        (200 | 503, Ok(ready)) => ready,
        _ => return Err(unasked(format!("not a tinqs-ci server (status {status})"))),
    };
    let webhooks = match get(reach, "/metrics").await {
        Ok((200, text)) => Some(Webhooks::parse(&text)),
        Ok(_) | Err(_) => None,
    };
    Ok(Live { url, ready, webhooks })
}

async fn get(reach: &Reach, path: &str) -> Result<(u16, String), String> {
    let client = tinqs_ci_net::http_client()
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
    fn webhooks_are_read_from_the_metrics() {
        let text = "\
# HELP tinqs_ci_webhooks_total Webhook deliveries by result.
# TYPE tinqs_ci_webhooks_total counter
tinqs_ci_webhooks_total{event=\"push\",result=\"ignored\"} 2
tinqs_ci_webhooks_total{event=\"workflow_job\",result=\"accepted\"} 3
tinqs_ci_webhooks_total{event=\"unknown\",result=\"bad_signature\"} 4
tinqs_ci_webhooks_total{event=\"push\",result=\"bad_payload\"} 1
tinqs_ci_webhooks_total{event=\"push\",result=\"error\"} 5
tinqs_ci_webhook_last_accepted_timestamp_seconds 1785578400.25
tinqs_ci_resync_found_jobs_total 6
tinqs_ci_other_total{result=\"accepted\"} 9
";
        let webhooks = Webhooks::parse(text);
        let expected = Webhooks {
            accepted: 5,
            bad_signature: 4,
            bad_payload: 1,
            errors: 5,
            found_by_poll: 6,
            last: Some("2026-08-01T10:00:00Z".parse().expect("a time")),
        };
        assert_eq!(webhooks, expected);
        assert_eq!(webhooks.count(), 15);
        let none = "tinqs_ci_webhook_last_accepted_timestamp_seconds 0\nnonsense\n";
        assert_eq!(Webhooks::parse(none), Webhooks::default());
    }
}
