//! The arguments of `serve` that allow what is not safe.

use clap::Args;

/// The unsafe things that `serve` is allowed to do.
#[derive(Clone, Copy, Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "one flag of the command line each")]
pub(in crate::commands) struct Insecure {
    /// Let other hosts reach the API without TLS: tokens can then be read on the way
    #[arg(long = "insecure-api")]
    pub(in crate::commands) api: bool,
    /// Accept a webhook secret or a token shorter than 8 bytes
    #[arg(long = "insecure-secrets")]
    pub(in crate::commands) secrets: bool,
    /// Accept files of credentials that every user of this host can read
    #[arg(long = "insecure-files")]
    pub(in crate::commands) files: bool,
    /// Call a forge at a public address by http://: its token can then be read on the way
    #[arg(long = "insecure-forge")]
    pub(in crate::commands) forge: bool,
    /// Run the jobs of process: machines as root, because the server is root and process.user is
    /// not set
    #[arg(long = "insecure-root")]
    pub(in crate::commands) root: bool,
}
