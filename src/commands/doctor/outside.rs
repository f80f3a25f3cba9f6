//! Checks from outside: what the address of the webhook opens to everybody who reaches it.

use std::time::Duration;

use reqwest::Url;
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::cut;

const NAME: &str = "server: outside";
/// The maximum time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the address of a webhook for the API, without a token. `None` if it cannot be asked from
/// here, or something else answers: checks of deliveries tell that.
pub(super) async fn outside_check(webhook: &str) -> Option<Check> {
    let mut url = Url::parse(webhook).ok()?;
    url.set_path("/v1/status");
    url.set_query(None);
    let client = tinqs_ci_net::http_client()
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .ok()?;
    let status = client.get(url.clone()).send().await.ok()?.status().as_u16();
    let shown = cut(&url.origin().ascii_serialization(), 200);
    of_status(&shown, status)
}

fn of_status(address: &str, status: u16) -> Option<Check> {
    let fix = "let the webhook, and the proxy in front of it, lead to `server.webhooks` only";
    match status {
        404 => {
            Some(Check::ok(NAME, format!("{address} takes webhooks and does not serve the API")))
        }
        401 | 403 | 421 => Some(Check::warn(
            NAME,
            format!("{address}, where Gitea sends webhooks, leads to the API"),
            fix,
        )),
        200..=299 => Some(Check::fail(
            NAME,
            format!("{address}, where Gitea sends webhooks, answers the API without a token"),
            fix,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::ports::check::Outcome;

    use super::*;

    #[test]
    fn only_the_address_of_webhooks_passes() {
        let outcome = |status| of_status("http://10.0.0.5:8080", status).map(|check| check.outcome);
        assert_eq!(outcome(404), Some(Outcome::Ok));
        assert_eq!([401, 403, 421].map(outcome), [Some(Outcome::Warn); 3]);
        assert_eq!(outcome(200), Some(Outcome::Fail));
        assert_eq!([302, 502].map(outcome), [None; 2]);
    }
}
