//! Creates the webhook, or shows how to create it.

use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::version::Version;
use tinqs_ci_reconciler::text::escape;

use super::Answers;
use super::write::{Files, WebhookSecret};
use crate::commands::failure::{Failure, out};
use crate::commands::webhook::address::{allowed, page, unreachable_from};
use crate::commands::webhook::{Ensured, ensure};

/// Creates the webhook, or shows how.
pub(super) async fn add(
    client: &Client,
    answers: &Answers,
    secret: &WebhookSecret,
    files: &Files,
    version: &Version,
) -> Result<(), Failure> {
    let url = &answers.webhook_url;
    let done = if answers.create_webhook {
        create(client, answers, secret).await
    } else {
        let secret = format!("the content of {}", files.webhook.display());
        out(&by_hand(&answers.url, &answers.scope, url, answers.mode, &secret))
    };
    out(&allowed(url, version))?;
    if let Some(warning) = unreachable_from(&answers.url, url, answers.mode) {
        out(warning)?;
    }
    done
}

async fn create(client: &Client, answers: &Answers, secret: &WebhookSecret) -> Result<(), Failure> {
    let (WebhookSecret::Made(value) | WebhookSecret::Kept(value)) = secret;
    match ensure(client, &answers.webhook_url, value, answers.mode).await? {
        Ensured::Existing(hook) if matches!(secret, WebhookSecret::Made(_)) => {
            let shown = escape(&answers.webhook_url);
            let message = format!("a webhook to {shown} already exists (ID {})", hook.id);
            Err(Failure::failed(message).hint(
                "it has another secret: run `tinqs-ci webhook remove`, then `tinqs-ci webhook add`",
            ))
        }
        ensured => out(&ensured.text(&answers.webhook_url)),
    }
}

/// Says how to create the webhook by hand; `secret` says where its secret is.
pub(super) fn by_hand(forge: &str, scope: &Scope, url: &str, mode: Mode, secret: &str) -> String {
    let note = if *scope == Scope::All { " (System Webhooks)" } else { "" };
    let page = page(forge, scope);
    let (events, without) = match mode {
        Mode::Jobs => ("Workflow Jobs", "Without it, jobs are found within 10s."),
        Mode::Push => (
            "Workflow Jobs, Push, Create, Delete, all of Pull Request",
            "Without it, no jobs are found.",
        ),
    };
    format!(
        "\nCreate a webhook of type Gitea at {page}{note}:\n\
         \x20 Target URL    {}\n\
         \x20 Content type  application/json\n\
         \x20 Secret        {}\n\
         \x20 Trigger on    Custom events: {events}\n\
         {without} `tinqs-ci webhook add` creates it for you.\n",
        escape(url),
        escape(secret),
    )
}
