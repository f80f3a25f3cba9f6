//! Readiness: checks whether the store can be written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tinqs_ci_reconciler::ports::{ErrorKind, Inbox, PortError, Ports};
use tokio::sync::Mutex;

use crate::telemetry::Telemetry;

/// The time for which a success is reused: there may be several probers, and each check may be a
/// write.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// The deadline of a check.
const DEADLINE: Duration = Duration::from_secs(5);

/// Checks whether the store can be written, at most once per 2 s while it can. A failed write, of
/// whatever, ends that time: the next check writes.
pub struct StoreProbe {
    ports: Ports,
    /// Checked instead of the runs, if this process writes nothing else.
    inbox: Option<Arc<dyn Inbox>>,
    telemetry: Arc<Telemetry>,
    replica: String,
    last_good: Mutex<Option<Instant>>,
}

impl StoreProbe {
    /// Creates a probe of the ports' store for this replica.
    pub fn new(ports: Ports, telemetry: Arc<Telemetry>, replica: &str) -> Self {
        let replica = replica.to_owned();
        Self { ports, inbox: None, telemetry, replica, last_good: Mutex::new(None) }
    }

    /// Creates a probe of the inbox, for a replica that writes nothing else.
    pub fn of_inbox(
        inbox: Arc<dyn Inbox>,
        ports: Ports,
        telemetry: Arc<Telemetry>,
        replica: &str,
    ) -> Self {
        Self { inbox: Some(inbox), ..Self::new(ports, telemetry, replica) }
    }

    /// Returns `Ok` if the store can be written, or could be within the last 2 s and no write has
    /// failed since.
    ///
    /// # Errors
    /// Those of the store, and `Unavailable` if it does not answer within 5 s.
    pub async fn check(&self) -> Result<(), PortError> {
        let mut last_good = self.last_good.lock().await;
        let failed = self.telemetry.contacts.failed_write();
        let good = |at: Instant| at.elapsed() < GOOD_FOR && failed.is_none_or(|failed| failed < at);
        if last_good.is_some_and(good) {
            return Ok(());
        }
        *last_good = None;
        let began = Instant::now();
        tokio::time::timeout(DEADLINE, self.write()).await.map_err(|_| {
            PortError::new("store", "writable", ErrorKind::Unavailable, "no answer within 5 s")
        })??;
        *last_good = Some(began);
        Ok(())
    }

    async fn write(&self) -> Result<(), PortError> {
        let now = self.ports.clock.now();
        match &self.inbox {
            Some(inbox) => inbox.writable(&self.replica, now).await,
            None => self.ports.store.writable(&self.replica, now).await,
        }
    }
}
