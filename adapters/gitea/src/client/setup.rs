//! Calls of `init` and `doctor`: permissions, the token's user, webhooks, the server's clock.

use axum::http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::call::{Answer, Call};
use super::dates::date;
use super::pages::{self, Jobs, Page, Runners};
use super::{Client, VersionAnswer};
use crate::config::Scope;

/// The token's read access in the configured scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The list of jobs: mode `jobs` needs it.
    pub jobs: Access,
    /// The list of runners: without it, registrations are unknown.
    pub runners: Access,
}

/// Whether a list may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The list was read.
    Granted,
    /// The forge does not accept the token (401); a sentence that says so and what it needs.
    Rejected(String),
    /// The token may not read it (403); a sentence that says what it needs.
    Denied(String),
    /// The organization or repository of the scope does not exist, or the token's user cannot see
    /// it; a sentence that names it.
    NoScope(String),
    /// The server has no such list.
    Missing,
}

/// The token's user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The user's name.
    pub login: String,
    /// Whether it is a site administrator: scope `all` needs one.
    #[serde(default)]
    pub is_admin: bool,
}

/// The owner of the token, according to the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOwner {
    /// The token's user.
    Known(User),
    /// The token is accepted, but may not read its user: it lacks `read:user`.
    Hidden,
    /// The forge does not accept the token; a sentence.
    Rejected(String),
}

/// A webhook of the configured scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Hook {
    /// Its ID.
    pub id: i64,
    /// The URL that it delivers to.
    #[serde(default, rename = "config", deserialize_with = "config_url")]
    pub url: String,
    /// The events that it delivers.
    #[serde(default)]
    pub events: Vec<String>,
    /// Whether it is active.
    #[serde(default)]
    pub active: bool,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Hooks(Vec<Hook>);

impl Page for Hooks {
    type Row = Hook;
    const BEGIN: u8 = b'[';
    fn rows(self) -> (Vec<(i64, Hook)>, Option<usize>) {
        (self.0.into_iter().map(|hook| (hook.id, hook)).collect(), None)
    }
}

fn config_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Default, Deserialize)]
    struct Config {
        #[serde(default)]
        url: String,
    }
    Ok(Option::<Config>::deserialize(deserializer)?.unwrap_or_default().url)
}

