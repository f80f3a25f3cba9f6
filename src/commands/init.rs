//! `init`: asks for a configuration, tests it and writes it.

mod ask;
mod aws;
mod hook;
mod write;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tinqs_ci_reconciler::model::Secret;

use super::failure::{Failure, out};
use crate::settings::{Env, address, label_problem, listen, scope};
use ask::Prompter;
use tinqs_ci_gitea::client::{Access, Client, Rights};
use tinqs_ci_gitea::demand::{self, DemandConfig, Mode, Refusal};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_gitea::{Config, Demand, Scope};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::text::{cut, escape};

pub use aws::set_up_aws;

/// The flags of `init`.
#[derive(Debug)]
pub struct Flags {
    /// The forge's address.
    pub url: Option<String>,
    /// An access token.
    pub token: Option<String>,
    /// A file that holds an access token.
    pub token_file: Option<PathBuf>,
    /// The job and runner lists to read.
    pub scope: Option<String>,
    /// The demand mode to configure.
    pub demand: Demand,
    /// The labels of the class.
    pub labels: Option<Vec<String>>,
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

/// The place where the server will find the token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TokenPlace {
    /// In the environment variable where `init` found it.
    Variable(&'static str),
    /// In the named file.
    File(PathBuf),
    /// In a file that `init` writes.
    Beside,
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
    listen: SocketAddr,
    webhook_url: String,
    create_webhook: bool,
}

/// Asks for the configuration, tests it, writes it, and prints the next steps.
///
/// # Errors
/// An answer is missing or invalid, the forge cannot be reached, or a file already exists.
pub async fn run(flags: Flags, env: &Env) -> Result<(), Failure> {
    let files = write::Files::beside(&flags.output)?;
    let mut prompter = Prompter::new(flags.yes);
    missing(&flags, env, &prompter)?;
    let (url, version) = forge_url(&flags, env, &mut prompter).await?;
    let (token, token_place) = token(&flags, env, &mut prompter)?;
    files.free(&token_place)?;
    let (scope, client, mode) = scope_of(&flags, &url, &version, &token, &mut prompter).await?;
    let labels = labels(&flags, &mut prompter)?;
    let listen = listen_at(&flags, &mut prompter)?;
    let webhook_url = webhook_url(&flags, listen, &mut prompter)?;
    let create_webhook = flags.create_webhook
        || prompter.yes_or_no("Create the webhook in Gitea now?").unwrap_or(false);
    if create_webhook && webhook_url.contains(THIS_HOST) {
        return Err(Failure::usage(
            "--create-webhook needs --webhook-url when listening on all addresses",
        )
        .hint("add the address that Gitea can reach: --webhook-url http://10.0.0.5:8080/webhook"));
    }
    let answers = Answers {
        url,
        token,
        token_place,
        scope,
        demand: flags.demand,
        mode,
        labels,
        listen,
        webhook_url,
        create_webhook,
    };
    let secret = files.write(&answers, env)?;
    let done = hook::add(&client, &answers, &secret, &files, &version).await;
    let named = if flags.output == Path::new(crate::settings::DEFAULT_FILE) {
        String::new()
    } else {
        format!(" --config {}", escape(&flags.output.to_string_lossy()))
    };
    out(&format!(
        "\nNext: check the setup with `tinqs-ci doctor{named}`, start with `tinqs-ci serve{named}`.\n"
    ))?;
    done
}

/// Without a terminal, reports all missing flags that have no default.
fn missing(flags: &Flags, env: &Env, prompter: &Prompter) -> Result<(), Failure> {
    if prompter.can_ask() {
        return Ok(());
    }
    let set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    let mut missing = Vec::new();
    if flags.url.is_none() && !set("GITEA_URL") {
        missing.push("--url (or GITEA_URL)");
    }
    if flags.token.is_none() && flags.token_file.is_none() && !set("GITEA_TOKEN") {
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

async fn forge_url(
    flags: &Flags,
    env: &Env,
    prompter: &mut Prompter,
) -> Result<(String, Version), Failure> {
    let variable = env.get("GITEA_URL").filter(|url| !url.is_empty());
    let mut given = flags.url.as_ref().or(variable).cloned();
    loop {
        let was_given = given.is_some();
        let text = match given.take() {
            Some(text) => text,
            None => prompter.ask("Address of your Gitea", None)?,
        };
        let problem = match address(&text) {
            Err(message) => {
                let shown = cut(&text, 100);
                let message =
                    if message.is_empty() { "is not an address".to_owned() } else { message };
                Failure::usage(format!("--url: \"{shown}\" {message}"))
                    .hint("expected an address such as https://git.example.com")
            }
            Ok(url) => match version(&url).await {
                Ok(version) => {
                    out(&format!("✓ {} is {}\n", escape(&url), escape(&version.to_string())))?;
                    unusable(&version, flags.demand)?;
                    return Ok((url, version));
                }
                Err(why) => Failure::failed(format!("cannot reach {}: {why}", escape(&url)))
                    .hint("check the address, and that the server is running"),
            },
        };
        if was_given || !prompter.can_ask() {
            return Err(problem);
        }
        problem.end();
    }
}

fn unusable(version: &Version, wanted: Demand) -> Result<(), Failure> {
    if let Some(refusal) = demand::unsupported(wanted, version) {
        return Err(Failure::usage(escape(&refusal.to_string())).hint(Refusal::OTHER_SERVER));
    }
    if !demand::ephemeral(version) {
        return Err(Failure::failed(format!("{version} is too old: it lacks ephemeral runners"))
            .hint("update to 1.25 or newer; 1.24 is enough for `--demand push`"));
    }
    if matches!(version, Version::Forgejo { .. } | Version::Unknown { .. }) {
        return out("! this server is not a supported Gitea: some features may not work\n");
    }
    Ok(())
}

async fn version(url: &str) -> Result<Version, String> {
    let client = client(url, None, &Scope::User).map_err(|error| error.to_string())?;
    client.version().await.map_err(|error| error.message)
}

fn client(
    url: &str,
    token: Option<&Secret>,
    scope: &Scope,
) -> Result<Client, tinqs_ci_gitea::client::Error> {
    let config = Config {
        url: url.to_owned(),
        machine_url: None,
        token: token.cloned(),
        runner_token: None,
        webhook_secret: None,
        git_token: None,
        demand: Demand::Auto,
        scope: scope.clone(),
        poll_every: jiff::SignedDuration::from_secs(10),
        sweep_every: jiff::SignedDuration::from_secs(60),
    };
    Client::new(&config, Arc::new(SystemClock))
}

fn token(
    flags: &Flags,
    env: &Env,
    prompter: &mut Prompter,
) -> Result<(Secret, TokenPlace), Failure> {
    if let Some(token) = &flags.token {
        return Ok((Secret::new(token.trim()), TokenPlace::Beside));
    }
    if let Some(file) = &flags.token_file {
        let shown = file.display();
        let read = std::fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("cannot read --token-file {shown}: {error}"))
                .hint("the file must contain an access token on one line")
        })?;
        if read.trim().is_empty() {
            return Err(Failure::usage(format!("--token-file {shown} is empty"))
                .hint("the file must contain an access token on one line"));
        }
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        return Ok((Secret::new(read.trim()), TokenPlace::File(whole)));
    }
    if let Some(token) = env.get("GITEA_TOKEN").filter(|token| !token.is_empty()) {
        return Ok((Secret::new(token.as_str()), TokenPlace::Variable("GITEA_TOKEN")));
    }
    let answer =
        prompter.ask_hidden("Access token (from Settings → Applications; input is hidden)")?;
    if answer.is_empty() {
        return Err(Failure::usage("no access token was entered")
            .hint("create one in Gitea: Settings → Applications → Generate New Token"));
    }
    Ok((Secret::new(answer), TokenPlace::Beside))
}

