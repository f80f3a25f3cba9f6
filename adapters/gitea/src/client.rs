//! The forge's API and the registration part of its runner protocol, as the port `Forge`.
//!
//! Only a complete response of the forge itself counts as "absent": error pages, broken
//! connections, timeouts and unknown values are `Unavailable`. On a read, JSON of another shape
//! than Gitea's is `Invalid`: a retry does not help.

mod at_work;
mod bounded;
mod cache;
mod call;
mod contents;
mod credentials;
mod dates;
mod jobs;
mod levels;
mod pages;
mod port;
mod repeat;
mod repositories;
mod reruns;
mod runners;
mod send;
mod setup;
mod workflow_runs;

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError, WaitingJob};
use tinqs_ci_workflow::trigger::WorkflowCache;
use tokio::sync::OnceCell;

use super::version::Version;
use super::wire::{ApiJob, ApiRepository, percent_encode, repository_of, waiting_job};
use crate::config::{Config, RegisterIn, Scope};
use bounded::BoundedMap;
use call::Call;
pub use contents::{Changes, Commit, File, Folders, LARGEST_FILE, MOST_FILES, Repository};
use levels::Levels;
pub use levels::OTHER_LEVEL;
pub use reruns::RerunAccess;
pub use runners::ListedRunner;
use runners::RunnerList;
use send::Sender;
pub use send::{Contact, Deadlines};
pub use setup::{Access, Hook, Rights, TokenOwner, User};
pub use workflow_runs::{RunJob, WorkflowRun};

/// The time for which the name of a repository is cached: it can be given to another one.
const CACHED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The reason why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used.
    #[error("`forge.url` {0}: expected e.g. `https://git.example.com`")]
    Url(&'static str),
    /// The token cannot be sent.
    #[error(
        "`forge.token` holds characters not allowed in an HTTP header: check it for a line break"
    )]
    Token,
    /// The TLS library does not start.
    #[error("cannot build the HTTP client: check that this host has CA certificates")]
    Build(#[source] reqwest::Error),
}

/// A client of one forge. Build it once: it holds connections and caches.
pub struct Client {
    sender: Sender,
    scope: Scope,
    register_in: RegisterIn,
    levels: Levels,
    asked_token: Mutex<Option<Secret>>,
    /// Replaced together with the credentials that it was found with.
    elsewhere: Mutex<Arc<OnceCell<bool>>>,
    runner_list: Mutex<RunnerList>,
    repositories: Mutex<BoundedMap<String, RepositoryLookup>>,
    /// As last asked.
    last_version: Mutex<Option<Version>>,
    contents: contents::Contents,
    /// Parsed workflow files of this forge.
    workflows: WorkflowCache,
}

/// A repository as it was looked up.
#[derive(Clone)]
struct RepositoryLookup {
    at: Timestamp,
    /// 0 if the token may not read it.
    id: i64,
    full_name: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, scope) = (self.sender.base(), &self.scope);
        f.debug_struct("Client").field("url", &url).field("scope", scope).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct VersionAnswer {
    version: String,
}

impl Client {
    /// Returns the cache of parsed workflow files.
    pub fn workflow_cache(&self) -> &WorkflowCache {
        &self.workflows
    }

    /// Returns a client with the default deadlines (connect 5 s, call 15 s). Does not connect yet.
    ///
    /// # Errors
    /// [`Error`] if the URL or a token cannot be used.
    pub fn new(forge: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::with(forge, Deadlines::default(), clock)
    }

