//! A first build of the release binary without default features, in a directory of its own.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figure::{Figures, Goal, Result};
use crate::machine;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    let target = tempfile::tempdir()?;
    let (before, began) = (machine::cpu_of_children()?, Instant::now());
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--no-default-features", "--quiet"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target.path())
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("the build ended with {status}").into());
    }
    let spent = machine::cpu_of_children()?.saturating_sub(before);
    figures.tell("build/cold_cpu", spent.as_secs_f64(), "s", Goal::Most(150.0));
    figures.tell("build/cold", began.elapsed().as_secs_f64(), "s", Goal::Told);
    Ok(())
}
