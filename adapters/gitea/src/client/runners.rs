//! Registrations: listed, asked for by id, made by the runner protocol, removed.

use axum::http::Method;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use tinqs_ci_reconciler::model::{Registration, Registrations, Runner, Secret, Slot, label_name};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::call::{Answer, Call};
use super::pages::{self, Runners};
use super::{Client, locked};
use crate::config::Scope;
use crate::wire::ApiRunner;

/// How long it is taken for granted that the token may not list runners.
const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What is known of the right to list runners.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum RunnerList {
    /// Not asked yet.
    #[default]
    Untried,
    /// It was read: a refusal later is an error, not a missing right.
    Read,
    /// It was refused.
    Refused(Timestamp),
}

/// The runner protocol's answer (`runner.v1.RegisterResponse` in JSON).
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
    /// The JSON form leaves `false` out.
    #[serde(default)]
    ephemeral: bool,
}

/// An int64 is a string in the protocol's JSON, and a number from servers that know better.
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

/// Why a registration failed.
enum Failed {
    /// The forge does not accept the registration token: nothing was made.
    Token(PortError),
    Other(PortError),
}

impl Client {
    pub(super) async fn list_registrations(&self) -> Result<Registrations, PortError> {
        let known = *locked(&self.runner_list);
        if let RunnerList::Refused(at) = known
            && self.sender.now().duration_since(at) < REFUSED_FOR
        {
            return Ok(Registrations::Unknown);
        }
        if self.registers_elsewhere().await? {
            return Ok(self.registrations_are_unknown(
                known,
                "`forge.runner_token` is not the registration token of `forge.scope`: its runners \
                 are not in that scope's list; leave `forge.runner_token` out or take the scope's",
            ));
        }
        let path = format!("{}/actions/runners", self.scope_path());
        let call = Call::get("registrations", &path);
        let listed = pages::read_all::<Runners>(&self.sender, "registrations", &path).await;
        let rows = match (listed, known) {
            (Ok(rows), _) => rows,
            (Err(error), RunnerList::Read) => return Err(error),
            (Err(error), _) => {
                // The pages do not tell a missing list from one that fails: ask once, plainly.
                let answer = self.sender.send(&call).await?;
                if !self.is_refused(&answer).await? {
                    return Err(error);
                }
                let why = self.sender.refusal(&call, &answer).message;
                return Ok(self.registrations_are_unknown(known, &why));
            }
        };
        *locked(&self.runner_list) = RunnerList::Read;
        Ok(Registrations::Seen(rows.into_iter().filter_map(registration).collect()))
    }

    /// The token may not list runners, or the server has no such list.
    async fn is_refused(&self, answer: &Answer) -> Result<bool, PortError> {
        match answer.status.as_u16() {
            401 | 403 => Ok(!answer.is_html()),
            // Where the forge itself answers, the path is what it does not know.
            404 => self.version().await.map(|_| true),
            _ => Ok(false),
        }
    }

    fn registrations_are_unknown(&self, before: RunnerList, why: &str) -> Registrations {
        if !matches!(before, RunnerList::Refused(_)) {
            tracing::warn!(why, "runners cannot be listed: what is left over of them stays");
        }
        *locked(&self.runner_list) = RunnerList::Refused(self.sender.now());
        Registrations::Unknown
    }

    /// Whether the configured registration token belongs to another scope than the lists that are
    /// read. Its rows would then look missing, and missing is a ground for ending machines. The
    /// list of scope `all` holds every row.
    async fn registers_elsewhere(&self) -> Result<bool, PortError> {
        let Some(configured) = self.runner_token.as_ref().filter(|_| self.scope != Scope::All)
        else {
            return Ok(false);
        };
        let ask = async || match self.ask_registration_token().await {
            Ok(token) => Ok(token != *configured),
            Err(error) => match error.kind {
                // A token that may only read cannot tell.
                ErrorKind::Denied | ErrorKind::Invalid => Ok(false),
                _ => Err(error),
            },
        };
        self.elsewhere.get_or_try_init(ask).await.copied()
    }

    pub(super) async fn registration_by_id(
        &self,
        id: i64,
    ) -> Result<Option<Registration>, PortError> {
        let call = Call::get("registration", &self.runner_path(id));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            // A proxy that lost its way says 404 as well.
            self.version().await?;
            return Ok(None);
        }
        let row: ApiRunner = self.sender.read(&call, &answer)?;
        if row.id != id {
            let what = "the answer is about another runner";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        // A row of that id with another's name: ours is gone.
        Ok(registration(row))
    }

