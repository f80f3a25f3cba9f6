//! Where the command line meets the server and the demo: one function each.

use std::process::ExitCode;

use super::args::Role;
use super::failure::Failure;
use crate::settings::Settings;

fn absent(what: &str) -> Failure {
    Failure::failed(format!("`{what}` is not in this build"))
}

/// `serve::run(settings, role)`.
pub(super) async fn serve(_settings: Settings, _role: Role) -> Result<(), Failure> {
    Err(absent("serve"))
}

/// `demo::run(DemoOptions { stay, seed, speed })`.
pub(super) async fn demo(_stay: bool, _seed: u64, _speed: f64) -> Result<ExitCode, Failure> {
    Err(absent("demo"))
}

/// `telemetry::schema()`.
pub(super) fn metrics_schema() -> Result<serde_json::Value, Failure> {
    Err(absent("schema metrics"))
}
