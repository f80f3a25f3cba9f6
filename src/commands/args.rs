//! The arguments of the command line.

#![allow(clippy::doc_markdown, reason = "--help prints these comments as they are")]

mod backup;
mod config;
mod demo;
mod drift;
mod explain;
mod get;
mod init;
mod insecure;
mod paused;
mod server;
mod usage;
mod values;
mod webhook;

use std::path::PathBuf;

use super::complete;
use crate::server::Role;
use clap::{Args, Parser, Subcommand};
use clap_complete::engine::ArgValueCompleter;

pub(super) use backup::{Backup, Rebuild, Restore};
pub(super) use config::Config;
pub(super) use demo::Demo;
pub(super) use drift::{Drift, DriftOutput};
pub(super) use explain::Explain;
pub(super) use get::Get;
pub(super) use init::{Init, InitCloud};
pub(super) use insecure::Insecure;
pub(super) use paused::Paused;
pub(super) use server::{DryRun, Server};
pub(super) use usage::{Usage, UsageOutput};
pub(super) use values::{Output, Phase, SchemaKind, ServerLine, Sort, TextOrJson};
pub(super) use webhook::{Webhook, WebhookOptions};

/// The exit codes, at the end of each command's help.
const CODES: &str = "Exit codes: 0 success, 1 failure, 2 usage or configuration error, \
                     3 not found, 4 cannot reach the server.";
const CODES_PLAN: &str = "Exit codes: 0 success, 1 failure, 2 usage error, 3 not found, 4 cannot \
                          reach the server; with --exit-code: 0 settled, 2 changes are planned.";
const CODES_DRIFT: &str = "Exit codes: 0 success, 1 failure, 2 usage error, 4 cannot reach the \
                           server; with --exit-code: 0 nothing drifts, 2 something does.";
const CODES_RELOAD: &str = "Exit codes: 0 success, 1 failure, 2 usage error or broken \
                            configuration: the former one stays in force, 4 cannot reach the \
                            server.";
const CODES_LOCAL: &str = "Exit codes: 0 success, 1 failure, 2 usage or configuration error.";
const FIRST: &str = "First steps: `tinqs-ci demo` shows how it works in ten seconds; `tinqs-ci \
                     init` sets it up for your Gitea.\n\nEnvironment: TINQS_CI_CONFIG \
                     (configuration file), TINQS_CI_<SECTION>__<KEY> (overrides the file), \
                     TINQS_CI_LOG (log filter of the server: info, debug, info,tinqs_ci=debug), \
                     TINQS_CI_URL, TINQS_CI_API_TOKEN and TINQS_CI_CA_FILE (for commands \
                     that call a server), \
                     NO_COLOR.\n\n\
                     Exit codes: 0 success, 1 failure, 2 usage or configuration error, \
                     3 not found, 4 cannot reach the server.";

