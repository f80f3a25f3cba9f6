//! The controller: ingest, reconcile, observe, poll, sweep. Awaits nothing but ports.

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

/// The controller of one replica.
pub struct Controller {
    ports: Ports,
    settings: RwLock<Arc<Settings>>,
    memory: Memory,
}

impl Controller {
    /// Creates a controller over these ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        Self { ports, settings: RwLock::new(Arc::new(settings)), memory: Memory::default() }
    }

    /// Returns the ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns the current settings.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings. Classes that changed may launch again at once.
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

    /// Ends idle mode: the next poll and sweep read everything again.
    pub fn look_anew(&self) {
        self.memory.stir();
    }
}
