//! `status` and `why`, and what they add to the tables of `get` and to `describe`.

use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Run, RunName};

use super::args::{Server, TextOrJson};
use super::failure::{Failure, out, warn};
use super::local;
use super::remote::client;
use crate::api::status::StatusView;
use crate::commands::client::{Client, Error};
use crate::commands::print::{self, Cell, Column, Tone};
use crate::settings::Env;
use crate::words::reasons::NO_CLASS;

/// How long a table waits for the status, which it only adds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints what is well and what is not. Ends with exit code 1 if something needs a person.
pub(super) async fn status(output: TextOrJson, server: &Server, env: &Env) -> Result<(), Failure> {
    let status = client(server, env)?.status().await?;
    out(&match output {
        TextOrJson::Text => print::status(&status),
        TextOrJson::Json => local::json(&status)?,
    })?;
    if status.needs_person() { Err(Failure::silent(1)) } else { Ok(()) }
}

/// Prints why a job waits, or everything that is not well.
pub(super) async fn why(
    what: &str,
    output: TextOrJson,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let answer = client(server, env)?.why(what.trim()).await;
    let why = answer.map_err(|error| match error {
        // The detail says what to pass.
        Error::Refused { status, detail } if status.as_u16() == 400 => {
            Failure::usage(detail).hint("see `tinqs-ci why --help`")
        }
        Error::NotFound { kind: _, name: _, detail } if !detail.is_empty() => {
            Failure::not_found(detail).hint("`tinqs-ci why` without arguments lists what waits")
        }
        error => error.into(),
    })?;
    out(&match output {
        TextOrJson::Text => print::why(&why, Timestamp::now()),
        TextOrJson::Json => local::json(&why)?,
    })
}

/// Returns the status for a table; `None` if the server does not answer soon, or is older.
pub(super) async fn for_table(client: &Client) -> Option<StatusView> {
    tokio::time::timeout(PATIENCE, client.status()).await.ok()?.ok()
}

/// Prints a line for each failing service.
pub(super) fn banner(status: Option<&StatusView>) {
    for line in status.map(print::banner).unwrap_or_default() {
        warn(&line);
    }
}

/// Returns the reason of a run whose last reconcile failed at a service.
pub(super) fn failing<'a>(status: &'a StatusView, run: &Run) -> Option<&'a str> {
    let failing = status.failing_runs.iter().find(|failing| failing.run == run.name.as_str());
    failing.filter(|_| run.is_open()).map(|failing| failing.reason.as_str())
}

/// Says that the last reconcile of a run failed, unless the banner has said why.
pub(super) fn run_fails(status: Option<&StatusView>, run: &Run) {
    let Some(status) = status else { return };
    let failing = status.failing_runs.iter().find(|failing| failing.run == run.name.as_str());
    let told = |reason: &str| {
        let mut failures = status.services.iter().filter_map(|service| service.failure.as_ref());
        failures.any(|failure| failure.reason == reason)
    };
    if let Some(failing) = failing.filter(|failing| run.is_open() && !told(&failing.reason)) {
        warn(&format!("the last reconcile of {} failed: {}", failing.run, failing.message));
    }
}

/// Returns a row for each named job that no class serves, and one for the others of its labels.
pub(super) fn unserved_rows(
    status: &StatusView,
    repo: Option<&str>,
    columns: &[Column],
) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for unserved in &status.unserved {
        let set = &unserved.set;
        let waits = print::age(unserved.since, status.now);
        let row = |name: String, job: &Cell| {
            let cell = |column: &Column| match column.title {
                "NAME" => Cell::from(name.as_str()),
                "STATUS" => Cell::from("○ waiting"),
                "JOB" => job.clone(),
                "WAIT" | "AGE" => Cell::from(waits.as_str()),
                "LABELS" => Cell::from(set.runs_on.join(",")),
                "MACHINE" => Cell::from("<none>"),
                "REASON" => Cell::from(NO_CLASS).tone(Tone::Bad),
                _ => Cell::default(),
            };
            columns.iter().map(cell).collect()
        };
        let jobs = set.examples.iter().filter(|job| repo.is_none_or(|repo| repo == job.repo));
        rows.extend(jobs.map(|job| {
            let text = Cell::of_parts(job.repo.as_str(), job.name.as_str()).link(&job.url);
            row(RunName::job(job.job_id).to_string(), &text)
        }));
        let others = set.jobs.saturating_sub(set.examples.len());
        if others > 0 && repo.is_none() {
            rows.push(row(format!("({others} more)"), &Cell::from(set.runs_on.join(","))));
        }
    }
    rows
}

/// Returns the line below the classes about jobs that none of them serves.
pub(super) fn unserved_line(status: &StatusView) -> Option<String> {
    match status.unserved_jobs? {
        0 => None,
        1 => Some("1 waiting job is served by no class: see `tinqs-ci status`".to_owned()),
        jobs => Some(format!("{jobs} waiting jobs are served by no class: see `tinqs-ci status`")),
    }
}