/// Runs each waiting Gitea Actions job on its own ephemeral machine.
#[derive(Debug, Parser)]
#[command(name = "tinqs-ci", version, after_help = FIRST, max_term_width = 100, infer_long_args = false)]
#[command(arg_required_else_help = true)]
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
        /// The work of this process: ingest only accepts webhooks, reconcile does everything else
        #[arg(long, value_enum, default_value_t = Role::All)]
        role: Role,
        #[command(flatten)]
        insecure: Insecure,
    },
    /// Run the server as an AWS Lambda function: requests, queue batches, schedule, EC2 events
    #[command(after_help = CODES_LOCAL)]
    Lambda {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show how it works in ten seconds: the real controller with a simulated forge and machines
    #[command(after_help = CODES_LOCAL)]
    Demo(Demo),
    /// Create and test a configuration for your Gitea
    #[command(after_help = CODES_LOCAL)]
    Init(Init),
    /// Create, show, test or remove the webhook at the forge
    #[command(after_help = CODES)]
    Webhook {
        #[command(subcommand)]
        verb: Webhook,
    },
    /// Check everything that serve needs, and suggest fixes
    #[command(after_help = CODES_LOCAL)]
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        /// Only run checks that need no network
        #[arg(long)]
        offline: bool,
    },
    /// Check the configuration, or show every value with its origin
    #[command(after_help = CODES_LOCAL)]
    Config {
        #[command(subcommand)]
        verb: Config,
    },
    /// Show what is well and what is not; exit code 1 if something needs a person
    #[command(after_help = CODES)]
    Status {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Show what differs between runs, machines and registrations for longer than it may
    #[command(after_help = CODES_DRIFT)]
    Drift(Drift),
    /// Show what the machines of a month did, and what that cost
    #[command(after_help = CODES)]
    Usage(Usage),
    /// Say why a job waits, and what would unblock it
    #[command(after_help = CODES)]
    Why {
        /// The URL of the job's page at the forge, a job ID, or a run; without it, everything that
        /// is not well
        #[arg(value_name = "URL|ID|RUN", add = ArgValueCompleter::new(complete::runs))]
        what: Option<String>,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// List runs, machines, registrations, classes or events
    #[command(after_help = CODES)]
    Get(Get),
    /// Show the details of a run
    #[command(after_help = CODES)]
    Describe {
        /// The name of the run: job-4812 or run/job-4812
        #[arg(add = ArgValueCompleter::new(complete::runs))]
        name: String,
        /// Also show internals: UID, version, numbers of attempts
        #[arg(short, long)]
        verbose: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Show what a reconcile of a run would do now, without doing it
    #[command(after_help = CODES_PLAN)]
    Plan {
        /// The name of the run
        #[arg(required_unless_present = "file", add = ArgValueCompleter::new(complete::runs))]
        name: Option<String>,
        /// Plan this observation instead (JSON; - is standard input); needs no server
        #[arg(short, long, conflicts_with = "name")]
        file: Option<PathBuf>,
        /// Exit with 0 if the run is settled, with 2 if changes are planned
        #[arg(long)]
        exit_code: bool,
        /// Also show the rules of the decision table
        #[arg(short, long)]
        verbose: bool,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Explain why a job got a machine, or did not
    #[command(after_help = CODES)]
    Explain {
        #[command(subcommand)]
        what: Explain,
    },
    /// Show what a machine printed: its boot script and its runner, not its job
    #[command(after_help = CODES)]
    Logs(Logs),
    /// Print each change of a run, one per line, until it is finished
    #[command(after_help = CODES)]
    Watch {
        /// The name of the run, the ID of its job, or the URL of that job's page
        #[arg(value_name = "URL|ID|RUN", add = ArgValueCompleter::new(complete::runs))]
        run: String,
        /// Exit with 1 unless the job succeeded
        #[arg(long)]
        exit_status: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Delete a run: its job gets no more machines; a machine with a job continues
    #[command(after_help = CODES)]
    Delete {
        /// The name of the run
        #[arg(add = ArgValueCompleter::new(complete::runs))]
        name: String,
        /// Also terminate its machine at once, even mid-job
        #[arg(long)]
        now: bool,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// Retry a run now: clears its backoff, giving up and deletion
    #[command(after_help = CODES)]
    Retry {
        /// The name of the run
        #[arg(add = ArgValueCompleter::new(complete::runs))]
        name: String,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// Terminate a machine at once, even mid-job
    #[command(after_help = CODES)]
    Terminate {
        /// The ID of the machine, as listed by `get machines`
        #[arg(add = ArgValueCompleter::new(complete::machines))]
        machine: String,
        #[command(flatten)]
        dry: DryRun,
        #[command(flatten)]
        server: Server,
    },
    /// Launch no more machines, of a class or of all; nothing that runs is touched
    #[command(after_help = CODES)]
    Pause(Paused),
    /// Launch machines again
    #[command(after_help = CODES)]
    Resume(Paused),
    /// Print a one-time address that signs a browser in to the page; opens nothing
    #[command(after_help = CODES)]
    Open {
        #[command(flatten)]
        server: Server,
    },
    /// Check all jobs, machines and registrations now
    #[command(after_help = CODES)]
    Sweep {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Write everything that the server's store keeps to a file
    #[command(after_help = CODES)]
    Backup(Backup),
    /// Put a backup into the empty store of the configuration; the server must be stopped
    #[command(after_help = CODES_LOCAL)]
    Restore(Restore),
    /// Make a lost store again from machines and waiting jobs; the server must be stopped
    #[command(after_help = CODES_LOCAL)]
    Rebuild(Rebuild),
    /// Let the server read its configuration again, as SIGHUP does
    #[command(after_help = CODES_RELOAD)]
    Reload {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
        #[command(flatten)]
        server: Server,
    },
    /// Evaluate the forge's rules: reads one JSON case per line, writes one result per line
    #[command(after_help = "Exit codes: 0 success, 1 a line was malformed, 2 usage error.")]
    Eval {
        /// The rule: patterns, trigger, notify, jobs, labels, changed-files, signature or
        /// workflow-path
        kind: String,
        /// The Gitea version whose rules apply
        #[arg(long, value_enum, default_value_t = ServerLine::V1_26, value_name = "LINE")]
        server: ServerLine,
    },
    /// Print a JSON Schema
    #[command(after_help = CODES_LOCAL)]
    Schema {
        /// The document that the schema describes
        #[arg(value_enum)]
        kind: SchemaKind,
    },
    /// Print a shell completion script, which completes runs, machines and classes too
    #[command(after_help = CODES_LOCAL)]
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual: a page for each command
    #[command(after_help = CODES_LOCAL)]
    Man {
        /// The folder for the pages
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print the version
    #[command(after_help = CODES_LOCAL)]
    Version {
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
    },
}

/// The arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The ID of the machine, the name of its run, the ID of its job, or the URL of that job's page
    #[arg(value_name = "URL|ID|RUN|MACHINE", add = ArgValueCompleter::new(complete::runs_and_machines))]
    pub(super) what: String,
    /// Keep printing what comes, until the machine has ended
    #[arg(short, long)]
    pub(super) follow: bool,
    /// The machine of the attempt before the current one
    #[arg(long)]
    pub(super) previous: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub(super) tail: Option<usize>,
    /// Print control characters as they are: they can change what a terminal shows and does
    #[arg(long)]
    pub(super) raw: bool,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file; defaults to TINQS_CI_CONFIG, then ./tinqs-ci.toml if it exists
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}
