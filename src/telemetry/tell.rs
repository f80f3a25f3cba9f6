//! Events of classes, services and labels, from what reports and calls change.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{Event, Report};

use super::Telemetry;
use super::contacts::Change;
use super::events::Object;
use super::unserved::Changes;
use crate::words::events::EventData;
use crate::words::services::service_name;

impl Telemetry {
    /// Tells that a service began to fail or works again.
    pub(super) fn tell_service(&self, service: &'static str, change: &Change) {
        let (what, at) = match change {
            Change::Began(failure) => {
                let (kind, message) = (failure.kind, failure.message.clone());
                (EventData::ServiceFails { service, kind, message }, failure.since)
            }
            Change::Ended { after } => (EventData::ServiceWorks { after: *after }, self.now()),
        };
        self.events.tell(Object::Service(service_name(service)), what, at);
    }

    /// Tells that breakers opened and closed.
    pub(super) fn tell_breakers(&self, report: &Report) {
        for event in &report.events {
            let (class, what) = match event {
                Event::BreakerOpened { class, breaker } => {
                    (class, EventData::BreakerOpened { message: breaker.message.clone() })
                }
                Event::BreakerClosed { class, open_seconds } => (
                    class,
                    EventData::BreakerClosed { open: SignedDuration::from_secs(*open_seconds) },
                ),
                _ => continue,
            };
            self.events.tell_class(class, what, self.now());
        }
    }

    /// Tells of sets of labels that no class serves, and of those that are gone.
    pub(super) fn tell_unserved(&self, changes: Changes) {
        let now = self.now();
        for set in changes.new {
            let object = Object::Labels(set.runs_on.clone());
            self.events.tell(object, EventData::Unserved(Box::new(set)), now);
        }
        for (labels, after) in changes.gone {
            self.events.tell(Object::Labels(labels), EventData::NoLongerUnserved { after }, now);
        }
    }
}
