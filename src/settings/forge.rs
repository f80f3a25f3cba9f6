//! Builds the configuration of the forge: checks formats and contradictions.

use tinqs_ci_gitea::{Config, Demand, RegisterIn, Scope};
use tinqs_ci_reconciler::model::Secret;

use super::reader::Reader;
use super::server::warn_if_short;

pub(super) const HOUR: i64 = 3_600;

/// Fails with an empty message: the reader then says what the key's form expects.
pub(super) fn not_of_form<T>() -> Result<T, String> {
    Err(String::new())
}

/// Parses an `http` or `https` address and removes trailing slashes.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let Ok(url) = reqwest::Url::parse(text.trim()) else { return not_of_form() };
    if !["http", "https"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return not_of_form();
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user name or a password: set `forge.token` instead".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("contains `?` or `#`: expected only the server's address".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Parses `all`, `user`, `org:NAME` or `repo:OWNER/NAME`.
pub(crate) fn scope(text: &str) -> Result<Scope, String> {
    let name = |name: &str| {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"/:?#\\".contains(c);
        !name.is_empty() && !name.starts_with('.') && name.chars().all(fits)
    };
    match text.split_once(':') {
        None if text == "all" => Ok(Scope::All),
        None if text == "user" => Ok(Scope::User),
        Some(("org", org)) if name(org) => Ok(Scope::Org(org.to_owned())),
        Some(("repo", path)) => match path.split_once('/') {
            Some((owner, repo)) if name(owner) && name(repo) => {
                Ok(Scope::Repo(owner.to_owned(), repo.to_owned()))
            }
            _ => not_of_form(),
        },
        _ => not_of_form(),
    }
}

fn demand(text: &str) -> Result<Demand, String> {
    match text {
        "auto" => Ok(Demand::Auto),
        "jobs" => Ok(Demand::Jobs),
        "push" => Ok(Demand::Push),
        _ => not_of_form(),
    }
}

fn register_in(text: &str) -> Result<RegisterIn, String> {
    match text {
        "repository" => Ok(RegisterIn::Repository),
        "scope" => Ok(RegisterIn::Scope),
        _ => not_of_form(),
    }
}

/// Reads the table. Also returns the secrets of webhooks beside the first.
pub(super) fn forge(r: &Reader<'_>) -> (Config, Vec<Secret>) {
    if !r.has("url") {
        r.missing("url");
    }
    let url = r.parsed("url", address).unwrap_or_default();
    if !r.has("token") {
        r.warn("token", "is not set: the job list cannot be read without it");
    }
    let demand = r.parsed("demand", demand).unwrap_or_default();
    if demand == Demand::Push && !r.has("webhook_secret") {
        r.mistake(
            "demand",
            "\"push\" relies on webhooks and needs `forge.webhook_secret`: add webhook_secret = \
             { env = \"TINQS_CI_WEBHOOK_SECRET\" } and set the same secret in the webhook, or use \
             \"auto\" or \"jobs\"",
        );
    }
    let register_in = r.parsed("register_in", register_in).unwrap_or_default();
    if register_in == RegisterIn::Repository && r.has("runner_token") {
        r.warn(
            "runner_token",
            "is not used: each runner registers in the repository of its job; remove it, or set \
             register_in = \"scope\"",
        );
    }
    let (token, runner_token) = (r.secret("token"), r.secret("runner_token"));
    let secrets = r.secrets("webhook_secret");
    for secret in &secrets {
        warn_if_short(r, "webhook_secret", Some(secret));
    }
    let mut secrets = secrets.into_iter();
    let config = Config {
        url,
        machine_url: r.parsed("machine_url", address),
        token,
        runner_token,
        webhook_secret: secrets.next(),
        git_token: r.secret("git_token"),
        demand,
        scope: r.parsed("scope", scope).unwrap_or_default(),
        register_in,
        poll_every: r.duration("poll_every", 1, HOUR),
        sweep_every: r.duration("sweep_every", 1, HOUR),
    };
    (config, secrets.collect())
}
