//! Runner registrations: listed, read by ID, created by the runner protocol, removed.

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use tinqs_ci_reconciler::model::{
    AttemptId, Registration, Registrations, Runner, Secret, label_name,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::Client;
use super::call::{Answer, Call};
use super::pages::{self, Runners};
use crate::config::{RegisterIn, Scope};
use crate::wire::ApiRunner;

/// The time for which a refusal to list runners is cached.
pub(super) const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Whether the token may list runners.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum RunnerList {
    /// Not tried yet.
    #[default]
    Untried,
    /// The list was read: a later refusal is an error, not a missing permission.
    Read,
    /// It was refused.
    Refused(Timestamp),
}

/// The runner protocol's response (`runner.v1.RegisterResponse` in JSON).
#[derive(Deserialize)]
struct Registered {
    runner: RegisteredRunner,
}

#[derive(Deserialize)]
struct RegisteredRunner {
    #[serde(deserialize_with = "int64")]
    id: i64,
    uuid: String,
    token: Secret,
    /// The JSON form omits `false`.
    #[serde(default)]
    ephemeral: bool,
}

/// The protocol's JSON writes an int64 as a string; some servers write a number.
fn int64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Number(i64),
        Text(String),
    }
    match Id::deserialize(deserializer)? {
        Id::Number(id) => Ok(id),
        Id::Text(text) => text.parse().map_err(de::Error::custom),
    }
}

/// The reason why a registration failed.
pub(super) enum Failed {
    /// The forge rejects the registration token: nothing was created.
    Token(PortError),
    Other(PortError),
}

/// A runner as the forge lists it, whatever its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRunner {
    /// Its name.
    pub name: String,
    /// The names of its labels.
    pub labels: Vec<String>,
}

impl Client {
    /// Returns the runners in the list of the scope.
    ///
    /// # Errors
    /// The forge does not answer, or does not show the list to this token.
    pub async fn runners(&self) -> Result<Vec<ListedRunner>, PortError> {
        let path = format!("{}/actions/runners", self.scope_path());
        let rows = pages::read_all::<Runners>(&self.sender, "registrations", &path).await?;
        let listed = |row: ApiRunner| ListedRunner {
            name: row.name,
            labels: row.labels.into_iter().map(|label| label.name).collect(),
        };
        Ok(rows.into_iter().map(listed).collect())
    }

    pub(super) async fn list_registrations(&self) -> Result<Registrations, PortError> {
        let previous = *self.runner_list.lock();
        if let RunnerList::Refused(at) = previous
            && self.sender.now().duration_since(at) < REFUSED_FOR
        {
            return Ok(Registrations::Unknown);
        }
        if self.registers_elsewhere().await? {
            return Ok(self.registrations_are_unknown(
                previous,
                "`forge.runner_token` belongs to another scope than `forge.scope`, so its runners \
                 are not listed there: remove `forge.runner_token`, or use the scope's",
            ));
        }
        // Before the list: a repository that takes the name meanwhile has no registration of ours.
        let repo_id = self.id_of_scope().await?;
        let path = format!("{}/actions/runners", self.scope_path());
        let call = Call::get("registrations", &path);
        let listed = pages::read_all::<Runners>(&self.sender, "registrations", &path).await;
        let rows = match (listed, previous) {
            (Ok(rows), _) => rows,
            (Err(error), RunnerList::Read) => return Err(error),
            (Err(error), _) => {
                // The pages do not distinguish a missing list from a failed one: ask once for the
                // first.
                let answer = self.sender.send(&call).await?;
                if !self.is_refused(&answer).await? {
                    return Err(error);
                }
                let why = self.sender.refusal(&call, &answer).message;
                return Ok(self.registrations_are_unknown(previous, &why));
            }
        };
        *self.runner_list.lock() = RunnerList::Read;
        let rows = rows.into_iter().filter_map(|row| registration(row, repo_id)).collect();
        Ok(Registrations::Seen(rows))
    }

    /// Whether the token may not list runners, or the server has no such list.
    async fn is_refused(&self, answer: &Answer) -> Result<bool, PortError> {
        match answer.status.as_u16() {
            401 | 403 => Ok(!answer.is_html()),
            // If the forge itself answers, it does not know the path.
            404 => self.version().await.map(|_| true),
            _ => Ok(false),
        }
    }

