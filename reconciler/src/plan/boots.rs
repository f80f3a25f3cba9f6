//! Whether machines of a class come online, and the breaker that follows if they do not. Pure.
//!
//! The result depends on the records of past attempts alone, so that it is the same in each
//! replica and after a restart. Refused launches, machines that the cloud or a person ended, and
//! registrations that are missing or not listed say nothing about an image. A launch that failed
//! after the cloud had accepted it, for a reason that a person must remove, counts as well.

use jiff::SignedDuration;

use super::times::{BREAKER_RETRIES_AFTER, after, older};
use crate::model::{
    Attempt, AttemptId, BootResult, BootStop, ClassBoot, ClassName, End, EndedBy, Machine,
    Observation, Refusal, Registration, Run, StateReason, Status, Times,
};

/// The number of machines in a row that never came online after which the class launches one at a
/// time.
const NEVER_ONLINE: usize = 3;
/// The same for launches that failed after the cloud had accepted them.
const LAUNCHES_FAILED: usize = 2;
/// Time after its end for which a runner that was online still appears online: the forge's flag
/// falls after a minute.
const STILL_ONLINE: SignedDuration = SignedDuration::from_secs(45);

/// Returns what the end of an attempt says about its image; `None`: nothing, or no more than the
/// end itself says.
pub(super) fn result(
    seen: &Observation,
    run: &Run,
    attempt: &Attempt,
    why: End,
    times: &Times,
) -> Option<BootResult> {
    let attempt_id = run.attempt_id(attempt.number);
    if why == End::MachineGone && launch_failed(seen, &attempt_id) {
        return Some(BootResult { at: seen.now, online: false, launch_failed: true });
    }
    let row = seen.registrations.by_id(attempt.runner.id)?;
    let never_online = match why {
        End::NeverReady => is_offline(row),
        End::MachineGone => is_offline(row) && ended_itself(seen, attempt, &attempt_id, times),
        _ => false,
    };
    let idle = why == End::NotAssigned && is_online(row);
    let result = BootResult { at: seen.now, online: idle, launch_failed: false };
    (never_online || idle).then_some(result)
}

/// Returns the machine of an attempt; if it has several, that of the last placement.
fn machine_of<'a>(seen: &'a Observation, attempt_id: &AttemptId) -> Option<&'a Machine> {
    let own = seen.machines.iter().filter(|machine| machine.attempt_id == *attempt_id);
    own.max_by_key(|machine| machine.placement)
}

/// Returns what the cloud says about the end of an attempt's machine; `None` if the machine ended
/// itself.
pub(super) fn state_reason(seen: &Observation, attempt_id: &AttemptId) -> Option<StateReason> {
    let machine = machine_of(seen, attempt_id)?;
    machine.state_reason.clone().filter(|_| machine.ended_by != Some(EndedBy::Itself))
}

/// Whether the launch failed after the cloud had accepted it, for a reason that a person must
/// remove.
fn launch_failed(seen: &Observation, attempt_id: &AttemptId) -> bool {
    let refusal = state_reason(seen, attempt_id).and_then(|reason| reason.refusal);
    matches!(refusal, Some(Refusal::Denied | Refusal::Invalid))
}

fn is_online(row: &Registration) -> bool {
    row.missing_since.is_none() && (row.online || row.busy)
}

fn is_offline(row: &Registration) -> bool {
    row.missing_since.is_none() && !row.online && !row.busy
}

/// Returns whether the machine of an attempt ended itself and its runner was never online, if that is
/// seen now to be offline. A drained runner was online: it ends later than an idle one may, and the
/// forge still shows it online for a minute. While the forge is away, no runner comes online.
fn ended_itself(
    seen: &Observation,
    attempt: &Attempt,
    attempt_id: &AttemptId,
    times: &Times,
) -> bool {
    let idles = times.boot_within.min(attempt.boot.idle_within);
    let is_told = |machine: &Machine| {
        let ended_at = machine.ended_at.unwrap_or(seen.now);
        let early = ended_at < after(machine.launched_at, idles);
        let at_once = machine.ended_at.is_some_and(|at| !older(seen.now, at, STILL_ONLINE));
        let steady = seen.forge_read.is_some_and(|it| it.steady_since <= machine.launched_at);
        machine.ended_by == Some(EndedBy::Itself) && steady && (early || at_once)
    };
    machine_of(seen, attempt_id).is_some_and(is_told)
}

/// Corrects attempts whose runner came online after all.
pub(super) fn note(status: &mut Status, seen: &Observation) {
    let came = |registration: i64| seen.registrations.by_id(registration).is_some_and(is_online);
    let current = status.attempt.iter_mut().map(|it| (it.runner.id, &mut it.boot_result));
    let past = status.past.iter_mut().map(|it| (it.registration, &mut it.boot_result));
    for (registration, result) in current.chain(past) {
        if result.is_some_and(|result| !result.online) && came(registration) {
            *result = Some(BootResult { at: seen.now, online: true, launch_failed: false });
        }
    }
}

