//! The reconciler's ports over the simulated world, in memory.
//!
//! In a simulation, each call suspends before and after its effect: it takes time, may be refused,
//! may lose its reply, and its caller may die. On a real clock (demo, conformance) none of this
//! happens and nothing blocks: the world's lock is never held across an await.

mod compute;
mod forge;
mod queue;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError, Ports};

use crate::executor::{Group, Scheduler};
use crate::faults::{OngoingFault, Port};
use crate::schedule::ScheduledFault;
use crate::world::{Shared, World};

pub(crate) use forge::{hint, registration, waiting_job};

/// One replica's access to the world: all five ports.
#[derive(Clone)]
pub struct SimulatedPorts {
    world: Shared,
    pace: Pace,
    /// The true time.
    clock: Arc<dyn Clock>,
    /// Age of the date in the forge's last answer when that came: dates count whole seconds.
    date: Arc<Mutex<Option<SignedDuration>>>,
}

#[derive(Clone)]
enum Pace {
    /// Subject to the faults, in virtual time.
    Simulated { scheduler: Scheduler, group: Group },
    /// Immediate.
    Live,
}

/// A call in progress.
struct Call {
    /// `port.operation`.
    name: &'static str,
    /// The object of the call, for the event log.
    about: String,
}

impl Call {
    fn new(name: &'static str, about: impl ToString) -> Self {
        Self { name, about: about.to_string() }
    }

    fn port(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(port, _)| port)
    }

    fn error(&self, kind: ErrorKind, message: impl Into<String>) -> PortError {
        error(self.name, kind, message)
    }
}

fn error(name: &'static str, kind: ErrorKind, message: impl Into<String>) -> PortError {
    let (port, operation) = name.split_once('.').unwrap_or((name, ""));
    PortError::new(port, operation, kind, message)
}

/// Calls that are made repeatedly, whatever happens.
const LISTINGS: [&str; 8] = [
    "store.open",
    "store.lease",
    "store.seats",
    "queue.next",
    "queue.done",
    "compute.list",
    "forge.waiting",
    "forge.registrations",
];

/// Readings of the forge.
const READINGS: [&str; 5] =
    ["forge.waiting", "forge.job", "forge.registrations", "forge.registration", "forge.at_work"];

/// The effect of the faults on a call at a suspension point.
enum CallOutcome {
    Goes(SignedDuration),
    Crashes,
    Fails,
}

impl SimulatedPorts {
    /// Creates the ports of a replica in a simulation.
    pub fn simulated(world: Shared, scheduler: Scheduler, group: Group) -> Self {
        Self::with(world, Pace::Simulated { scheduler, group })
    }

    /// Creates the ports on the world's own clock, without faults, under any tokio runtime.
    pub fn live(world: Shared) -> Self {
        Self::with(world, Pace::Live)
    }

    fn with(world: Shared, pace: Pace) -> Self {
        let clock = world.lock().clock.clone();
        Self { world, pace, clock, date: Arc::default() }
    }

