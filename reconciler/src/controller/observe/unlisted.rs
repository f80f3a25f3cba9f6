//! Launched machines that the list lacks: which of them are read by their IDs.

use jiff::SignedDuration;

use crate::model::{
    Answer, Attempt, AttemptId, Job, Machine, MachineState, Observation, PastAttempt, Run,
    UsedMachine,
};
use crate::plan::VISIBLE_WITHIN;
use crate::plan::attempt_state::runs_on;
use crate::plan::times::{after, older};

/// Returns launched machines that are not listed although they must be visible, if that matters:
/// the attempt is active or the job runs on it, it holds a registration or a seat, or the run is
/// over and the machine is not counted yet. They are returned as terminated, which each of them is
/// if its ID is unknown to the cloud.
pub(super) fn unlisted(seen: &Observation) -> Vec<Machine> {
    let Some(run) = &seen.run else { return Vec::new() };
    let mut all: Vec<Machine> = Vec::new();
    let told = run.status.lost().is_some();
    // A job whose machine is already known to be gone needs no further proof.
    let at_work = |attempt_id: &AttemptId| !told && runs_on(&seen.job, attempt_id);
    let mut add = |matters: bool, answers: Vec<Option<&Answer>>, like: &Machine| {
        let attempt_id = &like.attempt_id;
        let held = seen.seats.iter().any(|(_, s)| s == attempt_id)
            || seen
                .registrations
                .seen()
                .iter()
                .any(|r| r.attempt_id == *attempt_id && r.missing_since.is_none());
        if !matters && !held {
            return;
        }
        for (index, answer) in answers.into_iter().enumerate() {
            let (Some(answer), Ok(index)) = (answer, u32::try_from(index)) else { continue };
            let listed =
                seen.machines.iter().any(|m| m.attempt_id == *attempt_id && m.placement == index);
            let is_over = older(seen.now, answer.at, VISIBLE_WITHIN) && seen.clock.agrees();
            if !listed && is_over {
                let (id, launched_at) = (answer.id.clone(), answer.at);
                all.push(Machine { id, placement: index, launched_at, ..like.clone() });
            }
        }
    };
    if let Some(attempt) = &run.status.attempt {
        let matters =
            attempt.ended.is_none() && matches!(seen.job, Job::Waiting | Job::Unobservable);
        let matters = matters || at_work(&run.attempt_id(attempt.number));
        let answers = attempt.placements.iter().map(|p| p.answered.as_ref()).collect();
        add(matters, answers, &machine_of(run, attempt));
    }
    let times = seen.class.as_ref().map(|observed| observed.class.times.clone());
    let max_age = times.unwrap_or_default().max_age;
    for past in &run.status.past {
        let matters = at_work(&run.attempt_id(past.number));
        let answers = past.placements.iter().map(|p| p.answered.as_ref()).collect();
        add(matters, answers, &machine_of_past(run, past, max_age));
    }
    all.extend(uncounted(seen, run, max_age));
    all
}

/// Returns the machines of a finished run that are not listed and were not seen to end.
fn uncounted(seen: &Observation, run: &Run, max_age: SignedDuration) -> Vec<Machine> {
    let is_left = |used: &&UsedMachine| {
        let listed = seen.machines.iter().any(|machine| machine.id == used.id);
        let visible = older(seen.now, used.launched_at, VISIBLE_WITHIN);
        !used.counted && used.over_by().is_none() && !listed && visible && seen.clock.agrees()
    };
    let left = run.status.usage.machines.iter().filter(|_| !run.is_open()).filter(is_left);
    left.filter_map(|used| {
        let number = |past: &&PastAttempt| past.number == used.attempt;
        let attempt = run.status.attempt.as_ref().filter(|a| a.number == used.attempt);
        let past = || run.status.past.iter().find(number);
        let like = attempt
            .map(|attempt| machine_of(run, attempt))
            .or_else(|| Some(machine_of_past(run, past()?, max_age)))?;
        Some(Machine { id: used.id.clone(), launched_at: used.launched_at, ..like })
    })
    .collect()
}

fn machine_of(run: &Run, attempt: &Attempt) -> Machine {
    let machine = attempt.placements.last().map(|p| &p.machine);
    Machine {
        id: crate::model::MachineId(String::new()),
        attempt_id: run.attempt_id(attempt.number),
        placement: attempt.current(),
        state: MachineState::Gone,
        launched_at: attempt.decided_at,
        deadline: attempt.boot.deadline,
        registration: attempt.runner.id,
        repo_id: attempt.runner.repo_id,
        promise: attempt.boot.promise(),
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: attempt.class.clone(),
        kind: machine.map(|m| m.kind.clone()).unwrap_or_default(),
        zone: String::new(),
        market: machine.map(|m| m.market).unwrap_or_default(),
    }
}

fn machine_of_past(run: &Run, past: &PastAttempt, max_age: SignedDuration) -> Machine {
    Machine {
        id: crate::model::MachineId(String::new()),
        attempt_id: run.attempt_id(past.number),
        placement: 0,
        state: MachineState::Gone,
        launched_at: past.decided_at,
        // Records of earlier releases do not keep it.
        deadline: past.deadline.unwrap_or_else(|| after(past.decided_at, max_age)),
        registration: past.registration,
        repo_id: past.repo_id,
        promise: past.promise,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: past.class.clone(),
        kind: String::new(),
        zone: String::new(),
        market: crate::model::Market::default(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{
        ClassName, ClockCheck, End, Ended, InstallationId, JobTimes, MachineId, PastPlacement,
        Registrations, RunName, SeenBy, Spec,
    };

    #[test]
    fn an_answer_at_the_maximum_timestamp_neither_panics_nor_is_due() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::new("test", RunName::job(1), Spec::default(), SeenBy::Poll, now);
        let class = ClassName("linux".to_owned());
        let answered = |at| PastPlacement {
            answered: Some(Answer { id: MachineId("i-1".to_owned()), at }),
            refused: None,
        };
        let past = |number, at| PastAttempt {
            number,
            decided_at: now,
            class: class.clone(),
            registration: 1,
            repo_id: 0,
            deadline: None,
            promise: None,
            placements: vec![answered(at)],
            ended: Ended { why: End::Consumed, at: now },
            hung_since: None,
            boot_result: None,
            state_reason: None,
            log: None,
        };
        run.status.past = vec![past(1, Timestamp::MAX), past(2, Timestamp::MIN)];
        let seen = Observation {
            now,
            clock: ClockCheck::Agrees,
            installation: InstallationId::of("test"),
            name: run.name.clone(),
            job: Job::Waiting,
            times: JobTimes::default(),
            recorded_here: None,
            machines: Vec::new(),
            registrations: Registrations::Unknown,
            seats: vec![(class.clone(), run.attempt_id(1)), (class.clone(), run.attempt_id(2))],
            turn_of: Vec::new(),
            room: true,
            forge_read: None,
            at_work: Vec::new(),
            canceled: Vec::new(),
            elsewhere: None,
            rerun: None,
            no_replacement: false,
            nearest: None,
            class: None,
            run: Some(run),
        };
        let numbers: Vec<u32> = unlisted(&seen).iter().map(|gone| gone.attempt_id.number).collect();
        assert_eq!(numbers, [2]);
    }
}
