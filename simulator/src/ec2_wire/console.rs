//! `GetConsoleOutput`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::SignedDuration;
use tinqs_ci_reconciler::model::MachineId;

use super::attend::tail;
use super::error::Fault;
use super::ids::{not_found, well_formed};
use super::instance::time;
use super::outcome::Outcome;
use super::params::Params;
use super::state::{Shared, State};
use super::xml::{Element, leaf};
use crate::cloud::machine::SimulatedMachine;

/// Returns the output of a machine. Before it has booted there is none.
pub(super) fn console(shared: &Shared, params: &Params) -> Outcome {
    let mut state = shared.state();
    if !state.buckets.take(shared.options.now(), "GetConsoleOutput", 0) {
        return Outcome::throttled();
    }
    let outcome = match output(shared, &state, params) {
        Ok(parts) => Outcome::of(parts, 1),
        Err(fault) => Outcome::from(fault),
    };
    outcome.taking((1, 0))
}

fn output(shared: &Shared, state: &State, params: &Params) -> Result<Vec<Element>, Fault> {
    let now = shared.options.now();
    let id = params.need("InstanceId")?;
    well_formed(id)?;
    let latest = params.flag("Latest")? == Some(true);
    if params.flag("DryRun")? == Some(true) {
        return Err(Fault::dry_run());
    }
    let machine = MachineId(id.to_owned());
    // A new machine is hidden, as in other readings.
    let seen = state.seen(now, &machine, SignedDuration::ZERO);
    let record = state.records.get(&machine).filter(|_| seen.is_some());
    let record = record.ok_or_else(|| not_found(&[id]))?;
    if latest && record.recipe.kind.starts_with("t2.") {
        let message = "This instance type does not support retrieving the latest console logs.";
        return Err(Fault::new("UnsupportedOperation", message));
    }
    // Otherwise the output is what was posted last: some time after the machine ended.
    let lag = shared.options.quick(shared.options.console_lag);
    let ended_at = state.cloud.machine(&machine).and_then(SimulatedMachine::ended_at);
    let is_posted = ended_at.is_none_or(|ended_at| now >= ended_at + lag);
    let posted = || if is_posted { record.console.clone() } else { String::new() };
    let live = record.guest.as_ref().filter(|_| latest);
    let text = live.map_or_else(posted, |guest| tail(guest.output()));
    let mut parts = vec![leaf("instanceId", id), leaf("timestamp", time(now))];
    if !text.is_empty() {
        parts.push(leaf("output", BASE64_STANDARD.encode(text)));
    }
    Ok(parts)
}
