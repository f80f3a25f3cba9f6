//! Finds the forge, and what the token may do there.

use std::path::Path;

use tinqs_ci_gitea::client::{Access, Client, OTHER_LEVEL, Rights, TokenOwner};
use tinqs_ci_gitea::demand::{self, DemandConfig, Mode, Refusal};
use tinqs_ci_gitea::version::Version;
use tinqs_ci_gitea::{Demand, Scope};
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::{cut, escape};

use super::ask::Prompter;
use super::client::{Problem, client, client_of, untested};
use super::scopes::{Offer, scope_of};
use super::token::{self, TokenPlace};
use super::{Flags, scope_text};
use crate::commands::failure::{Failure, out};
use crate::settings::{Env, address};

/// A forge that accepts the token for the scope.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) token: Secret,
    pub(super) token_place: TokenPlace,
    pub(super) scope: Scope,
    pub(super) client: Client,
    pub(super) mode: Mode,
}

/// Adds `https://` to an address that has no scheme.
pub(super) fn with_scheme(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    }
}

/// Asks for the forge's address until a Gitea answers there.
pub(super) async fn forge_url(
    flags: &Flags,
    env: &Env,
    prompter: &mut Prompter,
) -> Result<(String, Version), Failure> {
    let variable = env.get("GITEA_URL").filter(|url| !url.is_empty());
    let mut given = flags.url.as_ref().or(variable).cloned();
    loop {
        let text = match given.take() {
            Some(text) => text,
            None => prompter.ask("Address of your Gitea", None)?,
        };
        let problem = match address(&with_scheme(&text)) {
            Err(message) => {
                let shown = cut(&text, 100);
                let message =
                    if message.is_empty() { "is not an address".to_owned() } else { message };
                Failure::usage(format!("--url: \"{shown}\" {message}"))
                    .hint("expected an address such as https://git.example.com")
            }
            Ok(url) => match version_at(&url).await {
                Ok(version) => {
                    out(&format!("✓ {} is {}\n", escape(&url), escape(&version.to_string())))?;
                    unusable(&version, flags.demand)?;
                    return Ok((url, version));
                }
                Err(why) => cannot_reach(&text, &url, &why),
            },
        };
        if !prompter.can_ask() {
            return Err(problem);
        }
        problem.end();
    }
}

fn cannot_reach(text: &str, url: &str, why: &str) -> Failure {
    let hint = "check the address, and that the server is running";
    let failure = Failure::failed(format!("cannot reach {}: {why}", escape(url)));
    if text.contains("://") {
        return failure.hint(hint);
    }
    let plain = escape(&url.replacen("https://", "http://", 1));
    failure.hint(format!("{hint}; without TLS, write {plain}"))
}

/// Rejects a server that cannot be used with this demand.
pub(super) fn unusable(version: &Version, wanted: Demand) -> Result<(), Failure> {
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

async fn version_at(url: &str) -> Result<Version, String> {
    let client = client(url, None, &Scope::User).map_err(|error| error.to_string())?;
    client.version().await.map_err(|error| error.message)
}

/// Asks for the token and the scope until the forge accepts both.
pub(super) async fn sign_in(
    flags: &Flags,
    env: &Env,
    beside: &Path,
    (url, version): (&str, &Version),
    prompter: &mut Prompter,
) -> Result<SignedIn, Failure> {
    let (mut token, mut token_place) = token::first(flags, env, beside, prompter)?;
    let mut given = flags.scope.clone();
    loop {
        let is_asked = given.is_none() && prompter.can_ask();
        let tried = match offer(flags, url, &token, is_asked).await {
            Ok(Offer { question, usual }) => {
                let scope = prompter.until(given.take(), &question, usual, scope_of)?;
                test_scope(flags, url, version, &token, scope).await
            }
            Err(problem) => Err(problem),
        };
        let problem = match tried {
            Ok((scope, client, mode)) => {
                return Ok(SignedIn { token, token_place, scope, client, mode });
            }
            Err(problem) if !prompter.can_ask() => return Err(problem.into_failure()),
            Err(problem) => problem,
        };
        match problem {
            Problem::Forge(failure) => return Err(failure),
            Problem::Scope(failure) => {
                failure.end();
            }
            Problem::Token(failure) => {
                failure.end();
                if let Some(other) = token::another(prompter)? {
                    (token, token_place) = (other, TokenPlace::Beside);
                }
            }
        }
    }
}

/// Says whose token it is, and returns the question for the scope.
async fn offer(flags: &Flags, url: &str, token: &Secret, is_asked: bool) -> Result<Offer, Problem> {
    let usual = usual_scope(url, token).await?;
    if !is_asked {
        return Ok(Offer::all(usual));
    }
    Offer::granted(url, token, usual, flags.demand).await
}

/// Says whose token it is. Returns the widest scope that fits it.
async fn usual_scope(url: &str, token: &Secret) -> Result<&'static str, Problem> {
    let owner = client_of(url, token, &Scope::User)?.token_owner().await;
    let is_admin = match owner.map_err(|error| untested(&error))? {
        TokenOwner::Known(user) => {
            let admin = if user.is_admin { ", an administrator" } else { "" };
            out(&format!("✓ the token belongs to {}{admin}\n", cut(&user.login, 80)))
                .map_err(Problem::Forge)?;
            user.is_admin
        }
        // It lacks `read:user`, which nothing needs.
        TokenOwner::Hidden => {
            let rights = client_of(url, token, &Scope::All)?.rights().await;
            rights.map_err(|error| untested(&error))?.jobs == Access::Granted
        }
        TokenOwner::Rejected(_) => {
            let message = "the forge does not accept the token: it is wrong, has expired or was \
                           deleted";
            return Err(Problem::Token(Failure::failed(message).hint(token::CREATE)));
        }
    };
    Ok(if is_admin { "all" } else { "user" })
}