impl Client {
    /// Tries to read both lists. The result is more reliable than the server's version number.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn rights(&self) -> Result<Rights, PortError> {
        let jobs = format!("{}/actions/jobs?status=queued&limit=1", self.scope_path());
        let runners = format!("{}/actions/runners?limit=1", self.scope_path());
        Ok(Rights {
            jobs: self.access::<Jobs>("rights", &jobs).await?,
            runners: self.access::<Runners>("rights", &runners).await?,
        })
    }

    /// Tries whether the token may read organizations at all. The forge checks that before it looks
    /// for the organization, and none can have this name, which is reserved.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn organization_access(&self) -> Result<Access, PortError> {
        let call = Call::get("rights", "/orgs/api");
        let answer = self.sender.send(&call).await?;
        Ok(self.refused(&call, &answer).unwrap_or(Access::Granted))
    }

    async fn access<P: Page>(
        &self,
        operation: &'static str,
        path: &str,
    ) -> Result<Access, PortError> {
        let call = Call::get(operation, path);
        let answer = self.sender.send(&call).await?;
        match answer.status.as_u16() {
            // For an unknown path, the router may return an HTML page.
            404 | 405 => self.absent().await,
            _ => match self.refused(&call, &answer) {
                Some(access) => Ok(access),
                None => {
                    self.sender.read_from::<P>(&call, &answer, P::BEGIN).map(|_| Access::Granted)
                }
            },
        }
    }

    /// Returns what a 401 or 403 of the forge itself says about the token.
    pub(super) fn refused(&self, call: &Call, answer: &Answer) -> Option<Access> {
        let message = || self.sender.refusal(call, answer).message;
        match answer.status.as_u16() {
            401 if !answer.is_html() => Some(Access::Rejected(message())),
            403 if !answer.is_html() => Some(Access::Denied(message())),
            _ => None,
        }
    }

    /// Returns why a list is absent: the scope does not exist, or the server has no such list.
    async fn absent(&self) -> Result<Access, PortError> {
        let (path, missing) = match &self.scope {
            Scope::All | Scope::User => return self.version().await.map(|_| Access::Missing),
            Scope::Org(name) => (self.scope_path(), format!("no such organization `{name}`")),
            Scope::Repo(owner, name) => {
                let seen = "or the token's user cannot see it";
                (self.scope_path(), format!("no such repository `{owner}/{name}`, {seen}"))
            }
        };
        let call = Call::get("rights", &path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            // A proxy may answer 404 too; only the forge answers with a version.
            return self.version().await.map(|_| Access::NoScope(missing));
        }
        match self.refused(&call, &answer) {
            Some(access) => Ok(access),
            None => {
                self.sender.read::<serde::de::IgnoredAny>(&call, &answer).map(|_| Access::Missing)
            }
        }
    }

    /// Returns the token's user.
    ///
    /// # Errors
    /// `Denied` if the forge does not know the token, or the token lacks `read:user`.
    pub async fn whoami(&self) -> Result<User, PortError> {
        self.sender.ask(&Call::get("whoami", "/user")).await
    }

    /// Returns the token's user, if the token is accepted and may read it.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn token_owner(&self) -> Result<TokenOwner, PortError> {
        let call = Call::get("whoami", "/user");
        let answer = self.sender.send(&call).await?;
        match self.refused(&call, &answer) {
            Some(Access::Rejected(why)) => Ok(TokenOwner::Rejected(why)),
            Some(_) => Ok(TokenOwner::Hidden),
            None => self.sender.read(&call, &answer).map(TokenOwner::Known),
        }
    }

    /// Returns the forge's clock, to the second; `None` if it sends no date.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn server_time(&self) -> Result<Option<Timestamp>, PortError> {
        let call = Call::get("server_time", "/version");
        let answer = self.sender.send(&call).await?;
        self.sender.read::<VersionAnswer>(&call, &answer)?;
        Ok(date(&answer.headers))
    }

    /// Returns the webhooks of the configured scope: system hooks for `all`.
    ///
    /// # Errors
    /// `Denied` if the token may not read them.
    pub async fn hooks(&self) -> Result<Vec<Hook>, PortError> {
        pages::read_all::<Hooks>(&self.sender, "hooks", &self.hooks_path()).await
    }

    /// Creates a webhook for these events in the configured scope; for `all` a system hook, which
    /// receives the events of every repository. Not idempotent: read [`Client::hooks`] first.
    ///
    /// # Errors
    /// `Denied` if the token may not create it.
    pub async fn create_hook(
        &self,
        url: &str,
        secret: &Secret,
        events: &[&str],
    ) -> Result<Hook, PortError> {
        self.sender.credentials.keep_secret(secret);
        let mut config = json!({ "url": url, "content_type": "json", "secret": secret.expose() });
        if self.scope == Scope::All {
            // Without it, the forge creates a template for new repositories.
            config["is_system_webhook"] = "true".into();
        }
        let body = json!({
            "type": "gitea", "active": true, "events": events, "config": config,
        });
        let body = Some(body.to_string().into_bytes());
        let call = Call::api("create_hook", Method::POST, &self.hooks_path(), body);
        let hook: Hook = self.sender.ask(&call).await?;
        if hook.id <= 0 {
            let what = "the response holds no webhook ID";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        Ok(hook)
    }

    /// Deletes a webhook of the configured scope; that it does not exist any more is a success.
    ///
    /// # Errors
    /// `Denied` if the token may not delete it.
    pub async fn delete_hook(&self, id: i64) -> Result<(), PortError> {
        let path = format!("{}/{id}", self.hooks_path());
        self.done(&Call::api("delete_hook", Method::DELETE, &path, None)).await
    }

    /// Lets the forge send a test delivery of a webhook: a push of a commit onto itself, which starts
    /// nothing. `false`: the forge has no such call for this scope, only for a repository. A webhook
    /// that does not subscribe to `push` sends nothing.
    ///
    /// # Errors
    /// `Denied` if the token may not do it.
    pub async fn test_hook(&self, id: i64) -> Result<bool, PortError> {
        if !matches!(self.scope, Scope::Repo(..)) {
            return Ok(false);
        }
        let path = format!("{}/{id}/tests", self.hooks_path());
        let call = Call::api("test_hook", Method::POST, &path, None);
        let answer = self.sender.send(&call).await?;
        if answer.status.is_success() { Ok(true) } else { Err(self.sender.refusal(&call, &answer)) }
    }

    /// Sends a call without a response body. A 404 is a success.
    async fn done(&self, call: &Call) -> Result<(), PortError> {
        let answer = self.sender.send(call).await?;
        if answer.status.is_success() || answer.is_not_found() {
            return Ok(());
        }
        Err(self.sender.refusal(call, &answer))
    }

    fn hooks_path(&self) -> String {
        format!("{}/hooks", self.scope_path())
    }
}
