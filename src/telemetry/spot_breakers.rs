//! Spot breakers as events, log lines and a metric: what changed since this process last told it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{ClassName, SpotBreaker};

use super::Telemetry;
use crate::words::events::What;

/// Since when each class was told.
#[derive(Default)]
pub struct SpotBreakers(Mutex<BTreeMap<ClassName, Timestamp>>);

impl Telemetry {
    /// Notes the classes whose machines on demand come first.
    pub fn note_spot_breakers(&self, breakers: &[(ClassName, SpotBreaker)]) {
        let now = self.now();
        self.metrics.spot_breakers(breakers);
        let mut told = self.spot_breakers.0.lock();
        let closed = told.extract_if(.., |class, _| breakers.iter().all(|(open, _)| open != class));
        for (class, since) in closed {
            let open = now.duration_since(since);
            let open_seconds = open.as_secs();
            tracing::info!(class = class.0.as_str(), open_seconds, "spot breaker closed");
            self.events.tell_class(&class, What::SpotBreakerClosed { open }, now);
        }
        for (class, breaker) in breakers {
            if told.contains_key(class) {
                continue;
            }
            told.insert(class.clone(), breaker.since);
            let message = breaker.detail();
            tracing::warn!(
                class = class.0.as_str(),
                interruptions = breaker.interruptions,
                reason = message.as_str(),
                until = %breaker.until,
                "spot breaker opened",
            );
            self.events.tell_class(class, What::SpotBreakerOpened { message }, breaker.since);
        }
    }
}
