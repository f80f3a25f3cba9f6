//! Calls of `init` and `doctor`: permissions, the token's user, webhooks, the server's clock.

use axum::http::{Method, header};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::call::Call;
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
    /// The token may not read it; a sentence that says what it needs.
    Denied(String),
    /// The server has no such list, or the scope does not exist.
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

    async fn access<P: Page>(
        &self,
        operation: &'static str,
        path: &str,
    ) -> Result<Access, PortError> {
        let call = Call::get(operation, path);
        let answer = self.sender.send(&call).await?;
        match answer.status.as_u16() {
            // For an unknown path, the router may return an HTML page.
            404 | 405 => self.version().await.map(|_| Access::Missing),
            401 | 403 if !answer.is_html() => {
                Ok(Access::Denied(self.sender.refusal(&call, &answer).message))
            }
            _ => self.sender.read_from::<P>(&call, &answer, P::BEGIN).map(|_| Access::Granted),
        }
    }

    /// Returns the token's user.
    ///
    /// # Errors
    /// `Denied` if the forge does not know the token, or the token lacks `read:user`.
    pub async fn whoami(&self) -> Result<User, PortError> {
        self.sender.ask(&Call::get("whoami", "/user")).await
    }

    /// Returns the forge's clock, to the second; `None` if it sends no date.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn server_time(&self) -> Result<Option<Timestamp>, PortError> {
        let call = Call::get("server_time", "/version");
        let answer = self.sender.send(&call).await?;
        self.sender.read::<VersionAnswer>(&call, &answer)?;
        let date = answer.header(header::DATE);
        let parse = |date: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date);
        Ok(date.and_then(|date| parse(date).ok()))
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
    /// `Denied` if the token may not create it.
    /// `Denied` where the token may not.
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

    fn hooks_path(&self) -> String {
        format!("{}/hooks", self.scope_path())
    }
}
