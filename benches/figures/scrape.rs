//! Duration of a scrape with many open runs: the real telemetry over the real store.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::figure::{Figures, Goal, Result, quantile};
use crate::host::runtime;
use crate::reconcile::World;

const MANY: i64 = 100_000;
/// Scrapes of one measurement.
const SCRAPES: usize = 15;
/// Longer than a snapshot is shown without asking for a newer one, so that each scrape asks.
const BETWEEN: Duration = Duration::from_millis(3_500);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let world = World::new(MANY).await?;
        let parts = world.parts();
        // The first scrape of a process waits for its first snapshot.
        let _ = parts.telemetry.scrape(&parts.controller).await;
        let (mut listings, mut scrapes) = (Vec::new(), Vec::new());
        for _ in 0..SCRAPES {
            let began = Instant::now();
            let open = parts.controller.ports().store.open(Timestamp::now()).await?;
            listings.push(milliseconds(began));
            drop(open);
            tokio::time::sleep(BETWEEN).await;
            let began = Instant::now();
            let text = parts.telemetry.scrape(&parts.controller).await;
            scrapes.push(milliseconds(began));
            let shown = "tinqs_ci_desired_machines{class=\"linux\"} 100000";
            if !text.lines().any(|line| line == shown) {
                return Err(format!("the scrape does not show {shown}").into());
            }
        }
        figures.tell("scrape/listing_100000", quantile(&listings, 0.5), "ms", Goal::Told);
        figures.tell("scrape/open_100000_p50", quantile(&scrapes, 0.5), "ms", Goal::Told);
        figures.tell("scrape/open_100000_max", quantile(&scrapes, 1.0), "ms", Goal::Most(50.0));
        Ok(())
    })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
