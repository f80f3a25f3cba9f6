//! The figures of `docs/performance.md` that need the wires of AWS: one JSON line each, with its
//! unit and its goal.
//!
//! `cargo bench -p tinqs-ci-aws-tests` measures everything except the cold build and the named
//! bursts. Names after `--` select groups; `--goals` makes a missed goal an error. The real program
//! runs against `DynamoDB`, EC2 and a forge on loopback, which stop by themselves.

#[path = "../../../../benches/figures/build.rs"]
mod build;
mod burst;
#[path = "../../../../benches/figures/figure.rs"]
mod figure;
#[path = "../../../../benches/figures/groups.rs"]
mod groups;
mod lambda;
mod launch;
mod life;
#[allow(dead_code, reason = "the other benchmark also sends streams of webhooks")]
#[path = "../../../../benches/figures/load.rs"]
mod load;
#[allow(dead_code, reason = "the other benchmark also measures threads and machines")]
#[path = "../../../../benches/figures/machine.rs"]
mod machine;
mod memory;
mod region;
#[allow(dead_code, reason = "the other benchmark fills files")]
#[path = "../../../../benches/figures/runs.rs"]
mod runs;
#[path = "../../../../tests/lambda/runtime.rs"]
#[allow(dead_code, reason = "the test uses the rest")]
mod runtime_api;
#[allow(dead_code, reason = "the other benchmark reads single runs")]
#[path = "../../../../benches/figures/server.rs"]
mod server;
mod spent;
mod start;
mod table;
mod unpaced;

use std::path::PathBuf;
use std::process::ExitCode;

use figure::{Figures, Goal, Result};
use groups::Group;

/// The groups that run by default.
const USUAL: [Group; 6] = [
    ("launch", launch::run),
    ("life", life::run),
    ("burst", burst::run),
    ("memory", memory::run),
    ("start", start::run),
    ("lambda", lambda::run),
];
/// The groups that run only when named, because they take minutes.
const NAMED: [Group; 3] =
    [("burst10000", burst::ten_thousand), ("paced", burst::paced), ("build", first_build)];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // The benchmark starts itself as an unpaced server.
    if std::env::args().nth(1).as_deref() == Some(region::UNPACED) {
        return match unpaced::run(&arguments.nth(2).map(PathBuf::from).unwrap_or_default()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    groups::measure(arguments, &USUAL, &NAMED)
}

/// Measures the first build with the AWS SDK.
fn first_build(figures: &mut Figures) -> Result<()> {
    let goals = (Goal::Told, Goal::Most(1_500.0));
    build::first(figures, "build/cold_aws", &["--features", "aws"], goals)
}
