//! CPU time per webhook of a server in the default role, `all`: one that makes a run, and one that
//! looks up a run that does not exist and changes nothing.

use std::time::Duration;

use crate::figure::{Figures, Goal, Result};
use crate::host::{Host, Options, runtime};
use crate::ingest::{self, FIRST_JOB};

/// No poll and no sweep begins during a measurement.
const RARE: &str = "poll_every = \"1h\"\nsweep_every = \"1h\"\n";
/// The forge answers later than the server waits for it. So the figures include neither the polls
/// that webhooks bring forward nor the reconciles of new runs: 16 of these wait for the forge, and
/// the others for them.
const SILENCE: Duration = Duration::from_mins(1);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let makes_run = cpu(figures, "queued", Goal::Most(60.0)).await?;
        let leaves_none = !cpu(figures, "completed", Goal::Most(45.0)).await?;
        if makes_run && leaves_none {
            return Ok(());
        }
        Err("a webhook `queued` must make a run, and one `completed` none".into())
    })
}

/// Measures webhooks of this action. Returns whether the first one made a run.
async fn cpu(figures: &mut Figures, action: &str, goal: Goal) -> Result<bool> {
    let mut host = Host::new()?;
    host.start(Options { forge: RARE, ..Options::default() }).await?;
    host.delay_forge(SILENCE);
    ingest::cpu(figures, &host, "webhook", action, goal).await?;
    let made = host.has(&format!("/v1/runs/job-{FIRST_JOB}")).await?;
    // Waiting reconciles would delay a regular stop.
    host.kill()?;
    Ok(made)
}