async fn scope_of(
    flags: &Flags,
    url: &str,
    version: &Version,
    token: &Secret,
    prompter: &mut Prompter,
) -> Result<(Scope, Client, Mode), Failure> {
    let unusable = |error: tinqs_ci_gitea::client::Error| {
        Failure::usage(format!("cannot query the forge: {error}")).hint("check the token")
    };
    let me = client(url, Some(token), &Scope::User).map_err(unusable)?;
    let user = me.whoami().await;
    match &user {
        Ok(user) => {
            let admin = if user.is_admin { ", an administrator" } else { "" };
            out(&format!("✓ the token belongs to {}{admin}\n", cut(&user.login, 80)))?;
        }
        Err(error) => {
            out(&format!("! cannot read the token's user: {}\n", cut(&error.message, 200)))?;
        }
    }
    let usual = if user.is_ok_and(|user| user.is_admin) { "all" } else { "user" };
    let text = match &flags.scope {
        Some(text) => text.clone(),
        None => prompter.ask_or("Scope of jobs (all, user, org:NAME, repo:OWNER/NAME)", usual)?,
    };
    let scope = scope(&text).map_err(|_| {
        Failure::usage(format!("--scope: \"{}\" is not valid", cut(&text, 60)))
            .hint("expected all, user, org:NAME or repo:OWNER/NAME")
    })?;
    let client = client(url, Some(token), &scope).map_err(unusable)?;
    let rights = client.rights().await.map_err(|error| {
        Failure::failed(format!("cannot test the token: {}", error.message)).hint("check the token")
    })?;
    for (what, access) in [("jobs", &rights.jobs), ("runners", &rights.runners)] {
        out(&match access {
            Access::Granted => format!("✓ the token can list {what} of {}\n", escape(&text)),
            Access::Denied(why) => format!("✗ the token cannot list {what}: {}\n", cut(why, 300)),
            Access::Missing => format!("✗ the forge has no list of {what} of {}\n", escape(&text)),
        })?;
    }
    let mode = mode(flags.demand, version, &rights, &scope)?;
    Ok((scope, client, mode))
}

