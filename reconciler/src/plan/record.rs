//! What actions answered, turned into the next status, and whether a status is worth a write. Pure.

use jiff::{SignedDuration, Timestamp};

use super::decide::{supersede, tell};
use super::rows::Prepare;
use super::times::{LONGEST_DUE, after};
use crate::model::{
    Answer, Attempt, Boot, End, Instance, Phase, Placement, Reason, Refusal, Refused, Run, Runner,
    Secret, Status,
};
use crate::ports::ErrorKind;

/// The seat and the registration were had: the next attempt, as it is recorded before its launch.
pub fn prepared(
    status: &mut Status,
    prepare: Prepare,
    runner: Runner,
    boot: (String, Option<Secret>),
    now: Timestamp,
) {
    let Prepare { slot, class, seat: _, repo: _, labels: _, machine, idle_within, deadline } =
        prepare;
    supersede(status, End::NeverAnswered, now);
    let (instance_url, git_token) = boot;
    status.attempt = Some(Attempt {
        number: slot.number,
        decided_at: now,
        class,
        runner,
        boot: Boot { deadline, idle_within, instance_url, git_token },
        placements: vec![Placement { machine, asked_again: false, answered: None, refused: None }],
        ended: None,
    });
    status.next = slot.number.saturating_add(1);
    status.phase = Phase::Starting;
    status.retry_at = None;
    status.conditions.clear();
    status.due = now;
}

/// The seat was refused.
pub fn at_limit(status: &mut Status, prepare: &Prepare, now: Timestamp) {
    status.phase = Phase::Waiting;
    let message = format!(
        "class {} has as many machines as it may, altogether or for this repository",
        prepare.class
    );
    tell(status, Reason::AtLimit, now, message);
    status.due = after(now, SignedDuration::from_mins(5));
}

/// Preparing failed: it is tried again soon.
pub fn not_prepared(status: &mut Status, now: Timestamp) {
    status.due = after(now, SignedDuration::from_secs(15));
}

/// A launch was answered, by a machine in whatever state.
pub fn launched(status: &mut Status, placement: u32, instance: &Instance, now: Timestamp) {
    if let Some(placement) = placement_of(status, placement) {
        placement.answered = Some(Answer { id: instance.id.clone(), at: now });
    }
}

/// A launch was not answered by a machine. Ambiguous answers and those of pace change nothing.
pub fn not_launched(status: &mut Status, placement: u32, kind: ErrorKind, now: Timestamp) {
    let why = match kind {
        ErrorKind::NoCapacity => Refusal::NoCapacity,
        ErrorKind::Limit => Refusal::Limit,
        ErrorKind::Denied => Refusal::Denied,
        ErrorKind::Invalid => Refusal::Invalid,
        ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Throttled => return,
    };
    refused(status, placement, why, now);
}

/// A launch was refused for good, or nobody asked for it and it would be.
pub fn refused(status: &mut Status, placement: u32, why: Refusal, now: Timestamp) {
    if let Some(placement) = placement_of(status, placement) {
        placement.refused = Some(Refused { why, at: now });
    }
}

fn placement_of(status: &mut Status, placement: u32) -> Option<&mut Placement> {
    status.attempt.as_mut()?.placements.get_mut(usize::try_from(placement).ok()?)
}

/// Whether a run in this status is looked at again on its own account: one that is open, and a
/// tombstone until it may be removed.
pub(crate) fn is_due_soon(run: &Run, status: &Status) -> bool {
    status.phase != Phase::Finished || run.deleted_at.is_some()
}

/// Whether this status is worth a write over the stored record: more than the due moved, or the
/// stored due is one that no record may hold. The due of a run that is looked at again moves with
/// each look, and is not written for that.
pub fn worth_writing(stored: &Run, status: &Status, now: Timestamp) -> bool {
    let mut same_due = status.clone();
    same_due.due = stored.status.due;
    let scrambled = if is_due_soon(stored, status) {
        // Not where the plan says so itself: in push mode a run may wait an hour.
        stored.status.due > after(now, LONGEST_DUE) && status.due < stored.status.due
    } else {
        stored.status.due != status.due
    };
    same_due != stored.status || scrambled
}
