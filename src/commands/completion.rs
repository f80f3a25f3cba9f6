//! Completion: a shell asks this program, by a variable, what may come next.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::args::Cli;
use super::failure::{Failure, out};

/// The variable by which a shell asks.
const VARIABLE: &str = "TINQS_CI_COMPLETE";

/// Answers a shell that asks for completions; `None` if none does.
pub(super) fn answer(args: &[OsString], variables: &[(OsString, OsString)]) -> Option<ExitCode> {
    variables.iter().find(|(name, _)| name == VARIABLE)?;
    let here = std::env::current_dir().ok();
    let done = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), here.as_deref());
    // A shell shows nothing of an error.
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints the script that lets a shell ask.
pub(super) fn script(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let name = "tinqs-ci";
    let written = shells
        .completer(&shell.to_string())
        .map(|shell| shell.write_registration(VARIABLE, name, name, name, &mut script));
    match written {
        Some(Ok(())) => out(&String::from_utf8_lossy(&script)),
        _ => Err(Failure::failed(format!("cannot write the script of {shell}"))
            .hint("use another shell: bash, zsh, fish, elvish or powershell")),
    }
}
