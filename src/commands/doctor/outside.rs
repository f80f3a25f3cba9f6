//! Checks from outside: what the address of the webhook opens to everybody who reaches it.

use std::time::Duration;

use reqwest::Url;
use tinqs_ci_net::{Distrust, Trust};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::cut;

use super::asked::asked;

const NAME: &str = "server: outside";
/// The maximum time for an answer.
const DEADLINE: Duration = Duration::from_secs(5);
const FIX: &str = "let the webhook, and the proxy in front of it, lead to `server.webhooks` only";

/// Asks the address of a webhook for the API and the metrics, without a token. Nothing if it cannot
/// be asked from here, or something else answers: checks of deliveries tell that.
pub(super) async fn outside_checks(webhook: &str, trust: &Trust) -> Vec<Check> {
    let Ok(mut url) = Url::parse(webhook) else { return Vec::new() };
    url.set_query(None);
    let shown = cut(&url.origin().ascii_serialization(), 200);
    url.set_path("/v1/status");
    let api = match asked(url.as_str(), trust, DEADLINE).await {
        Ok(status) => of_api(&shown, status),
        Err(Some(why)) => Some(distrusted(&shown, &why)),
        Err(None) => None,
    };
    url.set_path("/metrics");
    // One certificate is told once.
    let metrics = asked(url.as_str(), trust, DEADLINE).await.ok();
    api.into_iter().chain(metrics.and_then(|status| of_metrics(&shown, status))).collect()
}

fn of_api(address: &str, status: u16) -> Option<Check> {
    match status {
        404 => {
            Some(Check::ok(NAME, format!("{address} takes webhooks and does not serve the API")))
        }
        401 | 403 | 421 => Some(Check::warn(
            NAME,
            format!("{address}, where Gitea sends webhooks, leads to the API"),
            FIX,
        )),
        200..=299 => Some(Check::fail(
            NAME,
            format!("{address}, where Gitea sends webhooks, answers the API without a token"),
            FIX,
        )),
        _ => None,
    }
}

fn of_metrics(address: &str, status: u16) -> Option<Check> {
    (200..=299).contains(&status).then(|| {
        let said = format!("{address}, where Gitea sends webhooks, shows the metrics to everybody");
        Check::warn(NAME, said, FIX)
    })
}

/// Gitea verifies the certificate, too, but may know other authorities than this host.
fn distrusted(address: &str, why: &Distrust) -> Check {
    let fix = match why {
        Distrust::UnknownAuthority => {
            "Gitea's host must know the authority, and this one by TINQS_CI_CA_FILE: see \
             docs/how-to/tls.md"
        }
        Distrust::OtherName(_) => "let the webhook's URL have a name of the certificate",
        Distrust::NoTls => "let the webhook's URL begin with http://, or set `server.tls`",
        Distrust::OtherCertificate | Distrust::OtherTime | Distrust::OfAuthority => {
            "issue another certificate: see docs/how-to/tls.md"
        }
    };
    Check::warn(NAME, format!("{address}, where Gitea sends webhooks: {why}"), fix)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{StatusCode, Uri};
    use tinqs_ci_reconciler::ports::check::Outcome;
    use tokio::net::TcpListener;

    use super::*;

    /// Serves these statuses of `/v1/status` and `/metrics`, and 200 elsewhere, where redirects
    /// lead. Returns the URL of a webhook there.
    async fn served(api: u16, metrics: u16) -> String {
        let answer = move |uri: Uri| async move {
            let status = match uri.path() {
                "/v1/status" => api,
                "/metrics" => metrics,
                _ => 200,
            };
            (StatusCode::from_u16(status).expect("a status"), [("location", "/elsewhere")])
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/webhook?token=hidden")
    }

    /// Returns the outcome of each check, and whether it is about the metrics.
    async fn outcomes(webhook: &str) -> Vec<(Outcome, bool)> {
        let checks = outside_checks(webhook, &Trust::default()).await;
        let told = |check: &Check| (check.outcome, check.message.contains("the metrics"));
        for check in &checks {
            assert_eq!(check.name, NAME);
            assert!(!check.message.contains("hidden"), "{check:?}");
            assert_eq!(check.fix.is_some(), check.outcome != Outcome::Ok, "{check:?}");
        }
        checks.iter().map(told).collect()
    }

    #[tokio::test]
    async fn what_the_address_of_the_webhook_answers_is_judged() {
        for (api, metrics, expected) in [
            (404, 404, vec![(Outcome::Ok, false)]),
            (401, 401, vec![(Outcome::Warn, false)]),
            (421, 200, vec![(Outcome::Warn, false), (Outcome::Warn, true)]),
            (404, 200, vec![(Outcome::Ok, false), (Outcome::Warn, true)]),
            (200, 404, vec![(Outcome::Fail, false)]),
            // Redirects are not followed; a proxy without a server behind it tells nothing.
            (302, 302, Vec::new()),
            (502, 502, Vec::new()),
        ] {
            let webhook = served(api, metrics).await;
            assert_eq!(outcomes(&webhook).await, expected, "{api} {metrics}");
        }
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_asked_is_left_to_the_checks_of_deliveries() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let closed = format!("http://{}/webhook", listener.local_addr().expect("an address"));
        drop(listener);
        for webhook in [closed.as_str(), "nonsense", ""] {
            assert!(outcomes(webhook).await.is_empty(), "{webhook}");
        }
    }

    #[test]
    fn only_the_address_of_webhooks_passes() {
        let outcome = |status| of_api("http://10.0.0.5:8080", status).map(|check| check.outcome);
        assert_eq!(outcome(404), Some(Outcome::Ok));
        assert_eq!([401, 403, 421].map(outcome), [Some(Outcome::Warn); 3]);
        assert_eq!(outcome(200), Some(Outcome::Fail));
        assert_eq!([302, 502].map(outcome), [None; 2]);
        let metrics = |status| of_metrics("http://10.0.0.5", status).map(|check| check.outcome);
        assert_eq!(metrics(200), Some(Outcome::Warn));
        assert_eq!([401, 404, 502].map(metrics), [None; 3]);
    }

    #[test]
    fn a_certificate_that_gitea_may_refuse_is_a_warning_with_its_remedy() {
        let said = distrusted("https://ci", &Distrust::UnknownAuthority);
        assert_eq!(said.outcome, Outcome::Warn);
        assert!(said.message.contains("no authority that this system knows"), "{said:?}");
        assert!(said.fix.expect("one").contains("TINQS_CI_CA_FILE"));
    }
}
