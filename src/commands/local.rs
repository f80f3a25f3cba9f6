//! Commands that need no tinqs-ci server.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde::Serialize;
use tinqs_ci_reconciler::model::Observation;
use tinqs_ci_workflow::Dialect;

use super::args::{Demo, SchemaKind, ServerLine, TextOrJson};
use super::demo::{self, DemoOptions};
use super::failure::{Failure, out};
use crate::api::{Plan, plan_view};
use crate::commands::eval::{self, Kind};
use crate::commands::print;
use crate::settings::{AWS, Tls};
use crate::telemetry::traces::OTLP;
use tinqs_ci_reconciler::text::chain;

pub(super) fn json<T: Serialize>(thing: &T) -> Result<String, Failure> {
    print::json(thing).map_err(|error| Failure::failed(format!("cannot encode as JSON: {error}")))
}

pub(super) async fn demo(args: Demo) -> Result<(), Failure> {
    let Demo { stay, seed, speed, fault, tls_cert, tls_key } = args;
    if !(speed.is_finite() && (0.01..=100.0).contains(&speed)) {
        let message = format!("--speed {speed} is not valid: expected 0.01 to 100");
        return Err(Failure::usage(message).hint("1 is the default"));
    }
    let tls = match tls_cert.zip(tls_key) {
        Some((cert, key)) => {
            let read = Tls::read(&cert, &key);
            Some(read.map_err(|(_, why)| Failure::usage(format!("cannot use TLS: {why}")))?)
        }
        None => None,
    };
    let options = DemoOptions { stay, seed, speed, fault, tls };
    let summary = demo::run(options).await.map_err(|error| {
        Failure::failed(chain(&error))
            .hint("the demo needs the loopback interface and a temporary directory")
    })?;
    // The last printed line reports what was lost, doubled or leaked.
    if summary.is_good() { Ok(()) } else { Err(Failure::silent(1)) }
}

// The files of `schemas/`, which a test compares with the types. Embedding them avoids generating
// schemas in the binary, and includes the AWS table in every build.
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

/// The output of `version`.
#[derive(Serialize)]
struct BuildInfo {
    name: &'static str,
    version: &'static str,
    /// The commit, if the build was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'static str>,
    /// The date of the build, if it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<&'static str>,
    features: Vec<&'static str>,
    os: &'static str,
    arch: &'static str,
}

pub(super) fn version(output: TextOrJson) -> Result<(), Failure> {
    let build_info = BuildInfo {
        name: "tinqs-ci",
        version: env!("CARGO_PKG_VERSION"),
        revision: option_env!("TINQS_CI_REVISION").filter(|text| !text.is_empty()),
        date: option_env!("TINQS_CI_BUILD_DATE").filter(|text| !text.is_empty()),
        features: [("aws", AWS), ("otlp", OTLP)]
            .into_iter()
            .filter_map(|(name, built)| built.then_some(name))
            .collect(),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    match output {
        TextOrJson::Text => {
            let known = [build_info.revision, build_info.date].into_iter().flatten();
            let known: Vec<&str> = known.collect();
            let known =
                if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
            out(&format!("{} {}{known}\n", build_info.name, build_info.version))
        }
        TextOrJson::Json => out(&json(&build_info)?),
    }
}

/// `plan -f`: plans an observation from a file.
pub(super) fn plan_file(file: &Path) -> Result<Plan, Failure> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| {
        Failure::usage(format!("cannot read {shown}: {error}"))
            .hint("-f takes a file, or - for standard input")
    })?;
    let seen: Observation = serde_json::from_slice(text.as_bytes()).map_err(|error| {
        Failure::usage(format!("{shown} is not an observation: {error}"))
            .hint("see `tinqs-ci schema observation` for its format")
    })?;
    Ok(plan_view(&seen))
}

pub(super) fn show_plan(
    plan: &Plan,
    detail: print::Detail,
    output: TextOrJson,
) -> Result<(), Failure> {
    out(&match output {
        TextOrJson::Text => print::plan(plan, detail),
        TextOrJson::Json => json(plan)?,
    })
}

/// `eval`: reads cases from standard input and writes results to standard output.
pub(super) fn eval(kind: &str, server: ServerLine) -> Result<(), Failure> {
    let kind = Kind::parse(kind).map_err(|error| {
        Failure::usage(error.to_string()).hint("for example `tinqs-ci eval labels < cases.ndjson`")
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
        Err(error) => Err(Failure::failed(format!("cannot read or write cases: {error}"))),
    }
}
