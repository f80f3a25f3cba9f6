//! Readiness: whether the store can be written.

use std::time::{Duration, Instant};

use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Ports};
use tokio::sync::Mutex;

/// An answer is good for so long: probes come from several sides, and each check may be a write.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// A store that does not answer within this is not ready.
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the store whether it can be written, seldom.
pub struct StoreProbe {
    ports: Ports,
    replica: String,
    last_good: Mutex<Option<Instant>>,
}

impl StoreProbe {
    /// A probe of these ports' store for this replica.
    pub fn new(ports: Ports, replica: &str) -> Self {
        Self { ports, replica: replica.to_owned(), last_good: Mutex::new(None) }
    }

    /// Returns `Ok` where the store can be written now, or could be a moment ago.
    ///
    /// # Errors
    /// The store's, and `Unavailable` where it does not answer in time.
    pub async fn check(&self) -> Result<(), PortError> {
        let mut last_good = self.last_good.lock().await;
        if last_good.is_some_and(|at| at.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        *last_good = None;
        let written = self.ports.store.writable(&self.replica, self.ports.clock.now());
        tokio::time::timeout(DEADLINE, written).await.map_err(|_| {
            PortError::new("store", "writable", ErrorKind::Unavailable, "no answer within 5 s")
        })??;
        *last_good = Some(Instant::now());
        Ok(())
    }
}
