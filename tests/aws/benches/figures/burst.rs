//! Many jobs that wait at once.

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use crate::figure::{Figures, Goal, Result, number};
use crate::machine;
use crate::region::{Options, Region, instant};
use crate::server::runtime;

const PATIENCE: Duration = Duration::from_mins(15);
/// While a burst waits for its turn.
const WINDOW: Duration = Duration::from_mins(1);
/// Write units of five seconds in which launches alone are written: ten, seven units each, and
/// leases; twice that.
const TAKEN_IN: f64 = 150.0;

/// A thousand, and two thousand beside it: what grows faster than the jobs is seen in the ratio.
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

/// From the push to the last job's end, with launches as fast as EC2 answers: what is left is the
/// controller's own cost. Answers CPU seconds of a job.
async fn burst(figures: &mut Figures, jobs: usize) -> Result<f64> {
    let mut region = Region::new(instant(40)).await?;
    region.hook();
    region.start(Options { unpaced: true, ..Options::default() }).await?;
    let pid = region.server()?.pid();
    let cpu = machine::cpu(pid)?;
    let (books, calls, forge) = (region.table.books(), region.ec2.ledger(), region.forge_calls());
    let began = Instant::now();
    let pushed = region.push(jobs, SignedDuration::from_millis(300));
    let pause = Duration::from_millis(500);
    region.until("every job is done", PATIENCE, pause, |r| r.done(&pushed) == jobs).await?;
    region.until("every machine is gone", PATIENCE, pause, |r| r.machines_left() == 0).await?;
    let took = began.elapsed();
    let spent = machine::cpu(pid)?.saturating_sub(cpu).as_secs_f64();
    let (_, most) = machine::memory(pid)?;
    let (books, before) = (region.table.books(), books);
    let ledger = region.ec2.ledger();
    let new = &ledger.entries[calls.entries.len()..];
    let tell = |figures: &mut Figures, name: &str, value: f64, unit: &str, goal: Goal| {
        figures.tell(&format!("aws/burst_{jobs}_{name}"), value, unit, goal);
    };
    tell(figures, "cpu", spent, "s", Goal::Told);
    tell(figures, "cpu_per_job", spent * 1000.0 / number(jobs), "ms", Goal::Told);
    tell(figures, "clock", took.as_secs_f64(), "s", Goal::Told);
    tell(figures, "rss_peak", most, "MiB", Goal::Told);
    let of = |op: &str| number(new.iter().filter(|entry| entry.op == op).count());
    tell(figures, "run_instances", of("RunInstances"), "calls", Goal::Told);
    tell(figures, "describe_instances", of("DescribeInstances"), "calls", Goal::Told);
    let listed: usize = new.iter().map(|entry| entry.bytes_out).sum();
    tell(figures, "ec2_bytes", number(listed) / 1e6, "MB", Goal::Told);
    let asked = |of: &crate::table::Books| of.calls.values().sum::<usize>();
    tell(figures, "dynamodb_calls", number(asked(&books) - asked(&before)), "calls", Goal::Told);
    let units = books.written - before.written;
    tell(figures, "write_units_per_run", units / number(jobs), "units", Goal::Most(12.0));
    let read = books.read - before.read;
    tell(figures, "read_units_per_run", read / number(jobs), "units", Goal::Told);
    #[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
    let forge = (region.forge_calls() - forge) as f64;
    tell(figures, "forge_calls_per_run", forge / number(jobs), "calls", Goal::Told);
    let surplus = region.ec2.cloud(|cloud| cloud.machines().count()) - jobs;
    tell(figures, "surplus_machines", number(surplus), "machines", Goal::Nothing);
    tell(figures, "throttled", number(ledger.throttled()), "calls", Goal::Nothing);
    region.stop()?;
    Ok(spent / number(jobs))
}

/// The same under EC2's own pace, two launches a second: what waiting for one's turn costs, in a
/// minute in the midst of it.
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
    let pid = region.server()?.pid();
    region.push(jobs, SignedDuration::from_millis(300));
    let launched = |r: &Region| r.ec2.cloud(|cloud| cloud.machines().count());
    // Each of the burst has been told to wait: writes are those of launches then.
    let end = Instant::now() + PATIENCE;
    loop {
        let before = region.table.books().written;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let written = region.table.books().written - before;
        if launched(&region) > 20 && written < TAKEN_IN {
            break;
        }
        if Instant::now() > end {
            return Err(format!("not within {PATIENCE:?}: the burst is taken in").into());
        }
    }
    let (cpu, first) = (machine::cpu(pid)?, launched(&region));
    let (books, calls, forge) = (region.table.books(), region.ec2.ledger(), region.forge_calls());
    let began = Instant::now();
    tokio::time::sleep(WINDOW).await;
    let seconds = began.elapsed().as_secs_f64();
    let spent = machine::cpu(pid)?.saturating_sub(cpu).as_secs_f64();
    let (_, most) = machine::memory(pid)?;
    let (books, before) = (region.table.books(), books);
    let ledger = region.ec2.ledger();
    let new = &ledger.entries[calls.entries.len()..];
    let tell = |figures: &mut Figures, name: &str, value: f64, unit: &str, goal: Goal| {
        figures.tell(&format!("aws/paced_{jobs}_{name}"), value, unit, goal);
    };
    tell(figures, "launches", number(launched(&region) - first) / seconds, "1/s", Goal::Told);
    tell(figures, "cpu_share", spent / seconds * 100.0, "%", Goal::Told);
    let listings = new.iter().filter(|entry| entry.op == "DescribeInstances").count();
    tell(figures, "describe_instances", number(listings) / seconds, "1/s", Goal::Told);
    tell(figures, "read_units", (books.read - before.read) / seconds, "1/s", Goal::Told);
    tell(figures, "write_units", (books.written - before.written) / seconds, "1/s", Goal::Told);
    #[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
    let forge = (region.forge_calls() - forge) as f64;
    tell(figures, "forge_calls", forge / seconds, "1/s", Goal::Told);
    tell(figures, "rss_peak", most, "MiB", Goal::Told);
    tell(figures, "throttled", number(ledger.throttled()), "calls", Goal::Nothing);
    region.stop()
}
