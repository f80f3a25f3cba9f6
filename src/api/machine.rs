//! The machine of a run's job, as far as the run's record tells.

use tinqs_ci_reconciler::model::{End, MachineId, Run};

/// Returns the machine of the run's attempt with this ID, if its launch was confirmed.
pub fn of_attempt<'r>(run: &'r Run, attempt_id: &str) -> Option<&'r MachineId> {
    answers(run).find(|(number, _)| run.attempt_id(*number).to_string() == attempt_id).map(|a| a.1)
}

/// Returns the machines of the run's attempts with the numbers of these.
pub fn answers(run: &Run) -> impl Iterator<Item = (u32, &MachineId)> {
    let current = run.status.attempt.iter().filter_map(|attempt| {
        let answer = attempt.placements.iter().rev().find_map(|p| p.answered.as_ref())?;
        Some((attempt.number, &answer.id))
    });
    let past = run.status.past.iter().rev().filter_map(|attempt| {
        let answer = attempt.placements.iter().rev().find_map(|p| p.answered.as_ref())?;
        Some((attempt.number, &answer.id))
    });
    current.chain(past)
}

/// Returns the ID of the attempt whose runner executes or executed the job; the runner's name if it
/// is none of ours. `None`: the job has not started. In push mode the forge does not name the
/// runner: the attempt that got a job counts.
pub fn runner(run: &Run) -> Option<String> {
    let status = &run.status;
    let consumed = || {
        let attempt = status.attempt.as_ref()?;
        let got_a_job = attempt.ended.is_some_and(|ended| ended.why == End::Consumed);
        (run.name.is_push() && got_a_job).then(|| run.attempt_id(attempt.number).to_string())
    };
    status.runner.clone().or_else(consumed)
}
