//! After the story: the same world at the pace of the real time, with a push now and then.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::Market;
use tinqs_ci_reconciler::ports::Clock as _;
use tinqs_ci_simulator::cloud::machine::SimulatedMachine;
use tinqs_ci_simulator::faults::OngoingFault;
use tinqs_ci_simulator::forge::JobSpec;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::host::{Host, TOKEN};
use super::reporter::Reporter;
use super::{Error, Fault, faults};

/// A little more than the story takes in simulated time: the clock has caught up after it.
const STORY: SignedDuration = SignedDuration::from_mins(9);
/// The time that a busy host may add to it, in real time.
const DELAY: SignedDuration = SignedDuration::from_secs(3);
/// The interval of pushes.
const PUSHED_EVERY: Duration = Duration::from_secs(25);
/// No push follows while so many jobs are not done.
const JOBS: usize = 6;
const REPO: &str = "acme/widget";
/// Incidents recur after so many pushes: five minutes.
const INCIDENTS_EVERY: i64 = 12;
/// The push at which the cloud runs out of capacity.
const NO_CAPACITY_AT: i64 = 3;
/// The duration of a job of the push before, so that it runs while the others wait.
const LONG_WORK: SignedDuration = SignedDuration::from_secs(200);
/// The time without capacity: a job that waits for more than a minute of it is drift.
const NO_CAPACITY: SignedDuration = SignedDuration::from_secs(150);
/// The push at which it takes a spot machine back.
const INTERRUPTED_AT: i64 = 10;

/// Returns how far the simulated time begins behind the real one.
pub(super) fn behind(factor: u32) -> SignedDuration {
    // At the pace of the real time it would never catch up.
    if factor == 1 {
        return SignedDuration::ZERO;
    }
    STORY.saturating_add(DELAY.saturating_mul(i32::try_from(factor).unwrap_or(i32::MAX)))
}

/// The signals that end the demo.
struct Ends {
    terminated: Signal,
    interrupted: Signal,
}

impl Ends {
    fn new() -> Result<Self, Error> {
        let signal = |kind| signal(kind).map_err(Error::host("wait for signals"));
        let terminated = signal(SignalKind::terminate())?;
        Ok(Self { terminated, interrupted: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, but not longer than this. Returns whether one came.
    async fn within(&mut self, wait: Duration) -> bool {
        tokio::select! {
            _ = self.terminated.recv() => true,
            _ = self.interrupted.recv() => true,
            () = tokio::time::sleep(wait) => false,
        }
    }
}

/// Keeps the server and its world until SIGINT or SIGTERM.
pub(super) async fn until_signal(reporter: &mut Reporter, host: &mut Host) -> Result<(), Error> {
    let mut ends = Ends::new()?;
    host.settle().await?;
    let (url, token) = (host.server_url(), TOKEN);
    reporter.say(&format!("the server keeps running at {url} until Ctrl-C; open it in a browser"));
    reporter.say(&format!("(and sign in with the token {token}), or"));
    reporter.say(&format!("  TINQS_CI_API_TOKEN={token} tinqs-ci get runs --server {url}"));
    let mut pushes = 0;
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            next += PUSHED_EVERY;
            pushes += 1;
            push(host, pushes);
            incident(reporter, host, pushes);
        }
        if ends.within(Duration::from_millis(50)).await {
            return Ok(());
        }
        reporter.update(host);
    }
}

/// Keeps the server and its world, in quick time and with this fault, until SIGINT or SIGTERM.
pub(super) async fn with_fault(
    reporter: &mut Reporter,
    host: &Host,
    fault: Fault,
) -> Result<(), Error> {
    let mut ends = Ends::new()?;
    fault.begin(host);
    let mut next = host.clock.now();
    loop {
        let now = host.clock.now();
        if now >= next {
            next = next.checked_add(fault.pushed_every()).unwrap_or(Timestamp::MAX);
            host.wire.forge().push(now, REPO, &fault.jobs());
            if fault == Fault::ForgedWebhooks {
                faults::forge_a_webhook(&host.webhook_url()).await?;
            }
        }
        if ends.within(Duration::from_millis(20)).await {
            return Ok(());
        }
        reporter.update(host);
    }
}

/// Lets something happen at some pushes: no capacity for a while, so that a job waits for too long;
/// a spot machine that the cloud takes back.
fn incident(reporter: &Reporter, host: &Host, number: i64) {
    let mut world = host.world();
    let now = world.now();
    match number % INCIDENTS_EVERY {
        NO_CAPACITY_AT => {
            world.periods.push((OngoingFault::Drought, now, now + NO_CAPACITY));
            reporter.say("  the cloud has no capacity for a while");
        }
        INTERRUPTED_AT => {
            let is_spot = |machine: &&SimulatedMachine| machine.spec.market == Market::Spot;
            let spot = world.cloud.live().filter(is_spot);
            // Mid-job, if one has a job: the page shows that until the forge gives the job up.
            let order = |machine: &SimulatedMachine| {
                (machine.is_busy(), machine.launched_at, machine.id.clone())
            };
            let latest = spot.map(order).max();
            if let Some((.., id)) = latest {
                world.cloud.interrupt(now, &id);
            }
        }
        _ => {}
    }
}

/// Pushes a workflow with one to three jobs, unless many wait already.
fn push(host: &Host, number: i64) {
    let mut forge = host.wire.forge();
    if forge.jobs().filter(|job| !job.status.is_done()).count() >= JOBS {
        return;
    }
    let is_before = number % INCIDENTS_EVERY == NO_CAPACITY_AT - 1;
    let work = |part: i64| match part {
        1 if is_before => LONG_WORK,
        _ => SignedDuration::from_secs(20 + 15 * part),
    };
    let job = |part: i64| JobSpec {
        work: work(part),
        ..JobSpec::new(format!("check ({number}, {part})"), &["linux"])
    };
    let jobs: Vec<JobSpec> = (1..=1 + number % 3).map(job).collect();
    forge.push(host.clock.now(), REPO, &jobs);
}
