//! The figures of `docs/performance.md` that want AWS's wires: one JSON line each, with its unit and
//! its goal.
//!
//! `cargo bench -p tinqs-ci-aws-tests` measures all but the cold build and the paced burst; names
//! after `--` choose, `--goals` makes a missed goal an error. The real program runs beside a table, an
//! EC2 and a forge on loopback; everything ends by itself.

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
#[allow(dead_code, reason = "the other program sends streams of webhooks too")]
#[path = "../../../../benches/figures/load.rs"]
mod load;
#[allow(dead_code, reason = "the other program measures threads and machines too")]
#[path = "../../../../benches/figures/machine.rs"]
mod machine;
mod memory;
mod region;
#[allow(dead_code, reason = "the other program fills files")]
#[path = "../../../../benches/figures/runs.rs"]
mod runs;
#[path = "../../../../tests/lambda/runtime.rs"]
#[allow(dead_code, reason = "the test asks for more")]
mod runtime_api;
#[allow(dead_code, reason = "the other program asks for single runs")]
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

/// What runs without being named.
const USUAL: [Group; 6] = [
    ("launch", launch::run),
    ("life", life::run),
    ("burst", burst::run),
    ("memory", memory::run),
    ("start", start::run),
    ("lambda", lambda::run),
];
/// What runs only where it is named: it takes minutes.
const NAMED: [Group; 3] =
    [("burst10000", burst::ten_thousand), ("paced", burst::paced), ("build", first_build)];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // What the bench starts itself as.
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

/// With the AWS SDK.
fn first_build(figures: &mut Figures) -> Result<()> {
    build::first(figures, "build/cold_default", &[], (Goal::Told, Goal::Most(720.0)))
}
