//! The arguments of `init`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use tinqs_ci_gitea::Demand;

#[derive(Debug, Args)]
pub(in crate::commands) struct Init {
    /// The address of your Gitea
    #[arg(long)]
    pub(in crate::commands) url: Option<String>,
    /// An access token, which is written to a file readable only by you; prefer the variable
    /// GITEA_TOKEN, or --token-file
    #[arg(long, conflicts_with = "token_file")]
    pub(in crate::commands) token: Option<String>,
    /// A file that holds an access token
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) token_file: Option<PathBuf>,
    /// The environment variable in which serve will find an access token, instead of a file
    #[arg(long, value_name = "NAME", conflicts_with_all = ["token", "token_file"])]
    pub(in crate::commands) token_env: Option<String>,
    /// The jobs to serve: all, user, org:NAME or repo:OWNER/NAME
    #[arg(long)]
    pub(in crate::commands) scope: Option<String>,
    /// The source of waiting jobs
    #[arg(long, value_enum, default_value_t = DemandArg::Auto)]
    pub(in crate::commands) demand: DemandArg,
    /// The labels of the machines, separated by commas; * serves any job except `host`; defaults to
    /// linux and the ubuntu labels of Gitea's runner
    #[arg(long, value_delimiter = ',', value_name = "LABELS")]
    pub(in crate::commands) labels: Option<Vec<String>>,
    /// The repositories whose jobs the machines serve, separated by commas: owner/name, in which *
    /// stands for any part of either; defaults to all, every repository of the scope
    #[arg(long, value_delimiter = ',', value_name = "REPOS")]
    pub(in crate::commands) repos: Option<Vec<String>>,
    /// The address that takes webhooks
    #[arg(long, value_name = "IP:PORT")]
    pub(in crate::commands) listen: Option<String>,
    /// The webhook URL, as your Gitea reaches this server; defaults to the address of --listen
    #[arg(long, value_name = "URL")]
    pub(in crate::commands) webhook_url: Option<String>,
    /// Create the webhook in Gitea
    #[arg(long)]
    pub(in crate::commands) create_webhook: bool,
    /// The file to write; one that exists is checked and completed, not changed
    #[arg(long, value_name = "FILE", default_value = crate::settings::DEFAULT_FILE)]
    pub(in crate::commands) output: PathBuf,
    /// Do not ask; use the flags and the defaults
    #[arg(long, short = 'y')]
    pub(in crate::commands) yes: bool,
    #[command(flatten)]
    pub(in crate::commands) cloud: InitCloud,
}

/// The arguments of `init --aws` and `init --from-lambda`, which call no forge.
#[derive(Debug, Args)]
#[allow(clippy::option_option, reason = "clap's form of an option whose value may be left out")]
pub(in crate::commands) struct InitCloud {
    /// Create the missing AWS table and queue that the configuration names
    #[arg(long, conflicts_with_all = OF_FORGE, conflicts_with = "output")]
    pub(in crate::commands) aws: bool,
    /// Write the configuration that the variables of the predecessor's Lambda function mean, and
    /// say what changes: those of the environment, or of a file with the output of `aws lambda
    /// get-function-configuration` (- is standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_FORGE, conflicts_with_all = OF_AWS)]
    pub(in crate::commands) from_lambda: Option<Option<PathBuf>>,
    /// With --aws: the configuration file; defaults to TINQS_CI_CONFIG, then ./tinqs-ci.toml
    #[arg(long, value_name = "FILE", requires = "aws")]
    pub(in crate::commands) config: Option<PathBuf>,
    /// With --aws: also create a queue of this name, and NAME-dead for unreadable messages
    #[arg(long, value_name = "NAME", requires = "aws")]
    pub(in crate::commands) queue_name: Option<String>,
    /// With --aws: only print what would be done
    #[arg(long, requires = "aws")]
    pub(in crate::commands) dry_run: bool,
}

/// Arguments that conflict with `--aws` and `--from-lambda`.
const OF_FORGE: [&str; 11] = [
    "url",
    "token",
    "token_file",
    "token_env",
    "scope",
    "demand",
    "labels",
    "repos",
    "listen",
    "webhook_url",
    "create_webhook",
];

/// `--aws`, and what goes with it.
const OF_AWS: [&str; 4] = ["aws", "config", "queue_name", "dry_run"];

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
