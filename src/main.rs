//! The command line of tinqs-ci. The environment is read here and nowhere else.

use std::process::ExitCode;

fn main() -> ExitCode {
    tinqs_ci::commands::run(std::env::args_os().collect(), std::env::vars_os().collect())
}
