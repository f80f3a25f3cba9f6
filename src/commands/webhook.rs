//! `webhook`: creates, shows, tests and removes the webhook at the forge.

pub(super) mod address;
mod delivery;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;
use tinqs_ci_gitea::client::{Client, Hook};
use tinqs_ci_gitea::demand::{self, DemandConfig, Mode};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::{cut, escape};

use super::args::{ConfigFile, Webhook, WebhookOptions};
use super::failure::{Failure, out};
use crate::settings::{self, Env, Settings};
use address::{THIS_HOST, own_url, page, webhook_address};

/// Runs a subcommand.
pub(super) async fn run(verb: Webhook, env: &Env) -> Result<(), Failure> {
    match verb {
        Webhook::Add(options) => add(&Site::of(options, env)?).await,
        Webhook::Show(options) => show(&Site::of(options, env)?).await,
        Webhook::Test(options) => delivery::test(&Site::of(options, env)?, env).await,
        Webhook::Remove(options) => remove(&Site::of(options, env)?).await,
    }
}

/// The configuration, a client of its forge, and the webhook's URL.
struct Site {
    /// The configuration file, if it is named.
    config: Option<PathBuf>,
    settings: Settings,
    client: Client,
    /// The URL of `--url`, or by `server.webhooks`.
    url: String,
}

impl Site {
    fn of(options: WebhookOptions, env: &Env) -> Result<Self, Failure> {
        let WebhookOptions { config: ConfigFile { config }, url } = options;
        let settings = settings::load(config.as_deref(), env)?.settings;
        let client = Client::new(&settings.forge, Arc::new(SystemClock)).map_err(|error| {
            Failure::usage(format!("cannot query the forge: {error}")).hint("fix `forge`")
        })?;
        let url = match url {
            Some(url) => webhook_address(&url, "--url")?,
            None => own_url(&settings.server),
        };
        Ok(Self { config, settings, client, url })
    }

    async fn hooks(&self) -> Result<Vec<Hook>, Failure> {
        self.client.hooks().await.map_err(|error| {
            Failure::failed(format!("cannot list webhooks: {}", error.message))
                .hint("`tinqs-ci doctor` checks what the token may do")
        })
    }

    fn page(&self) -> String {
        page(&self.settings.forge.url, &self.settings.forge.scope)
    }

    async fn mode(&self) -> Result<Mode, Failure> {
        let config = DemandConfig::of(&self.settings.forge);
        if let Some(mode) = config.fixed() {
            return Ok(mode);
        }
        let asked = demand::ask(&self.client, config).await;
        let asked = asked.map_err(|error| Failure::failed(cut(&error.message, 300)))?;
        asked.map(|choice| choice.mode).map_err(|refusal| {
            Failure::failed(cut(&refusal.to_string(), 400))
                .hint("`tinqs-ci doctor` checks the token and the scope")
        })
    }
}

/// Returns the webhooks that lead to this server by their address: those with exactly this URL
/// first.
pub(super) fn leading_here<'a>(hooks: &'a [Hook], url: &str, listen: SocketAddr) -> Vec<&'a Hook> {
    let is_similar = |hook: &&Hook| {
        let Ok(parsed) = Url::parse(&hook.url) else { return false };
        parsed.path() == "/webhook" || parsed.port_or_known_default() == Some(listen.port())
    };
    let (exact, others): (Vec<&Hook>, Vec<&Hook>) = hooks.iter().partition(|hook| hook.url == url);
    exact.into_iter().chain(others.into_iter().filter(is_similar)).collect()
}

/// A webhook that was created, or existed with everything that it needs.
pub(super) enum Ensured {
    Created(Hook),
    Existing(Hook),
}

impl Ensured {
    /// Says what was done, as lines.
    pub(super) fn text(&self, url: &str) -> String {
        let url = escape(url);
        match self {
            Self::Created(hook) => format!("created webhook {} → {url}\n", hook.id),
            Self::Existing(hook) => format!(
                "kept webhook {} → {url}, which exists and sends {}\n\
                 Its secret cannot be read: if deliveries are refused, run `tinqs-ci webhook remove`,\n\
                 then `tinqs-ci webhook add`.\n",
                hook.id,
                escape(&hook.events.join(", "))
            ),
        }
    }
}

/// Creates the webhook unless one with this URL exists: two would send every event twice.
pub(super) async fn ensure(
    client: &Client,
    url: &str,
    secret: &Secret,
    mode: Mode,
) -> Result<Ensured, Failure> {
    let by_hand = match mode {
        Mode::Jobs => "create it manually, or omit it: the job list is read every 10s anyway",
        Mode::Push => "create it manually: push mode needs it",
    };
    let hooks = client.hooks().await.map_err(|error| {
        Failure::failed(format!("cannot list webhooks: {}", error.message)).hint(by_hand)
    })?;
    if let Some(hook) = hooks.into_iter().find(|hook| hook.url == url) {
        let Some(lack) = lack(&hook, mode) else { return Ok(Ensured::Existing(hook)) };
        let shown = escape(url);
        let message = format!("webhook {} → {shown} exists, but {lack}", hook.id);
        return Err(Failure::failed(message)
            .hint("run `tinqs-ci webhook remove`, then `tinqs-ci webhook add`"));
    }
    match client.create_hook(url, secret, mode.events()).await {
        Ok(hook) => Ok(Ensured::Created(hook)),
        Err(error) => {
            let message = format!("cannot create the webhook: {}", error.message);
            Err(Failure::failed(message).hint(by_hand))
        }
    }
}