/// Returns how demand will be found with this token at this server. Rejects a token that cannot
/// read an existing job list, because a fallback to push mode is rarely intended.
fn mode(
    wanted: Demand,
    version: &Version,
    rights: &Rights,
    scope: &Scope,
) -> Result<Mode, Failure> {
    let denied = matches!(rights.jobs, Access::Denied(_)) && !version.is_older_than(1, 25);
    if denied && wanted != Demand::Push {
        return Err(Failure::failed("the token cannot read the job list, which is required").hint(
            match scope {
                Scope::All => "use an administrator's token (write:admin), or --scope user",
                Scope::User => "give the token write:user and write:repository",
                Scope::Org(_) => {
                    "give the token write:organization; its user must own the organization"
                }
                Scope::Repo(..) => "give the token write:repository; its user must administer it",
            },
        ));
    }
    // `init` creates a secret in every mode.
    let config = DemandConfig { wanted, secret: true };
    let choice = demand::choose(config, version, rights).map_err(|refusal| {
        Failure::failed(escape(&refusal.to_string()))
            .hint("--demand push needs no job list, only a webhook that sends pushes")
    })?;
    if choice.mode == Mode::Push {
        out(&format!("! {}\n", escape(&choice.why)))?;
    }
    Ok(choice.mode)
}

fn labels(flags: &Flags, prompter: &mut Prompter) -> Result<Vec<String>, Failure> {
    let given = if let Some(labels) = &flags.labels {
        labels.clone()
    } else {
        let text =
            prompter.ask_or("Labels of the machines (* serves any job except `host`)", "*")?;
        text.split(',').map(str::to_owned).collect()
    };
    let labels: Vec<String> = given.iter().map(|label| label.trim().to_owned()).collect();
    match labels.iter().find_map(|label| label_problem(label)) {
        None => Ok(labels),
        Some(problem) => Err(Failure::usage(format!("--labels: {problem}"))
            .hint("for example --labels linux,ubuntu-latest, or --labels '*'")),
    }
}

fn listen_at(flags: &Flags, prompter: &mut Prompter) -> Result<SocketAddr, Failure> {
    let text = match &flags.listen {
        Some(text) => text.clone(),
        None => prompter.ask_or("Address to listen on for webhooks", "127.0.0.1:8080")?,
    };
    listen(&text).map_err(|message| {
        let message = if message.is_empty() { "not an address".to_owned() } else { message };
        Failure::usage(format!("--listen {}: {message}", cut(&text, 60)))
            .hint("for example 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses")
    })
}

/// A placeholder for an address that only the user knows.
const THIS_HOST: &str = "THIS-HOST";

fn webhook_url(
    flags: &Flags,
    listen: SocketAddr,
    prompter: &mut Prompter,
) -> Result<String, Failure> {
    let text = if let Some(text) = &flags.webhook_url {
        text.clone()
    } else {
        let host = match listen.ip() {
            ip if ip.is_unspecified() => THIS_HOST.to_owned(),
            ip if ip.is_ipv6() => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        let usual = format!("http://{host}:{}/webhook", listen.port());
        let answer = prompter.ask_or("Webhook URL, as your Gitea reaches this server", &usual)?;
        if answer == usual {
            return Ok(usual);
        }
        answer
    };
    let url = address(&text).map_err(|_| {
        Failure::usage(format!("--webhook-url: \"{}\" is not an address", cut(&text, 100)))
            .hint("for example http://10.0.0.5:8080/webhook")
    })?;
    let has_path = reqwest::Url::parse(&url).is_ok_and(|url| url.path() != "/");
    Ok(if has_path { url } else { format!("{url}/webhook") })
}
