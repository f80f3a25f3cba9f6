//! Webhooks: sent once, signed, with a delay, without retries.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{Shared, State};
use crate::forge::Webhook;

/// The repositories whose events a hook receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookScope {
    /// Every repository.
    System,
    /// None: a template for new repositories.
    Default,
    /// All repositories of an owner.
    Owner(String),
    /// One repository, `owner/name`.
    Repo(String),
}

/// A hook.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// ID, assigned when added.
    pub id: i64,
    /// The repositories whose events it receives.
    pub scope: HookScope,
    /// Target URL.
    pub url: String,
    /// Secret for the signature; empty: unsigned.
    pub secret: String,
    /// Whether deliveries use `form` instead of `json`.
    pub form: bool,
    /// Whether it is active.
    pub active: bool,
    /// Events that it receives.
    pub events: Vec<String>,
}

impl Hook {
    /// Creates an active hook for pushes and related events of every repository, as used without
    /// job lists.
    pub fn pushes(url: impl Into<String>, secret: impl Into<String>) -> Self {
        let events = ["push", "create", "delete", "pull_request"];
        Self { events: events.map(str::to_owned).to_vec(), ..Self::system(url, secret) }
    }

    /// Creates an active hook for the jobs of every repository.
    pub fn system(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: 0,
            scope: HookScope::System,
            url: url.into(),
            secret: secret.into(),
            form: false,
            active: true,
            events: vec!["workflow_job".to_owned()],
        }
    }

    fn wants(&self, webhook: &Webhook) -> bool {
        let scope = match &self.scope {
            HookScope::System => true,
            HookScope::Default => false,
            HookScope::Owner(owner) => webhook.repo.split('/').next() == Some(owner),
            HookScope::Repo(repo) => webhook.repo == *repo,
        };
        scope && self.active && self.subscribes(webhook)
    }

    /// Whether it has the webhook's event.
    pub(super) fn subscribes(&self, webhook: &Webhook) -> bool {
        self.events.iter().any(|e| e == webhook.event)
    }

    fn target_type(&self) -> &'static str {
        match self.scope {
            HookScope::System => "system",
            HookScope::Default => "default",
            HookScope::Owner(_) => "organization",
            HookScope::Repo(_) => "repository",
        }
    }

    /// Returns the hook as in the API, without the secret.
    pub(super) fn json(&self) -> Value {
        let content_type = if self.form { "form" } else { "json" };
        json!({
            "id": self.id,
            "type": "gitea",
            "branch_filter": "",
            "config": {"content_type": content_type, "url": self.url},
            "events": self.events,
            "authorization_header": "",
            "active": self.active,
        })
    }
}

impl State {
    pub(super) fn add_hook(&mut self, hook: Hook) -> i64 {
        self.last_hook += 1;
        self.hooks.push(Hook { id: self.last_hook, ..hook });
        self.last_hook
    }

    fn loses(&mut self, webhook: &Webhook) -> bool {
        if self.lose_if.as_ref().is_some_and(|lost| lost(webhook)) {
            return true;
        }
        let lost = self.lose_next > 0;
        self.lose_next = self.lose_next.saturating_sub(1);
        lost
    }
}

/// Runs the server's cron and sends webhooks, until aborted.
pub(super) async fn pump(shared: Arc<Shared>) {
    let mut deliveries = JoinSet::new();
    let mut number = 0_u64;
    for beat in 0_u64.. {
        let told = {
            let mut forge = shared.forge();
            if beat % 20 == 0 {
                forge.tick(shared.now());
            }
            forge.take_webhooks()
        };
        let tests = std::mem::take(&mut shared.state().tests);
        for (hook, webhook) in tests {
            number += 1;
            let name = format!("{}/{}/{number}", hook.url, shared.now());
            let delivery = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
            let shared = Arc::clone(&shared);
            deliveries.spawn(async move { deliver(&shared, &hook, &webhook, delivery).await });
        }
        for webhook in told {
            let (hooks, delay) = {
                let mut state = shared.state();
                if state.loses(&webhook) {
                    state.counters.lost += 1;
                    continue;
                }
                let wanted = state.hooks.iter().filter(|h| h.wants(&webhook));
                (wanted.cloned().collect::<Vec<_>>(), state.webhook_delay)
            };
            for hook in hooks {
                number += 1;
                let name = format!("{}/{}/{number}", hook.url, shared.now());
                let delivery = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
                let shared = Arc::clone(&shared);
                let webhook = webhook.clone();
                deliveries.spawn(async move {
                    tokio::time::sleep(delay).await;
                    deliver(&shared, &hook, &webhook, delivery).await;
                });
            }
        }
        while deliveries.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn deliver(shared: &Shared, hook: &Hook, webhook: &Webhook, delivery: Uuid) {
    let refuses = shared.state().refuses_hosts;
    if refuses {
        // The server does not even connect.
        shared.state().counters.failed += 1;
        return;
    }
    let text = go_json(&webhook.payload);
    let signature = sign(&hook.secret, &text);
    let (kind, body) = if hook.form {
        ("application/x-www-form-urlencoded", format!("payload={}", form_encode(&text)))
    } else {
        ("application/json", text)
    };
    let mut request = shared
        .client
        .post(&hook.url)
        .header("Content-Type", kind)
        .header("X-Gitea-Signature", &signature)
        .header("X-Hub-Signature-256", format!("sha256={signature}"))
        .header("X-Gitea-Hook-Installation-Target-Type", hook.target_type());
    for maker in ["Gitea", "Gogs", "GitHub"] {
        request = request
            .header(format!("X-{maker}-Delivery"), delivery.to_string())
            .header(format!("X-{maker}-Event"), webhook.event)
            .header(format!("X-{maker}-Event-Type"), webhook.event_type);
    }
    let response = request.body(body).send().await;
    let taken = response.is_ok_and(|r| r.status().is_success());
    let counters = &mut shared.state().counters;
    if taken {
        counters.sent += 1;
    } else {
        counters.failed += 1;
    }
}

/// Returns JSON as Go serializes it: indented by two spaces, with `&`, `<` and `>` escaped.
fn go_json(value: &Value) -> String {
    format!("{value:#}")
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Returns the lower-case hex of the HMAC-SHA256; empty without a secret.
pub(super) fn sign(secret: &str, text: &str) -> String {
    if secret.is_empty() {
        return String::new();
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Escapes like Go's `url.QueryEscape`.
pub(super) fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            // Writing to a `String` cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
