//! The pretended world: forge, cloud, records and wake-ups in one state, with its weather and its
//! judge. [`run`] lets a seed's history happen.

pub mod drive;
mod narrow;
pub mod profile;
mod replica;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::Clock;

use crate::cloud::machine::Fate;
use crate::cloud::{self, Cloud};
use crate::faults::{Faults, Rng};
use crate::forge::{self, Forge};
use crate::laws::Laws;
use crate::ports::queue::Wakes;
use crate::ports::store::Records;

pub use drive::{Outcome, chronicle, run};
pub use profile::Profile;

/// How often the forge's cron runs.
const FORGE_CRON: SignedDuration = SignedDuration::from_secs(60);

/// Everything that is pretended.
pub struct World {
    /// The right time.
    pub clock: Arc<dyn Clock>,
    /// The forge. Its lock is taken after the world's.
    pub forge: Arc<Mutex<Forge>>,
    /// The cloud.
    pub cloud: Cloud,
    /// The store's records, seats and leases.
    pub records: Records,
    /// The queue.
    pub wakes: Wakes,
    /// The weather.
    pub faults: Faults,
    /// Where chance comes from.
    pub rng: Rng,
    /// The judge and chronicler.
    pub laws: Laws,
    /// Calls of the ports, by name.
    pub calls: BTreeMap<&'static str, u64>,
    cron_at: Timestamp,
}

/// The world, shared by all who live in it.
pub type Shared = Arc<Mutex<World>>;

/// The world's lock. A panic elsewhere does not make the world unusable: tests report it themselves.
pub fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world with a forge in it, in fair weather. `seed` decides whatever is left to chance.
    pub fn new(seed: u64, clock: Arc<dyn Clock>, forge: Arc<Mutex<Forge>>) -> Self {
        let now = clock.now();
        Self {
            clock,
            forge,
            cloud: Cloud::new(cloud::Config::default()),
            records: Records::default(),
            wakes: Wakes::default(),
            faults: Faults::default(),
            rng: Rng::new(seed),
            laws: Laws::new(seed, now),
            calls: BTreeMap::new(),
            cron_at: now + FORGE_CRON,
        }
    }

    /// The right time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The forge.
    pub fn forge(&self) -> MutexGuard<'_, Forge> {
        lock(&self.forge)
    }

    /// An event, for the chronicle.
    pub fn tell(&mut self, line: &str) {
        let now = self.now();
        self.laws.tell(now, line);
    }

    /// When something happens by itself: on a machine, in the forge's cron, in the queue.
    pub fn next_event(&self) -> Timestamp {
        let others = [self.cloud.next_event(), self.wakes.next_event()];
        others.into_iter().flatten().fold(self.cron_at, Timestamp::min)
    }

    /// Lets happen what is to happen until now. The clock was moved already.
    pub fn advance(&mut self) {
        let now = self.now();
        if self.faults.list_lag > SignedDuration::ZERO {
            self.cloud.config.list_lag = self.faults.at(now).list_lag;
        }
        let forge = self.forge.clone();
        let mut forge = lock(&forge);
        let told = self.cloud.tick(now, &mut forge);
        for line in told {
            self.laws.tell(now, &line);
        }
        if self.cron_at <= now {
            self.cron_at = now + FORGE_CRON;
            forge.tick(now);
            self.laws.every_minute(now, &self.cloud, &forge);
        }
        drop(forge);
        self.wakes.advance(now);
    }

    /// What becomes of the machine that is launched now.
    pub fn fate(&mut self, spot: bool) -> Fate {
        let weather = self.faults.at(self.now());
        let rng = &mut self.rng;
        let seconds = SignedDuration::from_secs;
        let interrupted = spot && rng.chance(weather.interrupted);
        Fate {
            boots_in: rng.between(seconds(12), seconds(40)),
            starts_in: rng.between(seconds(5), seconds(20)),
            interrupted_in: interrupted.then(|| rng.between(seconds(1), seconds(600))),
            silent: rng.chance(weather.silent),
            never_online: rng.chance(weather.never_online),
            hangs_idle: rng.chance(weather.hangs_idle),
            hangs_after_job: rng.chance(weather.hangs_after_job),
            ignores_timer: rng.chance(weather.ignores_timer),
        }
    }
}

/// A forge as the simulation uses it.
pub(crate) fn forge_of(line: forge::Line) -> Arc<Mutex<Forge>> {
    Arc::new(Mutex::new(Forge::new(forge::Config { line, ..forge::Config::default() })))
}
