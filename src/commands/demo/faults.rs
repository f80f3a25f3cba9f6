//! Faults that the demo injects on request, each of which an alert must tell. `tests/prometheus`
//! shows that, with a Prometheus beside the demo.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Class, Machine, MachineId, MachineSpec, Market, MicroUsd, RunName, Times,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, MachineLog, PortError, Ports, Queue, QueueDepth,
};
use tinqs_ci_simulator::faults::OngoingFault;
use tinqs_ci_simulator::forge::JobSpec;
use tinqs_ci_simulator::gitea_wire::http_client;

use super::Error;
use super::fault::Fault;
use super::host::{Host, KIND};

/// For ever, as far as a demo is concerned.
const EVER: SignedDuration = SignedDuration::from_hours(24 * 365);
/// The additional time that slow machines take to boot.
const SLOW_BOOT: SignedDuration = SignedDuration::from_mins(6);

impl Fault {
    /// Returns the class under this fault.
    pub(super) fn class(self, class: Class) -> Class {
        match self {
            Self::AtLimit => Class { limit: Some(1), ..class },
            Self::SpentBudget => Class { budget: Some(MicroUsd(1)), ..class },
            // The demo's own time is shorter than that after which an idle runner counts.
            Self::MuteForge => {
                let idle_within = Times::default().idle_within;
                Class { times: Times { idle_within, ..class.times.clone() }, ..class }
            }
            Self::SlowBoots => {
                let boot_within = SignedDuration::from_mins(20);
                Class { times: Times { boot_within, ..class.times.clone() }, ..class }
            }
            _ => class,
        }
    }

    /// Returns the ports under this fault.
    pub(super) async fn ports(self, ports: Ports) -> Result<Ports, PortError> {
        let clock = ports.clock.clone();
        Ok(match self {
            Self::DeafMachines => Ports { compute: Arc::new(Deaf(ports.compute)), ..ports },
            Self::PoisonedMessage => {
                let queue =
                    FaultyQueue { inner: ports.queue, clock, poisoned: Some(Mutex::new(None)) };
                Ports { queue: Arc::new(queue), ..ports }
            }
            Self::DeadLetter => {
                let queue = FaultyQueue { inner: ports.queue, clock, poisoned: None };
                Ports { queue: Arc::new(queue), ..ports }
            }
            Self::NoLeader => {
                ports.store.lease("sweep", "another replica", clock.now(), EVER).await?;
                ports
            }
            _ => ports,
        })
    }

    /// Begins the fault in the simulated world.
    pub(super) fn begin(self, host: &Host) {
        let mut world = host.world();
        let now = world.now();
        match self {
            Self::DeafMachines => {
                world.faults.hangs_after_job = 1.0;
                world.faults.ignores_timer = 1.0;
            }
            Self::NoSpot => {
                for subnet in ["subnet-a", "subnet-b"] {
                    let pool = (KIND.to_owned(), subnet.to_owned(), Market::Spot);
                    world.cloud.run_short(pool, now + EVER);
                }
            }
            Self::DeniedLaunches => world.periods.push((OngoingFault::Denied, now, now + EVER)),
            Self::MuteForge => world.periods.push((OngoingFault::Mute, now, now + EVER)),
            Self::BrokenImage => world.faults.never_online = 1.0,
            Self::SlowBoots => world.faults.slow_boot = SLOW_BOOT,
            Self::LostWebhooks => host.wire.lose_webhooks(usize::MAX),
            Self::FailingReruns => {
                world.faults.interrupted = 1.0;
                host.wire.faults(|faults| {
                    faults.only = Some("/rerun".to_owned());
                    faults.fail_next = u32::MAX;
                });
            }
            Self::NoJobList => host.wire.faults(|faults| {
                faults.only = Some("/admin/actions/jobs".to_owned());
                faults.fail_next = u32::MAX;
            }),
            Self::None
            | Self::AtLimit
            | Self::PoisonedMessage
            | Self::DeadLetter
            | Self::ForgedWebhooks
            | Self::NoLeader
            | Self::SpentBudget => {}
        }
    }

    /// Returns the interval of pushes.
    pub(super) fn pushed_every(self) -> SignedDuration {
        match self {
            // Longer than refused offerings are skipped, so that each launch is refused first.
            Self::NoSpot => SignedDuration::from_secs(200),
            Self::FailingReruns => SignedDuration::from_mins(5),
            // One push, whose jobs no machine runs to their end.
            Self::AtLimit | Self::BrokenImage => EVER,
            _ => SignedDuration::from_mins(1),
        }
    }

