//! `serve` and `lambda`: the server, until it is stopped.

use std::ffi::OsString;

use tinqs_ci_reconciler::text::chain;

use super::args::ConfigFile;
use super::failure::{Failure, warn};
use crate::backends::BackendError;
use crate::server::{self, Role};
use crate::settings::{self, Env, Settings};
use crate::telemetry;

/// Runs the server until a signal ends it. Machines get a chosen part of `variables`.
pub(super) async fn serve(
    file: ConfigFile,
    role: Role,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let settings = loaded(&file, env)?;
    start_log(env);
    server::run(settings, role, variables).await.map_err(|error| failure(&error))
}

fn failure(error: &server::Error) -> Failure {
    let message = chain(error);
    match error {
        server::Error::Part(BackendError::Unsupported { hint, .. }) => {
            Failure::usage(message).hint(*hint)
        }
        _ => Failure::failed(message).hint("`tinqs-ci doctor` checks everything that serve needs"),
    }
}

/// Answers an AWS Lambda runtime until it ends this process.
#[cfg(feature = "aws")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let settings = loaded(&file, env)?;
    if !env.contains_key("AWS_LAMBDA_RUNTIME_API") {
        return Err(Failure::usage(
            "`lambda` is started by AWS Lambda: AWS_LAMBDA_RUNTIME_API is not set",
        )
        .hint("on a host of your own: `tinqs-ci serve`"));
    }
    start_log(env);
    Box::pin(server::lambda::run(settings, variables)).await.map_err(|error| failure(&error))
}

#[cfg(not(feature = "aws"))]
#[allow(clippy::unused_async, reason = "the other one waits")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    _variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    loaded(&file, env)?;
    Err(Failure::usage("this build has no `lambda`")
        .hint("build it with the feature `aws`: `cargo build --release --features aws`"))
}

/// The settings; what is doubtful in them is told.
fn loaded(file: &ConfigFile, env: &Env) -> Result<Settings, Failure> {
    let loaded = settings::load(file.config.as_deref(), env)?;
    for warning in &loaded.warnings {
        warn(warning);
    }
    Ok(loaded.settings)
}

/// Begins to log.
fn start_log(env: &Env) {
    let filter = env.get("TINQS_CI_LOG").or_else(|| env.get("RUST_LOG"));
    telemetry::init(filter.map(String::as_str), &server::replica());
}
