//! Duration of a scrape, of the overview and of the status with many open runs: the real telemetry
//! and routes over the real store.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::figure::{Figures, Goal, Result, quantile};
use crate::host::runtime;
use crate::inside::Inside;
use crate::reconcile::World;

const MANY: i64 = 100_000;
/// Scrapes of one measurement.
const SCRAPES: usize = 15;
/// Requests for each screen of one measurement.
const VISITS: usize = 8;
/// Longer than a snapshot or a list is shown without asking for a newer one, so that each scrape and
/// each visit asks.
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
        let inside = Inside::of(parts);
        for (name, path, accept, goal) in [
            ("overview", "/", "text/html", Goal::Most(300.0)),
            ("status", "/v1/status", "application/json", Goal::Told),
        ] {
            let took = visits(&inside, path, accept).await?;
            let figure = |of: &str| format!("scrape/{name}_open_100000_{of}");
            figures.tell(&figure("p50"), quantile(&took, 0.5), "ms", Goal::Told);
            figures.tell(&figure("max"), quantile(&took, 1.0), "ms", goal);
        }
        Ok(())
    })
}

/// Returns the milliseconds from each request to its whole answer.
async fn visits(inside: &Inside, path: &str, accept: &str) -> Result<Vec<f64>> {
    // The first one of a process waits for its first list of waiting runs.
    inside.text(path, accept).await?;
    let mut took = Vec::new();
    for _ in 0..VISITS {
        tokio::time::sleep(BETWEEN).await;
        let began = Instant::now();
        let text = inside.text(path, accept).await?;
        took.push(milliseconds(began));
        if !text.contains("100000") {
            return Err(format!("{path} does not show 100000 runs").into());
        }
    }
    Ok(took)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