    /// Returns all five ports, with a clock.
    pub fn ports(self, clock: Arc<dyn Clock>) -> Ports {
        let simulated_ports = Arc::new(self);
        Ports {
            clock,
            store: simulated_ports.clone(),
            queue: simulated_ports.clone(),
            compute: simulated_ports.clone(),
            forge: simulated_ports,
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Makes a call: suspend, effect, suspend. The effect receives the start time of the call.
    async fn call<T: Send>(
        &self,
        call: Call,
        effect: impl FnOnce(&mut World, Timestamp) -> Result<T, PortError> + Send,
    ) -> Result<T, PortError> {
        let name = call.name;
        let result = self.make(call, effect).await;
        if let (Err(_), true, Some(replica)) = (&result, READINGS.contains(&name), self.replica()) {
            let mut world = self.world();
            let now = world.now();
            world.unread.insert(replica, now);
        }
        if result.is_ok() && name.starts_with(Port::Forge.name()) {
            let now = self.clock.now().as_microsecond();
            *self.date.lock() = Some(SignedDuration::from_micros(now.rem_euclid(1_000_000)));
        }
        result
    }

    async fn make<T: Send>(
        &self,
        call: Call,
        effect: impl FnOnce(&mut World, Timestamp) -> Result<T, PortError> + Send,
    ) -> Result<T, PortError> {
        let (began, scheduled_fault) = {
            let mut world = self.world();
            (world.now(), world.schedule.begins(call.name))
        };
        self.suspend(&call, Side::Before, scheduled_fault).await?;
        let result = {
            let mut world = self.world();
            if matches!(self.pace, Pace::Live) {
                world.advance();
            }
            *world.calls.entry(call.name).or_insert(0) += 1;
            let result = effect(&mut world, began);
            // A successful listing is not worth a line.
            if result.is_err() || !LISTINGS.contains(&call.name) {
                let outcome = match &result {
                    Ok(_) => "ok".to_owned(),
                    Err(error) => error.kind.to_string(),
                };
                let who = self.who();
                world.tell(&format!("{who}{} {} -> {outcome}", call.name, call.about));
            }
            result
        };
        self.suspend(&call, Side::After, scheduled_fault).await?;
        result
    }

    /// Returns the replica's incarnation in a simulation.
    fn replica(&self) -> Option<Group> {
        match &self.pace {
            Pace::Simulated { group, .. } => Some(*group),
            Pace::Live => None,
        }
    }

    fn who(&self) -> String {
        match &self.pace {
            Pace::Simulated { group, .. } => format!("[{group}] "),
            Pace::Live => String::new(),
        }
    }

    async fn suspend(
        &self,
        call: &Call,
        side: Side,
        scheduled_fault: Option<ScheduledFault>,
    ) -> Result<(), PortError> {
        let Pace::Simulated { scheduler, group } = &self.pace else { return Ok(()) };
        let call_outcome = match (scheduled_fault, side) {
            (Some(ScheduledFault::Refused), Side::Before)
            | (Some(ScheduledFault::ReplyLost), Side::After) => CallOutcome::Fails,
            (Some(ScheduledFault::CrashBefore), Side::Before)
            | (Some(ScheduledFault::CrashAfter), Side::After) => {
                self.world().count("crash");
                CallOutcome::Crashes
            }
            _ => self.call_outcome(scheduler, *group, call, side),
        };
        match call_outcome {
            CallOutcome::Goes(wait) => {
                scheduler.sleep(wait).await;
                Ok(())
            }
            CallOutcome::Crashes => {
                let who = self.who();
                let line = format!("{who}{} {}: the replica dies {side:?}", call.name, call.about);
                self.world().tell(&line);
                scheduler.crash(*group);
                std::future::pending().await
            }
            CallOutcome::Fails => {
                let message = match side {
                    Side::Before => "simulated: refused",
                    Side::After => "simulated: the reply was lost",
                };
                let line = format!("{}{} {}: {message}", self.who(), call.name, call.about);
                self.world().tell(&line);
                scheduler.sleep(SignedDuration::from_millis(500)).await;
                Err(call.error(ErrorKind::Unavailable, message))
            }
        }
    }

    fn call_outcome(
        &self,
        scheduler: &Scheduler,
        group: Group,
        call: &Call,
        side: Side,
    ) -> CallOutcome {
        let mut world = self.world();
        let now = world.now();
        let faults = world.faults.at(now);
        if world.strikes("crash", faults.crash) {
            return CallOutcome::Crashes;
        }
        let port = call.port();
        let cloud = port == Port::Compute.name();
        let fails = match side {
            Side::Before if world.is_down(now, port) => {
                world.count("down");
                return CallOutcome::Fails;
            }
            Side::Before => world.strikes("refused", faults.refused),
            Side::After => {
                let lost = if cloud { faults.cloud_reply_lost } else { 0.0 };
                world.strikes("reply_lost", faults.reply_lost.max(lost))
            }
        };
        if fails {
            return CallOutcome::Fails;
        }
        let mut most = SignedDuration::from_millis(60);
        if world.strikes("pause", faults.pause) {
            // Either one call is late, or the whole process pauses.
            let longest = SignedDuration::from_mins(15);
            if world.rng.chance(0.5) {
                most = longest;
                world.stands_still(now + longest);
            } else {
                let wait = world.rng.between(SignedDuration::from_secs(1), longest);
                scheduler.pause(group, now + wait);
                world.stands_still(now + wait);
            }
        }
        let slow = if cloud { faults.cloud_slow } else { 0.0 };
        if world.strikes("slow", faults.slow.max(slow)) {
            most = most.max(SignedDuration::from_mins(5));
        }
        CallOutcome::Goes(world.rng.between(SignedDuration::from_millis(2), most))
    }
}

impl World {
    fn is_down(&self, now: Timestamp, port: &str) -> bool {
        let down = |(trouble, from, until): &(OngoingFault, Timestamp, Timestamp)| {
            matches!(trouble, OngoingFault::Down(which) if which.name() == port)
                && *from <= now
                && now < *until
        };
        self.periods.iter().any(down)
    }
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Before,
    After,
}
