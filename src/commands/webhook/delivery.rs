//! `webhook test`: a test delivery of the forge, or a signed one of this command.

use std::time::Duration;

use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::client::Hook;
use tinqs_ci_gitea::webhook::sign;
use tinqs_ci_net::{Trust, http_client_of};
use tinqs_ci_reconciler::text::{cut, escape};

use super::address::THIS_HOST;
use super::{Site, leading_here};
use crate::api::status::Webhooks;
use crate::commands::failure::{Failure, out};
use crate::commands::live;
use crate::commands::reach::{Reach, authorities_of, local_address};
use crate::settings::Env;

/// The time in which a test delivery arrives: the forge took up to 4.5 s.
const WITHIN: Duration = Duration::from_secs(15);
/// The body of a signed delivery; no event of the forge has this name, so it starts nothing.
const PING: &str = "{\"zen\":\"tinqs-ci webhook test\"}";

/// Lets the forge send a test delivery if it can; else sends a signed one.
pub(super) async fn test(site: &Site, env: &Env) -> Result<(), Failure> {
    let hooks = match site.client.hooks().await {
        Ok(hooks) => hooks,
        Err(error) => {
            out(&format!("! cannot list webhooks: {}\n", cut(&error.message, 300)))?;
            Vec::new()
        }
    };
    let found = leading_here(&hooks, &site.url, site.settings.server.webhooks);
    let found = found.into_iter().next();
    let by_forge = match (&site.settings.forge.scope, found) {
        (_, None) => {
            out("! no webhook leads to this server: `tinqs-ci webhook add` creates it\n")?;
            None
        }
        (Scope::Repo(..), Some(hook)) if hook.events.iter().any(|event| event == "push") => {
            Some(hook)
        }
        (Scope::Repo(..), Some(hook)) => {
            out(&format!(
                "Gitea's test delivery is a push, which webhook {} does not send.\n",
                hook.id
            ))?;
            None
        }
        (Scope::All | Scope::Org(_) | Scope::User, Some(_)) => {
            out("Gitea's API sends test deliveries only of a repository's webhooks.\n")?;
            None
        }
    };
    match by_forge {
        Some(hook) => of_forge(site, hook, env).await,
        None => ping(site, found, env).await,
    }
}

/// Requests a test delivery and waits for it at the running server.
async fn of_forge(site: &Site, hook: &Hook, env: &Env) -> Result<(), Failure> {
    let before = seen(site, env).await;
    site.client.test_hook(hook.id).await.map_err(|error| {
        Failure::failed(format!("cannot request a test delivery: {}", error.message))
            .hint(format!("use *Test delivery* at {}", site.page()))
    })?;
    out(&format!(
        "Gitea sends a test delivery of webhook {} to {}: a push of the newest commit\n\
         onto itself, which starts nothing. (A repository without commits sends none.)\n",
        hook.id,
        escape(&hook.url)
    ))?;
    let Some(before) = before else {
        return Err(Failure::failed("cannot ask the running server whether it arrived")
            .hint(format!("see *Recent deliveries* at {}, or the server's log", site.page())));
    };
    let began = tokio::time::Instant::now();
    while began.elapsed() < WITHIN {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let Some(now) = seen(site, env).await else { continue };
        if now.accepted + now.ignored > before.accepted + before.ignored {
            return out("✓ the server accepted it\n");
        }
        if now.unsigned > before.unsigned {
            return Err(refused());
        }
        if now.count() > before.count() {
            return Err(Failure::failed("the server received a delivery, and did not accept it")
                .hint("see the server's log"));
        }
    }
    Err(Failure::failed(format!("no delivery arrived within {} s", WITHIN.as_secs())).hint(format!(
        "see *Recent deliveries* at {}: Gitea refuses addresses that its ALLOWED_HOST_LIST lacks",
        site.page()
    )))
}

/// Returns the deliveries that the running server has seen, if it can be asked.
async fn seen(site: &Site, env: &Env) -> Option<Webhooks> {
    let reach = Reach::of(site.config.as_deref(), env).ok()?;
    live::ask(&reach).await.ok()?.webhooks().cloned()
}

fn refused() -> Failure {
    Failure::failed("the server refuses the signature: its secret is not that of the delivery")
        .hint(
            "the webhook, forge.webhook_secret and the running server must have the same: run \
             `tinqs-ci webhook remove`, then `tinqs-ci webhook add`; `tinqs-ci reload` lets the \
             server read a changed secret",
        )
}

/// Sends a signed delivery to the webhook's address.
async fn ping(site: &Site, found: Option<&Hook>, env: &Env) -> Result<(), Failure> {
    let Some(secret) = &site.settings.forge.webhook_secret else {
        return Err(Failure::usage("`forge.webhook_secret` is not set, so nothing can be signed")
            .hint("set it here and at the webhook"));
    };
    let server = &site.settings.server;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let local = format!("{scheme}://{}/webhook", local_address(server.webhooks));
    let own = server.tls.as_ref().map(|tls| Trust::only_of(&tls.identity));
    let given = authorities_of(env)?.unwrap_or_default();
    let (url, trust) = match found {
        Some(hook) => (hook.url.as_str(), given),
        None if site.url.contains(THIS_HOST) => (local.as_str(), own.unwrap_or_default()),
        None => (site.url.as_str(), given),
    };
    let shown = escape(url);
    let answer = send(url, &trust, &sign(secret, PING.as_bytes())).await.map_err(|why| {
        Failure::failed(format!("cannot send a delivery to {shown}: {why}"))
            .hint("check the address, and that `tinqs-ci serve` runs there")
    })?;
    match answer {
        202 => out(&format!(
            "✓ the server accepted a signed delivery at {shown}\n\
             This does not show that Gitea can reach it, nor that the webhook has the same secret: after\n\
             a push, see *Recent deliveries* at {}, or run `tinqs-ci doctor`.\n",
            site.page()
        )),
        401 => Err(refused()),
        status => {
            Err(Failure::failed(format!("{shown} answered {status} to a signed delivery, not 202"))
                .hint("check that the address is that of tinqs-ci, with the path /webhook"))
        }
    }
}

async fn send(url: &str, trust: &Trust, signature: &str) -> Result<u16, String> {
    let client = http_client_of(trust)
        .map_err(|error| live::cause(&error))?
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| live::cause(&error))?;
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .header("x-gitea-event", "ping")
        .header("x-gitea-delivery", "tinqs-ci-webhook-test")
        .header("x-gitea-signature", signature)
        .body(PING);
    let answer = request.send().await.map_err(|error| live::cause(&error))?;
    Ok(answer.status().as_u16())
}
