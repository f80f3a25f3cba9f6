//! The arguments of `drift`.

use clap::{Args, ValueEnum};

use super::Server;

#[derive(Debug, Args)]
pub(in crate::commands) struct Drift {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = DriftOutput::Text)]
    pub(in crate::commands) output: DriftOutput,
    /// Exit with 0 if nothing drifts, with 2 if something does
    #[arg(long)]
    pub(in crate::commands) exit_code: bool,
    #[command(flatten)]
    pub(in crate::commands) server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum DriftOutput {
    /// The differences, their causes, and the next steps
    Text,
    /// A table, one line each
    Wide,
    Json,
    Yaml,
}
