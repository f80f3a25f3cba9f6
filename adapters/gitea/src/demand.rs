//! The source of demand: the forge's job list, or pushes that are evaluated by the forge's rules.

pub mod by_mode;

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::ports::PortError;
use tinqs_ci_workflow::Dialect;

use super::client::{Access, Client, Rights};
use super::version::Version;
use super::webhook::Event;
use crate::config::{Config, Demand as Wanted};

/// The effect of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Hints to ingest at once.
    pub hints: Vec<Hint>,
    /// Whether to read the job list soon.
    pub poll_soon: bool,
    /// Jobs that the forge blocks.
    pub blocked: Vec<i64>,
}

/// Converts a delivery's events. Only mode `jobs` makes runs of jobs: in mode `push` they would
/// duplicate those of pushes. `None`: the mode is not decided yet.
pub fn hints(events: Vec<Event>, mode: Option<Mode>) -> Demand {
    let mut demand = Demand::default();
    for event in events {
        match event {
            Event::Queued(job) if mode == Some(Mode::Jobs) => {
                demand.hints.push(Hint::Queued(job));
            }
            Event::Job { job_id, runner } => demand.hints.push(Hint::Job { job_id, runner }),
            Event::Blocked { job_id } => demand.blocked.push(job_id),
            Event::Queued(_) | Event::PollSoon => demand.poll_soon = true,
        }
    }
    demand
}

/// Source of demand, once decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The forge's job list.
    Jobs,
    /// Evaluated pushes.
    Push,
}

/// Events that a webhook must deliver in push mode.
pub const PUSH_EVENTS: [&str; 4] = ["push", "create", "delete", "pull_request"];

impl Mode {
    /// Events that a new webhook subscribes to: always `workflow_job`, which wakes runs, and in
    /// push mode the evaluated events.
    pub fn events(self) -> &'static [&'static str] {
        static ALL: [&str; 5] = ["workflow_job", "push", "create", "delete", "pull_request"];
        match self {
            Self::Jobs => &ALL[..1],
            Self::Push => &ALL,
        }
    }

    /// The configuration value.
    pub fn word(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Push => "push",
        }
    }
}

/// The configuration that decides the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandConfig {
    /// The configured mode.
    pub wanted: Wanted,
    /// Whether webhooks are signed: unsigned pushes are not evaluated.
    pub secret: bool,
}

impl DemandConfig {
    /// Takes it from the settings.
    pub fn of(forge: &Config) -> Self {
        Self { wanted: forge.demand, secret: forge.webhook_secret.is_some() }
    }

    /// The mode, unless the forge decides it.
    pub fn fixed(self) -> Option<Mode> {
        match self.wanted {
            Wanted::Auto => None,
            Wanted::Jobs => Some(Mode::Jobs),
            Wanted::Push => Some(Mode::Push),
        }
    }
}

/// A mode and the reason for it, for the log and `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChoice {
    /// The mode.
    pub mode: Mode,
    /// The reason, and known limitations.
    pub why: String,
}

/// The reason why no mode fits, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Unsigned pushes are not evaluated.
    #[error(
        "demand from pushes needs `forge.webhook_secret`, since anybody could order machines with \
         unsigned ones: set it here and at the webhook"
    )]
    NoSecret,
    /// The server has no job list.
    #[error(
        "{version} has no list of waiting jobs, which needs Gitea 1.25 or newer: upgrade an older \
         server, or set `forge.demand = \"push\"`, `forge.webhook_secret` and a webhook for pushes \
         to take demand from those"
    )]
    NoJobList {
        /// The server's version.
        version: Version,
    },
    /// The token may not read the job list.
    #[error("cannot read the list of waiting jobs: {0}")]
    Denied(String),
    /// The forge does not accept the token.
    #[error("cannot read the list of waiting jobs: {0}")]
    Rejected(String),
    /// The organization or repository of the scope does not exist.
    #[error("`forge.scope`: {0}")]
    NoScope(String),
    /// The server is a Forgejo, and the configured mode is `auto`.
    #[error("Forgejo is not supported yet ({version}): its API for Actions differs")]
    Forgejo {
        /// The server's version.
        version: Version,
    },
}

impl Refusal {
    /// The remedy for an unsupported server.
    pub const OTHER_SERVER: &str = "use a Gitea server, 1.25 or newer";
    /// The remedy for a scope that does not exist.
    pub const OTHER_SCOPE: &str = "check the spelling and that the token's user can see it; a \
                                   user's own repositories are the scope `user` with that user's \
                                   token";
}

/// Returns the refusal of a server that no mode supports, whatever its lists return.
pub fn unsupported(wanted: Wanted, version: &Version) -> Option<Refusal> {
    let forgejo = wanted == Wanted::Auto && matches!(version, Version::Forgejo { .. });
    forgejo.then(|| Refusal::Forgejo { version: version.clone() })
}

