//! The controller: ingest, reconcile, observe, poll, sweep. Awaits nothing but ports.

mod boots;
mod breaker;
mod by_run;
mod cache;
mod canceled;
mod displaced;
mod drift;
mod ends;
mod formats;
mod ingest;
mod interruptions;
mod late_logs;
mod launch_queue;
mod observe;
mod pauses;
mod polled;
mod queued;
mod rebuild;
mod reconcile;
mod registration_lists;
mod report;
mod reruns;
mod settings;
mod spend;
mod steady;
mod sweep;
mod true_time;
mod turns;
mod unclaimed;
mod unserved;
mod workflow_runs;

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;

use crate::model::{
    Cause, ClassName, MachineSpec, Market, MicroUsd, Observation, ObservedClass, OpenBreaker,
    RecordFormats,
};
use crate::plan::{self, Plan};
use crate::ports::Ports;
use cache::Cache;
use formats::Formats;
use steady::{Steadiness, Watched};
use true_time::CheckedClock;

pub use drift::DriftReport;
pub use rebuild::{RebuildReport, RebuiltItem};
pub use report::{
    ActionKind, Effect, Event, FailedCall, ReconcileOutcome, Report, RerunOutcome, SweepReport,
    UnservedJob, UnservedLabels,
};
pub use settings::{Hint, Settings};
pub use true_time::ClockReading;

/// An offering of a class, and whether it is unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offering {
    /// The first configured machine spec that asks for it.
    pub machine: MachineSpec,
    /// The time until which it is skipped because the cloud refused it, and why; `None`: it is not.
    pub skipped: Option<(Timestamp, Cause)>,
}

/// The controller of one replica.
pub struct Controller {
    ports: Ports,
    settings: RwLock<Arc<Settings>>,
    cache: Cache,
    steadiness: Arc<Steadiness>,
    clock: Arc<CheckedClock>,
    formats: Formats,
    plan: fn(&Observation) -> Plan,
}

impl Controller {
    /// Creates a controller over these ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        let settings = RwLock::new(Arc::new(settings));
        let clock = Arc::new(CheckedClock::new(ports.clock, ports.forge.clone()));
        let (forge, steadiness) = Watched::new(ports.forge, clock.clone());
        let ports = Ports { clock: clock.clone(), forge: Arc::new(forge), ..ports };
        let (cache, formats) = (Cache::default(), Formats::of(RecordFormats::OWN));
        Self { ports, settings, cache, steadiness, clock, formats, plan: plan::plan }
    }

    /// Replaces the decision. Traces see by it where the phases of a reconcile end; tests show with
    /// wrong ones that the simulation's laws detect them.
    pub fn deciding_by(self, plan: fn(&Observation) -> Plan) -> Self {
        Self { plan, ..self }
    }

    /// Returns the ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the current settings.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().clone()
    }

    /// Replaces the settings. Classes that changed may launch again at once.
    pub fn configure(&self, settings: Settings) {
        let before = self.settings();
        let now = self.ports.clock.now();
        for class in settings.classes.iter().filter(|class| !before.classes.contains(class)) {
            let held = self.cache.breakers.reset(&class.name, now);
            self.cache.bring_forward(&held, now);
        }
        *self.settings.write() = Arc::new(settings);
        // Their budget may be higher now.
        self.cache.bring_forward(&self.cache.spend.changed(), now);
        self.cache.reset_idle();
    }

    /// Returns the open breakers, by class. A breaker stays open until a launch is answered.
    pub fn open_breakers(&self) -> Vec<(ClassName, OpenBreaker)> {
        let classes = &self.settings().classes;
        let names = classes.iter().map(|class| &class.name);
        names.filter_map(|name| Some((name.clone(), self.cache.breakers.opened(name)?))).collect()
    }

    /// Returns the offerings of the classes, each once.
    pub fn offerings(&self) -> Vec<Offering> {
        let now = self.ports.clock.now();
        let unavailable = self.cache.unavailable(now);
        let mut offerings: Vec<Offering> = Vec::new();
        for class in &self.settings().classes {
            let (class, unavailable) = (class.clone(), unavailable.clone());
            let observed = ObservedClass { unavailable, ..ObservedClass::from(class) };
            for machine in &observed.class.machines {
                if !offerings.iter().any(|known| known.machine.same_capacity(machine)) {
                    let until = observed.unavailable_until(machine, now);
                    let skipped = until.zip(observed.unavailable_because(machine, now));
                    offerings.push(Offering { machine: machine.clone(), skipped });
                }
            }
        }
        offerings
    }

    /// Reads the spot prices that the classes need, if they were not read lately.
    pub async fn read_prices(&self) {
        let settings = self.settings();
        let machines = settings.classes.iter().flat_map(|class| &class.machines);
        let spot = machines.filter(|spec| spec.market == Market::Spot);
        let mut kinds: Vec<String> = spot.map(|spec| spec.kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        self.ports.compute.read_prices(&kinds).await;
    }

    /// Returns the price per hour of a kind; `None` if it is not known. `zone` may be empty.
    pub fn price(&self, kind: &str, market: Market, zone: &str) -> Option<MicroUsd> {
        match market {
            Market::Spot => self.ports.compute.spot_price(kind, zone),
            Market::OnDemand => self.settings().prices.get(kind).copied(),
        }
    }

    /// Ends idle mode: the next poll and sweep read everything again.
    pub fn forget_idle(&self) {
        self.cache.reset_idle();
    }
}
