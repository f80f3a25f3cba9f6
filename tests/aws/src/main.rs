//! The `tinqs-ci` program with the AWS adapters, built in the crate of its tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    tinqs_ci::commands::run(std::env::args_os().collect(), std::env::vars_os().collect())
}
