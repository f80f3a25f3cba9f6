//! Many jobs waiting at once.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::figure::{Figures, Goal, Result, number};
use crate::machine;
use crate::region::{Options, Region, instant};
use crate::server::runtime;
use crate::spent::Meter;

const PATIENCE: Duration = Duration::from_mins(15);
/// The measured part of the time in which a burst waits in the launch queue.
const WINDOW: Duration = Duration::from_mins(1);
/// Upper bound of the write units in five seconds in which only launches are written: ten launches
/// of seven units each, plus leases, doubled.
const TAKEN_IN: f64 = 150.0;

/// Measures 1,000 and 2,000 jobs; their ratio shows what grows faster than the number of jobs.
pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let few = burst(figures, 1_000).await?;
        let many = burst(figures, 2_000).await?;
        figures.tell("aws/burst_2000_cpu_per_job_ratio", many / few, "x", Goal::Told);
        Ok(())
    })
}

pub(crate) fn ten_thousand(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async { burst(figures, 10_000).await.map(|_| ()) })
}

/// Measures from the push to the end of the last job, with unpaced launches, so that only the
/// controller's own cost remains. Returns the CPU seconds per job.
async fn burst(figures: &mut Figures, jobs: usize) -> Result<f64> {
    let mut region = Region::new(instant(40)).await?;
    region.hook();
    region.start(Options { unpaced: true, ..Options::default() }).await?;
    let meter = Meter::start(&region)?;
    let pushed = region.push(jobs, SignedDuration::from_millis(300));
    let pause = Duration::from_millis(500);
    region.until("every job is done", PATIENCE, pause, |r| r.done(&pushed) == jobs).await?;
    region.until("every machine is gone", PATIENCE, pause, |r| r.machines_left() == 0).await?;
    let spent = meter.read(&region)?;
    let (_, most) = machine::memory(region.server()?.pid())?;
    let tell = |figures: &mut Figures, name: &str, value: f64, unit: &str, goal: Goal| {
        figures.tell(&format!("aws/burst_{jobs}_{name}"), value, unit, goal);
    };
    let each = |sum: f64| sum / number(jobs);
    tell(figures, "cpu", spent.cpu, "s", Goal::Told);
    tell(figures, "cpu_per_job", each(spent.cpu * 1000.0), "ms", Goal::Told);
    tell(figures, "clock", spent.seconds, "s", Goal::Told);
    tell(figures, "rss_peak", most, "MiB", Goal::Told);
    let calls = |operation| number(spent.calls(operation));
    tell(figures, "run_instances", calls("RunInstances"), "calls", Goal::Told);
    tell(figures, "describe_instances", calls("DescribeInstances"), "calls", Goal::Told);
    tell(figures, "ec2_bytes", spent.megabytes(), "MB", Goal::Told);
    tell(figures, "dynamodb_calls", number(spent.asked), "calls", Goal::Told);
    tell(figures, "write_units_per_run", each(spent.written), "units", Goal::Most(12.0));
    tell(figures, "read_units_per_run", each(spent.read), "units", Goal::Told);
    tell(figures, "forge_calls_per_run", each(spent.forge), "calls", Goal::Told);
    let surplus = region.ec2.cloud(|cloud| cloud.machines().count()) - jobs;
    tell(figures, "surplus_machines", number(surplus), "machines", Goal::Nothing);
    tell(figures, "throttled", number(spent.throttled), "calls", Goal::Nothing);
    region.stop()?;
    Ok(each(spent.cpu))
}

/// Measures a burst at EC2's own pace of two launches a second: the cost of waiting in the launch
/// queue, during one minute of it.
pub(crate) fn paced(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        waiting(figures, 1_000).await?;
        waiting(figures, 10_000).await
    })
}

async fn waiting(figures: &mut Figures, jobs: usize) -> Result<()> {
    let mut options = instant(40);
    options.buckets = tinqs_ci_simulator::ec2_wire::Buckets::usual();
    let mut region = Region::new(options).await?;
    region.hook();
    region.start(Options::default()).await?;
    region.push(jobs, SignedDuration::from_millis(300));
    let launched = |r: &Region| r.ec2.cloud(|cloud| cloud.machines().count());
    // Once every run of the burst has its reason to wait recorded, only launches are written.
    let end = Instant::now() + PATIENCE;
    loop {
        let before = region.table.books().written;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let written = region.table.books().written - before;
        if launched(&region) > 20 && written < TAKEN_IN {
            break;
        }
        if Instant::now() > end {
            return Err(format!("timed out after {PATIENCE:?}: the burst is not recorded").into());
        }
    }
    let (meter, first) = (Meter::start(&region)?, launched(&region));
    tokio::time::sleep(WINDOW).await;
    let spent = meter.read(&region)?;
    let since = number(launched(&region) - first);
    let (_, most) = machine::memory(region.server()?.pid())?;
    let tell = |figures: &mut Figures, name: &str, value: f64, unit: &str, goal: Goal| {
        figures.tell(&format!("aws/paced_{jobs}_{name}"), value, unit, goal);
    };
    let rate = |sum: f64| sum / spent.seconds;
    tell(figures, "launches", rate(since), "1/s", Goal::Told);
    tell(figures, "cpu_share", rate(spent.cpu * 100.0), "%", Goal::Told);
    let listings = number(spent.calls("DescribeInstances"));
    tell(figures, "describe_instances", rate(listings), "1/s", Goal::Told);
    tell(figures, "read_units", rate(spent.read), "1/s", Goal::Told);
    tell(figures, "write_units", rate(spent.written), "1/s", Goal::Told);
    tell(figures, "forge_calls", rate(spent.forge), "1/s", Goal::Told);
    tell(figures, "rss_peak", most, "MiB", Goal::Told);
    tell(figures, "throttled", number(spent.throttled), "calls", Goal::Nothing);
    region.stop()
}
