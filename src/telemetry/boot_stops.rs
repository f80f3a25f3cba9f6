//! Classes whose machines never come online, as events, log lines and a metric: what changed since
//! this process last told it.

use tinqs_ci_reconciler::model::{BootStop, ClassName};

use super::Telemetry;
use crate::words::events::EventData;

impl Telemetry {
    /// Notes the classes whose latest machines never came online.
    pub fn note_boot_stops(&self, stops: &[(ClassName, BootStop)]) {
        let now = self.now();
        self.metrics.boot_stops(stops);
        for (class, since) in self.boot_stops.ended(stops) {
            let open = now.duration_since(since);
            let open_seconds = open.as_secs();
            tracing::info!(class = class.0.as_str(), open_seconds, "breaker closed");
            self.events.tell_class(&class, EventData::BreakerClosed { open }, now);
        }
        for (class, stop) in stops {
            if !self.boot_stops.begins(class, stop.since) {
                continue;
            }
            let message = stop.detail();
            tracing::error!(
                class = class.0.as_str(),
                machines = stop.machines,
                error = message.as_str(),
                until = %stop.until,
                "breaker opened, an operator must act; one machine is launched every 5 min",
            );
            self.events.tell_class(class, EventData::BreakerOpened { message }, stop.since);
        }
    }
}
