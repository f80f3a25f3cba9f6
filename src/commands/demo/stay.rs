//! After the story: the same world at the pace of the real time, with a push now and then.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tinqs_ci_reconciler::ports::Clock as _;
use tinqs_ci_simulator::forge::JobSpec;
use tokio::signal::unix::{SignalKind, signal};

use super::Error;
use super::host::{Host, TOKEN};
use super::reporter::Reporter;

/// A little more than the story takes in simulated time: the clock has caught up after it.
const STORY: SignedDuration = SignedDuration::from_mins(9);
/// The interval of pushes.
const PUSHED_EVERY: Duration = Duration::from_secs(25);
/// No push follows while so many jobs are not done.
const JOBS: usize = 6;
const REPO: &str = "acme/widget";

/// Returns how far the simulated time begins behind the real one.
pub(super) fn behind(factor: u32) -> SignedDuration {
    // At the pace of the real time it would never catch up.
    if factor > 1 { STORY } else { SignedDuration::ZERO }
}

/// Keeps the server and its world until SIGINT or SIGTERM.
pub(super) async fn until_signal(reporter: &mut Reporter, host: &mut Host) -> Result<(), Error> {
    let mut terminated =
        signal(SignalKind::terminate()).map_err(Error::host("wait for signals"))?;
    let mut interrupted =
        signal(SignalKind::interrupt()).map_err(Error::host("wait for signals"))?;
    host.settle().await?;
    let (url, token) = (host.server_url(), TOKEN);
    reporter.say(&format!("the server keeps running at {url} until Ctrl-C; open it in a browser"));
    reporter.say(&format!("(any user name, password {token}), or"));
    reporter.say(&format!("  TINQS_CI_API_TOKEN={token} tinqs-ci get runs --server {url}"));
    let mut pushes = 0;
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next += PUSHED_EVERY;
            pushes += 1;
            push(host, pushes);
        }
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(50)) => reporter.update(host),
        }
    }
}

/// Pushes a workflow with one to three jobs, unless many wait already.
fn push(host: &Host, number: i64) {
    let mut forge = host.wire.forge();
    if forge.jobs().filter(|job| !job.status.is_done()).count() >= JOBS {
        return;
    }
    let job = |part: i64| JobSpec {
        work: SignedDuration::from_secs(20 + 15 * part),
        ..JobSpec::new(format!("check ({number}, {part})"), &["linux"])
    };
    let jobs: Vec<JobSpec> = (1..=1 + number % 3).map(job).collect();
    forge.push(host.clock.now(), REPO, &jobs);
}
