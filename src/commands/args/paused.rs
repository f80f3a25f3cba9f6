//! The arguments of `pause` and `resume`.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Server;
use crate::commands::complete;

#[derive(Debug, Args)]
pub(in crate::commands) struct Paused {
    /// The class; without it, all
    #[arg(add = ArgValueCompleter::new(complete::classes))]
    pub(in crate::commands) class: Option<String>,
    #[command(flatten)]
    pub(in crate::commands) server: Server,
}
