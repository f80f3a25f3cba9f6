//! The words of the command line.

#![allow(clippy::doc_markdown, reason = "these comments are printed as they stand, by --help")]

mod init;

use std::path::PathBuf;

use crate::server::Role;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(super) use init::{Init, InitCloud};

/// Exit codes, as every verb's help ends.
const CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, \
                     4 server not reached.";
const CODES_PLAN: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 server not reached; \
                          with --exit-code:\n0 settled, 2 something to do.";
const CODES_LOCAL: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration.";
const FIRST: &str = "First steps: `tinqs-ci demo` shows all of it in ten seconds; `tinqs-ci init` \
                     sets it up for your Gitea.\n\nEnvironment: TINQS_CI_CONFIG (file), \
                     TINQS_CI_<SECTION>__<KEY> (over the file), TINQS_CI_URL and\n\
                     TINQS_CI_API_TOKEN (for the commands that ask a server), NO_COLOR.\n\n\
                     Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not found, \
                     4 server not reached.";

/// One ephemeral machine for every waiting Gitea Actions job, gone afterwards.
#[derive(Debug, Parser)]
#[command(name = "tinqs-ci", version, after_help = FIRST, max_term_width = 100, infer_long_args = false)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the server: webhooks, the loops, the API
    #[command(after_help = CODES_LOCAL)]
    Serve {
        #[command(flatten)]
        config: ConfigFile,
        /// What this process does: ingest takes webhooks only, reconcile everything else
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
    },
    /// The same as an AWS Lambda function: requests, queue batches, schedule, instance events
    #[command(after_help = CODES_LOCAL)]
    Lambda {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show all of it in ten seconds: a pretended forge and machines, the real controller
    #[command(after_help = CODES_LOCAL)]
    Demo {
        /// Go on after the story, until Ctrl-C
        #[arg(long)]
        stay: bool,
        /// What the pretended weather is drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How much faster than usual (usual: a minute of the story in a second)
        #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
        speed: f64,
    },
    /// Write a configuration for your Gitea, test it, and say what comes next
    #[command(after_help = CODES_LOCAL)]
    Init(Init),
    /// Check everything that serve needs, and say what to do about what is missing
    #[command(after_help = CODES_LOCAL)]
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        /// Only what needs no network
        #[arg(long)]
        offline: bool,
    },
    /// List runs, machines, registrations or classes
    #[command(after_help = CODES)]
    Get(Get),
    /// Tell everything about a run
    #[command(after_help = CODES)]
    Describe {
        /// The run: job-4812, or run/job-4812
        name: String,
        #[command(flatten)]
        server: Server,
    },
    /// Show what a look at a run would do now; nothing is done
    #[command(after_help = CODES_PLAN)]
    Plan {
        /// The run
        #[arg(required_unless_present = "file")]
        name: Option<String>,
        /// Plan this observation instead (JSON; - is standard input); needs no server
        #[arg(short, long, conflicts_with = "name")]
        file: Option<PathBuf>,
        /// Exit with 0 where all is settled, with 2 where something is to be done
        #[arg(long)]
        exit_code: bool,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Tell why a machine came, or did not
    #[command(after_help = CODES)]
    Explain {
        #[command(subcommand)]
        what: Explain,
    },
    /// Give this job no machine any more; a machine at work goes on
    #[command(after_help = CODES)]
    Delete {
        /// The run
        name: String,
        /// End its machine at once, even at work
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// Try now: clears backing off, giving up and a deletion
    #[command(after_help = CODES)]
    Retry {
        /// The run
        name: String,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// End a machine at once, even at work
    #[command(after_help = CODES)]
    Terminate {
        /// The machine's id, as `get machines` lists it
        machine: String,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// Go through all jobs, machines and registrations now
    #[command(after_help = CODES)]
    Sweep {
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Answer the forge's rules on their own: one JSON case a line in, one result a line out
    #[command(after_help = "Exit codes: 0 done, 1 a line was malformed, 2 usage.")]
    Eval {
        /// Which rule: patterns, trigger, notify, jobs, labels, changed-files, signature or
        /// workflow-path
        kind: String,
        /// Of which server line
        #[arg(long, value_enum, default_value_t = ServerLine::V1_26, value_name = "LINE")]
        server: ServerLine,
    },
    /// Print a JSON Schema
    #[command(after_help = CODES_LOCAL)]
    Schema {
        /// Of what
        #[arg(value_enum)]
        kind: SchemaKind,
    },
    /// Print the completion script of a shell
    #[command(after_help = CODES_LOCAL)]
    Completion {
        /// Which
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the version
    #[command(after_help = CODES_LOCAL)]
    Version {
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
    },
}

/// What is to be explained.
#[derive(Debug, Subcommand)]
pub(super) enum Explain {
    /// What a pushed commit starts: each workflow file, each filter, each job
    #[command(after_help = CODES)]
    Push {
        /// The repository: OWNER/NAME
        repo: String,
        /// The commit
        sha: String,
        /// The branch, or refs/…, it is pushed to; without it the branch whose tip it is
        #[arg(long = "ref", value_name = "REF")]
        git_ref: Option<String>,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// How a job stands at the forge, what was tried for it, what comes next
    #[command(after_help = CODES)]
    Job {
        /// The job's id at the forge, or job-ID
        id: String,
        /// Its repository, OWNER/NAME, where nothing here knows the job
        #[arg(long, value_name = "OWNER/NAME")]
        repo: Option<String>,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration; without it TINQS_CI_CONFIG, then ./tinqs-ci.toml if it is there
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Server {
    /// The server's address; without it TINQS_CI_URL, then http://127.0.0.1:8080
    #[arg(long = "server", value_name = "URL")]
    pub(super) url: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DryRun {
    /// Only say what would be done
    #[arg(long = "dry-run")]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    /// runs, machines, registrations or classes; or KIND/NAME
    #[arg(value_name = "KIND", default_value = "runs")]
    pub(super) kind: String,
    /// Only this one
    pub(super) name: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// Go on and print what changes, every two seconds, until Ctrl-C
    #[arg(short, long)]
    pub(super) watch: bool,
    /// Only runs of this phase
    #[arg(long, value_enum, ignore_case = true)]
    pub(super) phase: Option<Phase>,
    /// Only of this class
    #[arg(long)]
    pub(super) class: Option<String>,
    /// Only runs of this repository
    #[arg(long, value_name = "OWNER/NAME")]
    pub(super) repo: Option<String>,
    /// At most so many runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TextOrJson {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Phase {
    Waiting,
    Starting,
    Running,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaKind {
    Config,
    Run,
    Observation,
    Table,
    Metrics,
}

/// Lines of the forge whose rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ServerLine {
    #[value(name = "1.25")]
    V1_25,
    #[value(name = "1.26")]
    V1_26,
    #[value(name = "1.27")]
    V1_27,
}
