//! `rebuild`: makes a lost store again.

use std::ffi::OsString;

use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::args::{Rebuild, TextOrJson};
use super::failure::{Failure, note, out, warn};
use super::restore::{alone, durable, failure, unusable};
use super::screen::screen;
use super::{local, print};
use crate::backends::{Backends, Start, backends};
use crate::server::{controller_settings, replica};
use crate::settings::Env;

/// Prints what would be written; with `--yes`, writes it.
pub(super) async fn rebuild(
    args: Rebuild,
    env: &Env,
    variables: Vec<(OsString, OsString)>,
) -> Result<(), Failure> {
    let Rebuild { yes, output, config } = args;
    let settings = durable(config.config.as_deref(), env)?;
    let replica = replica();
    let start = if yes { Start::Checked } else { Start::ReadOnly };
    let built = Box::pin(backends(&settings, &replica, variables, start)).await;
    let Backends { ports, .. } = built.map_err(|error| failure(&error))?;
    let store = ports.store.clone();
    let controller = Controller::new(ports, controller_settings(&settings, &replica));
    let work = async { controller.rebuild(yes).await.map_err(|error| refused(&error, yes)) };
    let work = Box::pin(work);
    let report = if yes { alone(&*store, &replica, work).await? } else { work.await? };
    match output {
        TextOrJson::Json => return out(&local::json(&report)?),
        TextOrJson::Text => out(&print::rebuild(&report, screen(env)))?,
    }
    if report.waiting_jobs.is_none() {
        warn("push mode has no list of waiting jobs: jobs of earlier pushes are not found again");
    }
    if !report.registrations_listed {
        warn("the token cannot list runners: a machine that is not listed yet may be doubled");
    }
    note(if yes {
        "start the server: its first poll finds the other waiting jobs"
    } else {
        "nothing was written: with --yes it is; every server must be stopped before"
    });
    Ok(())
}

fn refused(error: &PortError, yes: bool) -> Failure {
    match error.kind {
        ErrorKind::Conflict => Failure::failed(format!("cannot rebuild: {}", error.message))
            .hint("start the server with it; only an empty store can be rebuilt"),
        ErrorKind::Invalid if !yes && error.port == "store" => Failure::failed(error.to_string())
            .hint("a missing table is created by `tinqs-ci init --aws`, and with --yes"),
        _ => unusable(error),
    }
}
