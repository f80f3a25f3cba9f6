//! Rewrites a record at random, within its types, as a person with a database shell, a bug of
//! another version or a restored backup might.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Answer, Attempt, ClassName, Condition, End, Ended, MachineId, Outcome, PastAttempt,
    PastPlacement, Phase, Placement, Reason, Refusal, Refused, Run, Uid,
};

use super::draw::one_of;
use crate::faults::Rng;

const ENDS: [End; 12] = [
    End::Consumed,
    End::MachineGone,
    End::Refused(Refusal::NoCapacity),
    End::Refused(Refusal::Limit),
    End::Refused(Refusal::Denied),
    End::NeverSeen,
    End::NeverAnswered,
    End::NeverReady,
    End::NotAssigned,
    End::Deleted,
    End::Refused(Refusal::Invalid),
    End::Superseded,
];
const REFUSALS: [Refusal; 4] =
    [Refusal::NoCapacity, Refusal::Limit, Refusal::Denied, Refusal::Invalid];
const OUTCOMES: [Outcome; 9] = [
    Outcome::Succeeded,
    Outcome::Failed,
    Outcome::Cancelled,
    Outcome::Skipped,
    Outcome::JobGone,
    Outcome::GaveUp,
    Outcome::MachineEnded,
    Outcome::MachineLost,
    Outcome::MaxAge,
];

/// Returns the record with about a third of its fields redrawn.
pub(super) fn scramble(rng: &mut Rng, now: Timestamp, run: &Run) -> Run {
    let mut run = run.clone();
    let status = &mut run.status;
    if some(rng) {
        status.phase =
            one_of(rng, &[Phase::Waiting, Phase::Starting, Phase::Running, Phase::Finished]);
    }
    if some(rng) {
        status.next = number(rng, status.next);
    }
    if some(rng) {
        status.attempt = None;
    }
    if let Some(attempt) = &mut status.attempt {
        scramble_attempt(rng, now, attempt);
    }
    if some(rng) {
        status.past.clear();
    }
    for past in &mut status.past {
        scramble_past(rng, now, past);
    }
    if some(rng) {
        status.waiting_since = time(rng, now);
    }
    if some(rng) {
        status.failures = number(rng, status.failures);
    }
    if some(rng) {
        status.retry_at = maybe_time(rng, now);
    }
    if some(rng) {
        status.finished_at = maybe_time(rng, now);
    }
    if some(rng) {
        status.outcome = rng.chance(0.5).then(|| one_of(rng, &OUTCOMES));
    }
    if some(rng) {
        status.runner = rng.chance(0.5).then(|| "somebody".to_owned());
    }
    if some(rng) {
        let since = time(rng, now);
        let reason = one_of(rng, Reason::ALL);
        status.conditions = vec![Condition { reason, since, message: "scrambled".to_owned() }];
    }
    if some(rng) {
        status.due = time(rng, now);
    }
    if some(rng) {
        run.created_at = time(rng, now);
    }
    if rng.chance(0.03) {
        run.deleted_at = Some(time(rng, now));
    }
    if rng.chance(0.05) {
        let drawn = i64::try_from(rng.next() % 1_000_000_000).unwrap_or_default();
        let at = Timestamp::from_second(drawn).unwrap_or(now);
        run.uid = Uid::new("simulated", &run.name, at);
    }
    run
}

fn some(rng: &mut Rng) -> bool {
    rng.chance(0.33)
}

fn number(rng: &mut Rng, now: u32) -> u32 {
    match rng.below(6) {
        0 => 0,
        1 => u32::MAX,
        2 => now.saturating_sub(1),
        3 => now.saturating_add(1),
        4 => now.saturating_add(500),
        _ => u32::try_from(rng.below(u64::from(u32::MAX))).unwrap_or(7),
    }
}

fn time(rng: &mut Rng, now: Timestamp) -> Timestamp {
    let away = |most: SignedDuration| {
        let ahead = now.saturating_add(most).unwrap_or(Timestamp::MAX);
        let behind = now.saturating_sub(most).unwrap_or(Timestamp::MIN);
        (ahead, behind)
    };
    let wait = rng.between(SignedDuration::ZERO, SignedDuration::from_hours(48));
    let short = rng.between(SignedDuration::ZERO, SignedDuration::from_mins(30));
    match rng.below(8) {
        0 => Timestamp::MIN,
        1 => Timestamp::MAX,
        2 => Timestamp::UNIX_EPOCH,
        3 => away(wait).0,
        4 => away(wait).1,
        5 => away(short).0,
        6 => away(short).1,
        _ => now,
    }
}