    /// Returns a client with these deadlines and this clock. The clock ages caches and dates
    /// [`Client::last_ok`].
    ///
    /// # Errors
    /// [`Error`] if the URL or a token cannot be used.
    pub fn with(
        forge: &Config,
        deadlines: Deadlines,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let url = Url::parse(&forge.url).map_err(|_| Error::Url("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Url("is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::Url("holds a user or password: use `forge.token` instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Error::Url("holds a query or a fragment"));
        }
        let sender = Sender::new(&url, forge, deadlines, clock)?;
        Ok(Self {
            sender,
            scope: forge.scope.clone(),
            register_in: forge.register_in,
            levels: Levels::default(),
            asked_token: Mutex::default(),
            elsewhere: Mutex::default(),
            runner_list: Mutex::default(),
            repositories: Mutex::default(),
            last_version: Mutex::default(),
            contents: contents::Contents::default(),
            workflows: WorkflowCache::default(),
        })
    }

    /// Replaces the credentials by those of `forge`, and forgets what the former ones were refused.
    /// Nothing else of `forge` is used.
    ///
    /// # Errors
    /// [`Error::Token`]: the token cannot be sent; the former credentials stay in force.
    pub fn configure(&self, forge: &Config) -> Result<(), Error> {
        if !self.sender.credentials.replace(forge)? {
            return Ok(());
        }
        *self.asked_token.lock() = None;
        self.levels.forget_tokens();
        *self.elsewhere.lock() = Arc::default();
        *self.runner_list.lock() = RunnerList::default();
        self.repositories.lock().retain(|lookup| lookup.id > 0);
        Ok(())
    }

    /// Sets what is called when the forge rejects the token, before the call fails. If it calls
    /// [`Client::configure`] with another token, the call is sent again. Set it once.
    pub fn on_rejected_token(&self, reread: impl Fn() + Send + Sync + 'static) {
        self.sender.credentials.on_rejected(Box::new(reread));
    }

    /// Returns when the forge last answered any call.
    pub fn last_ok(&self) -> Option<Timestamp> {
        self.sender.contact().last_ok
    }

    /// Returns when the forge last answered, and when and how a call last failed: for readiness.
    pub fn contact(&self) -> Contact {
        self.sender.contact()
    }

    /// Whether an API token is configured.
    pub fn has_token(&self) -> bool {
        self.sender.has_token()
    }

    /// Returns the server's version. The token is sent, because a forge that requires sign-in needs
    /// it here too; if the forge rejects the token, the call is repeated without it.
    ///
    /// # Errors
    /// `Unavailable` if the forge returns no version.
    pub async fn version(&self) -> Result<Version, PortError> {
        let call = Call::get("version", "/version");
        let answer = match self.sender.ask::<VersionAnswer>(&call).await {
            Err(denied) if denied.kind == ErrorKind::Denied && self.has_token() => {
                let call = Call { with_token: false, ..call };
                self.sender.ask(&call).await.map_err(|_| denied)
            }
            other => other,
        };
        let version = Version::parse(&answer?.version);
        *self.last_version.lock() = Some(version.clone());
        Ok(version)
    }

    /// The path of the configured scope.
    fn scope_path(&self) -> String {
        match &self.scope {
            Scope::All => "/admin".to_owned(),
            Scope::Org(name) => format!("/orgs/{}", percent_encode(name)),
            Scope::User => "/user".to_owned(),
            Scope::Repo(owner, name) => repository_path(owner, name),
        }
    }

    /// Returns a repository by name, `None` if the forge answers 404. The forge redirects from a
    /// former name to the present one.
    async fn repository(
        &self,
        owner: &str,
        name: &str,
    ) -> Result<Option<RepositoryLookup>, PortError> {
        let key = format!("{owner}/{name}");
        let now = self.sender.now();
        let cached = self.repositories.lock().get(&key).cloned();
        let fresh = |lookup: &RepositoryLookup| now.duration_since(lookup.at) < CACHED_FOR;
        if let Some(lookup) = cached.filter(fresh) {
            return Ok(Some(lookup));
        }
        let call = Call::get("repository", &repository_path(owner, name));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        let lookup = match self.sender.read(&call, &answer) {
            Ok(ApiRepository { id, full_name }) if id > 0 && !full_name.is_empty() => {
                RepositoryLookup { at: now, id, full_name }
            }
            Ok(_) => {
                let what = "the response holds no repository";
                return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
            }
            Err(error) if error.kind == ErrorKind::Denied => {
                tracing::warn!(error = %error, "cannot look up repository id");
                RepositoryLookup { at: now, id: 0, full_name: key.clone() }
            }
            Err(error) => return Err(error),
        };
        self.repositories.lock().insert(key, lookup.clone());
        Ok(Some(lookup))
    }

    /// Adds the repository to each listed job; jobs for which this fails are left to the next poll.
    async fn named(&self, jobs: Vec<ApiJob>) -> Vec<WaitingJob> {
        let mut waiting = Vec::with_capacity(jobs.len());
        for job in jobs.into_iter().filter(|job| job.status == "queued") {
            let id = job.id;
            let Some((owner, name)) = repository_of(&job.url).or_else(|| self.scope_repository())
            else {
                tracing::warn!(job = id, "skipped waiting job, its url names no repository");
                continue;
            };
            let repository = match self.repository(&owner, &name).await {
                Ok(Some(repository)) => repository,
                Ok(None) => {
                    tracing::warn!(job = id, "skipped waiting job, repository not found");
                    continue;
                }
                Err(error) => {
                    // The next lookup would likely time out too.
                    tracing::warn!(job = id, error = %error, "skipped the remaining waiting jobs");
                    break;
                }
            };
            let created = self.created(&job).await;
            let named = waiting_job(&repository.full_name, repository.id, job, created);
            if named.is_none() {
                tracing::warn!(job = id, "skipped waiting job, too many labels");
            }
            waiting.extend(named);
        }
        waiting
    }

    fn scope_repository(&self) -> Option<(String, String)> {
        match &self.scope {
            Scope::Repo(owner, name) => Some((owner.clone(), name.clone())),
            Scope::All | Scope::Org(_) | Scope::User => None,
        }
    }
}

fn repository_path(owner: &str, name: &str) -> String {
    format!("/repos/{}/{}", percent_encode(owner), percent_encode(name))
}
