//! The arguments that name a server, and that of a command which changes something.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::commands) struct Server {
    /// The address of the server's API; defaults to TINQS_CI_URL, then to the server of the
    /// configuration in this directory
    #[arg(long = "server", value_name = "URL")]
    pub(in crate::commands) url: Option<String>,
    /// A file with a token of the API; defaults to TINQS_CI_API_TOKEN, then to a token of that
    /// configuration
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) token_file: Option<PathBuf>,
    /// A file with the certificates of a private authority, which the server's certificate may come
    /// from; defaults to TINQS_CI_CA_FILE
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) ca_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct DryRun {
    /// Only print what would be done
    #[arg(long = "dry-run")]
    pub(in crate::commands) dry_run: bool,
}
