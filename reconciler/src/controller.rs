//! The loop: ingest, reconcile, observe, poll, sweep. Awaits ports and nothing else.

mod breaker;
mod ingest;
mod line;
mod look;
mod memory;
mod observe;
mod report;
mod settings;
mod sweep;
mod taken;

use std::sync::{Arc, PoisonError, RwLock};

use crate::ports::Ports;
use memory::Memory;

pub use report::{ActionKind, Effect, Fact, LookResult, Report, SweepReport};
pub use settings::{Hint, Settings};

/// One replica's controller.
pub struct Controller {
    ports: Ports,
    settings: RwLock<Arc<Settings>>,
    memory: Memory,
}

impl Controller {
    /// A controller over these ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        Self { ports, settings: RwLock::new(Arc::new(settings)), memory: Memory::default() }
    }

    /// The ports it uses.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings. Classes that are not as they were are tried anew.
    pub fn configure(&self, settings: Settings) {
        let before = self.settings();
        let now = self.ports.clock.now();
        for class in settings.classes.iter().filter(|class| !before.classes.contains(class)) {
            let held = self.memory.breakers.reset(&class.name, now);
            self.memory.bring_forward(&held, now);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.memory.stir();
    }

    /// Whatever was found idle is looked at anew with the next poll and sweep.
    pub fn look_anew(&self) {
        self.memory.stir();
    }
}