    fn registrations_are_unknown(&self, before: RunnerList, why: &str) -> Registrations {
        if !matches!(before, RunnerList::Refused(_)) {
            tracing::warn!(why, "cannot list runners, leftover registrations are kept");
        }
        *self.runner_list.lock() = RunnerList::Refused(self.sender.now());
        Registrations::Unknown
    }

    /// Whether the configured registration token belongs to another scope than the lists. Its rows
    /// would then seem missing, and a missing row is a reason to terminate a machine. The list of
    /// scope `all` holds every row.
    async fn registers_elsewhere(&self) -> Result<bool, PortError> {
        // Before the token: a new one replaces the answer about the former one afterwards.
        let elsewhere = self.elsewhere.lock().clone();
        let configured = self.sender.credentials.runner_token();
        let used = self.register_in == RegisterIn::Scope;
        let Some(configured) = configured.filter(|_| used && self.scope != Scope::All) else {
            return Ok(false);
        };
        let ask = async || match self.ask_registration_token().await {
            Ok(token) => Ok(token != configured),
            Err(error) => match error.kind {
                // A read-only token cannot ask.
                ErrorKind::Denied | ErrorKind::Invalid => Ok(false),
                _ => Err(error),
            },
        };
        elsewhere.get_or_try_init(ask).await.copied()
    }

