//! Spot breakers as events, log lines and a metric: what changed since this process last told it.

use tinqs_ci_reconciler::model::{ClassName, SpotBreaker};

use super::Telemetry;
use crate::words::events::EventData;

impl Telemetry {
    /// Notes the classes whose machines on demand come first.
    pub fn note_spot_breakers(&self, breakers: &[(ClassName, SpotBreaker)]) {
        let now = self.now();
        self.metrics.spot_breakers(breakers);
        for (class, since) in self.spot_breakers.ended(breakers) {
            let open = now.duration_since(since);
            let open_seconds = open.as_secs();
            tracing::info!(class = class.0.as_str(), open_seconds, "spot breaker closed");
            self.events.tell_class(&class, EventData::SpotBreakerClosed { open }, now);
        }
        for (class, breaker) in breakers {
            if !self.spot_breakers.begins(class, breaker.since) {
                continue;
            }
            let message = breaker.detail();
            tracing::warn!(
                class = class.0.as_str(),
                interruptions = breaker.interruptions,
                reason = message.as_str(),
                until = %breaker.until,
                "spot breaker opened",
            );
            self.events.tell_class(class, EventData::SpotBreakerOpened { message }, breaker.since);
        }
    }
}
