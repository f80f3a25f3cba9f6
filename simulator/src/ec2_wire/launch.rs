//! `RunInstances`.

use std::sync::Arc;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{MachineId, MachineState, Market};

use super::error::Fault;
use super::instance::{groups, instance};
use super::launch_request::Recipe;
use super::outcome::Outcome;
use super::params::Params;
use super::state::{Shared, State};
use super::xml::{Element, leaf, list};
use super::{LaunchSeen, who};

/// Resources that a launch creates and must tag.
const TAGGED: [&str; 3] = ["instance", "volume", "network-interface"];

pub(super) fn launch(shared: &Shared, params: &Params, caller: &str) -> Outcome {
    let options = &shared.options;
    let now = options.now();
    let mut state = shared.state();
    let most = params.number("MaxCount").ok().flatten().unwrap_or(1);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    if !state.buckets.take(now, "RunInstances", most) {
        return Outcome::throttled();
    }
    let tokens = (1, most);
    let done = (|| {
        let recipe = Arc::new(Recipe::read(params, &options.account)?);
        who::may_launch(options, caller, &recipe)?;
        judge(&mut state, shared, &recipe);
        if options.dry_run && params.flag("DryRun")? == Some(true) {
            return Err(Fault::dry_run());
        }
        let launched = state.launch(options, now, &recipe, false);
        let launched = launched.inspect_err(|refused| {
            if refused.code == "IdempotentParameterMismatch" {
                let what = format!("token {} with other parameters", recipe.token);
                state.breaks("same token, same bytes", what);
            }
        })?;
        let (ids, made) = &launched;
        if options.refuses_used_tokens && !made && are_terminated(&state, ids) {
            let message = "The instance of this client token has been terminated.";
            return Err(Fault::new("IdempotentInstanceTerminated", message));
        }
        Ok(launched)
    })();
    shared.changed.notify_one();
    match done {
        Ok((ids, made)) => {
            Outcome::of(answer(&state, shared, now, &ids, made), ids.len()).taking(tokens)
        }
        Err(fault) => Outcome::from(fault).taking(tokens),
    }
}

fn are_terminated(state: &State, ids: &[MachineId]) -> bool {
    let mut states = ids.iter().filter_map(|id| Some(state.cloud.machine(id)?.state()));
    states.all(|state| state == MachineState::Gone)
}

/// Returns new machines in their first state, earlier ones in their current state.
fn answer(
    state: &State,
    shared: &Shared,
    now: Timestamp,
    ids: &[MachineId],
    made: bool,
) -> Vec<Element> {
    let first = ids.first().and_then(|id| state.records.get(id));
    let Some(first) = first else { return Vec::new() };
    let items = ids.iter().filter_map(|id| {
        let seen = if made { MachineState::Booting } else { state.cloud.machine(id)?.state() };
        instance(state, &shared.options, now, id, seen)
    });
    vec![
        leaf("reservationId", &first.reservation),
        leaf("ownerId", &shared.options.account.id),
        groups(&shared.options.account, &first.recipe),
        list("instancesSet", items.collect::<Vec<_>>()),
    ]
}

/// Records what no launch of ours may do, dry run or real.
fn judge(state: &mut State, shared: &Shared, recipe: &Recipe) {
    let what = |text: &str| format!("{}: {text}", recipe.token);
    let spot = (recipe.market == Market::Spot).then_some("spot-instances-request");
    for of in TAGGED.into_iter().chain(spot) {
        let tags = recipe.tags.get(of);
        let ours = tags.is_some_and(|tags| match &shared.options.installation {
            Some(value) => tags.get("tinqs-ci") == Some(value),
            None => tags.contains_key("tinqs-ci"),
        });
        if !ours {
            state.breaks("tags on all resources", what(of));
        }
    }
    let has_too_many_hops = recipe.metadata.hop_limit > shared.options.most_hops;
    if recipe.metadata.tokens != "required" || has_too_many_hops {
        state.breaks("metadata by token, few hops", what(&format!("{:?}", recipe.metadata)));
    }
    if recipe.shutdown != "terminate" {
        state.breaks("shutdown terminates", what(&recipe.shutdown));
    }
    if recipe.protected || recipe.hibernates {
        state.breaks("no machine that cannot be terminated", what(&recipe.template));
    }
    if recipe.disks.iter().any(|disk| !disk.delete_on_termination) {
        state.breaks("disks end with their machine", what(&format!("{:?}", recipe.disks)));
    }
    let version = recipe.template.rsplit_once(':').map(|(_, version)| version);
    if version.is_some_and(|version| version.parse::<u32>().is_err()) {
        state.breaks("a fixed version of a launch template", what(&recipe.template));
    }
    if recipe.token.is_empty() {
        state.breaks("a token with each launch", what("none"));
    }
    let tags = recipe.instance_tags();
    let seen = LaunchSeen { token: &recipe.token, tags: &tags, user_data: &recipe.user_data };
    if shared.options.recorded.as_ref().is_some_and(|recorded| !recorded(&seen)) {
        state.breaks("record, then launch", what("no attempt was recorded"));
    }
}
