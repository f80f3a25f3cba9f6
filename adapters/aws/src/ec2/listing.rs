//! Lists machines without reading ended ones again and again.
//!
//! EC2 shows an ended instance for an hour: if jobs are short, most of a list is machines that
//! nothing will ever happen to. So a list asks for the other states, then once for each machine
//! that it showed before, or that was launched or looked up since, and that it does not show; ended
//! machines are cached. The whole list is read now and then: until EC2 drops the tags of an ended
//! machine, it shows those of other processes, too.

use std::collections::HashMap;

use aws_sdk_ec2::types::{Filter, Instance as Seen, InstanceStateName};
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Machine, MachineId};
use tinqs_ci_reconciler::ports::PortError;

use super::calls::{Calls, FINDS};
use super::instance::has_ended;
use super::tags::INSTALLATION;

/// Every state except `terminated`.
const NOT_ENDED: [InstanceStateName; 5] = [
    InstanceStateName::Pending,
    InstanceStateName::Running,
    InstanceStateName::ShuttingDown,
    InstanceStateName::Stopping,
    InstanceStateName::Stopped,
];

impl Calls {
    /// Lists every machine of ours that EC2 shows with its tags, including those that ended a while
    /// ago, and each that ended since it was last shown.
    pub(super) async fn list(&self, now: Timestamp) -> Result<Vec<Machine>, PortError> {
        let tag = format!("tag:{INSTALLATION}");
        let tagged = Filter::builder().name(tag).values(&self.installation).build();
        let whole = self.listed.is_due(now);
        let mut filters = vec![tagged];
        if !whole {
            let states = NOT_ENDED.map(|state| state.as_str().to_owned()).to_vec();
            let filter = Filter::builder().name("instance-state-name");
            filters.push(filter.set_values(Some(states)).build());
        }
        let mut seen = self.describe("list", filters).await?;
        // Also one that the whole list leaves out may have ended, and lost its tags since.
        for some in self.listed.missed(&seen).chunks(FINDS.most) {
            let values = some.iter().map(|id| id.0.clone()).collect();
            let filter = Filter::builder().name("instance-id").set_values(Some(values));
            seen.extend(self.describe("list", vec![filter.build()]).await?);
        }
        let mut inner = self.listed.inner();
        let known = |seen: &Seen| {
            let untagged = || inner.with_tags(self.untagged(seen)?);
            Some((has_ended(seen), self.recognize(seen).or_else(untagged)?))
        };
        let shown: Vec<(bool, Machine)> = seen.iter().filter_map(known).collect();
        if whole {
            // EC2 may hide a new machine for a while.
            let is_new = |id: &MachineId| self.instance_cache.is_new(id, now);
            inner.whole = Some(now);
            inner.open.retain(|id, _| is_new(id));
            inner.ended.retain(|id, _| is_new(id));
        }
        let mut machines = HashMap::new();
        for (has_ended, machine) in shown {
            if inner.note(has_ended, &machine) {
                machines.insert(machine.id.clone(), machine);
            }
        }
        let open = seen.iter().filter(|seen| !has_ended(seen));
        self.instance_cache.shows(open.filter_map(|seen| seen.instance_id()));
        let mut machines: Vec<Machine> =
            machines.into_values().chain(inner.ended.values().cloned()).collect();
        machines.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(machines)
    }
}