fn maybe_time(rng: &mut Rng, now: Timestamp) -> Option<Timestamp> {
    rng.chance(0.7).then(|| time(rng, now))
}

fn ended(rng: &mut Rng, now: Timestamp) -> Ended {
    Ended { why: one_of(rng, &ENDS), at: time(rng, now) }
}

fn answer(rng: &mut Rng, now: Timestamp) -> Option<Answer> {
    let id = MachineId(format!("i-{:017x}", rng.below(100)));
    rng.chance(0.6).then(|| Answer { id, at: time(rng, now) })
}

fn refusal(rng: &mut Rng, now: Timestamp) -> Option<Refused> {
    rng.chance(0.6).then(|| Refused { why: one_of(rng, &REFUSALS), at: time(rng, now) })
}

fn scramble_attempt(rng: &mut Rng, now: Timestamp, attempt: &mut Attempt) {
    if some(rng) {
        attempt.number = number(rng, attempt.number);
    }
    if some(rng) {
        attempt.decided_at = time(rng, now);
    }
    if some(rng) {
        attempt.class = ClassName("another".to_owned());
    }
    if some(rng) {
        attempt.runner.id = one_of(rng, &[0, -1, i64::MAX, attempt.runner.id.saturating_add(1)]);
    }
    if some(rng) {
        "nobody".clone_into(&mut attempt.runner.uuid);
    }
    if some(rng) {
        "somebody".clone_into(&mut attempt.runner.name);
    }
    if some(rng) {
        attempt.boot.deadline = time(rng, now).min(now + SignedDuration::from_hours(8));
    }
    if some(rng) {
        let hours = rng.between(SignedDuration::from_hours(-1), SignedDuration::from_hours(5));
        attempt.boot.idle_within = hours;
    }
    if some(rng) {
        attempt.ended = rng.chance(0.6).then(|| ended(rng, now));
    }
    if rng.chance(0.1) {
        attempt.placements.clear();
    }
    if rng.chance(0.2)
        && let Some(Placement { machine, .. }) = attempt.placements.first().cloned()
    {
        let more = Placement::new(machine);
        attempt.placements.push(more);
    }
    for placement in &mut attempt.placements {
        if some(rng) {
            placement.asked_again = rng.chance(0.5);
        }
        if some(rng) {
            placement.answered = answer(rng, now);
        }
        if some(rng) {
            placement.refused = refusal(rng, now);
        }
        if some(rng) {
            "t3.other".clone_into(&mut placement.machine.kind);
        }
    }
}

fn scramble_past(rng: &mut Rng, now: Timestamp, past: &mut PastAttempt) {
    if some(rng) {
        past.number = number(rng, past.number);
    }
    if some(rng) {
        past.decided_at = time(rng, now);
    }
    if some(rng) {
        past.registration = one_of(rng, &[0, -1, i64::MAX, past.registration.saturating_add(1)]);
    }
    if some(rng) {
        past.ended = ended(rng, now);
    }
    if some(rng) {
        past.placements.push(PastPlacement { answered: answer(rng, now), refused: None });
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{JobRef, RunName, SeenBy, Spec, decode, encode};

    use super::*;

    #[test]
    fn a_scrambled_record_differs_and_still_encodes() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(100);
        let job = JobRef { repo: "acme/widget".to_owned(), repo_id: 1, job_id: 1 };
        let spec = Spec { job, runs_on: vec!["linux".to_owned()], ..Spec::default() };
        let run = Run::new("test", RunName::job(1), spec, SeenBy::Poll, now);
        let mut rng = Rng::new(1);
        let mut differ = 0;
        for _ in 0..200 {
            let other = scramble(&mut rng, now, &run);
            assert_eq!(decode(&encode(&other)).unwrap(), other);
            assert_eq!((&other.name, &other.spec), (&run.name, &run.spec));
            differ += usize::from(other != run);
        }
        assert!(differ > 180, "{differ}");
    }
}