/// Says what an existing webhook lacks in this mode; `None`: nothing.
fn lack(hook: &Hook, mode: Mode) -> Option<String> {
    if !hook.active {
        return Some("is not active".to_owned());
    }
    let sends = |event: &&&str| hook.events.iter().any(|sent| sent == *event);
    let missing: Vec<&str> = mode.events().iter().filter(|event| !sends(event)).copied().collect();
    (!missing.is_empty()).then(|| format!("does not send {}", missing.join(", ")))
}

async fn add(site: &Site) -> Result<(), Failure> {
    let Site { settings, client, url, config: _ } = site;
    if url.contains(THIS_HOST) {
        let message = "--url is needed, because `server.webhooks` is all addresses";
        return Err(Failure::usage(message)
            .hint("name one that Gitea can reach: --url http://10.0.0.5:8080/webhook"));
    }
    let Some(secret) = &settings.forge.webhook_secret else {
        return Err(Failure::usage("`forge.webhook_secret` is not set")
            .hint("set it to a random text, such as of `openssl rand -hex 32`, in a file"));
    };
    let mode = site.mode().await?;
    out(&ensure(client, url, secret, mode).await?.text(url))?;
    let version = client.version().await;
    if let Ok(version) = &version {
        out(&address::allowed(url, version))?;
    }
    match address::unreachable_from(&settings.forge.url, url, mode) {
        Some(warning) => out(warning),
        None => Ok(()),
    }
}

async fn show(site: &Site) -> Result<(), Failure> {
    use std::fmt::Write as _;
    let hooks = site.hooks().await?;
    let ours = leading_here(&hooks, &site.url, site.settings.server.webhooks);
    if ours.is_empty() {
        let message = match hooks.len() {
            0 => "no webhook exists".to_owned(),
            n => format!("none of {n} webhooks leads to this server"),
        };
        return Err(Failure::not_found(message).hint("`tinqs-ci webhook add` creates it"));
    }
    let mode = site.mode().await?;
    let mut text = String::new();
    for hook in ours {
        let state = lack(hook, mode).unwrap_or_else(|| "complete".to_owned());
        let _ = writeln!(text, "webhook {}", hook.id);
        let _ = writeln!(text, "  URL     {}", escape(&hook.url));
        let _ = writeln!(text, "  events  {}", escape(&hook.events.join(", ")));
        let _ = writeln!(text, "  active  {}", if hook.active { "yes" } else { "no" });
        let _ = writeln!(text, "  state   {state}");
    }
    let page = site.page();
    let _ = write!(
        text,
        "\nGitea's API does not say how deliveries ended: see *Recent deliveries* of the webhook at\n\
         {page}. `tinqs-ci doctor` shows what the running server received.\n",
    );
    out(&text)
}

async fn remove(site: &Site) -> Result<(), Failure> {
    let hooks = site.hooks().await?;
    let exact: Vec<&Hook> = hooks.iter().filter(|hook| hook.url == site.url).collect();
    if exact.is_empty() {
        let similar = leading_here(&hooks, &site.url, site.settings.server.webhooks);
        let failure = Failure::not_found(format!("no webhook has the URL {}", escape(&site.url)));
        // One of these may be of another server: only its URL shows which.
        return Err(match similar.first() {
            Some(hook) => failure.hint(format!(
                "webhook {} has another: `tinqs-ci webhook remove --url {}`",
                hook.id,
                escape(&hook.url)
            )),
            None => failure.hint("`tinqs-ci webhook show` shows those that lead to this server"),
        });
    }
    for hook in exact {
        site.client.delete_hook(hook.id).await.map_err(|error| {
            Failure::failed(format!("cannot remove webhook {}: {}", hook.id, error.message))
                .hint(format!("remove it at {}", site.page()))
        })?;
        out(&format!("removed webhook {} → {}\n", hook.id, escape(&hook.url)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(id: i64, url: &str) -> Hook {
        Hook { id, url: url.into(), events: vec!["workflow_job".into()], active: true }
    }

    #[test]
    fn webhooks_that_lead_here_are_found_by_url_path_and_port() {
        let hooks = [
            hook(1, "https://chat.example.com/hook"),
            hook(2, "http://10.0.0.9:8080/"),
            hook(3, "https://ci.example.com/webhook"),
            hook(4, "http://10.0.0.5:9000/x"),
            hook(5, "not a url"),
        ];
        let listen = "0.0.0.0:8080".parse().expect("an address");
        let ids = |url: &str| -> Vec<i64> {
            leading_here(&hooks, url, listen).iter().map(|hook| hook.id).collect()
        };
        assert_eq!(ids("http://10.0.0.5:9000/x"), [4, 2, 3]);
        assert_eq!(ids("http://127.0.0.1:8080/webhook"), [2, 3]);
    }

    #[test]
    fn a_webhook_lacks_events_or_is_inactive() {
        let jobs = hook(1, "http://x/webhook");
        assert_eq!(lack(&jobs, Mode::Jobs), None);
        let missing = lack(&jobs, Mode::Push).expect("it lacks some");
        assert_eq!(missing, "does not send push, create, delete, pull_request");
        let inactive = Hook { active: false, ..jobs };
        assert_eq!(lack(&inactive, Mode::Jobs).as_deref(), Some("is not active"));
    }
}
