//! The arguments of `webhook`.

use clap::{Args, Subcommand};

use super::{CODES, ConfigFile};

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Webhook {
    /// Create the webhook at the forge; one that exists is kept
    #[command(after_help = CODES)]
    Add(WebhookOptions),
    /// Show the webhooks that lead to this server
    #[command(after_help = CODES)]
    Show(WebhookOptions),
    /// Send a test delivery; it starts nothing
    #[command(after_help = CODES)]
    Test(WebhookOptions),
    /// Remove the webhook with exactly this URL
    #[command(after_help = CODES)]
    Remove(WebhookOptions),
}

#[derive(Debug, Args)]
pub(in crate::commands) struct WebhookOptions {
    #[command(flatten)]
    pub(in crate::commands) config: ConfigFile,
    /// The webhook's URL, as your Gitea reaches this server; defaults to `server.webhooks`
    #[arg(long, value_name = "URL")]
    pub(in crate::commands) url: Option<String>,
}
