//! The arguments of `usage`.

use clap::{Args, ValueEnum};

use super::Server;
use crate::api::{Month, UsageBy};

#[derive(Debug, Args)]
pub(in crate::commands) struct Usage {
    /// The grouping of the sums
    #[arg(long, value_enum, default_value_t = By::Repo)]
    pub(in crate::commands) by: By,
    /// The month in UTC: 2026-11; without it, the current one
    #[arg(long, value_name = "YYYY-MM")]
    pub(in crate::commands) month: Option<Month>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = UsageOutput::Table)]
    pub(in crate::commands) output: UsageOutput,
    #[command(flatten)]
    pub(in crate::commands) server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum By {
    /// One row for each repository
    Repo,
    /// One row for each class
    Class,
    /// One row for each workflow of a repository
    Workflow,
    /// One row for each day, in UTC
    Day,
}

impl From<By> for UsageBy {
    fn from(by: By) -> Self {
        match by {
            By::Repo => Self::Repo,
            By::Class => Self::Class,
            By::Workflow => Self::Workflow,
            By::Day => Self::Day,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum UsageOutput {
    /// A table with its sum
    Table,
    /// Seconds and dollars for other programs
    Csv,
    Json,
    Yaml,
}
