//! The arguments of `get`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Server;
use super::values::{Output, Phase, Sort};
use crate::commands::complete;

#[derive(Debug, Args)]
pub(in crate::commands) struct Get {
    /// runs, machines, registrations, classes or events; or KIND/NAME
    #[arg(value_name = "KIND", default_value = "runs", add = ArgValueCompleter::new(complete::kinds))]
    pub(in crate::commands) kind: String,
    /// Only list the item with this name
    pub(in crate::commands) name: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(in crate::commands) output: Output,
    /// Keep running and print changes, every two seconds (events: at once), until Ctrl-C
    #[arg(short, long)]
    pub(in crate::commands) watch: bool,
    /// Only list runs in this phase
    #[arg(long, value_enum, ignore_case = true)]
    pub(in crate::commands) phase: Option<Phase>,
    /// Only list runs or machines of this class
    #[arg(long, add = ArgValueCompleter::new(complete::classes))]
    pub(in crate::commands) class: Option<String>,
    /// Only list runs of this repository
    #[arg(long, value_name = "OWNER/NAME")]
    pub(in crate::commands) repo: Option<String>,
    /// Sort runs or machines by this; age: the oldest first
    #[arg(long, value_name = "KEY", value_enum, ignore_case = true)]
    pub(in crate::commands) sort: Option<Sort>,
    /// Only list events of this run: its name, the ID of its job, or the URL of that job's page
    #[arg(long = "for", value_name = "URL|ID|RUN", add = ArgValueCompleter::new(complete::runs))]
    pub(in crate::commands) about: Option<String>,
    /// The maximum number of runs or events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::commands) limit: Option<u32>,
    #[command(flatten)]
    pub(in crate::commands) server: Server,
}