    /// Returns the jobs of a push.
    pub(super) fn jobs(self) -> Vec<JobSpec> {
        let job = |work| JobSpec { work, ..JobSpec::new("check", &["linux"]) };
        match self {
            Self::AtLimit => vec![job(SignedDuration::from_hours(5)); 2],
            Self::BrokenImage => vec![job(SignedDuration::from_secs(40)); 5],
            Self::FailingReruns => vec![job(SignedDuration::from_mins(15))],
            _ => vec![job(SignedDuration::from_secs(40))],
        }
    }
}

/// Sends a webhook with a wrong signature to the server.
pub(super) async fn forge_a_webhook(url: &str) -> Result<(), Error> {
    let request = async {
        // It does not care who answers.
        let client = http_client().tls_danger_accept_invalid_certs(true).build()?;
        let request = client.post(url).header("content-type", "application/json");
        let request = request.header("x-gitea-event", "workflow_job");
        // As long as a right one.
        let request = request.header("x-gitea-signature", "0".repeat(64));
        request.body(r#"{"action":"queued"}"#).send().await
    };
    let answer: Result<_, reqwest::Error> = request.await;
    let failed =
        |error| Error::Host { what: "send a webhook", source: std::io::Error::other(error) };
    answer.map(drop).map_err(failed)
}

/// A cloud that accepts terminations without effect.
struct Deaf(Arc<dyn Compute>);

#[async_trait]
impl Compute for Deaf {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        self.0.list().await
    }
    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        self.0.find(id).await
    }
    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        self.0.launch(attempt_id, placement, attempt).await
    }
    async fn terminate(&self, _: &MachineId) -> Result<(), PortError> {
        Ok(())
    }
    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        self.0.log(id, most).await
    }
    fn foreign(&self) -> Vec<MachineId> {
        self.0.foreign()
    }
    fn room(&self) -> bool {
        self.0.room()
    }
    fn spot_price(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        self.0.spot_price(kind, zone)
    }
    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        self.0.pool_prices(machines).await
    }
    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        self.0.zones(machines).await
    }
}

/// A queue that also holds a message which no reconcile acknowledges, or whose dead-letter queue
/// holds one.
struct FaultyQueue {
    inner: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
    /// The time since which a copy of the first wake-up is repeated; `None`: it is a dead letter.
    poisoned: Option<Mutex<Option<Timestamp>>>,
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        if let Some(since) = &self.poisoned {
            since.lock().get_or_insert(self.clock.now());
        }
        self.inner.wake(name).await
    }
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        self.inner.next(max).await
    }
    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.inner.done(delivery).await
    }
    async fn depth(&self) -> Result<Option<QueueDepth>, PortError> {
        let Some(mut depth) = self.inner.depth().await? else { return Ok(None) };
        // Real time, which is nothing beside the simulated one.
        depth.oldest_age = None;
        match self.poisoned.as_ref().map(|since| *since.lock()) {
            None => depth.dead_letters = Some(depth.dead_letters.unwrap_or(0) + 1),
            Some(None) => {}
            Some(Some(since)) => {
                depth.visible += 1;
                depth.oldest_age = Some(self.clock.now().duration_since(since));
            }
        }
        Ok(Some(depth))
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_local::SystemClock;
    use tinqs_ci_local::queue::MemoryQueue;

    use super::*;

    fn queue(poisoned: bool) -> FaultyQueue {
        FaultyQueue {
            inner: Arc::new(MemoryQueue::new()),
            clock: Arc::new(SystemClock),
            poisoned: poisoned.then(Mutex::default),
        }
    }

    #[tokio::test]
    async fn a_poisoned_message_stays_when_all_others_are_done() {
        let queue = queue(true);
        let depth = async || queue.depth().await.expect("in memory").expect("it tells");
        assert_eq!((depth().await.visible, depth().await.oldest_age), (0, None));
        queue.wake(&RunName::job(1)).await.expect("in memory");
        for delivery in queue.next(10).await.expect("in memory") {
            queue.done(delivery).await.expect("in memory");
        }
        let depth = depth().await;
        assert_eq!((depth.visible, depth.in_flight, depth.dead_letters), (1, 0, Some(0)));
        assert!(depth.oldest_age.is_some_and(|age| !age.is_negative()), "{depth:?}");
    }

    #[tokio::test]
    async fn a_dead_letter_is_no_wake_up() {
        let depth = queue(false).depth().await.expect("in memory").expect("it tells");
        assert_eq!((depth.visible, depth.dead_letters, depth.oldest_age), (0, Some(1), None));
    }
}
