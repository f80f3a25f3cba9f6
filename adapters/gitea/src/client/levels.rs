//! Registrations of single repositories: made with a token of the repository, read and removed there.
//!
//! A repository is known by its ID; its name is only the way to it, and can be given to another
//! one. A registration token belongs to a repository by its ID for as long as the token exists, so
//! the first registration with a token is compared with the repository, and later ones are not.

use axum::http::Method;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{AttemptId, Registration, Registrations, RepoRef, Runner, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, RegistrationLists};

use super::bounded::BoundedMap;
use super::call::{Answer, Call};
use super::pages::{self, Runners};
use super::runners::{Failed, REFUSED_FOR, registration};
use super::{Access, CACHED_FOR, Client, repository_path};
use crate::config::{RegisterIn, Scope};
use crate::wire::{ApiRepository, ApiRunner, owner_and_name};

/// The remedy if the token may not register in repositories.
pub const OTHER_LEVEL: &str = "or set `forge.register_in` to \"scope\", with which any repository \
                               in scope can take the machines of every other";

/// The cache of repositories, by their IDs.
#[derive(Default)]
pub(super) struct Levels {
    /// Registration tokens that were compared with the repository.
    tokens: Mutex<BoundedMap<i64, Secret>>,
    names: Mutex<BoundedMap<i64, (Timestamp, String)>>,
    /// The time when the token was refused a list.
    refused: Mutex<BoundedMap<i64, Timestamp>>,
}

impl Levels {
    /// Forgets the tokens, which another API token may not ask for, and what the former one was
    /// refused.
    pub(super) fn forget_tokens(&self) {
        self.tokens.lock().clear();
        self.refused.lock().clear();
    }
}

impl Client {
    /// Returns which lists show the registrations.
    pub(super) fn lists(&self) -> RegistrationLists {
        let per_repository = matches!(self.scope, Scope::Org(_) | Scope::User)
            && self.register_in == RegisterIn::Repository;
        if per_repository { RegistrationLists::PerRepository } else { RegistrationLists::One }
    }

    /// Whether registrations of a repository are read, changed and removed at its own path, which
    /// its ID leads to. The calls for the whole forge take those of every repository. Those of a
    /// scope that is one repository go by its name, which may lead to another one by now.
    pub(super) fn is_apart(&self, repo_id: i64) -> bool {
        repo_id > 0 && self.scope != Scope::All
    }

    /// Returns the ID of the repository that is the scope; 0 for other scopes, and if its name
    /// leads to none that the token may read. It is read each time: the name can be given away.
    pub(super) async fn id_of_scope(&self) -> Result<i64, PortError> {
        let Scope::Repo(owner, name) = &self.scope else { return Ok(0) };
        let call = Call::get("repository", &repository_path(owner, name));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() || self.refused(&call, &answer).is_some() {
            return Ok(0);
        }
        self.sender.read(&call, &answer).map(|repo: ApiRepository| repo.id.max(0))
    }

    /// Registers a runner in a repository.
    pub(super) async fn register_in_repository(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        let known = self.levels.tokens.lock().get(&repo.id).cloned();
        if let Some(token) = known {
            match self.register_with(&token, attempt_id, labels).await {
                Ok(runner) => return Ok(Runner { repo_id: repo.id, ..runner }),
                Err(Failed::Other(error)) => return Err(error),
                // It was reset at the forge.
                Err(Failed::Token(_)) => self.levels.tokens.lock().remove(&repo.id),
            }
        }
        if let Some(runner) = self.register_at(attempt_id, repo, labels).await? {
            return Ok(runner);
        }
        // The name leads elsewhere by now.
        let call = Call::get("register", &format!("/repositories/{}", repo.id));
        let unclear = |what: &str| self.sender.error(&call, ErrorKind::Unavailable, what);
        if repo.id <= 0 {
            return Err(unclear("the job's repository is not known by its ID, nor by its name"));
        }
        let Some(name) = self.name_of(repo.id, true).await? else {
            return Err(unclear("the job's repository is gone"));
        };
        let repo = RepoRef { name: &name, ..repo };
        let runner = self.register_at(attempt_id, repo, labels).await?;
        runner.ok_or_else(|| unclear("the repository was renamed meanwhile: it is tried again"))
    }