async fn test_scope(
    flags: &Flags,
    url: &str,
    version: &Version,
    token: &Secret,
    scope: Scope,
) -> Result<(Scope, Client, Mode), Problem> {
    let client = client_of(url, token, &scope)?;
    let mode = test(&client, version, flags.demand, &scope).await?;
    Ok((scope, client, mode))
}

/// Tests what the client's token may read in its scope, and says so. Returns how demand is found.
pub(super) async fn checked_mode(
    client: &Client,
    version: &Version,
    wanted: Demand,
    scope: &Scope,
) -> Result<Mode, Failure> {
    test(client, version, wanted, scope).await.map_err(Problem::into_failure)
}

async fn test(
    client: &Client,
    version: &Version,
    wanted: Demand,
    scope: &Scope,
) -> Result<Mode, Problem> {
    let rights = client.rights().await.map_err(|error| untested(&error))?;
    for access in [&rights.jobs, &rights.runners] {
        match access {
            Access::NoScope(what) => {
                let failure = Failure::usage(format!("--scope: {what}"));
                return Err(Problem::Scope(failure.hint(Refusal::OTHER_SCOPE)));
            }
            Access::Rejected(why) => {
                return Err(Problem::Token(Failure::failed(cut(why, 300)).hint(token::CREATE)));
            }
            Access::Granted | Access::Denied(_) | Access::Missing => {}
        }
    }
    say_rights(&rights, &escape(&scope_text(scope))).map_err(Problem::Forge)?;
    let mode = mode(wanted, version, &rights, scope)?;
    registers(client).await?;
    Ok(mode)
}

fn say_rights(rights: &Rights, scope: &str) -> Result<(), Failure> {
    for (what, access) in [("jobs", &rights.jobs), ("runners", &rights.runners)] {
        out(&match access {
            Access::Granted => format!("✓ the token can list {what} of {scope}\n"),
            Access::Missing => format!("✗ the forge has no list of {what} of {scope}\n"),
            Access::Denied(why) | Access::Rejected(why) | Access::NoScope(why) => {
                format!("✗ the token cannot list {what}: {}\n", cut(why, 300))
            }
        })?;
    }
    Ok(())
}

/// Rejects a token that may not register runners: `serve` would not start.
async fn registers(client: &Client) -> Result<(), Problem> {
    match client.registration_access().await {
        Ok(Access::Denied(why)) => {
            let message = format!("the token cannot register runners: {}", cut(&why, 300));
            let hint = "use a token with write:repository of the repositories' owner";
            Err(Problem::Token(Failure::failed(message).hint(format!("{hint}, {OTHER_LEVEL}"))))
        }
        // What else may be wrong was said before, and `doctor` says it again.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns how demand will be found with this token at this server.
fn mode(
    wanted: Demand,
    version: &Version,
    rights: &Rights,
    scope: &Scope,
) -> Result<Mode, Problem> {
    let denied = matches!(rights.jobs, Access::Denied(_)) && !version.precedes(1, 25);
    if denied && wanted != Demand::Push {
        let failure = Failure::failed("the token cannot read the job list, which is required");
        return Err(Problem::Token(failure.hint(match scope {
            Scope::All => "use an administrator's token (write:admin), or --scope user",
            Scope::User => "give the token write:user and write:repository",
            Scope::Org(_) => {
                "give the token write:organization; its user must own the organization"
            }
            Scope::Repo(..) => "give the token write:repository; its user must administer it",
        })));
    }
    // `init` creates a secret in every mode.
    let config = DemandConfig { wanted, secret: true };
    let choice = demand::choose(config, version, rights).map_err(|refusal| {
        let failure = Failure::failed(escape(&refusal.to_string()));
        Problem::Forge(failure.hint("--demand push needs no job list, only a webhook for pushes"))
    })?;
    if choice.mode == Mode::Push {
        out(&format!("! {}\n", escape(&choice.why))).map_err(Problem::Forge)?;
    }
    Ok(choice.mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_https() {
        for (text, url) in [
            ("git.example.com", "https://git.example.com"),
            (" git.example.com:3000/sub ", "https://git.example.com:3000/sub"),
            ("http://git.lan", "http://git.lan"),
            ("ftp://git.lan", "ftp://git.lan"),
            ("", ""),
        ] {
            assert_eq!(with_scheme(text), url);
        }
    }
}
