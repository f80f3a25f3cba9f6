//! Readiness: whether the store can be written.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::SignedDuration;
use tinqs_ci_reconciler::ports::{PortError, Ports};
use tokio::sync::Mutex;

/// Whether the store can be written now.
#[async_trait]
pub trait Writable: Send + Sync {
    /// Writes something of no consequence.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    async fn check(&self) -> Result<(), PortError>;
}

/// An answer is good for so long: probes come from several sides, and each check is a write.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// A store that does not answer within this is not ready.
const DEADLINE: Duration = Duration::from_secs(5);

/// Checks by taking a lease that nobody wants: a real write by the port's own means.
pub struct LeaseProbe {
    ports: Ports,
    replica: String,
    last_good: Mutex<Option<Instant>>,
}

impl LeaseProbe {
    /// Over these ports; the lease carries the replica's name, so that replicas do not meet.
    pub fn new(ports: Ports, replica: &str) -> Self {
        Self { ports, replica: replica.to_owned(), last_good: Mutex::new(None) }
    }
}

#[async_trait]
impl Writable for LeaseProbe {
    async fn check(&self) -> Result<(), PortError> {
        let mut last_good = self.last_good.lock().await;
        if last_good.is_some_and(|at| at.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        *last_good = None;
        let now = self.ports.clock.now();
        let ttl = SignedDuration::from_secs(1);
        let lease = self.ports.store.lease("ready", &self.replica, now, ttl);
        tokio::time::timeout(DEADLINE, lease).await.map_err(|_| {
            use tinqs_ci_reconciler::ports::ErrorKind::Unavailable;
            PortError::new("store", "lease", Unavailable, "no answer within 5 s")
        })??;
        *last_good = Some(Instant::now());
        Ok(())
    }
}
