//! Parses the arguments, runs the command, and returns its exit code.

mod args;
mod backup;
mod change;
pub mod client;
mod complete;
mod completion;
mod config;
pub mod demo;
pub mod doctor;
mod drift;
pub mod eval;
mod events;
mod failure;
mod get;
pub mod init;
mod listed;
mod live;
mod local;
mod logs;
mod man;
mod open;
mod pauses;
pub mod print;
mod reach;
mod rebuild;
mod remote;
mod restore;
pub mod schemas;
mod screen;
mod serve;
mod sort;
mod status;
mod table_status;
mod target;
mod unsafe_settings;
mod usage;
mod watch;
mod webhook;

use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::settings::Env;
use args::{Cli, TextOrJson, Verb};

pub use failure::{Failure, out};

/// The maximum number of threads: most work is waiting, and each thread needs memory.
const WORKERS: usize = 4;

/// The name by which AWS Lambda starts a program, without arguments.
const BOOTSTRAP: &str = "bootstrap";

/// Runs the command line. `args` starts with the program's name; `variables` is the environment.
pub fn run(args: Vec<OsString>, variables: Vec<(OsString, OsString)>) -> ExitCode {
    if let Some(code) = completion::answer(&args, &variables) {
        return code;
    }
    let cli = match Cli::try_parse_from(by_name(args)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    // No setting can be a variable that is not UTF-8.
    let text = |(name, value): &(OsString, OsString)| {
        Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
    };
    let env: Env = variables.iter().filter_map(text).collect();
    let workers = available_parallelism().map_or(1, NonZero::get).min(WORKERS);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let done = match runtime {
        Ok(runtime) => {
            // Boxed, so that the runtime's code is compiled once and not per command.
            let verb: Pin<Box<dyn Future<Output = _>>> =
                Box::pin(dispatch(cli.verb, &env, variables));
            runtime.block_on(verb)
        }
        Err(error) => Err(Failure::failed(format!("cannot start threads: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(),
    }
}

/// Adds the command that the program's name alone selects.
fn by_name(mut args: Vec<OsString>) -> Vec<OsString> {
    if let [program] = args.as_slice()
        && Path::new(program).file_name() == Some(OsStr::new(BOOTSTRAP))
    {
        args.push("lambda".into());
    }
    args
}

/// Returns the help of all commands in Markdown, one section per command.
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut page = format!("```text\n{}```\n", root.render_long_help());
    for verb in root.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let mut verb = verb.clone().term_width(100);
        let help = verb.render_long_help();
        let _ = write!(page, "\n## {}\n\n```text\n{help}```\n", verb.get_name());
    }
    page
}

/// Checks that the command line accepts these arguments, which follow the program's name.
///
/// # Errors
/// The message of the command line.
pub fn accepts(args: &[String]) -> Result<(), String> {
    let args = std::iter::once("tinqs-ci").chain(args.iter().map(String::as_str));
    match Cli::try_parse_from(args) {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
            _ => Err(error.to_string()),
        },
    }
}

async fn dispatch(
    verb: Verb,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    match verb {
        Verb::Serve { config, role, insecure } => {
            serve::serve(config, role, insecure, env, variables).await
        }
        Verb::Lambda { config } => serve::lambda(config, env, variables).await,
        Verb::Demo(args) => local::demo(args).await,
        Verb::Init(args) => initialize(args, env).await,
        Verb::Config { verb } => config::run(verb, env),
        Verb::Webhook { verb } => webhook::run(verb, env).await,
        Verb::Doctor { config, output, offline } => {
            let reach = if offline { doctor::CheckScope::Offline } else { doctor::CheckScope::All };
            examine(&config, output, reach, env).await
        }
        Verb::Status { output, server } => status::status(output, &server, env).await,
        Verb::Drift(args) => drift::drift(args, env).await,
        Verb::Usage(args) => usage::usage(args, env).await,
        Verb::Why { what, output, server } => {
            status::why(what.as_deref().unwrap_or_default(), output, &server, env).await
        }
        Verb::Get(args) => get::get(args, env).await,
        Verb::Describe { name, verbose, server } => {
            remote::describe(&name, detail(verbose), &server, env).await
        }
        Verb::Plan { name, file, exit_code, verbose, output, server } => {
            let plan = match (file, name) {
                (Some(file), _) => local::plan_file(&file)?,
                (None, name) => remote::plan(&name.unwrap_or_default(), &server, env).await?,
            };
            local::show_plan(&plan, detail(verbose), output)?;
            if exit_code && !plan.settled { Err(Failure::silent(2)) } else { Ok(()) }
        }
        Verb::Explain { what } => remote::explain(what, env).await,
        Verb::Logs(args) => logs::logs(args, env).await,
        Verb::Watch { run, exit_status, server } => {
            watch::watch(&run, exit_status, &server, env).await
        }
        Verb::Delete { name, now, dry, server } => {
            let now = if now { client::Now::Yes } else { client::Now::No };
            change::change(&name, change::Change::Delete(now), &dry, &server, env).await
        }
        Verb::Retry { name, dry, server } => {
            change::change(&name, change::Change::Retry, &dry, &server, env).await
        }
        Verb::Terminate { machine, dry, server } => {
            change::terminate(&machine, &dry, &server, env).await
        }
        Verb::Open { server } => open::open(&server, env).await,
        Verb::Pause(args) => pauses::pause(args, env).await,
        Verb::Resume(args) => pauses::resume(args, env).await,
        Verb::Sweep { output, server } => remote::sweep(output, &server, env).await,
        Verb::Backup(args) => backup::backup(args, env).await,
        Verb::Restore(args) => restore::restore(args, env).await,
        Verb::Rebuild(args) => rebuild::rebuild(args, env, variables).await,
        Verb::Reload { output, server } => remote::reload(output, &server, env).await,
        Verb::Eval { kind, server } => local::eval(&kind, server),
        Verb::Schema { kind } => local::schema(kind),
        Verb::Completion { shell } => completion::script(shell),
        Verb::Man { folder } => man::man(&folder),
        Verb::Version { output } => local::version(output),
    }
}

/// Runs `init`: for a forge, for AWS, or from the variables of a Lambda function.
async fn initialize(args: args::Init, env: &Env) -> Result<(), Failure> {
    let args::Init {
        url,
        token,
        token_file,
        token_env,
        scope,
        demand,
        labels,
        repos,
        listen,
        webhook_url,
        create_webhook,
        output,
        yes,
        cloud,
    } = args;
    let args::InitCloud { aws, from_lambda, config, queue_name, dry_run } = cloud;
    if let Some(source) = from_lambda {
        return init::from_lambda(source.as_deref(), &output, env);
    }
    if aws {
        return init::set_up_aws(config.as_deref(), queue_name, dry_run, env).await;
    }
    let flags = init::Flags {
        url,
        token,
        token_file,
        token_env,
        scope,
        demand: demand.into(),
        labels,
        repos,
        listen,
        webhook_url,
        create_webhook,
        output,
        yes,
    };
    init::run(flags, env).await
}

/// Runs the checks of `doctor`, and prints them.
async fn examine(
    config: &args::ConfigFile,
    output: TextOrJson,
    reach: doctor::CheckScope,
    env: &Env,
) -> Result<(), Failure> {
    let report = doctor::examine(config.config.as_deref(), env, reach).await;
    out(&match output {
        TextOrJson::Text => report.text(),
        TextOrJson::Json => local::json(&report)?,
    })?;
    if report.failed() { Err(Failure::silent(1)) } else { Ok(()) }
}

fn detail(verbose: bool) -> print::Detail {
    if verbose { print::Detail::Wide } else { print::Detail::Table }
}

/// Prints clap's error as one line and a hint.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return out(&text.to_string()).map_or_else(Failure::end, |()| ExitCode::SUCCESS);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            anstream::eprint!("{}", text.ansi());
            return ExitCode::from(2);
        }
        _ => {}
    }
    let text = text.to_string();
    let mut parts = text.split("\n\n").map(|part| {
        let lines: Vec<&str> = part.lines().map(str::trim).collect();
        lines.join(" ")
    });
    let message = parts.next().unwrap_or_default();
    let hints: Vec<String> = parts
        .filter(|part| !part.starts_with("For more information"))
        .map(|part| part.trim_start_matches("tip: ").replacen("Usage: ", "usage: ", 1))
        .collect();
    let message = message.trim_start_matches("error: ").to_owned();
    let hint = hints.join("; ");
    let hint = if hint.is_empty() { "see `tinqs-ci --help`".to_owned() } else { hint };
    Failure::usage(message).hint(hint).end()
}
