//! Converts an EC2 instance to the controller's machine.

use aws_sdk_ec2::types::{Instance as Seen, InstanceLifecycleType, InstanceStateName};
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, EndedBy, Machine, MachineId, MachineState, Market, StateReason,
};
use tinqs_ci_reconciler::text::cut;

use super::request::Ask;
use super::tags::{self, Tagged};
use crate::errors::ec2 as codes;

/// Columns of a code that EC2 sends.
const CODE: usize = 80;
/// Columns of a message that EC2 sends.
const MESSAGE: usize = 200;

/// The owner of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// A machine of this installation: its tags name an attempt and a placement, and its client
    /// token is the one that their launch sends.
    Ours(Box<Machine>),
    /// Its tags are those of a machine of ours, but its client token is not: somebody tagged an
    /// instance that we did not launch.
    TagsOnly(MachineId, AttemptId),
    /// A machine of this installation that has ended, and that EC2 shows without any tag some
    /// minutes later: its client token names it. What only tags say is missing: registration and
    /// repository are 0, the class is empty, the deadline is the maximum.
    Untagged(Box<Machine>),
    /// Any other instance.
    Foreign,
}

/// Returns the machine of this installation that an instance is; `None` if it is not ours.
pub fn ours(installation: &str, seen: &Seen) -> Option<Machine> {
    match ownership(installation, seen) {
        Ownership::Ours(machine) => Some(*machine),
        Ownership::TagsOnly(..) | Ownership::Untagged(_) | Ownership::Foreign => None,
    }
}

/// Decides by the tags and the client token; the token cannot be set by hand.
pub fn ownership(installation: &str, seen: &Seen) -> Ownership {
    if let Some(machine) = untagged(installation, seen) {
        return Ownership::Untagged(Box::new(machine));
    }
    let tagged = tags::read(installation, seen.tags());
    let (Some(id), Some(tagged)) = (seen.instance_id(), tagged) else {
        return Ownership::Foreign;
    };
    let id = MachineId(id.to_owned());
    let token = tags::token(installation, &tagged.attempt_id, tagged.placement);
    if seen.client_token() != Some(token.as_str()) {
        return Ownership::TagsOnly(id, tagged.attempt_id);
    }
    Ownership::Ours(Box::new(machine(id, tagged, seen)))
}

fn untagged(installation: &str, seen: &Seen) -> Option<Machine> {
    // A new instance may be visible before its tags are: only one that has ended has lost them.
    if !has_ended(seen) || !seen.tags().is_empty() {
        return None;
    }
    let id = MachineId(seen.instance_id()?.to_owned());
    let (attempt_id, placement) = tags::named_by(installation, seen.client_token()?)?;
    let tagged = Tagged {
        attempt_id,
        placement,
        registration: 0,
        repo_id: 0,
        deadline: Timestamp::MAX,
        promise: None,
        class: ClassName(String::new()),
    };
    Some(machine(id, tagged, seen))
}

/// Whether an instance is terminated: it does not change any more.
pub(super) fn has_ended(seen: &Seen) -> bool {
    seen.state().and_then(|state| state.name()) == Some(&InstanceStateName::Terminated)
}

fn machine(id: MachineId, tagged: Tagged, seen: &Seen) -> Machine {
    let Tagged { attempt_id, placement, registration, repo_id, deadline, promise, class } = tagged;
    let state = state(seen);
    Machine {
        id,
        attempt_id,
        placement,
        state,
        // EC2 always sends it. Without it the machine counts as old: only its deadline ends it.
        launched_at: launched_at(seen).unwrap_or(Timestamp::UNIX_EPOCH),
        deadline,
        registration,
        repo_id,
        promise,
        ended_by: ended_by(seen, state),
        ended_at: ended_at(seen, state),
        state_reason: state_reason(seen, state),
        class,
        kind: kind(seen),
        zone: zone(seen),
        market: market(seen),
    }
}

