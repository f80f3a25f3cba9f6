//! Pauses as events, log lines and a metric: what changed since this process last read them.

use parking_lot::Mutex;
use tinqs_ci_reconciler::model::Pause;

use super::Telemetry;
use super::events::Object;
use crate::words::events::EventData;

/// The pauses that were told.
#[derive(Default)]
pub struct Pauses(Mutex<Vec<Pause>>);

impl Telemetry {
    /// Notes the pauses. `by`: who has just asked this process to change them.
    pub fn note_pauses(&self, pauses: &[Pause], by: Option<&str>) {
        let now = self.now();
        self.metrics.paused(pauses);
        let before = std::mem::replace(&mut *self.pauses.0.lock(), pauses.to_vec());
        for pause in before.iter().filter(|pause| !pauses.contains(pause)) {
            let after = now.duration_since(pause.since);
            let class = pause.class.as_ref().map(|class| class.0.as_str());
            tracing::info!(class, by, paused_seconds = after.as_secs(), "launches resumed");
            let what = EventData::Resumed { after, by: by.map(str::to_owned) };
            self.events.tell(object(pause), what, now);
        }
        for pause in pauses.iter().filter(|pause| !before.contains(pause)) {
            let class = pause.class.as_ref().map(|class| class.0.as_str());
            tracing::warn!(class, by = pause.by, since = %pause.since, "launches paused");
            self.events.tell(object(pause), EventData::Paused(pause.clone()), pause.since);
        }
    }
}

fn object(pause: &Pause) -> Object {
    pause.class.as_ref().map_or(Object::Everything, |class| Object::Class(class.clone()))
}
