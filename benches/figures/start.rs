//! Size, start time and demo of the binary.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figure::{Figures, Goal, Result, quantile};
use crate::host::{BINARY, Host, Options, runtime};
use crate::machine;

const STARTS: usize = 15;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    let bytes = std::fs::metadata(BINARY)?.len();
    #[expect(clippy::cast_precision_loss, reason = "a binary is far below 2^52 bytes")]
    figures.tell("start/binary_size", bytes as f64 / 1e6, "MB", Goal::Most(20.0));
    runtime()?.block_on(ready(figures))?;
    demo(figures)
}

/// Measures from the start of the process to a ready server, with an existing store.
async fn ready(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    host.start(Options::default()).await?;
    host.stop()?;
    let (mut spent, mut took) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        host.start(Options::default()).await?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        spent.push(machine::cpu_of_threads(host.pid()?)?.as_secs_f64() * 1000.0);
        host.stop()?;
    }
    figures.tell("start/cpu_until_ready", quantile(&spent, 0.5), "ms", Goal::Most(5.0));
    figures.tell("start/until_ready", quantile(&took, 0.5), "ms", Goal::Told);
    Ok(())
}

/// Measures the demo from start to a successful exit.
fn demo(figures: &mut Figures) -> Result<()> {
    let began = Instant::now();
    let ended = Command::new(BINARY).arg("demo").stdin(Stdio::null()).output()?;
    if !ended.status.success() {
        let words = String::from_utf8_lossy(&ended.stderr);
        let words = words.lines().next().unwrap_or_default();
        return Err(format!("the demo failed with {}: {words}", ended.status).into());
    }
    figures.tell("start/demo", began.elapsed().as_secs_f64(), "s", Goal::Most(10.0));
    Ok(())
}
