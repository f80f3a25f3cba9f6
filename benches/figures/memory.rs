//! Memory of the server: idle, with many finished runs, and with many and very many open runs.

use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_simulator::forge::JobSpec;

use crate::figure::{Figures, Goal, Result};
use crate::host::{Host, Options, runtime};
use crate::{machine, runs};

const FINISHED: i64 = 100_000;
const OPEN: usize = 10_000;
const VERY_MANY: i64 = 100_000;
/// Time after which polls (every 10 s) and a sweep (at the start and every 60 s) have covered every
/// run.
const SETTLED: Duration = Duration::from_secs(15);
const ONE_MACHINE: Options = Options { role: "all", class: "limit = 1", forge: "" };

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        idle(figures).await?;
        finished(figures).await?;
        open(figures).await?;
        very_many_open(figures).await
    })
}

async fn idle(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    host.start(Options::default()).await?;
    host.forge().add_repo("acme/widget");
    tokio::time::sleep(SETTLED).await;
    tell(figures, &host, "memory/idle", Goal::Most(12.0))?;
    host.stop()?;
    Ok(())
}

async fn finished(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    let now = Timestamp::now();
    runs::fill(&host.store(), (1..=FINISHED).map(|job| runs::finished(job, now))).await?;
    host.start(ONE_MACHINE).await?;
    ask(&host).await?;
    tokio::time::sleep(SETTLED).await;
    tell(figures, &host, "memory/finished_100000", Goal::Most(32.0))?;
    host.stop()?;
    Ok(())
}

async fn open(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    let (now, spec) = (Timestamp::now(), JobSpec::new("build (linux)", &["self-hosted", "linux"]));
    // The forge lists them too, and each poll reads its list.
    let jobs = host.forge().push(now, "acme/widget", &vec![spec; OPEN]);
    runs::fill(&host.store(), jobs.iter().map(|job| runs::waiting(*job, now))).await?;
    host.start(ONE_MACHINE).await?;
    ask(&host).await?;
    tokio::time::sleep(SETTLED).await;
    tell(figures, &host, "memory/open_10000", Goal::Most(64.0))?;
    host.stop()?;
    Ok(())
}

/// The forge does not list them: its list is read up to 20,000. Polls and people list them in turn.
async fn very_many_open(figures: &mut Figures) -> Result<()> {
    let mut host = Host::new()?;
    let now = Timestamp::now();
    runs::fill(&host.store(), (1..=VERY_MANY).map(|job| runs::waiting(job, now))).await?;
    host.start(ONE_MACHINE).await?;
    ask(&host).await?;
    for _ in 0..5 {
        tokio::time::sleep(SETTLED / 5).await;
        host.get("/v1/status").await?;
    }
    tell(figures, &host, "memory/open_100000", Goal::Told)?;
    host.stop()?;
    Ok(())
}

/// Sends the requests of people and scrapers.
async fn ask(host: &Host) -> Result<()> {
    for path in ["/metrics", "/v1/runs?limit=100", "/v1/classes"] {
        host.get(path).await?;
    }
    Ok(())
}

fn tell(figures: &mut Figures, host: &Host, name: &str, goal: Goal) -> Result<()> {
    let (now, most) = machine::memory(host.pid()?)?;
    figures.tell(name, now, "MiB", goal);
    figures.tell(&format!("{name}_peak"), most, "MiB", Goal::Told);
    Ok(())
}
