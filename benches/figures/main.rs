//! Measures the figures of `docs/performance.md`: one JSON line each, with its unit and its goal.
//!
//! `cargo bench` measures everything except the cold build. Names after `--` select groups
//! (`cargo bench -- ingest memory`); `--goals` makes a missed goal an error. Everything uses
//! loopback and temporary directories, and stops by itself.

mod build;
mod figure;
mod groups;
mod host;
mod ingest;
mod inside;
mod launch;
#[allow(dead_code, reason = "the other benchmark reads a delivery")]
mod load;
mod machine;
mod memory;
mod reconcile;
mod rules;
mod runs;
mod scrape;
#[allow(dead_code, reason = "the other benchmark requests sweeps")]
mod server;
mod start;
mod webhook;

use std::process::ExitCode;

use figure::{Figures, Goal, Result};
use groups::Group;

/// The groups that run by default.
const USUAL: [Group; 8] = [
    ("webhook", webhook::run),
    ("ingest", ingest::run),
    ("launch", launch::run),
    ("memory", memory::run),
    ("reconcile", reconcile::run),
    ("scrape", scrape::run),
    ("start", start::run),
    ("rules", rules::run),
];
/// The groups that run only when named, because they take minutes.
const NAMED: [Group; 1] = [("build", first_build)];

fn main() -> ExitCode {
    groups::measure(std::env::args().skip(1), &USUAL, &NAMED)
}

/// Measures the first build without the AWS SDK.
fn first_build(figures: &mut Figures) -> Result<()> {
    let goals = (Goal::Told, Goal::Most(360.0));
    build::first(figures, "build/cold", &[], goals)
}
