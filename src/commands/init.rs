//! `init`: asks for a configuration, tests it and writes it; on an existing file, checks and
//! completes what is there.

mod ask;
mod aws;
mod client;
mod connect;
mod existing;
mod from_lambda;
mod function;
mod hook;
mod machines;
mod repos;
mod scopes;
mod token;
mod write;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::{Demand, Scope};
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::escape;

use super::failure::{Failure, out};
use super::webhook::address::THIS_HOST;
use crate::settings::Env;
use ask::Prompter;
use token::TokenPlace;

pub use aws::set_up_aws;
pub use from_lambda::from_lambda;

/// The flags of `init`.
#[derive(Debug)]
pub struct Flags {
    /// The forge's address.
    pub url: Option<String>,
    /// An access token.
    pub token: Option<String>,
    /// A file that holds an access token.
    pub token_file: Option<PathBuf>,
    /// The environment variable in which the server will find the access token.
    pub token_env: Option<String>,
    /// The job and runner lists to read.
    pub scope: Option<String>,
    /// The demand mode to configure.
    pub demand: Demand,
    /// The labels of the class.
    pub labels: Option<Vec<String>>,
    /// The repositories that the class is for: patterns, or `all`.
    pub repos: Option<Vec<String>>,
    /// The address to listen on.
    pub listen: Option<String>,
    /// The webhook URL, as the forge reaches it.
    pub webhook_url: Option<String>,
    /// Whether to create the webhook.
    pub create_webhook: bool,
    /// The file to write.
    pub output: PathBuf,
    /// Whether to use defaults instead of asking.
    pub yes: bool,
}

/// The content of the configuration file.
#[derive(Debug)]
struct Answers {
    url: String,
    token: Secret,
    token_place: TokenPlace,
    scope: Scope,
    /// The requested demand setting.
    demand: Demand,
    /// The resulting mode.
    mode: Mode,
    labels: Vec<String>,
    /// The patterns of repositories; empty for all in scope.
    repos: Vec<String>,
    /// The maximum number of machines.
    limit: usize,
    listen: SocketAddr,
    webhook_url: String,
    create_webhook: bool,
}

/// Asks for the configuration, tests it, writes it, and prints the next steps. Overwrites nothing.
///
/// # Errors
/// An answer is missing or invalid, or the forge cannot be reached.
pub async fn run(flags: Flags, env: &Env) -> Result<(), Failure> {
    let mut prompter = Prompter::new(flags.yes);
    if flags.output.symlink_metadata().is_ok() {
        return existing::complete(&flags, env, &mut prompter).await;
    }
    let files = write::Files::beside(&flags.output)?;
    missing(&flags, env, &files.token, &prompter)?;
    let (url, version) = connect::forge_url(&flags, env, &mut prompter).await?;
    let signed_in =
        connect::sign_in(&flags, env, &files.token, (&url, &version), &mut prompter).await?;
    let connect::SignedIn { token, token_place, scope, client, mode } = signed_in;
    let repos = repos::repos(&flags, &scope, &client, &mut prompter).await?;
    let labels = machines::labels(&flags, &mut prompter)?;
    let listen = machines::listen_at(&flags, &mut prompter)?;
    let webhook_url = machines::webhook_url(&flags, listen, &mut prompter)?;
    let create_webhook = wants_webhook(&flags, &webhook_url, &mut prompter)?;
    let limit = machines::limit();
    let answers = Answers {
        url,
        token,
        token_place,
        scope,
        demand: flags.demand,
        mode,
        labels,
        repos,
        limit,
        listen,
        webhook_url,
        create_webhook,
    };
    let secret = files.write(&answers, env)?;
    let done = hook::add(&client, &answers, &secret, &files, &version).await;
    out(&next(&flags.output))?;
    done
}

/// Whether to create the webhook now.
fn wants_webhook(flags: &Flags, url: &str, prompter: &mut Prompter) -> Result<bool, Failure> {
    let wanted = flags.create_webhook
        || prompter.yes_or_no("Create the webhook in Gitea now?").unwrap_or(false);
    if wanted && url.contains(THIS_HOST) {
        return Err(Failure::usage(
            "--create-webhook needs --webhook-url when listening on all addresses",
        )
        .hint("add the address that Gitea can reach: --webhook-url http://10.0.0.5:8080/webhook"));
    }
    Ok(wanted)
}

/// Says which commands come next.
fn next(file: &Path) -> String {
    let named = named(file);
    let mut text = "\nNext:\n".to_owned();
    for (verb, what) in [
        ("doctor", "checks the setup"),
        ("serve", "starts the server"),
        ("webhook test", "sends a delivery to the running server"),
    ] {
        let command = format!("tinqs-ci {verb}{named}");
        let _ = writeln!(text, "  {command:22}  {what}");
    }
    text
}

/// Returns the option that names this configuration to a command, with a space before it; nothing
/// for the one that is read by default.
fn named(file: &Path) -> String {
    if file == Path::new(crate::settings::DEFAULT_FILE) {
        String::new()
    } else {
        format!(" --config {}", escape(&file.to_string_lossy()))
    }
}

/// Returns the configuration value of a scope.
fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::User => "user".to_owned(),
        Scope::Org(name) => format!("org:{name}"),
        Scope::Repo(owner, name) => format!("repo:{owner}/{name}"),
    }
}

/// Without a terminal, reports all missing flags that have no default.
fn missing(flags: &Flags, env: &Env, beside: &Path, prompter: &Prompter) -> Result<(), Failure> {
    if prompter.can_ask() {
        return Ok(());
    }
    let has_url = env.get("GITEA_URL").is_some_and(|url| !url.is_empty());
    let mut missing = Vec::new();
    if flags.url.is_none() && !has_url {
        missing.push("--url (or GITEA_URL)");
    }
    if !token::is_given(flags, env, beside) {
        missing.push("--token-file (or GITEA_TOKEN)");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "cannot ask without a terminal, and {} missing",
        match &missing[..] {
            [one] => format!("{one} is"),
            all => format!("{} are", all.join(" and ")),
        }
    ))
    .hint("tinqs-ci init --url https://git.example.com --token-file FILE"))
}
