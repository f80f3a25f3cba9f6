//! Checks of the token and of what it may read.

use tinqs_ci_gitea::client::{Access, OTHER_LEVEL, RerunAccess, Rights};
use tinqs_ci_gitea::demand::Refusal;
use tinqs_ci_gitea::{Config, RegisterIn, Scope};
use tinqs_ci_reconciler::ports::check::Check;

const OTHER_SERVER: &str = "check that the server is Gitea 1.25 or newer";

/// Returns what makes every other call fail as well: a token that is not accepted, or a scope that
/// does not exist.
pub(super) fn obstacle(forge: &Config, rights: &Result<Rights, String>) -> Option<Check> {
    let rights = rights.as_ref().ok()?;
    [&rights.jobs, &rights.runners].into_iter().find_map(|access| match access {
        Access::Rejected(why) if forge.token.is_none() => {
            let fix = "set forge.token, or GITEA_TOKEN in the environment";
            Some(Check::fail("token", why, fix))
        }
        Access::Rejected(why) => Some(Check::fail(
            "token",
            why,
            "create a new token (in Gitea: Settings → Applications) and set it as forge.token",
        )),
        Access::NoScope(what) => Some(Check::fail("scope", what, Refusal::OTHER_SCOPE)),
        Access::Granted | Access::Denied(_) | Access::Missing => None,
    })
}

/// Says what a token of this scope needs.
fn wanted(scope: &Scope) -> &'static str {
    match scope {
        Scope::All => {
            "use an administrator's token (write:admin), or set another `scope` than \"all\""
        }
        Scope::User => "give the token write:user",
        Scope::Org(_) => "use a token of an owner of the organization, with write:organization",
        Scope::Repo(..) => {
            "use a token of an administrator of the repository, with write:repository"
        }
    }
}

/// Checks which lists the token may read.
pub(super) fn list_checks(forge: &Config, rights: &Result<Rights, String>) -> Vec<Check> {
    let rights = match rights {
        Ok(rights) => rights,
        Err(why) => {
            return vec![Check::fail(
                "token",
                why,
                "check that the forge is running, and try again",
            )];
        }
    };
    let fix = || {
        if forge.token.is_none() {
            "set forge.token, or GITEA_TOKEN in the environment".to_owned()
        } else {
            wanted(&forge.scope).to_owned()
        }
    };
    let jobs = match &rights.jobs {
        Access::Granted => Check::ok("token: job list", "readable"),
        Access::Denied(why) | Access::Rejected(why) | Access::NoScope(why) => {
            Check::fail("token: job list", why, fix())
        }
        Access::Missing => {
            Check::fail("token: job list", "the server has no such list", OTHER_SERVER)
        }
    };
    let runners = match &rights.runners {
        Access::Granted => Check::ok("token: runner list", "readable"),
        Access::Denied(why) | Access::Rejected(why) | Access::NoScope(why) => {
            Check::warn("token: runner list", why, fix())
        }
        Access::Missing => Check::warn(
            "token: runner list",
            "the server has no such list: registrations cannot be observed",
            OTHER_SERVER,
        ),
    };
    vec![jobs, runners]
}

/// Checks whether machines can be registered, and whose jobs they can get.
pub(super) fn registration_checks(forge: &Config, registration: &Result<(), String>) -> Vec<Check> {
    const NAME: &str = "token: registration";
    if forge.register_in == RegisterIn::Repository {
        return vec![match registration {
            Ok(()) => Check::ok(NAME, "the token can register runners in repositories"),
            Err(why) => Check::fail(
                NAME,
                why,
                format!(
                    "use a token with write:repository of the repositories' owner or a site \
                     administrator; {OTHER_LEVEL}"
                ),
            ),
        }];
    }
    let registered = match (registration, &forge.runner_token) {
        (_, Some(_)) => Check::ok(NAME, "forge.runner_token is set"),
        (Ok(()), None) => Check::ok(NAME, "the token can create registration tokens"),
        (Err(why), None) => {
            Check::fail(NAME, why, format!("{}; or set forge.runner_token", wanted(&forge.scope)))
        }
    };
    let exposed = Check::warn(
        "runners",
        "they register in the scope: any repository in scope can take these machines",
        "set forge.register_in to \"repository\", or trust all repositories in scope alike",
    );
    let many = !matches!(forge.scope, Scope::Repo(..));
    std::iter::once(registered).chain(many.then_some(exposed)).collect()
}

/// Checks whether jobs can be run again whose machine the cloud took. Says nothing if the server
/// cannot do it, if there is no repository, or if no class wants it.
pub(super) fn rerun_check(reruns: &Result<Option<RerunAccess>, String>) -> Option<Check> {
    const NAME: &str = "token: re-runs";
    let asked = match reruns {
        Ok(asked) => asked.as_ref()?,
        Err(why) => {
            return Some(Check::warn(
                NAME,
                format!("whether the token can run jobs of lost machines again is unknown: {why}"),
                "check the forge and any proxy in front of it, then run `tinqs-ci doctor` again",
            ));
        }
    };
    let RerunAccess { repository, access } = asked;
    match access {
        Access::Granted => {
            let can = format!("the token can run jobs of lost machines again in {repository}");
            Some(Check::ok(NAME, can))
        }
        Access::Denied(why) | Access::Rejected(why) => Some(Check::warn(
            NAME,
            format!("jobs whose machine the cloud took are not run again in {repository}: {why}"),
            "use a token with write:repository of a user who may write to Actions of the \
             repositories, or set `rerun = \"never\"` in each class",
        )),
        Access::Missing | Access::NoScope(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Report;
    use super::*;

    #[test]
    fn the_right_to_run_jobs_again_is_that_in_the_repository_that_was_asked() {
        let in_site = |access| Ok(Some(RerunAccess { repository: "acme/site".into(), access }));
        let denied = || Access::Denied("403 Forbidden".into());
        let rows = [
            (in_site(Access::Granted), "✓", "jobs of lost machines again in acme/site"),
            (in_site(denied()), "!", "are not run again in acme/site: 403 Forbidden"),
            (Err("502 Bad Gateway".to_owned()), "!", "again is unknown: 502 Bad Gateway"),
        ];
        for (answer, sign, text) in rows {
            let check = rerun_check(&answer).expect("a check");
            let told = Report::new(vec![check]).text();
            assert!(told.starts_with(sign) && told.contains(text), "{told}");
        }
        assert!(rerun_check(&Ok(None)).is_none(), "nobody was asked");
    }
}
