//! `TerminateInstances`.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::MachineId;

use super::error::Fault;
use super::ids::{impaired, not_found, unavailable, well_formed};
use super::instance::state as state_element;
use super::outcome::Outcome;
use super::params::Params;
use super::state::{Shared, State};
use super::xml::{leaf, list};

/// Maximum IDs of a call.
const MOST_IDS: usize = 1_000;

pub(super) fn terminate(shared: &Shared, params: &Params) -> Outcome {
    let now = shared.options.now();
    let mut state = shared.state();
    let ids = params.list("InstanceId");
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    if !state.buckets.take(now, "TerminateInstances", count) {
        return Outcome::throttled();
    }
    let tokens = (1, count);
    let checked = check(&state, params, &ids, now);
    let ids = match checked {
        Ok(ids) => ids,
        Err(fault) => return Outcome::from(fault).taking(tokens),
    };
    let protected =
        |id: &&MachineId| state.records.get(*id).is_some_and(|record| record.recipe.protected);
    if let Some(id) = ids.iter().find(protected) {
        let message = format!(
            "The instance '{id}' may not be terminated. Modify its 'disableApiTermination' \
             instance attribute and try again."
        );
        return Outcome::from(Fault::new("OperationNotPermitted", message)).taking(tokens);
    }
    for id in &ids {
        judge(&mut state, shared, id);
    }
    let changes: Vec<_> = ids
        .iter()
        .filter_map(|id| {
            let before = state.cloud.machine(id)?.state();
            state.cloud.terminate(now, id);
            let after = state.cloud.machine(id)?.state();
            Some([
                leaf("instanceId", id),
                state_element("currentState", after),
                state_element("previousState", before),
            ])
        })
        .collect();
    state.attend(&shared.options, now);
    shared.changed.notify_one();
    Outcome::of(vec![list("instancesSet", changes)], ids.len()).taking(tokens)
}

fn check(
    state: &State,
    params: &Params,
    ids: &[&str],
    now: Timestamp,
) -> Result<Vec<MachineId>, Fault> {
    params.need("InstanceId.1")?;
    if ids.len() > MOST_IDS {
        return Err(Fault::new("InvalidParameterValue", format!("more than {MOST_IDS} ids")));
    }
    ids.iter().try_for_each(|id| well_formed(id))?;
    let all: Vec<MachineId> = ids.iter().map(|id| MachineId((*id).to_owned())).collect();
    if all.iter().any(|id| impaired(state, id)) {
        return Err(unavailable());
    }
    let unseen =
        |id: &&str| state.seen(now, &MachineId((*id).to_owned()), SignedDuration::ZERO).is_none();
    let missing: Vec<&str> = ids.iter().copied().filter(unseen).collect();
    if !missing.is_empty() {
        return Err(not_found(&missing));
    }
    if params.flag("DryRun")? == Some(true) {
        return Err(Fault::dry_run());
    }
    Ok(all)
}

fn judge(state: &mut State, shared: &Shared, id: &MachineId) {
    let Some(record) = state.records.get(id) else { return };
    let tags = record.recipe.instance_tags();
    let installation = &shared.options.installation;
    let others = installation.as_ref().is_some_and(|value| tags.get("tinqs-ci") != Some(value));
    // Independent of the tags that it was given.
    if record.foreign || others {
        state.breaks("no foreign machine terminated", id.to_string());
    }
}
