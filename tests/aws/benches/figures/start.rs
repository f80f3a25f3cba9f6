//! Binary size and start time of the program with the AWS SDK.

use std::time::Instant;

use crate::figure::{Figures, Goal, Result, quantile};
use crate::machine;
use crate::region::{BINARY, Options, Region, instant};
use crate::server::runtime;

const STARTS: usize = 15;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    let bytes = std::fs::metadata(BINARY)?.len();
    #[expect(clippy::cast_precision_loss, reason = "a binary is far below 2^52 bytes")]
    figures.tell("start/binary_size_aws", bytes as f64 / 1e6, "MB", Goal::Told);
    runtime()?.block_on(ready(figures))
}

/// Measures from the start of the process to a ready server, with an existing table.
async fn ready(figures: &mut Figures) -> Result<()> {
    let mut region = Region::new(instant(40)).await?;
    region.start(Options::default()).await?;
    region.stop()?;
    let (mut spent, mut took) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let began = Instant::now();
        region.start(Options::default()).await?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        let pid = region.server()?.pid();
        spent.push(machine::cpu_of_threads(pid)?.as_secs_f64() * 1000.0);
        region.stop()?;
    }
    figures.tell("aws/ready_cpu", quantile(&spent, 0.5), "ms", Goal::Told);
    figures.tell("aws/ready", quantile(&took, 0.5), "ms", Goal::Told);
    Ok(())
}
