//! The program as a user has it: `tinqs-ci` with the AWS adapters, built where its tests are.

use std::process::ExitCode;

fn main() -> ExitCode {
    tinqs_ci::commands::run(std::env::args_os().collect(), std::env::vars_os().collect())
}