    pub(super) async fn make_registration(
        &self,
        slot: &Slot,
        labels: &[String],
    ) -> Result<Runner, PortError> {
        let remembered = locked(&self.asked_token).clone();
        let token = match remembered.or_else(|| self.runner_token.clone()) {
            Some(token) => token,
            None => self.registration_token().await?,
        };
        let refused = match self.register_with(&token, slot, labels).await {
            Ok(runner) => return Ok(runner),
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Token(error)) => error,
        };
        // Tokens are reset by hand at the forge; it tells the new one.
        *locked(&self.asked_token) = None;
        let fresh = match self.registration_token().await {
            Ok(fresh) if fresh != token => fresh,
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            Ok(_) | Err(_) => return Err(refused),
        };
        if self.runner_token.is_some() {
            tracing::warn!("the forge does not accept `forge.runner_token`: its own is used");
        }
        self.register_with(&fresh, slot, labels).await.map_err(|failed| match failed {
            Failed::Token(error) | Failed::Other(error) => error,
        })
    }

    async fn register_with(
        &self,
        token: &Secret,
        slot: &Slot,
        labels: &[String],
    ) -> Result<Runner, Failed> {
        self.sender.keep_secret(token);
        // The forge compares names; the schema is between the machine and its runner.
        let mut names: Vec<&str> = Vec::new();
        for name in labels.iter().map(|label| label_name(label)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let body = json!({
            "name": slot.to_string(), "token": token.expose(), "labels": names, "ephemeral": true,
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
                "the forge does not accept the registration token{}: check `forge.runner_token`, \
                 or leave it out and give `forge.token` the right to ask for one",
                self.sender.words(&answer)
            );
            return Err(Failed::Token(self.sender.error(&call, ErrorKind::Denied, &what)));
        }
        let Registered { runner: row } = self.sender.read(&call, &answer).map_err(Failed::Other)?;
        if row.id <= 0 || row.uuid.is_empty() || row.token.expose().is_empty() {
            let what = "the answer holds no whole runner";
            let error = self.sender.error(&call, ErrorKind::Unavailable, what);
            return Err(Failed::Other(error));
        }
        self.sender.keep_secret(&row.token);
        if !row.ephemeral {
            // One job per identity is what everything rests on.
            let what = "the forge made a permanent runner: ephemeral ones need Gitea 1.24 or newer";
            let error = self.sender.error(&call, ErrorKind::Invalid, what);
            if let Err(left) = self.remove_registration(row.id).await {
                tracing::warn!(registration = row.id, error = %left, "it could not be removed");
            }
            return Err(Failed::Other(error));
        }
        Ok(Runner {
            id: row.id,
            uuid: row.uuid,
            name: slot.to_string(),
            labels: labels.to_vec(),
            token: row.token,
        })
    }

    /// The registration token of the configured scope, as the forge tells it. It is the same each
    /// time until somebody resets it, and remembered.
    ///
    /// # Errors
    /// `Denied` where the API token may not ask.
    pub async fn registration_token(&self) -> Result<Secret, PortError> {
        let token = self.ask_registration_token().await?;
        *locked(&self.asked_token) = Some(token.clone());
        Ok(token)
    }

    async fn ask_registration_token(&self) -> Result<Secret, PortError> {
        #[derive(Deserialize)]
        struct Token {
            token: Secret,
        }
        let path = format!("{}/actions/runners/registration-token", self.scope_path());
        // It makes one only where there is none.
        let call =
            Call { repeats: true, ..Call::api("registration_token", Method::POST, &path, None) };
        let Token { token } = self.sender.ask(&call).await?;
        if token.expose().is_empty() {
            let what = "the answer holds no token";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        self.sender.keep_secret(&token);
        Ok(token)
    }

    pub(super) async fn remove_registration(&self, id: i64) -> Result<(), PortError> {
        let call = Call::api("retire", Method::DELETE, &self.runner_path(id), None);
        let answer = self.sender.send(&call).await?;
        let done = answer.status.is_success() && !answer.is_html();
        if done || answer.is_not_found() {
            Ok(())
        } else {
            Err(self.sender.refusal(&call, &answer))
        }
    }

    fn runner_path(&self, id: i64) -> String {
        format!("{}/actions/runners/{id}", self.scope_path())
    }
}

/// A row of ours; `None` for everybody else's.
fn registration(row: ApiRunner) -> Option<Registration> {
    let ApiRunner { id, uuid, name, status, busy } = row;
    let slot = name.parse().ok()?;
    // `offline` is the one word for not being there; the others are ways of being there. Older
    // servers write `RUNNER_STATUS_OFFLINE`.
    let status = status.to_ascii_lowercase();
    let offline = ["offline", "unspecified"].iter().any(|word| status.ends_with(word));
    let online = !status.is_empty() && !offline;
    Some(Registration { id, slot, uuid, online, busy, missing_since: None })
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
