//! Cost of a run without faults, counted in calls: one job after the other, each announced by its
//! webhooks, with no poll and no sweep in between.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::model::{ClassName, Phase, RunName};
use tinqs_ci_reconciler::ports::RunStore as _;

use crate::figure::{Figures, Goal, Result, number};
use crate::region::{Options, Region, instant};
use crate::server::runtime;
use crate::spent::Meter;

const JOBS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);
/// The limits of the second measurement.
const LIMITED: &str = "limit = 30\nrepo_limit = 30";
/// The sweep releases the seats of finished runs; it runs once per this many jobs.
const SWEPT_EACH: usize = 10;

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        live(figures, "", "", Goal::Most(12.0)).await?;
        live(figures, "_with_limits", LIMITED, Goal::Most(16.0)).await
    })
}

async fn live(figures: &mut Figures, suffix: &str, class: &'static str, goal: Goal) -> Result<()> {
    let mut region = Region::new(instant(40)).await?;
    region.hook();
    // Only its events and its due times wake a run.
    region.start(Options { class, every: ("1h", "1h"), ..Options::default() }).await?;
    // The first job covers the first poll and sweep and everything done once.
    let store = region.store().await?;
    once(&region, &store).await?;
    let meter = Meter::start(&region)?;
    for count in 1..=JOBS {
        once(&region, &store).await?;
        if !class.is_empty() && count.is_multiple_of(SWEPT_EACH) {
            sweep(&region, &store).await?;
        }
    }
    let spent = meter.read(&region)?;
    let launches = spent.calls("RunInstances");
    if launches != JOBS {
        return Err(format!("{launches} launches for {JOBS} jobs").into());
    }
    let tell = |figures: &mut Figures, name: &str, value: f64, unit: &str, goal: Goal| {
        figures.tell(&format!("aws/{name}_per_run{suffix}"), value / number(JOBS), unit, goal);
    };
    tell(figures, "write_units", spent.written, "units", goal);
    tell(figures, "read_units", spent.read, "units", Goal::Told);
    tell(figures, "calls", number(spent.asked + spent.all_calls()), "calls", Goal::Told);
    tell(figures, "dynamodb_calls", number(spent.asked), "calls", Goal::Told);
    tell(figures, "ec2_calls", number(spent.all_calls()), "calls", Goal::Told);
    tell(figures, "run_instances", number(launches), "calls", Goal::Most(1.0));
    tell(figures, "refused_writes", number(spent.refused), "calls", Goal::Told);
    let failed = number(spent.failed + spent.throttled);
    figures.tell(&format!("aws/failed_calls{suffix}"), failed, "calls", Goal::Nothing);
    tell(figures, "forge_calls", spent.forge, "calls", Goal::Told);
    tell(figures, "cpu", spent.cpu * 1000.0, "ms", Goal::Told);
    region.stop()
}

/// Follows one job from its push until its run is finished and its resources are released.
async fn once(region: &Region, store: &DynamoStore) -> Result<()> {
    let jobs = region.push(1, SignedDuration::from_millis(300));
    let pause = Duration::from_millis(20);
    region.until("the job is done", PATIENCE, pause, |r| r.done(&jobs) == 1).await?;
    region.until("its machine is gone", PATIENCE, pause, |r| r.machines_left() == 0).await?;
    let name = RunName::job(jobs[0]);
    let end = Instant::now() + PATIENCE;
    loop {
        // Read directly, so that it is not counted.
        let run = store.get(&name).await?;
        let over = run.as_ref().is_some_and(|run| run.status.phase == Phase::Finished);
        let runners = region.forge().runners().count();
        if over && runners == 0 {
            break;
        }
        if Instant::now() > end {
            let left = format!("{runners} registrations, {run:?}");
            return Err(
                format!("timed out after {PATIENCE:?}: the run is not finished: {left}").into()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Lets the last reconcile finish.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(())
}

/// Sweeps until every seat is released.
async fn sweep(region: &Region, store: &DynamoStore) -> Result<()> {
    let class = ClassName("linux".to_owned());
    region.server()?.post("/v1/sweep").await?;
    let end = Instant::now() + PATIENCE;
    while !store.seats(&class).await?.is_empty() {
        if Instant::now() > end {
            return Err(format!("timed out after {PATIENCE:?}: a seat is not released").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
