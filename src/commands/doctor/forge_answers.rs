//! The forge's answers that `doctor` checks.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_gitea::Config;
use tinqs_ci_gitea::client::{Access, Client, Hook, ListedRunner, RerunAccess, Rights};
use tinqs_ci_gitea::demand;
use tinqs_ci_gitea::version::Version;
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::{Class, RerunJobs};
use tinqs_ci_reconciler::ports::{Forge as _, PortError, WaitingJob};

use crate::commands::webhook::address::own_url;
use crate::commands::webhook::leading_here;
use crate::settings::Settings;

/// The forge's answers; errors as messages.
#[derive(Clone, Debug)]
pub struct ForgeAnswers {
    /// The version.
    pub version: Result<Version, String>,
    /// The lead of the forge's clock over this host's; `None` if unknown.
    pub ahead: Option<SignedDuration>,
    /// The lists that the token can read.
    pub rights: Result<Rights, String>,
    /// Whether runners can be registered.
    pub registration: Result<(), String>,
    /// Whether the token may run jobs again; `None` if that was not asked, or there is
    /// no repository.
    pub reruns: Result<Option<RerunAccess>, String>,
    /// The webhooks of the scope.
    pub hooks: Result<Vec<Hook>, String>,
    /// The repository, `owner/name`, and the labels of each waiting job.
    pub queued: Result<Vec<(String, Vec<String>)>, String>,
    /// The repositories of the scope, `owner/name`; `None` if they were not asked for, are too many,
    /// or cannot be listed.
    pub repositories: Option<Vec<String>>,
    /// The runners in the list of the scope; `None` if the token cannot list them.
    pub runners: Option<Vec<ListedRunner>>,
}

fn message_of(error: &PortError) -> String {
    error.message.clone()
}

impl ForgeAnswers {
    /// Queries the forge; for its repositories only if a class has `repos`, and for re-runs only if
    /// a class wants them. Changes nothing there.
    pub async fn gather(forge: &Config, classes: &[Class]) -> Self {
        let client = match Client::new(forge, Arc::new(SystemClock)) {
            Ok(client) => client,
            Err(error) => return Self::none(&error.to_string()),
        };
        let version = match client.version().await {
            Ok(version) => version,
            Err(error) => return Self::none(&message_of(&error)),
        };
        if demand::unsupported(forge.demand, &version).is_some() {
            return Self { version: Ok(version), ..Self::none("not asked") };
        }
        let sent_at = Timestamp::now();
        let server_time = client.server_time().await.ok().flatten();
        let registration = match client.registration_access().await {
            Ok(Access::Granted | Access::Missing) => Ok(()),
            Ok(Access::Rejected(why) | Access::Denied(why) | Access::NoScope(why)) => Err(why),
            Err(error) => Err(message_of(&error)),
        };
        let reruns = if classes.iter().any(|class| class.rerun.jobs == RerunJobs::Lost) {
            client.rerun_access().await.map_err(|e| message_of(&e))
        } else {
            Ok(None)
        };
        let queued = client.waiting().await.map_err(|e| message_of(&e));
        let of_job = |job: WaitingJob| (job.job.repo, job.runs_on);
        let repositories = if classes.iter().any(|class| !class.repos.is_empty()) {
            client.repositories().await.ok().flatten()
        } else {
            None
        };
        Self {
            version: Ok(version),
            // In whole seconds.
            ahead: server_time.map(|time| time.duration_since(sent_at)),
            rights: client.rights().await.map_err(|e| message_of(&e)),
            registration,
            reruns,
            hooks: client.hooks().await.map_err(|e| message_of(&e)),
            queued: queued.map(|jobs| jobs.unwrap_or_default().into_iter().map(of_job).collect()),
            repositories,
            runners: client.runners().await.ok(),
        }
    }

    pub(super) fn none(why: &str) -> Self {
        let why = || why.to_owned();
        Self {
            version: Err(why()),
            ahead: None,
            rights: Err(why()),
            registration: Err(why()),
            reruns: Ok(None),
            hooks: Err(why()),
            queued: Err(why()),
            repositories: None,
            runners: None,
        }
    }
}

/// Returns the webhook that, by its address, leads to this server.
pub(super) fn ours<'a>(settings: &Settings, hooks: &'a [Hook]) -> Option<&'a Hook> {
    let listen = settings.server.webhooks;
    leading_here(hooks, &own_url(&settings.server), listen).into_iter().next()
}
