//! From a signed webhook to the call that launches its machine, one job at a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::figure::{Figures, Goal, Result, quantile};
use crate::load;
use crate::region::{Options, Region, instant};
use crate::server::runtime;

const JOBS: usize = 110;
/// Jobs left out of the figures: they open connections, read the image's disks and fill caches.
const WARM_UP: usize = 10;
/// Minimum time between two launches, so that none waits: the pace is 1.9 launches a second.
const APART: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let mut region = Region::new(instant(40)).await?;
        region.hook_but_queued();
        region.start(Options::default()).await?;
        let client = load::client()?;
        let mut took = Vec::with_capacity(JOBS);
        for count in 1..=JOBS {
            took.push(once(&region, &client, count).await?);
        }
        let of = |share| quantile(&took[WARM_UP..], share);
        figures.tell("aws/webhook_to_run_instances_p50", of(0.5), "ms", Goal::Most(25.0));
        figures.tell("aws/webhook_to_run_instances_p95", of(0.95), "ms", Goal::Told);
        let throttled = crate::figure::number(region.ec2.ledger().throttled());
        figures.tell("aws/webhook_to_run_instances_throttled", throttled, "calls", Goal::Nothing);
        region.stop()
    })
}

/// Returns the milliseconds from sending the job's webhook to `RunInstances` in the ledger.
async fn once(region: &Region, client: &reqwest::Client, count: usize) -> Result<f64> {
    let job = region.push(1, SignedDuration::ZERO).remove(0);
    let (url, shot) = (region.server()?.url("/webhook"), load::shot(job, &region.queued(job)?)?);
    let sent = Timestamp::now();
    if !load::send(client, &url, shot).await {
        return Err("the webhook was not accepted".into());
    }
    let pause = Duration::from_millis(2);
    let launched = |r: &Region| r.ec2.cloud(|cloud| cloud.machines().count()) >= count;
    region.until("the machine is launched", PATIENCE, pause, launched).await?;
    let ledger = region.ec2.ledger();
    let launch = ledger
        .of("RunInstances")
        .nth(count - 1)
        .ok_or("the ledger has no `RunInstances` for the machine")?;
    let took = launch.at.duration_since(sent);
    let pause = Duration::from_millis(20);
    region.until("the job is done", PATIENCE, pause, |r| r.done(&[job]) == 1).await?;
    region.until("its machine is gone", PATIENCE, pause, |r| r.machines_left() == 0).await?;
    tokio::time::sleep(APART).await;
    Ok(took.as_secs_f64() * 1000.0)
}
