//! `serve` and `lambda`: run the server.

use std::ffi::OsString;

use tinqs_ci_reconciler::text::chain;

use super::args::ConfigFile;
use super::failure::{Failure, warn};
use crate::backends::BackendError;
use crate::server::{self, Role};
use crate::settings::{self, Env, Settings};
use crate::telemetry;

/// Runs the server until a signal. `process:` machines inherit selected `variables`.
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

/// Answers invocations of the AWS Lambda runtime until it ends this process.
#[cfg(feature = "aws")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let settings = loaded(&file, env)?;
    if !env.contains_key("AWS_LAMBDA_RUNTIME_API") {
        return Err(Failure::usage(
            "`lambda` must be started by AWS Lambda: AWS_LAMBDA_RUNTIME_API is not set",
        )
        .hint("on your own host, use `tinqs-ci serve`"));
    }
    start_log(env);
    Box::pin(server::lambda::run(settings, variables)).await.map_err(|error| failure(&error))
}

#[cfg(not(feature = "aws"))]
#[allow(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn lambda(
    file: ConfigFile,
    env: &Env,
    _variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    loaded(&file, env)?;
    Err(Failure::usage("this build has no AWS adapters, which `lambda` needs")
        .hint("build with the feature `aws`: `cargo build --release --features aws`"))
}

/// Loads the settings and prints their warnings.
fn loaded(file: &ConfigFile, env: &Env) -> Result<Settings, Failure> {
    let loaded = settings::load(file.config.as_deref(), env)?;
    for warning in &loaded.warnings {
        warn(warning);
    }
    Ok(loaded.settings)
}

/// Starts logging.
fn start_log(env: &Env) {
    let filter = env.get("TINQS_CI_LOG").or_else(|| env.get("RUST_LOG"));
    telemetry::init(filter.map(String::as_str), &server::replica());
}
