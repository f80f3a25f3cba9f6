//! The words of `init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use tinqs_ci_gitea::Demand;

#[derive(Debug, Args)]
pub(in crate::commands) struct Init {
    /// Your Gitea's address
    #[arg(long)]
    pub(in crate::commands) url: Option<String>,
    /// An access token; better: GITEA_TOKEN in the environment, or --token-file
    #[arg(long, conflicts_with = "token_file")]
    pub(in crate::commands) token: Option<String>,
    /// A file that holds an access token
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) token_file: Option<PathBuf>,
    /// all, user, org:NAME or repo:OWNER/NAME
    #[arg(long)]
    pub(in crate::commands) scope: Option<String>,
    /// How jobs are known
    #[arg(long, value_enum, default_value_t = DemandArg::Auto)]
    pub(in crate::commands) demand: DemandArg,
    /// Labels that the machines carry, separated by commas; * takes any job
    #[arg(long, value_delimiter = ',', value_name = "LABELS")]
    pub(in crate::commands) labels: Option<Vec<String>>,
    /// Where webhooks and the API are served
    #[arg(long, value_name = "IP:PORT")]
    pub(in crate::commands) listen: Option<String>,
    /// Where your Gitea reaches this server; without it, what --listen says
    #[arg(long, value_name = "URL")]
    pub(in crate::commands) webhook_url: Option<String>,
    /// Add the webhook at your Gitea
    #[arg(long)]
    pub(in crate::commands) create_webhook: bool,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = crate::settings::DEFAULT_FILE)]
    pub(in crate::commands) output: PathBuf,
    /// Ask nothing, take the flags and the defaults
    #[arg(long, short = 'y')]
    pub(in crate::commands) yes: bool,
    #[command(flatten)]
    pub(in crate::commands) cloud: InitCloud,
}

/// Of `init --aws`, which asks no forge and writes no file.
#[derive(Debug, Args)]
pub(in crate::commands) struct InitCloud {
    /// Make the table and the queue that the configuration names in AWS, where they are not there
    #[arg(long, conflicts_with_all = OF_FORGE)]
    pub(in crate::commands) aws: bool,
    /// With --aws: the configuration; without it TINQS_CI_CONFIG, then ./tinqs-ci.toml if it is there
    #[arg(long, value_name = "FILE", requires = "aws")]
    pub(in crate::commands) config: Option<PathBuf>,
    /// With --aws: make a queue of this name too, and NAME-dead for what cannot be read
    #[arg(long, value_name = "NAME", requires = "aws")]
    pub(in crate::commands) queue_name: Option<String>,
    /// With --aws: only say what would be done
    #[arg(long, requires = "aws")]
    pub(in crate::commands) dry_run: bool,
}

/// What says nothing to `init --aws`.
const OF_FORGE: [&str; 10] = [
    "url",
    "token",
    "token_file",
    "scope",
    "demand",
    "labels",
    "listen",
    "webhook_url",
    "create_webhook",
    "output",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum DemandArg {
    Auto,
    Jobs,
    Push,
}

impl From<DemandArg> for Demand {
    fn from(demand: DemandArg) -> Self {
        match demand {
            DemandArg::Auto => Self::Auto,
            DemandArg::Jobs => Self::Jobs,
            DemandArg::Push => Self::Push,
        }
    }
}
