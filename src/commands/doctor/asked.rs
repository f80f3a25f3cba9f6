//! One question to a server, without a token.

use std::time::Duration;

use tinqs_ci_net::{Distrust, Trust, http_client_of};

/// Returns the status of an answer.
///
/// # Errors
/// There is none, with the cause if that is its TLS.
pub(super) async fn asked(
    url: &str,
    trust: &Trust,
    within: Duration,
) -> Result<u16, Option<Distrust>> {
    let of = |error: reqwest::Error| Distrust::of(&error);
    let client = http_client_of(trust).map_err(of)?.timeout(within);
    let client = client.redirect(reqwest::redirect::Policy::none()).build().map_err(of)?;
    let answer = client.get(url).send().await.map_err(of)?;
    Ok(answer.status().as_u16())
}
