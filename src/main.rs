//! The entry point of `tinqs-ci`. Only this file reads the arguments and the environment.

use std::process::ExitCode;

fn main() -> ExitCode {
    tinqs_ci::commands::run(std::env::args_os().collect(), std::env::vars_os().collect())
}
