//! The arguments of `explain`.

use clap::Subcommand;

use super::{CODES, Server, TextOrJson};

/// The subject to explain.
#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Explain {
    /// Explain what a pushed commit starts: each workflow file, each filter, each job
    #[command(after_help = CODES)]
    Push {
        /// The repository: OWNER/NAME
        repo: String,
        /// The commit, or the name of a branch or tag: then its commit, as pushed to it
        #[arg(value_name = "COMMIT|BRANCH|TAG")]
        sha: String,
        /// The branch, or refs/…, that the commit is pushed to; defaults to the given branch or tag,
        /// else to the branch whose tip it is
        #[arg(long = "ref", value_name = "REF")]
        git_ref: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Explain a job: its status at the forge, its attempts, and the next step
    #[command(after_help = CODES)]
    Job {
        /// The job's ID at the forge, or job-ID
        id: String,
        /// The job's repository, OWNER/NAME, needed if the job has no run
        #[arg(long, value_name = "OWNER/NAME")]
        repo: Option<String>,
        /// Also show internals: numbers of attempts, rules of the decision table
        #[arg(short, long)]
        verbose: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
}
