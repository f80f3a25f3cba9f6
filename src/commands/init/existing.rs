//! `init` on an existing configuration: creates the credentials that it names and that do not
//! exist, and checks the rest. What exists stays as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tinqs_ci_gitea::client::{Client, TokenOwner};
use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::version::Version;
use tinqs_ci_gitea::{Config, Demand};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::text::{cut, escape};

use super::ask::Prompter;
use super::write::{Made, random};
use super::{Flags, connect, hook, next, repos, scope_text, token, wants_webhook};
use crate::commands::failure::{Failure, out, warn};
use crate::commands::webhook::address::{allowed, own_url, webhook_address};
use crate::commands::webhook::{ensure, leading_here};
use crate::settings::{self, Env, Settings, address, scope};

/// Checks and completes the configuration in `flags.output`.
pub(super) async fn complete(
    flags: &Flags,
    env: &Env,
    prompter: &mut Prompter,
) -> Result<(), Failure> {
    let file = &flags.output;
    let mut files = Made::default();
    if settings::load(Some(file), env).is_err() {
        complete_credentials(flags, env, prompter, &mut files)?;
    }
    let loaded = settings::load(Some(file), env)?;
    let settings = &loaded.settings;
    agrees(flags, settings)?;
    out(&format!("kept {}\n", escape(&file.to_string_lossy())))?;
    files.finish(None)?;
    for warning in &loaded.warnings {
        warn(warning);
    }
    let (client, version, mode) = test(&settings.forge).await?;
    complete_webhook(flags, settings, (&client, &version, mode), prompter).await?;
    out(&next(file))
}

/// Creates the credential files that the configuration names and that do not exist.
fn complete_credentials(
    flags: &Flags,
    env: &Env,
    prompter: &mut Prompter,
    made: &mut Made,
) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&flags.output).unwrap_or_default();
    // Not TOML: loading it says where.
    let Ok(table) = text.parse::<toml::Table>() else { return Ok(()) };
    let named = |section: &str, key: &str| -> Option<PathBuf> {
        Some(table.get(section)?.get(key)?.get("file")?.as_str()?.into())
    };
    if let Some(file) = named("forge", "webhook_secret") {
        made.credential(&file, random)?;
    }
    let tokens = table.get("server").and_then(|server| server.get("token"));
    for token in tokens.and_then(toml::Value::as_array).into_iter().flatten() {
        let file = token.get("secret").and_then(|secret| secret.get("file"));
        if let Some(file) = file.and_then(toml::Value::as_str) {
            made.credential(Path::new(file), random)?;
        }
    }
    if let Some(file) = named("forge", "token").filter(|file| !file.exists()) {
        let (secret, _) = token::first(flags, env, &file, prompter)?;
        made.credential(&file, || Ok(secret.expose().to_owned()))?;
    }
    Ok(())
}

/// Rejects flags that the existing configuration contradicts, since it is not changed.
fn agrees(flags: &Flags, settings: &Settings) -> Result<(), Failure> {
    let forge = &settings.forge;
    let labels: Vec<&[String]> =
        settings.classes.iter().map(|class| class.labels.as_slice()).collect();
    let url = flags.url.as_ref().map(|url| connect::with_scheme(url));
    let other_url = url.map(|text| address(&text).unwrap_or(text)).filter(|url| *url != forge.url);
    let other_scope = flags.scope.clone();
    let other_scope = other_scope.filter(|text| scope(text).ok().as_ref() != Some(&forge.scope));
    let other_labels = flags.labels.as_ref().filter(|given| !labels.contains(&given.as_slice()));
    let repos: Vec<String> =
        settings.classes.iter().map(|class| repos::text(&class.repos)).collect();
    let other_repos = flags.repos.as_ref().map(|given| given.join(","));
    let other_repos = other_repos.filter(|given| !repos.contains(given));
    let listen = settings.server.webhooks.to_string();
    let other_listen = flags.listen.clone().filter(|given| *given != listen);
    let is_other_demand = flags.demand != Demand::Auto && flags.demand != forge.demand;
    let contradictions = [
        other_url.map(|given| ("--url", given, forge.url.clone())),
        other_scope.map(|given| ("--scope", given, scope_text(&forge.scope))),
        other_labels.map(|given| ("--labels", given.join(","), all(&labels))),
        other_repos.map(|given| ("--repos", given, repos.join("; "))),
        other_listen.map(|given| ("--listen", given, listen)),
        is_other_demand.then(|| ("--demand", word(flags.demand), word(forge.demand))),
    ];
    let Some((flag, given, kept)) = contradictions.into_iter().flatten().next() else {
        return Ok(());
    };
    let shown = escape(&flags.output.to_string_lossy());
    let (given, kept) = (cut(&given, 100), cut(&kept, 100));
    Err(Failure::usage(format!("{shown} exists and says `{kept}`, not {flag} {given}"))
        .hint("edit it, or name another file with --output; nothing was changed"))
}

fn all(labels: &[&[String]]) -> String {
    labels.iter().map(|labels| labels.join(",")).collect::<Vec<_>>().join("; ")
}

fn word(demand: Demand) -> String {
    match demand {
        Demand::Auto => "auto",
        Demand::Jobs => "jobs",
        Demand::Push => "push",
    }
    .to_owned()
}

/// Tests the forge, the token and the scope of the configuration.
async fn test(forge: &Config) -> Result<(Client, Version, Mode), Failure> {
    let client = Client::new(forge, Arc::new(SystemClock)).map_err(|error| {
        Failure::usage(format!("cannot query the forge: {error}"))
            .hint("fix the configuration, then run `init` again")
    })?;
    let version = client.version().await.map_err(|error| {
        let shown = escape(&forge.url);
        Failure::failed(format!("cannot reach {shown}: {}", error.message))
            .hint("check `forge.url`, and that the server is running")
    })?;
    out(&format!("✓ {} is {}\n", escape(&forge.url), escape(&version.to_string())))?;
    connect::unusable(&version, forge.demand)?;
    if let Ok(TokenOwner::Rejected(why)) = client.token_owner().await {
        return Err(Failure::failed(cut(&why, 300)).hint(token::CREATE));
    }
    let mode = connect::checked_mode(&client, &version, forge.demand, &forge.scope).await?;
    Ok((client, version, mode))
}

/// Shows the webhook that leads here; creates it if asked, else says how.
async fn complete_webhook(
    flags: &Flags,
    settings: &Settings,
    (client, version, mode): (&Client, &Version, Mode),
    prompter: &mut Prompter,
) -> Result<(), Failure> {
    let url = match &flags.webhook_url {
        Some(text) => webhook_address(text, "--webhook-url")?,
        None => own_url(&settings.server),
    };
    let hooks = client.hooks().await.unwrap_or_default();
    let found = leading_here(&hooks, &url, settings.server.webhooks);
    if let Some(hook) = found.first() {
        let (id, events) = (hook.id, escape(&hook.events.join(", ")));
        return out(&format!("✓ webhook {id} sends {events} to {}\n", escape(&hook.url)));
    }
    let Some(secret) = &settings.forge.webhook_secret else {
        return out(
            "! forge.webhook_secret is not set: webhooks only trigger the next poll early\n",
        );
    };
    if wants_webhook(flags, &url, prompter)? {
        out(&ensure(client, &url, secret, mode).await?.text(&url))?;
    } else {
        let forge = &settings.forge;
        out(&hook::by_hand(&forge.url, &forge.scope, &url, mode, "that of forge.webhook_secret"))?;
    }
    out(&allowed(&url, version))
}