    pub(super) async fn registration_by_id(
        &self,
        id: i64,
        repo_id: i64,
    ) -> Result<Option<Registration>, PortError> {
        if self.is_apart(repo_id) {
            return self.registration_in_repository(id, repo_id).await;
        }
        let call = Call::get("registration", &self.runner_path(id));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            // A proxy may answer 404 too; only the forge answers with a version.
            self.version().await?;
            return Ok(None);
        }
        self.row(&call, &answer, id, repo_id)
    }

    /// Reads the answer about one registration. `None` for a row of that ID with a foreign name: ours
    /// is gone.
    pub(super) fn row(
        &self,
        call: &Call,
        answer: &Answer,
        id: i64,
        repo_id: i64,
    ) -> Result<Option<Registration>, PortError> {
        let row: ApiRunner = self.sender.read(call, answer)?;
        if row.id != id {
            let what = "the response is about another runner";
            return Err(self.sender.error(call, ErrorKind::Unavailable, what));
        }
        Ok(registration(row, repo_id))
    }

    /// Registers a runner in the scope.
    pub(super) async fn make_registration(
        &self,
        attempt_id: &AttemptId,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        let cached = self.asked_token.lock().clone();
        let token = match cached.or_else(|| self.sender.credentials.runner_token()) {
            Some(token) => token,
            None => self.registration_token().await?,
        };
        let refused = match self.register_with(&token, attempt_id, labels).await {
            Ok(runner) => return Ok(runner),
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Token(error)) => error,
        };
        // The token was reset at the forge, which returns the new one.
        *self.asked_token.lock() = None;
        let fresh = match self.registration_token().await {
            Ok(fresh) if fresh != token => fresh,
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            Ok(_) | Err(_) => return Err(refused),
        };
        if self.sender.credentials.runner_token().is_some() {
            tracing::warn!("the forge rejects `forge.runner_token`, using the forge's own");
        }
        self.register_with(&fresh, attempt_id, labels).await.map_err(|failed| match failed {
            Failed::Token(error) | Failed::Other(error) => error,
        })
    }

    pub(super) async fn register_with(
        &self,
        token: &Secret,
        attempt_id: &AttemptId,
        labels: &[String],
    ) -> Result<Runner, Failed> {
        self.sender.credentials.keep_secret(token);
        // The forge compares names; the schema concerns only the machine and its runner.
        let mut names: Vec<&str> = Vec::new();
        for name in labels.iter().map(|label| label_name(label)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let body = json!({
            "name": attempt_id.to_string(), "token": token.expose(), "labels": names, "ephemeral": true,
            "version": concat!("tinqs-ci/", env!("CARGO_PKG_VERSION")),
        });
        let body = Some(body.to_string().into_bytes());
        let call = Call {
            path: "/api/actions/runner.v1.RunnerService/Register".to_owned(),
            with_token: false,
            ..Call::api("register", Method::POST, "", body)
        };
        let answer = self.sender.send(&call).await.map_err(Failed::Other)?;
        if !answer.status.is_success() && refuses_token(&answer) {
            let what = format!(
                "the forge rejects the registration token{}: fix `forge.runner_token`, or remove \
                 it and allow `forge.token` to read one",
                self.sender.words(&answer)
            );
            return Err(Failed::Token(self.sender.error(&call, ErrorKind::Denied, &what)));
        }
        let Registered { runner: row } = self.sender.read(&call, &answer).map_err(Failed::Other)?;
        if row.id <= 0 || row.uuid.is_empty() || row.token.expose().is_empty() {
            let what = "the response holds no complete runner";
            let error = self.sender.error(&call, ErrorKind::Unavailable, what);
            return Err(Failed::Other(error));
        }
        self.sender.credentials.keep_secret(&row.token);
        if !row.ephemeral {
            // One job per identity is essential.
            let what =
                "the forge created a permanent runner: ephemeral ones need Gitea 1.24 or newer";
            let error = self.sender.error(&call, ErrorKind::Invalid, what);
            if let Err(left) = self.remove_registration(row.id, 0).await {
                tracing::warn!(registration = row.id, error = %left, "cannot remove permanent runner");
            }
            return Err(Failed::Other(error));
        }
        Ok(Runner {
            id: row.id,
            repo_id: 0,
            uuid: row.uuid,
            name: attempt_id.to_string(),
            labels: labels.to_vec(),
            token: row.token,
        })
    }

    /// Returns the registration token of the configured scope from the forge, and caches it. It
    /// stays the same until somebody resets it.
    ///
    /// # Errors
    /// `Denied` if the API token may not read it.
    pub async fn registration_token(&self) -> Result<Secret, PortError> {
        let token = self.ask_registration_token().await?;
        *self.asked_token.lock() = Some(token.clone());
        Ok(token)
    }

    async fn ask_registration_token(&self) -> Result<Secret, PortError> {
        #[derive(Deserialize)]
        struct Token {
            token: Secret,
        }
        let path = format!("{}/actions/runners/registration-token", self.scope_path());
        // Creates a token only if there is none, so it may be repeated.
        let call =
            Call { repeats: true, ..Call::api("registration_token", Method::POST, &path, None) };
        let Token { token } = self.sender.ask(&call).await?;
        if token.expose().is_empty() {
            let what = "the response holds no token";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        self.sender.credentials.keep_secret(&token);
        Ok(token)
    }

    pub(super) async fn remove_registration(&self, id: i64, repo_id: i64) -> Result<(), PortError> {
        if self.is_apart(repo_id) {
            return self.remove_in_repository(id, repo_id).await;
        }
        self.removed(&Call::api("retire", Method::DELETE, &self.runner_path(id), None)).await
    }

    /// Sends a removal; that there is nothing to remove any more is a success.
    pub(super) async fn removed(&self, call: &Call) -> Result<(), PortError> {
        let answer = self.sender.send(call).await?;
        let done = answer.status.is_success() && !answer.is_html();
        if done || answer.is_not_found() { Ok(()) } else { Err(self.sender.refusal(call, &answer)) }
    }

    pub(super) fn runner_path(&self, id: i64) -> String {
        format!("{}/actions/runners/{id}", self.scope_path())
    }
}

/// Converts a row of ours; `None` for a foreign one.
pub(super) fn registration(row: ApiRunner, repo_id: i64) -> Option<Registration> {
    let ApiRunner { id, uuid, name, status, busy, disabled, labels: _ } = row;
    let attempt_id = name.parse().ok()?;
    // `offline` is the only status of an absent runner; the others are kinds of present. Older
    // servers write `RUNNER_STATUS_OFFLINE`.
    let status = status.to_ascii_lowercase();
    let offline = ["offline", "unspecified"].iter().any(|word| status.ends_with(word));
    let online = !status.is_empty() && !offline;
    Some(Registration {
        id,
        repo_id,
        attempt_id,
        uuid,
        online,
        busy,
        disabled,
        disabled_since: None,
        missing_since: None,
    })
}

/// Whether an error of the runner protocol is about the registration token. Servers wrap it: an
/// unknown token is a 500 with the code `unknown` (`routers/api/actions/runner/runner.go`).
fn refuses_token(answer: &Answer) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Wrong {
        code: String,
        message: String,
    }
    let Wrong { code, message } = answer.parse().unwrap_or_default();
    matches!(code.as_str(), "unauthenticated" | "permission_denied")
        || (!code.is_empty() && message.to_ascii_lowercase().contains("token"))
}
