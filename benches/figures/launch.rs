//! From a webhook to a started machine, one job at a time.

use std::fs;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tinqs_ci_simulator::forge::JobSpec;

use crate::figure::{Figures, Goal, Result, quantile};
use crate::host::{Host, Options, runtime};
use crate::load;

/// Number of started machines.
const MACHINES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    runtime()?.block_on(async {
        let mut host = Host::new()?;
        host.start(Options::default()).await?;
        let client = load::client()?;
        let mut took = Vec::new();
        for _ in 0..MACHINES {
            took.push(once(&host, &client).await?);
        }
        let of = |share| quantile(&took, share);
        // Includes the forge's responses, which take less than a millisecond here.
        figures.tell("launch/webhook_to_machine_p50", of(0.5), "ms", Goal::Most(25.0));
        figures.tell("launch/webhook_to_machine_p95", of(0.95), "ms", Goal::Told);
        host.stop()?;
        Ok(())
    })
}

/// Returns the milliseconds from sending a webhook to the first act of its machine.
async fn once(host: &Host, client: &reqwest::Client) -> Result<f64> {
    let (job, payload) = {
        let mut forge = host.forge();
        let spec = JobSpec::new("build", &["linux"]);
        let job = forge.push(Timestamp::now(), "acme/widget", &[spec]).remove(0);
        let row = forge.job(job).ok_or("no job")?;
        let repo = forge.repo("acme/widget").ok_or("no repository")?;
        let payload = json!({
            "action": "queued",
            "workflow_job": forge.job_json(row),
            "repository": forge.repository_json(repo),
        });
        (job, payload)
    };
    let (url, shot) = (host.url("/webhook")?, load::shot(job, &payload)?);
    let began = Instant::now();
    let sending = load::send(client, &url, shot);
    let started = async {
        // The machine of the job's first attempt creates this file first.
        let prefix = format!("tq-job-{job}-");
        loop {
            let places = fs::read_dir(host.machines()).into_iter().flatten().flatten();
            let mut own =
                places.filter(|place| place.file_name().to_string_lossy().starts_with(&prefix));
            if own.any(|place| place.path().join("started").exists()) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                return Err("no machine started");
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    };
    let (taken, elapsed) = tokio::join!(sending, started);
    if !taken {
        return Err("the webhook was not accepted".into());
    }
    Ok(elapsed?.as_secs_f64() * 1000.0)
}
