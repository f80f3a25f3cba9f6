//! Verbs that ask no server of ours.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde::Serialize;
use tinqs_ci_reconciler::model::Observation;
use tinqs_ci_workflow::Dialect;

use super::args::{SchemaKind, ServerLine, TextOrJson};
use super::demo::{self, DemoOptions};
use super::failure::{Failure, out};
use crate::api::{Plan, plan_view};
use crate::commands::eval::{self, Kind};
use crate::commands::print;
use crate::settings::AWS;
use tinqs_ci_reconciler::text::chain;

pub(super) fn json<T: Serialize>(thing: &T) -> Result<String, Failure> {
    print::json(thing)
        .map_err(|error| Failure::failed(format!("cannot be written as JSON: {error}")))
}

pub(super) async fn demo(stay: bool, seed: u64, pace: f64) -> Result<(), Failure> {
    if !(pace.is_finite() && (0.01..=100.0).contains(&pace)) {
        let message = format!("--speed {pace} is not possible: from 0.01 to 100");
        return Err(Failure::usage(message).hint("1 is the usual"));
    }
    let told = demo::run(DemoOptions { stay, seed, speed: pace }).await.map_err(|error| {
        Failure::failed(chain(&error))
            .hint("it needs loopback and a temporary directory, nothing else")
    })?;
    // Something was lost, doubled or left over, as the last line says.
    if told.is_good() { Ok(()) } else { Err(Failure::silent(1)) }
}

/// As `schemas/` holds them, where a test compares them with the types: what makes them would be carried
/// along for this verb alone. Builds without AWS tell of its table too.
const CONFIG: &str = include_str!("../../schemas/config.json");
const METRICS: &str = include_str!("../../schemas/metrics.json");
const OBSERVATION: &str = include_str!("../../schemas/observation.json");
const RUN: &str = include_str!("../../schemas/run.json");
const TABLE: &str = include_str!("../../schemas/table.json");

pub(super) fn schema(kind: SchemaKind) -> Result<(), Failure> {
    out(match kind {
        SchemaKind::Config => CONFIG,
        SchemaKind::Run => RUN,
        SchemaKind::Observation => OBSERVATION,
        SchemaKind::Table => TABLE,
        SchemaKind::Metrics => METRICS,
    })
}

/// What this binary is.
#[derive(Serialize)]
struct This {
    name: &'static str,
    version: &'static str,
    features: Vec<&'static str>,
    os: &'static str,
    arch: &'static str,
}

pub(super) fn version(output: TextOrJson) -> Result<(), Failure> {
    let this = This {
        name: "tinqs-ci",
        version: env!("CARGO_PKG_VERSION"),
        features: if AWS { vec!["aws"] } else { Vec::new() },
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    match output {
        TextOrJson::Text => out(&format!("{} {}\n", this.name, this.version)),
        TextOrJson::Json => out(&json(&this)?),
    }
}

/// `plan -f`: the decision on its own.
pub(super) fn plan_file(file: &Path) -> Result<Plan, Failure> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| {
        Failure::usage(format!("{shown} cannot be read: {error}")).hint("-f takes a file, or -")
    })?;
    let seen: Observation = serde_json::from_slice(text.as_bytes()).map_err(|error| {
        Failure::usage(format!("{shown} is not an observation: {error}"))
            .hint("`tinqs-ci schema observation` says what one is")
    })?;
    Ok(plan_view(&seen))
}

pub(super) fn show_plan(plan: &Plan, output: TextOrJson) -> Result<(), Failure> {
    out(&match output {
        TextOrJson::Text => print::plan(plan),
        TextOrJson::Json => json(plan)?,
    })
}

/// `eval`: cases from standard input, results to standard output.
pub(super) fn eval(kind: &str, server: ServerLine) -> Result<(), Failure> {
    let kind = Kind::parse(kind).map_err(|error| {
        Failure::usage(error.to_string()).hint("tinqs-ci eval labels < cases.ndjson")
    })?;
    let dialect = match server {
        ServerLine::V1_25 => Dialect::V1_25,
        ServerLine::V1_26 => Dialect::V1_26,
        ServerLine::V1_27 => Dialect::V1_27,
    };
    let (input, output) = (std::io::stdin().lock(), std::io::stdout().lock());
    match eval::run(kind, dialect, input, output) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::silent(1)),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(0)),
        Err(error) => Err(Failure::failed(format!("eval ended early: {error}"))),
    }
}