    /// Registers a runner with a new token of the repository of this name. `None`: there is none, or
    /// it is another one than expected, and nothing is left of the registration.
    async fn register_at(
        &self,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        labels: &[String],
    ) -> Result<Option<Runner>, PortError> {
        let Some((owner, name)) = owner_and_name(repo.name) else { return Ok(None) };
        let path = repository_path(&owner, &name);
        let Some(token) = self.token_at(&path).await? else { return Ok(None) };
        let made = self.register_with(&token, attempt_id, labels).await;
        let runner = made.map_err(|failed| match failed {
            Failed::Token(error) | Failed::Other(error) => error,
        })?;
        let found = self.repository_of_row(&path, runner.id).await;
        match found {
            Ok(Some(id)) if repo.id <= 0 || id == repo.id => {
                self.levels.tokens.lock().insert(id, token);
                self.levels.names.lock().insert(id, (self.sender.now(), repo.name.to_owned()));
                return Ok(Some(Runner { repo_id: id, ..runner }));
            }
            _ => {}
        }
        let call = Call::api("retire", Method::DELETE, &self.path_at(&path, runner.id), None);
        if let Err(left) = self.removed(&call).await {
            tracing::warn!(registration = runner.id, error = %left, "cannot remove registration of another repository");
        }
        found.map(|_| None)
    }

    /// Returns the path of a registration that was made at a repository's path, to remove it,
    /// whichever repository it belongs to.
    fn path_at(&self, repository: &str, id: i64) -> String {
        match self.scope {
            Scope::All => format!("/admin/actions/runners/{id}"),
            _ => format!("{repository}/actions/runners/{id}"),
        }
    }

    /// The call for the registration token of the repository at this path. It creates a token only
    /// if there is none, so it may be repeated.
    fn token_call(path: &str) -> Call {
        let path = format!("{path}/actions/runners/registration-token");
        Call { repeats: true, ..Call::api("registration_token", Method::POST, &path, None) }
    }

