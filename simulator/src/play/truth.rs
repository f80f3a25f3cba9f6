//! The true state of the world, for the law of drift.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Registration, Run};

use crate::forge::Status;
use crate::laws::drift::Truth;
use crate::ports::registration;
use crate::world::{Demand, World};

/// Returns the true state of the world.
pub(super) fn truth(world: &World, now: Timestamp) -> Truth {
    let forge = world.forge();
    let rows = || -> Vec<Registration> {
        let own = forge.runners().filter(|row| !world.laws.is_strangers(row.id));
        own.filter_map(|row| registration(row, 0, now, forge.config.line)).collect()
    };
    let records: Vec<Run> = world.records.runs().filter(|run| run.is_open()).cloned().collect();
    // Without a job list, a run that has not seen its job start counts as waiting.
    let waits = |run: &&Run| {
        let job = forge.job(run.spec.job.job_id);
        run.name.is_push() || job.is_some_and(|job| job.status == Status::Waiting)
    };
    let live = world.cloud.live().map(|machine| machine.runner.id);
    Truth {
        machines: world.cloud.truly(now),
        rows: (world.demand != Demand::PushWithoutRows).then(rows),
        waiting: records.iter().filter(waits).map(|run| run.name.clone()).collect(),
        missing: live.filter(|id| forge.runner(*id).is_none()).collect(),
        records,
    }
}
