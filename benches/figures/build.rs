//! Time of a first build of the release binary in an empty directory.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figure::{Figures, Goal, Result};
use crate::machine;

/// Prints the CPU time (`<name>_cpu`) and the wall-clock time of a first build with these arguments
/// and goals.
pub(crate) fn first(
    figures: &mut Figures,
    name: &str,
    arguments: &[&str],
    (cpu, clock): (Goal, Goal),
) -> Result<()> {
    let target = tempfile::tempdir()?;
    let (before, began) = (machine::cpu_of_children()?, Instant::now());
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--package", "tinqs-ci"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target.path())
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("the build failed with {status}").into());
    }
    let spent = machine::cpu_of_children()?.saturating_sub(before);
    figures.tell(&format!("{name}_cpu"), spent.as_secs_f64(), "s", cpu);
    figures.tell(name, began.elapsed().as_secs_f64(), "s", clock);
    Ok(())
}
