//! The attempts of a run, with their machines.

use tinqs_ci_reconciler::model::{
    Answer, Attempt, Ended, Machine, MachineId, MachineSpec, Market, MicroUsd, PastAttempt,
    Refused, Run, StateReason,
};

use super::App;
use crate::api::explain::AttemptExplained;

/// The known details of the machine of an attempt.
struct MachineDetails {
    kind: Option<String>,
    market: Option<Market>,
    zone: Option<String>,
    price: Option<MicroUsd>,
}

/// Returns the attempts of a run, oldest first.
pub(super) fn attempts(app: &App, run: &Run) -> Vec<AttemptExplained> {
    let (_, listed) = app.telemetry.seen.machines();
    let past = run.status.past.iter().map(|past| of_past(app, run, &listed, past));
    let current = run.status.attempt.iter().map(|now| of_current(app, run, &listed, now));
    past.chain(current).collect()
}

fn of_past(app: &App, run: &Run, listed: &[Machine], past: &PastAttempt) -> AttemptExplained {
    let id = launched(past.placements.iter().map(|placement| placement.answered.as_ref()));
    // The record does not keep what was asked for.
    let known = known(app, run, listed, id, None, true);
    AttemptExplained {
        number: past.number,
        decided_at: past.decided_at,
        class: past.class.to_string(),
        machine: id.map(ToString::to_string),
        kind: known.kind,
        market: known.market,
        zone: known.zone,
        hourly_micro_usd: known.price.map(|price| price.0),
        refusals: past.placements.iter().filter_map(|p| refusal(p.refused)).collect(),
        ended: Some(ended(past.ended, past.state_reason.as_ref())),
        log: past.log.clone(),
    }
}

fn of_current(app: &App, run: &Run, listed: &[Machine], attempt: &Attempt) -> AttemptExplained {
    let placements = &attempt.placements;
    let id = launched(placements.iter().map(|placement| placement.answered.as_ref()));
    let asked = placements.iter().rev().find(|placement| placement.answered.is_some());
    let spec = asked.or(placements.last()).map(|placement| &placement.machine);
    let known = known(app, run, listed, id, spec, attempt.ended.is_some());
    AttemptExplained {
        number: attempt.number,
        decided_at: attempt.decided_at,
        class: attempt.class.to_string(),
        machine: id.map(ToString::to_string),
        kind: known.kind,
        market: known.market,
        zone: known.zone,
        hourly_micro_usd: known.price.map(|price| price.0),
        refusals: placements.iter().filter_map(|p| refusal(p.refused)).collect(),
        ended: attempt.ended.map(|it| ended(it, attempt.state_reason.as_ref())),
        log: attempt.log.clone(),
    }
}

/// Returns the machine of the last confirmed launch.
fn launched<'r>(
    answers: impl DoubleEndedIterator<Item = Option<&'r Answer>>,
) -> Option<&'r MachineId> {
    answers.rev().flatten().next().map(|answer| &answer.id)
}

fn refusal(refused: Option<Refused>) -> Option<String> {
    refused.map(|refused| refused.why.to_string())
}

fn ended(ended: Ended, reason: Option<&StateReason>) -> String {
    match reason {
        Some(reason) => format!("{}: {reason}", ended.why),
        None => ended.why.to_string(),
    }
}

/// Collects what the last listing, the attempt and the record's notes of usage tell.
fn known(
    app: &App,
    run: &Run,
    listed: &[Machine],
    id: Option<&MachineId>,
    spec: Option<&MachineSpec>,
    is_over: bool,
) -> MachineDetails {
    let machine = id.and_then(|id| listed.iter().find(|machine| machine.id == *id));
    let kind = machine.map(|machine| &machine.kind).or(spec.map(|spec| &spec.kind));
    let market = machine.map(|machine| machine.market).or(spec.map(|spec| spec.market));
    let zone = machine.map(|machine| machine.zone.as_str()).filter(|zone| !zone.is_empty());
    let mut used = run.status.usage.machines.iter();
    let noted = id.and_then(|id| used.find(|used| used.id == *id)).and_then(|used| used.price);
    let price = noted.or_else(|| {
        // The price of now says little about a machine that is over.
        id.filter(|_| !is_over)?;
        app.controller.price(kind?, market?, zone.unwrap_or_default())
    });
    MachineDetails { kind: kind.cloned(), market, zone: zone.map(str::to_owned), price }
}
