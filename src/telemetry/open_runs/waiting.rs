//! The newest waiting runs with their records, which say what they wait for.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{Phase, Run, RunName};
use tinqs_ci_reconciler::ports::{Filter, OpenRun, PortError, RunStore};

use super::{Listing, OLD, PATIENCE, Telemetry, followed};

/// The last page that was read while there were many open runs.
#[derive(Default)]
pub(super) struct Waiting {
    page: Mutex<Option<(Instant, Arc<Vec<Run>>)>>,
    /// Only one reader at a time reads it.
    reading: tokio::sync::Mutex<()>,
}

impl Waiting {
    /// Returns the page if it is not older than this.
    fn within(&self, age: Duration) -> Option<Arc<Vec<Run>>> {
        let page = self.page.lock();
        let (_, runs) = page.as_ref().filter(|(began, _)| began.elapsed() <= age)?;
        Some(runs.clone())
    }
}

impl Telemetry {
    /// Returns the newest waiting runs among the open ones, at most `most`; none if they cannot be
    /// read. With many open runs the store reads them all for it, so the records are up to ten
    /// seconds old then, and without those that do not wait any more.
    pub async fn waiting_runs(
        self: &Arc<Self>,
        store: &Arc<dyn RunStore>,
        open: &Listing,
        most: usize,
    ) -> Vec<Run> {
        if !open.iter().any(|run| run.phase == Phase::Waiting) {
            return Vec::new();
        }
        if !open.is_long() {
            return newest(store, most).await.unwrap_or_default();
        }
        let (kept, age) = (&self.open_runs.waiting, followed(open.len()));
        if kept.within(age).is_none() {
            let reading = tokio::spawn(read(self.clone(), store.clone(), most, age));
            // A task that is not awaited continues, and serves the next one who asks. Failures are
            // those of the port, which logs them.
            if kept.within(OLD).is_some() {
                let _ = tokio::time::timeout(PATIENCE, reading).await;
            } else {
                let _ = reading.await;
            }
        }
        kept.within(OLD).map(|runs| still_waiting(&runs, open)).unwrap_or_default()
    }
}

async fn read(telemetry: Arc<Telemetry>, store: Arc<dyn RunStore>, most: usize, age: Duration) {
    let kept = &telemetry.open_runs.waiting;
    let _one_at_a_time = kept.reading.lock().await;
    if kept.within(age).is_some() {
        return;
    }
    let began = Instant::now();
    if let Ok(runs) = newest(&store, most).await {
        *kept.page.lock() = Some((began, Arc::new(runs)));
    }
}

async fn newest(store: &Arc<dyn RunStore>, most: usize) -> Result<Vec<Run>, PortError> {
    let filter = Filter { phase: Some(Phase::Waiting), limit: most, ..Filter::default() };
    Ok(store.page(&filter, None).await?.items)
}

/// Returns those of the runs that still wait.
fn still_waiting(runs: &[Run], open: &[OpenRun]) -> Vec<Run> {
    let names: HashSet<&RunName> = runs.iter().map(|run| &run.name).collect();
    let waiting = open.iter().filter(|run| run.phase == Phase::Waiting).map(|run| &run.name);
    let still: HashSet<&RunName> = waiting.filter(|name| names.contains(name)).collect();
    runs.iter().filter(|run| still.contains(&run.name)).cloned().collect()
}