/// The machine of a launch's response; its purpose comes from the record, whatever tags the
/// response shows.
pub(super) fn launched(ask: &Ask<'_>, seen: &Seen, now: Timestamp) -> Machine {
    let Ask { installation: _, attempt_id, placement, attempt, machine, user_data: _ } = ask;
    let state = state(seen);
    Machine {
        id: MachineId(seen.instance_id().unwrap_or_default().to_owned()),
        attempt_id: (*attempt_id).clone(),
        placement: *placement,
        state,
        launched_at: launched_at(seen).unwrap_or(now),
        deadline: attempt.boot.deadline,
        registration: attempt.runner.id,
        repo_id: attempt.runner.repo_id,
        promise: attempt.boot.promise(),
        ended_by: ended_by(seen, state),
        ended_at: ended_at(seen, state),
        state_reason: state_reason(seen, state),
        class: attempt.class.clone(),
        kind: machine.kind.clone(),
        zone: zone(seen),
        market: machine.market,
    }
}

fn state(seen: &Seen) -> MachineState {
    match seen.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Running) => MachineState::Up,
        Some(InstanceStateName::ShuttingDown | InstanceStateName::Stopping) => MachineState::Ending,
        // Only a person stops a machine; if it is started again, it is seen as up again.
        Some(InstanceStateName::Terminated | InstanceStateName::Stopped) => MachineState::Gone,
        // An unknown state is waited for until `boot_within`.
        _ => MachineState::Booting,
    }
}

fn ended_by(seen: &Seen, state: MachineState) -> Option<EndedBy> {
    if !is_over(state) {
        return None;
    }
    match seen.state_reason()?.code()? {
        "Client.InstanceInitiatedShutdown" => Some(EndedBy::Itself),
        "Client.UserInitiatedShutdown" => Some(EndedBy::Request),
        // Interrupted, or out of capacity after EC2 had accepted the launch.
        code if code.starts_with("Server.") => Some(EndedBy::Cloud),
        // A launch that failed after EC2 had accepted it: `state_reason` says why.
        _ => None,
    }
}

fn is_over(state: MachineState) -> bool {
    matches!(state, MachineState::Ending | MachineState::Gone)
}

/// A machine that is up may still show a reason of its past.
fn state_reason(seen: &Seen, state: MachineState) -> Option<StateReason> {
    let reason = seen.state_reason().filter(|_| is_over(state))?;
    let code = reason.code().filter(|code| !code.is_empty())?;
    let said = reason.message().unwrap_or_default();
    // EC2 repeats the code before its message.
    let said = said.strip_prefix(code).map_or(said, |rest| rest.trim_start_matches([':', ' ']));
    let mut message = cut(said, MESSAGE);
    let failed = codes::failed_launch(code);
    if let Some((_, remedy)) = failed {
        let colon = if message.is_empty() { "" } else { ": " };
        message = format!("{message}{colon}{remedy}");
    }
    let refusal = failed.map(|(refusal, _)| refusal);
    Some(StateReason { code: cut(code, CODE), message, refusal })
}

/// EC2 tells it as text, and not of every end: `User initiated (2026-11-30 10:02:03 GMT)`.
fn ended_at(seen: &Seen, state: MachineState) -> Option<Timestamp> {
    if !is_over(state) {
        return None;
    }
    let (_, rest) = seen.state_transition_reason()?.rsplit_once('(')?;
    let at = rest.strip_suffix(" GMT)")?;
    let at = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", at).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(at).ok()
}

fn launched_at(seen: &Seen) -> Option<Timestamp> {
    let at = seen.launch_time()?;
    Timestamp::new(at.secs(), i32::try_from(at.subsec_nanos()).ok()?).ok()
}

fn kind(seen: &Seen) -> String {
    seen.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default()
}

fn zone(seen: &Seen) -> String {
    let zone = seen.placement().and_then(|placement| placement.availability_zone());
    zone.unwrap_or_default().to_owned()
}

fn market(seen: &Seen) -> Market {
    match seen.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Market::Spot,
        _ => Market::OnDemand,
    }
}

#[cfg(test)]
pub(super) mod tests;