/// Chooses the mode. The response of the job list decides; the version decides only whether a list
/// that is missing may be replaced by pushes. A token that may not read the list is always an error:
/// it would not be able to register runners either.
///
/// # Errors
/// [`Refusal`] if no mode fits: an operator has to act.
pub fn choose(
    config: DemandConfig,
    version: &Version,
    rights: &Rights,
) -> Result<ModeChoice, Refusal> {
    if let Some(refusal) = unsupported(config.wanted, version) {
        return Err(refusal);
    }
    if config.wanted == Wanted::Push {
        return by_push(config, version, "as configured");
    }
    let is_old = version.precedes(1, 25);
    let may_push = config.wanted == Wanted::Auto && config.secret && is_old;
    match &rights.jobs {
        Access::Rejected(why) => Err(Refusal::Rejected(why.clone())),
        Access::NoScope(what) => Err(Refusal::NoScope(what.clone())),
        // Without the list, the right to read it does not matter.
        Access::Missing | Access::Denied(_) if may_push => {
            by_push(config, version, &format!("chosen: {version} has no list of waiting jobs"))
        }
        Access::Missing => Err(Refusal::NoJobList { version: version.clone() }),
        Access::Denied(_) if is_old => Err(Refusal::NoJobList { version: version.clone() }),
        Access::Denied(remedy) => Err(Refusal::Denied(remedy.clone())),
        Access::Granted => Ok(by_jobs(config, version, &rights.runners)),
    }
}

fn by_jobs(config: DemandConfig, version: &Version, runners: &Access) -> ModeChoice {
    let chosen = if config.wanted == Wanted::Jobs { "as configured" } else { "chosen" };
    let aware = match (version, runners) {
        (Version::Forgejo { .. }, _) => "; Forgejo's Actions are not tested",
        (version, Access::Granted) if version.is_older_than(1, 27) => {
            "; before Gitea 1.27 the forge may leave an idle runner beside a waiting job for a \
             while"
        }
        (_, Access::Granted) => "",
        _ => "; the token may not list runners, so leftover registrations are kept",
    };
    let why = format!("demand `jobs`, {chosen}: {version} lists its waiting jobs{aware}");
    ModeChoice { mode: Mode::Jobs, why }
}

fn by_push(config: DemandConfig, version: &Version, chosen: &str) -> Result<ModeChoice, Refusal> {
    if !config.secret {
        return Err(Refusal::NoSecret);
    }
    let aware = match version {
        Version::Forgejo { .. } => "; Forgejo's Actions are not tested",
        old if !ephemeral(old) => {
            "; before Gitea 1.24 there are no ephemeral runners, so no machine can be registered: \
             update the server"
        }
        Version::Gitea { .. } | Version::Unknown { .. } => {
            "; this mode does not see re-runs, schedules and lost webhooks"
        }
    };
    let why = format!("demand `push`, {chosen}{aware}");
    Ok(ModeChoice { mode: Mode::Push, why })
}

/// Whether a server may support ephemeral runners; an unknown version may.
pub fn ephemeral(version: &Version) -> bool {
    !version.is_older_than(1, 24)
}

/// The rules of a server's release line. A version older than the oldest known line has that line's
/// rules; a newer or unknown one has those of the newest.
pub fn version_for_rules(version: &Version) -> Dialect {
    if version.is_older_than(1, 26) {
        Dialect::V1_25
    } else if version.is_older_than(1, 27) {
        Dialect::V1_26
    } else {
        Dialect::V1_27
    }
}

