//! The arguments of `backup`, `restore` and `rebuild`.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigFile, Server, TextOrJson};

#[derive(Debug, Args)]
pub(in crate::commands) struct Backup {
    /// The file for the backup, which must not exist
    #[arg(value_name = "FILE")]
    pub(in crate::commands) file: PathBuf,
    /// Also write the credentials of attempts; without them a launch whose answer is missing is not
    /// repeated
    #[arg(long)]
    pub(in crate::commands) secrets: bool,
    #[command(flatten)]
    pub(in crate::commands) server: Server,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Restore {
    /// The file of the backup
    #[arg(value_name = "FILE")]
    pub(in crate::commands) file: PathBuf,
    #[command(flatten)]
    pub(in crate::commands) config: ConfigFile,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Rebuild {
    /// Write it; without this, only print what would be written
    #[arg(long)]
    pub(in crate::commands) yes: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
    pub(in crate::commands) output: TextOrJson,
    #[command(flatten)]
    pub(in crate::commands) config: ConfigFile,
}
