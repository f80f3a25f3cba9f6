//! Memory of the server with its runs in `DynamoDB`: idle, and with many open runs.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::figure::{Figures, Goal, Result};
use crate::region::{Options, Region, instant};
use crate::server::runtime;
use crate::{machine, runs};

const OPEN: i64 = 100_000;
/// Concurrent writes while the table is filled.
const AT_ONCE: usize = 64;
/// Time after which polls (every 10 s) and a sweep (at the start and every 60 s) have covered every
/// run.
const SETTLED: Duration = Duration::from_secs(15);
/// Polls that list every run before the measurement.
const POLLS: usize = 3;
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        idle(figures).await?;
        open(figures).await
    })
}

async fn idle(figures: &mut Figures) -> Result<()> {
    let mut region = Region::new(instant(40)).await?;
    region.start(Options::default()).await?;
    tokio::time::sleep(SETTLED).await;
    let (now, most) = machine::memory(region.server()?.pid())?;
    figures.tell("aws/idle_rss", now, "MiB", Goal::Told);
    figures.tell("aws/idle_rss_peak", most, "MiB", Goal::Told);
    region.stop()
}

/// Measures many open runs that exist only in the table: a forge's list is read up to 20,000 jobs,
/// whose memory the group `memory` of the other benchmark measures.
async fn open(figures: &mut Figures) -> Result<()> {
    let mut region = Region::new(instant(40)).await?;
    let store = region.store().await?;
    let now = Timestamp::now();
    let all = (1..=OPEN).map(|job| {
        let mut run = runs::waiting(job, now);
        // No run is due while the table is filled and measured.
        run.status.due = now + SignedDuration::from_mins(9);
        run
    });
    runs::put_all(store, all, AT_ONCE).await?;
    region.start(Options { class: "limit = 1", ..Options::default() }).await?;
    let pid = region.server()?.pid();
    let (cpu, began) = (machine::cpu(pid)?, Instant::now());
    for path in ["/metrics", "/v1/runs?limit=100", "/v1/classes"] {
        // A request that exceeds its time limit is refused, but has loaded the server all the same.
        let _ = region.server()?.has(path).await;
    }
    // Each poll begins by writing the lease.
    let polls = |r: &Region| r.table.books().calls.get("PutItem").copied().unwrap_or(0);
    let (before, pause) = (polls(&region), Duration::from_millis(100));
    let over = |r: &Region| polls(r) > before + POLLS;
    region.until("the open runs were listed", PATIENCE, pause, over).await?;
    tokio::time::sleep(SETTLED).await;
    let spent = machine::cpu(pid)?.saturating_sub(cpu).as_secs_f64();
    let share = spent / began.elapsed().as_secs_f64() * 100.0;
    let (now, most) = machine::memory(pid)?;
    figures.tell("aws/memory_open_100000", now, "MiB", Goal::Most(64.0));
    figures.tell("aws/memory_open_100000_peak", most, "MiB", Goal::Told);
    figures.tell("aws/memory_open_100000_cpu", share, "%", Goal::Told);
    region.stop()
}
