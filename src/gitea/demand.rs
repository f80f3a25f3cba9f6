//! How demand is known: the forge's job list, or (not in this build yet) pushes.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::ports::PortError;

use super::client::{Access, Client, Rights};
use super::version::Version;
use super::webhook::Event;
use crate::settings::Demand as Wanted;

/// What a delivery asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// To be taken in at once.
    pub hints: Vec<Hint>,
    /// The job list is worth reading soon.
    pub poll_soon: bool,
}

/// What a delivery's events ask for where the job list is the truth.
pub fn hints(events: Vec<Event>) -> Demand {
    let mut demand = Demand::default();
    for event in events {
        match event {
            Event::Queued(job) => demand.hints.push(Hint::Queued(job)),
            Event::Job { job_id, runner } => demand.hints.push(Hint::Job { job_id, runner }),
            Event::PollSoon => demand.poll_soon = true,
        }
    }
    demand
}

/// How demand is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The forge's job list is the truth.
    Jobs,
}

/// A mode, and the sentence that says why: for the log and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Why, and what to be aware of.
    pub why: String,
}

/// Why no mode fits, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Chosen, and not there.
    #[error(
        "`forge.demand = \"push\"` is not in this build of tinqs-ci yet: set it to \"jobs\" or \
         \"auto\", with a server from Gitea 1.25 on"
    )]
    Push,
    /// The server has no job list.
    #[error(
        "{version} has no list of waiting jobs for `forge.scope`, which Gitea has from 1.25 on: \
         check that what the scope names exists, and upgrade an older server (demand from pushes \
         is not in this build of tinqs-ci yet)"
    )]
    NoJobList {
        /// What the server says to be.
        version: Version,
    },
    /// The token may not read the job list.
    #[error("the list of waiting jobs may not be read: {0}")]
    Denied(String),
    /// Not a Gitea, and not asked for by name.
    #[error(
        "{version} is not supported: its Actions are not Gitea's; to try it all the same, set \
         `forge.demand = \"jobs\"`"
    )]
    Forgejo {
        /// What the server says to be.
        version: Version,
    },
}

/// Chooses the mode. What the job list answers decides; the version is for the sentence, because
/// development builds carry the number of what they are not yet.
///
/// # Errors
/// Where no mode fits: an operator has to act.
pub fn choose(wanted: Wanted, version: &Version, rights: &Rights) -> Result<Choice, Refusal> {
    match (wanted, version) {
        (Wanted::Push, _) => return Err(Refusal::Push),
        (Wanted::Auto, Version::Forgejo { .. }) => {
            return Err(Refusal::Forgejo { version: version.clone() });
        }
        (Wanted::Auto | Wanted::Jobs, _) => {}
    }
    match &rights.jobs {
        Access::Missing => Err(Refusal::NoJobList { version: version.clone() }),
        Access::Denied(_) if version.is_older_than(1, 25) => {
            Err(Refusal::NoJobList { version: version.clone() })
        }
        Access::Denied(remedy) => Err(Refusal::Denied(remedy.clone())),
        Access::Granted => {
            let chosen = if wanted == Wanted::Jobs { "as configured" } else { "chosen" };
            let aware = match (version, &rights.runners) {
                (Version::Forgejo { .. }, _) => "; Forgejo's Actions are not tested",
                (_, Access::Denied(_) | Access::Missing) => {
                    "; the token may not list runners, so what is left over of them stays"
                }
                (version, Access::Granted) if version.is_older_than(1, 27) => {
                    "; before Gitea 1.27 the forge may leave an idle runner beside a waiting job \
                     for a while"
                }
                (_, Access::Granted) => "",
            };
            let why = format!("demand `jobs`, {chosen}: {version} lists its waiting jobs{aware}");
            Ok(Choice { mode: Mode::Jobs, why })
        }
    }
}

/// Asks the forge and chooses.
///
/// # Errors
/// The outer one: the forge does not answer, nothing is decided, ask again. The inner one: no
/// mode fits.
pub async fn ask(client: &Client, wanted: Wanted) -> Result<Result<Choice, Refusal>, PortError> {
    if wanted == Wanted::Push {
        return Ok(Err(Refusal::Push));
    }
    let version = client.version().await?;
    let rights = client.rights().await?;
    Ok(choose(wanted, &version, &rights))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(wanted: Wanted, version: &str, jobs: Access) -> Result<String, String> {
        let rights = Rights { jobs, runners: Access::Granted };
        choose(wanted, &Version::parse(version), &rights)
            .map(|choice| choice.why)
            .map_err(|refusal| refusal.to_string())
    }

    fn check(got: Result<String, String>, good: bool, words: &[&str]) {
        assert_eq!(got.is_ok(), good, "{got:?}");
        let text = got.unwrap_or_else(|refusal| refusal);
        for word in words {
            assert!(text.contains(word), "`{word}` is missing in: {text}");
        }
    }

    #[test]
    fn the_job_list_decides_and_every_refusal_says_what_to_do() {
        let denied = || Access::Denied("it must have the scope `read:admin`".to_owned());
        check(chosen(Wanted::Auto, "1.27.0", Access::Granted), true, &["jobs", "1.27.0"]);
        check(chosen(Wanted::Jobs, "1.26.4", Access::Granted), true, &["as configured", "1.27"]);
        check(chosen(Wanted::Auto, "1.24.0", Access::Granted), true, &["jobs"]);
        check(chosen(Wanted::Push, "1.27.0", Access::Granted), false, &["push", "\"jobs\""]);
        check(chosen(Wanted::Auto, "1.24.7", Access::Missing), false, &["1.24.7", "1.25"]);
        check(chosen(Wanted::Jobs, "1.24.7", denied()), false, &["1.24.7", "upgrade"]);
        check(chosen(Wanted::Auto, "1.26.0+dev", denied()), false, &["read:admin"]);
        let forgejo = "12.0.0+gitea-1.22.0";
        check(chosen(Wanted::Auto, forgejo, Access::Granted), false, &["Forgejo", "\"jobs\""]);
        check(chosen(Wanted::Jobs, forgejo, Access::Granted), true, &["not tested"]);
    }

    #[test]
    fn events_become_hints() {
        let job = Event::Job { job_id: 7, runner: Some("r".into()) };
        let demand = hints(vec![job, Event::PollSoon]);
        let hint = Hint::Job { job_id: 7, runner: Some("r".into()) };
        assert_eq!(demand, Demand { hints: vec![hint], poll_soon: true });
        assert_eq!(hints(Vec::new()), Demand::default());
    }
}
