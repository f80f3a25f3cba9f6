//! The figures of `docs/performance.md`, measured: one JSON line each, with its unit and its goal.
//!
//! `cargo bench` measures all but the cold build; names after `--` choose
//! (`cargo bench -- ingest memory`), `--goals` makes a missed goal an error.
//! Everything goes over loopback or stays in a temporary directory, and ends by itself.

mod build;
mod figure;
mod groups;
mod host;
mod ingest;
mod launch;
#[allow(dead_code, reason = "the other program looks into a delivery")]
mod load;
mod look;
mod machine;
mod memory;
mod rules;
mod runs;
#[allow(dead_code, reason = "the other program asks for sweeps")]
mod server;
mod start;

use std::process::ExitCode;

use figure::{Figures, Goal, Result};
use groups::Group;

/// What runs without being named.
const USUAL: [Group; 6] = [
    ("ingest", ingest::run),
    ("launch", launch::run),
    ("memory", memory::run),
    ("look", look::run),
    ("start", start::run),
    ("rules", rules::run),
];
/// What runs only where it is named: it takes minutes.
const NAMED: [Group; 1] = [("build", first_build)];

fn main() -> ExitCode {
    groups::measure(std::env::args().skip(1), &USUAL, &NAMED)
}

/// Without the AWS SDK.
fn first_build(figures: &mut Figures) -> Result<()> {
    let goals = (Goal::Most(150.0), Goal::Told);
    build::first(figures, "build/cold", &[], goals)
}
