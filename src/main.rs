//! The command line of tinqs-ci. The environment is read here and nowhere else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // What is not UTF-8 can be no value of ours.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    tinqs_ci::cli::run(std::env::args_os().collect(), &env)
}