    /// Returns the registration token of the repository at this path; `None` if there is none.
    async fn token_at(&self, path: &str) -> Result<Option<Secret>, PortError> {
        #[derive(Deserialize)]
        struct Token {
            token: Secret,
        }
        let call = Self::token_call(path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() || answer.status.is_redirection() {
            return Ok(None);
        }
        let Token { token } = self.sender.read(&call, &answer).map_err(|error| {
            let denied = error.kind == ErrorKind::Denied;
            let message = format!("{}; {OTHER_LEVEL}", error.message);
            if denied { PortError { message, ..error } } else { error }
        })?;
        if token.expose().is_empty() {
            let what = "the response holds no token";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        self.sender.credentials.keep_secret(&token);
        Ok(Some(token))
    }

    /// Returns the ID of the repository at this path if it has this registration.
    async fn repository_of_row(&self, path: &str, id: i64) -> Result<Option<i64>, PortError> {
        let call = Call::get("registration", &format!("{path}/actions/runners/{id}"));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        let row: ApiRunner = self.sender.read(&call, &answer)?;
        let call = Call::get("repository", path);
        let answer = self.sender.send(&call).await?;
        if row.id != id || answer.is_not_found() {
            return Ok(None);
        }
        let ApiRepository { id, .. } = self.sender.read(&call, &answer)?;
        Ok((id > 0).then_some(id))
    }

    /// Returns the ID of a job's repository if the scope is that repository and has this
    /// registration; otherwise 0, as for a registration that serves a whole scope.
    pub(super) async fn id_in_scope(&self, registration: i64, repo: RepoRef<'_>) -> i64 {
        let Scope::Repo(owner, name) = &self.scope else { return 0 };
        let found = self.repository_of_row(&repository_path(owner, name), registration).await;
        found.ok().flatten().filter(|id| *id == repo.id).unwrap_or(0)
    }

    /// Returns the present name of a repository; `None` if it is gone while the forge answers. A
    /// cached name may be ten minutes old unless `now` is set.
    async fn name_of(&self, repo_id: i64, now: bool) -> Result<Option<String>, PortError> {
        let at = self.sender.now();
        let cached = self.levels.names.lock().get(&repo_id).cloned();
        let fresh = cached.filter(|(then, _)| !now && at.duration_since(*then) < CACHED_FOR);
        if let Some((_, name)) = fresh {
            return Ok(Some(name));
        }
        let call = Call::get("repository", &format!("/repositories/{repo_id}"));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            // A proxy may answer 404 too; only the forge answers with a version.
            self.version().await?;
            self.levels.names.lock().remove(&repo_id);
            return Ok(None);
        }
        let ApiRepository { id, full_name } = self.sender.read(&call, &answer)?;
        if id != repo_id || owner_and_name(&full_name).is_none() {
            let what = "the response is about another repository";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        self.levels.names.lock().insert(repo_id, (at, full_name.clone()));
        Ok(Some(full_name))
    }

    /// Returns the present path of a repository; `None` if it is gone.
    pub(super) async fn path_of(
        &self,
        repo_id: i64,
        now: bool,
    ) -> Result<Option<String>, PortError> {
        let name = self.name_of(repo_id, now).await?;
        let named = name.as_deref().and_then(owner_and_name);
        Ok(named.map(|(owner, name)| repository_path(&owner, &name)))
    }

    /// Sends a call about registrations of a repository, and returns the call with its answer.
    /// `None`: the repository is gone. A 404 is returned only if the repository at that path is
    /// still the same; otherwise the present name is tried.
    pub(super) async fn send_to_repository(
        &self,
        repo_id: i64,
        call: impl Fn(&str) -> Call,
    ) -> Result<Option<(Call, Answer)>, PortError> {
        for now in [false, true] {
            let Some(path) = self.path_of(repo_id, now).await? else { return Ok(None) };
            let call = call(&path);
            let answer = self.sender.send(&call).await?;
            let elsewhere = answer.status.is_redirection()
                || (answer.is_not_found() && !self.is_at(&path, repo_id).await?);
            if !elsewhere {
                return Ok(Some((call, answer)));
            }
        }
        let call = call(&format!("/repositories/{repo_id}"));
        let what = "the repository's name changed while it was read: it is tried again";
        Err(self.sender.error(&call, ErrorKind::Unavailable, what))
    }

    /// Whether the repository at this path has this ID now.
    pub(super) async fn is_at(&self, path: &str, repo_id: i64) -> Result<bool, PortError> {
        let call = Call::get("repository", path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(false);
        }
        self.sender.read(&call, &answer).map(|repo: ApiRepository| repo.id == repo_id)
    }

    pub(super) async fn list_in_repository(
        &self,
        repo_id: i64,
    ) -> Result<Registrations, PortError> {
        let refused = self.levels.refused.lock().get(&repo_id).copied();
        let now = self.sender.now();
        if refused.is_some_and(|at| now.duration_since(at) < REFUSED_FOR) {
            return Ok(Registrations::Unknown);
        }
        match self.rows_of(repo_id).await {
            Ok(rows) => return Ok(rows),
            Err(error) if error.kind == ErrorKind::Throttled => return Err(error),
            // The pages do not distinguish a missing list from a failed one: ask for the first.
            Err(_) => {}
        }
        let first =
            |path: &str| Call::get("registrations", &format!("{path}/actions/runners?limit=1"));
        let Some((call, answer)) = self.send_to_repository(repo_id, first).await? else {
            return Ok(Registrations::Seen(Vec::new()));
        };
        if matches!(answer.status.as_u16(), 401 | 403) && !answer.is_html() {
            let why = self.sender.refusal(&call, &answer).message;
            if refused.is_none() {
                tracing::warn!(repo_id, why, "cannot list a repository's runners");
            }
            self.levels.refused.lock().insert(repo_id, now);
            return Ok(Registrations::Unknown);
        }
        self.rows_of(repo_id).await
    }

    async fn rows_of(&self, repo_id: i64) -> Result<Registrations, PortError> {
        let Some(path) = self.path_of(repo_id, false).await? else {
            return Ok(Registrations::Seen(Vec::new()));
        };
        let path = format!("{path}/actions/runners");
        let rows = pages::read_all::<Runners>(&self.sender, "registrations", &path).await?;
        let rows = rows.into_iter().filter_map(|row| registration(row, repo_id)).collect();
        Ok(Registrations::Seen(rows))
    }

    pub(super) async fn registration_in_repository(
        &self,
        id: i64,
        repo_id: i64,
    ) -> Result<Option<Registration>, PortError> {
        let one = |path: &str| Call::get("registration", &format!("{path}/actions/runners/{id}"));
        let Some((call, answer)) = self.send_to_repository(repo_id, one).await? else {
            return Ok(None);
        };
        if answer.is_not_found() {
            return Ok(None);
        }
        self.row(&call, &answer, id, repo_id)
    }

    pub(super) async fn remove_in_repository(
        &self,
        id: i64,
        repo_id: i64,
    ) -> Result<(), PortError> {
        let remove = |path: &str| {
            Call::api("retire", Method::DELETE, &format!("{path}/actions/runners/{id}"), None)
        };
        let Some((call, answer)) = self.send_to_repository(repo_id, remove).await? else {
            return Ok(());
        };
        let done = answer.status.is_success() && !answer.is_html();
        if done || answer.is_not_found() {
            Ok(())
        } else {
            Err(self.sender.refusal(&call, &answer))
        }
    }

    /// Tries whether the token may register runners where they are registered. In repositories, one
    /// of the scope is tried; without any, nothing is known, and that is no refusal.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn registration_access(&self) -> Result<Access, PortError> {
        if self.register_in == RegisterIn::Scope {
            return match self.sender.credentials.runner_token() {
                Some(_) => Ok(Access::Granted),
                None => match self.registration_token().await {
                    Ok(_) => Ok(Access::Granted),
                    Err(error) if error.kind == ErrorKind::Denied => {
                        Ok(Access::Denied(error.message))
                    }
                    Err(error) => Err(error),
                },
            };
        }
        let Some((owner, name)) = self.any_repository().await? else { return Ok(Access::Granted) };
        let call = Self::token_call(&repository_path(&owner, &name));
        let answer = self.sender.send(&call).await?;
        Ok(self.refused(&call, &answer).unwrap_or(Access::Granted))
    }
}