/// Asks the forge and chooses the mode.
///
/// # Errors
/// Outer: the forge does not answer and nothing is decided; retry later. Inner: no mode fits.
pub async fn ask(
    client: &Client,
    means: DemandConfig,
) -> Result<Result<ModeChoice, Refusal>, PortError> {
    let version = client.version().await?;
    // The lists of an unsupported server have other shapes.
    if let Some(refusal) = unsupported(means.wanted, &version) {
        return Ok(Err(refusal));
    }
    let rights = client.rights().await?;
    Ok(choose(means, &version, &rights))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        wanted: Wanted,
        secret: bool,
        version: &str,
        jobs: Access,
    ) -> Result<ModeChoice, String> {
        let rights = Rights { jobs, runners: Access::Granted };
        let means = DemandConfig { wanted, secret };
        choose(means, &Version::parse(version), &rights).map_err(|refusal| refusal.to_string())
    }

    fn check(got: Result<ModeChoice, String>, mode: Option<Mode>, words: &[&str]) {
        assert_eq!(got.as_ref().ok().map(|choice| choice.mode), mode, "{got:?}");
        let text = got.map_or_else(|refusal| refusal, |choice| choice.why);
        for word in words {
            assert!(text.contains(word), "`{word}` is missing in: {text}");
        }
    }

    #[test]
    fn a_webhook_of_push_mode_delivers_jobs_and_evaluated_events() {
        assert_eq!(Mode::Jobs.events(), ["workflow_job"]);
        assert_eq!(Mode::Push.events()[0], "workflow_job");
        assert_eq!(Mode::Push.events()[1..], PUSH_EVENTS);
    }

    #[test]
    fn the_job_list_decides_and_every_refusal_names_a_remedy() {
        let denied = || Access::Denied("it must have the scope `read:admin`".to_owned());
        let jobs = Some(Mode::Jobs);
        let unsigned = |wanted, version, list| chosen(wanted, false, version, list);
        check(unsigned(Wanted::Auto, "1.27.0", Access::Granted), jobs, &["jobs", "1.27.0"]);
        check(unsigned(Wanted::Jobs, "1.26.4", Access::Granted), jobs, &["as configured", "1.27"]);
        check(unsigned(Wanted::Auto, "1.24.0", Access::Granted), jobs, &["jobs"]);
        check(unsigned(Wanted::Push, "1.27.0", Access::Granted), None, &["webhook_secret"]);
        check(unsigned(Wanted::Auto, "1.24.7", Access::Missing), None, &["1.24.7", "1.25"]);
        check(unsigned(Wanted::Jobs, "1.24.7", denied()), None, &["1.24.7", "upgrade"]);
        check(unsigned(Wanted::Auto, "1.26.0+dev", denied()), None, &["read:admin"]);
        let forgejo = "12.0.0+gitea-1.22.0";
        let words = ["Forgejo is not supported yet", forgejo];
        check(unsigned(Wanted::Auto, forgejo, Access::Granted), None, &words);
        check(unsigned(Wanted::Jobs, forgejo, Access::Granted), jobs, &["not tested"]);
    }

    #[test]
    fn signed_pushes_are_used_without_a_job_list() {
        let denied = || Access::Denied("it must have the scope `read:admin`".to_owned());
        let push = Some(Mode::Push);
        let signed = |wanted, version, list| chosen(wanted, true, version, list);
        check(signed(Wanted::Auto, "1.27.0", Access::Granted), Some(Mode::Jobs), &["1.27.0"]);
        check(signed(Wanted::Push, "1.27.0", Access::Granted), push, &["as configured"]);
        check(signed(Wanted::Auto, "1.24.7", Access::Missing), push, &["1.24.7", "re-runs"]);
        check(signed(Wanted::Auto, "1.24.7", denied()), push, &["1.24.7"]);
        check(signed(Wanted::Auto, "1.25.0+dev", Access::Missing), push, &["1.25.0+dev"]);
        check(signed(Wanted::Auto, "1.23.8", Access::Missing), push, &["1.24", "update"]);
        check(signed(Wanted::Jobs, "1.24.7", Access::Missing), None, &["upgrade"]);
    }

    #[test]
    fn a_token_that_is_not_accepted_and_a_missing_scope_are_never_a_mode() {
        let rejected = || Access::Rejected("401 Unauthorized: expired or deleted".to_owned());
        let no_scope = || Access::NoScope("no such organization `acme`".to_owned());
        let denied = || Access::Denied("it must have the scope `read:admin`".to_owned());
        for wanted in [Wanted::Auto, Wanted::Jobs] {
            for secret in [true, false] {
                for version in ["1.24.7", "1.25.4", "1.27.0", "main"] {
                    let got = |list| chosen(wanted, secret, version, list);
                    check(got(rejected()), None, &["401", "expired or deleted"]);
                    check(got(no_scope()), None, &["`forge.scope`", "no such organization `acme`"]);
                }
                for version in ["1.25.4", "1.26.0+dev", "1.27.0", "main"] {
                    check(chosen(wanted, secret, version, denied()), None, &["read:admin"]);
                    let missing = chosen(wanted, secret, version, Access::Missing);
                    check(missing, None, &["forge.demand = \"push\""]);
                }
            }
        }
        // A configured mode needs no list.
        let push = Some(Mode::Push);
        check(chosen(Wanted::Push, true, "1.27.0", rejected()), push, &["as configured"]);
    }

    #[test]
    fn each_release_line_has_its_rules() {
        for (text, dialect) in [
            ("1.21.0", Dialect::V1_25),
            ("1.25.5", Dialect::V1_25),
            ("1.26.0+dev", Dialect::V1_26),
            ("1.27.0", Dialect::V1_27),
            ("1.28.0+dev", Dialect::V1_27),
            ("main", Dialect::V1_27),
        ] {
            assert_eq!(version_for_rules(&Version::parse(text)), dialect, "{text}");
        }
    }

    #[test]
    fn events_become_hints() {
        let job = Event::Job { job_id: 7, runner: Some("r".into()) };
        let blocked = Event::Blocked { job_id: 8 };
        let demand = hints(vec![job, blocked, Event::PollSoon], Some(Mode::Jobs));
        let hint = Hint::Job { job_id: 7, runner: Some("r".into()) };
        assert_eq!(demand, Demand { hints: vec![hint], poll_soon: true, blocked: vec![8] });
        assert_eq!(hints(Vec::new(), None), Demand::default());
        let queued = tinqs_ci_reconciler::ports::WaitingJob {
            job: tinqs_ci_reconciler::model::JobRef::default(),
            runs_on: Vec::new(),
            about: tinqs_ci_reconciler::model::About::default(),
            created_at: None,
        };
        let count = |mode| hints(vec![Event::Queued(queued.clone())], mode).hints.len();
        assert_eq!((count(Some(Mode::Jobs)), count(Some(Mode::Push)), count(None)), (1, 0, 0));
    }
}