/// Returns whether a class launches one machine at a time, by the results of its machines in any
/// order: those of the runs that are open or have just finished.
pub fn boot_stop<'a>(
    class: &ClassName,
    boots: impl Iterator<Item = &'a ClassBoot>,
) -> Option<BootStop> {
    let own = boots.filter(|boot| boot.class == *class).map(|boot| boot.result);
    let mut results: Vec<BootResult> = own.collect();
    results.sort_by_key(|result| std::cmp::Reverse(*result));
    let never: Vec<BootResult> = results.into_iter().take_while(|result| !result.online).collect();
    let failed = never.iter().take_while(|result| result.launch_failed).count();
    let launch_failed = failed >= LAUNCHES_FAILED;
    let many = if launch_failed { LAUNCHES_FAILED } else { NEVER_ONLINE };
    let (last, opened) = (never.first()?, never.len().checked_sub(many)?);
    Some(BootStop {
        machines: u32::try_from(never.len()).unwrap_or(u32::MAX),
        since: never.get(opened)?.at,
        until: after(last.at, BREAKER_RETRIES_AFTER),
        launch_failed,
    })
}

/// Returns for how long an attempt that tries keeps the others from it: until its result is known,
/// and at least for the time between two of them.
pub(crate) fn probe_lasts(times: &Times) -> SignedDuration {
    let known = times.boot_within.saturating_add(SignedDuration::from_mins(1));
    known.max(BREAKER_RETRIES_AFTER)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn linux() -> ClassName {
        ClassName("linux".to_owned())
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).expect("a time")
    }

    fn boots(of: &str, results: &[(i64, bool)]) -> Vec<ClassBoot> {
        let boot = |(at, online): &(i64, bool)| ClassBoot {
            class: ClassName(of.to_owned()),
            result: BootResult { at: minute(*at), online: *online, launch_failed: false },
        };
        results.iter().map(boot).collect()
    }

    fn stop(results: &[(i64, bool)]) -> Option<BootStop> {
        boot_stop(&linux(), boots("linux", results).iter())
    }

    #[test]
    fn three_of_the_last_three_open_it_in_any_order() {
        assert_eq!(stop(&[]), None);
        assert_eq!(stop(&[(1, false), (2, false)]), None, "two say too little");
        let three = stop(&[(2, false), (6, false), (1, false), (0, true)]).expect("three");
        let (since, until) = (minute(6), minute(11));
        let expected = BootStop { machines: 3, since, until, launch_failed: false };
        assert_eq!(three, expected, "one that came online before does not matter");
        let five = stop(&[(2, false), (9, false), (1, false), (6, false), (20, false)]);
        let five = five.expect("five");
        assert_eq!((five.machines, five.since, five.until), (5, minute(6), minute(25)));
    }

    #[test]
    fn one_that_came_online_closes_it() {
        assert_eq!(stop(&[(1, false), (2, false), (3, false), (4, true)]), None);
        assert_eq!(stop(&[(1, false), (2, false), (3, false), (3, true)]), None, "a tie");
        assert_eq!(stop(&[(1, true), (2, false), (3, false), (0, false)]), None);
    }

    #[test]
    fn two_launches_that_failed_in_a_row_open_it() {
        let stop = |failed: &[(i64, bool)], others: &[(i64, bool)]| {
            let mut all = boots("linux", failed);
            for boot in &mut all {
                boot.result.launch_failed = true;
            }
            all.extend(boots("linux", others));
            boot_stop(&linux(), all.iter())
        };
        assert_eq!(stop(&[(1, false)], &[]), None);
        let two = stop(&[(3, false), (1, false)], &[(0, true)]).expect("two");
        let (since, until) = (minute(3), minute(8));
        assert_eq!(two, BootStop { machines: 2, since, until, launch_failed: true });
        assert_eq!(stop(&[(1, false), (3, false)], &[(2, true)]), None, "one came online between");
        assert_eq!(stop(&[(1, false), (3, false)], &[(4, true)]), None, "one came online since");
        assert_eq!(stop(&[(1, false)], &[(2, false)]), None, "one of each says too little");
        let mixed = stop(&[(1, false), (2, false)], &[(3, false)]).expect("three");
        assert!(!mixed.launch_failed, "the latest one was up");
    }

    #[test]
    fn the_machines_of_another_class_say_nothing() {
        let mut all = boots("linux", &[(1, false), (2, false)]);
        all.extend(boots("other", &[(3, false), (4, false), (5, true)]));
        assert_eq!(boot_stop(&linux(), all.iter()), None);
        all.extend(boots("linux", &[(3, false)]));
        assert_eq!(boot_stop(&linux(), all.iter()).map(|stop| stop.machines), Some(3));
        assert_eq!(boot_stop(&ClassName("other".to_owned()), all.iter()), None);
    }

    #[test]
    fn a_probe_keeps_others_away_until_its_result_is_known() {
        let times =
            |minutes| Times { boot_within: SignedDuration::from_mins(minutes), ..Times::default() };
        assert_eq!(probe_lasts(&times(1)), BREAKER_RETRIES_AFTER);
        assert_eq!(probe_lasts(&times(10)), SignedDuration::from_mins(11));
    }
}
