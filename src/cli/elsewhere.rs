//! Where the command line meets the server and the demo: one function each.

use std::ffi::OsString;
use std::future::ready;
use std::process::ExitCode;

use super::args::Role;
use super::failure::Failure;
use crate::config::Env;
use crate::settings::Settings;
use crate::{serve as server, telemetry};

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
    let filter = env.get("TINQS_CI_LOG").or_else(|| env.get("RUST_LOG"));
    telemetry::init(filter.map(String::as_str), &server::replica());
    server::run(settings, role, variables).await.map_err(|error| {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Failure::failed(message).hint("`tinqs-ci doctor` checks everything that serve needs")
    })
}

/// `demo::run(DemoOptions { stay, seed, speed })`.
pub(super) async fn demo(_stay: bool, _seed: u64, _speed: f64) -> Result<ExitCode, Failure> {
    ready(Err(Failure::failed("`demo` is not in this build"))).await
}
