//! Where the command line meets the server and the demo: one function each.

use std::ffi::OsString;

use super::args::Role;
use super::failure::Failure;
use crate::config::Env;
use crate::demo::{self, DemoOptions, Summary};
use crate::gitea::demand::Refusal;
use crate::settings::Settings;
use crate::{print, serve as server, telemetry};

/// Runs the server until a signal ends it. Machines get a chosen part of `variables`.
pub(super) async fn serve(
    settings: Settings,
    role: Role,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let role = match role {
        Role::All => server::Role::All,
        Role::Ingest => server::Role::Ingest,
        Role::Reconcile => server::Role::Reconcile,
    };
    tell(env);
    server::run(settings, role, variables).await.map_err(failure)
}

fn failure(error: server::Error) -> Failure {
    let message = print::chain(&error);
    match error {
        server::Error::Unsupported(_) => Failure::usage(message).hint(Refusal::OTHER_SERVER),
        _ => Failure::failed(message).hint("`tinqs-ci doctor` checks everything that serve needs"),
    }
}

/// Answers an AWS Lambda runtime until it ends this process.
#[cfg(feature = "aws")]
pub(super) async fn lambda(
    settings: Settings,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    if !env.contains_key("AWS_LAMBDA_RUNTIME_API") {
        return Err(Failure::usage(
            "`lambda` is started by AWS Lambda: AWS_LAMBDA_RUNTIME_API is not set",
        )
        .hint("on a host of your own: `tinqs-ci serve`"));
    }
    tell(env);
    Box::pin(crate::lambda::run(settings, variables)).await.map_err(failure)
}

#[cfg(not(feature = "aws"))]
#[allow(clippy::unused_async, reason = "the other one waits")]
pub(super) async fn lambda(
    _: Settings,
    _: &Env,
    _: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    Err(Failure::usage("this build has no `lambda`")
        .hint("build it with the feature `aws`, which is on by default"))
}

/// Begins to log.
fn tell(env: &Env) {
    let filter = env.get("TINQS_CI_LOG").or_else(|| env.get("RUST_LOG"));
    telemetry::init(filter.map(String::as_str), &server::replica());
}

/// Tells the story. `false`: something was lost, doubled or left over, as its last line says.
pub(super) async fn demo(stay: bool, seed: u64, pace: f64) -> Result<bool, Failure> {
    let told = demo::run(DemoOptions { stay, seed, speed: pace }).await;
    told.map(Summary::is_good).map_err(|error| {
        Failure::failed(print::chain(&error))
            .hint("it needs loopback and a temporary directory, nothing else")
    })
}
