//! Rules 3 and 5: a running job whose machine is gone. It only tells: nothing is ended for it.

use jiff::{SignedDuration, Timestamp};

use super::decide::{Decision, Lost};
use super::times::{FAILED_WITHIN, older};
use crate::model::{
    Attempt, AttemptId, Class, Conclusion, Condition, End, Ended, EndedBy, Happened, Machine,
    MachineId, MachineState, Observation, Outcome, Phase, Reason, RerunJobs, Run, RunName,
};

/// A job that is seen to fail this soon after its machine's deadline failed because of that.
const SEEN_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// Whether a job whose machine is lost is run again.
#[derive(Clone, Copy)]
enum Again<'a> {
    /// Once its workflow run is over.
    Yes,
    /// The same, if the server can do that: its workflow run could not be read.
    NotKnown,
    /// The server has no API for it: before Gitea 1.26.
    Unsupported,
    /// Its class forbids it.
    Forbidden(&'a Class),
    /// The cloud did not take the machine, or no class serves the job any more.
    No,
}

impl Decision<'_> {
    /// Rules 5 and P1: adds to the timeline that the job was seen to start, once for each runner.
    pub(super) fn started(&mut self) {
        let status = &self.status;
        if status.phase == Phase::Running && status.runner == self.run.status.runner {
            return;
        }
        let own = |runner: &String| own_attempt(self.run, runner).map(|(id, _)| id.number);
        let attempt = match &status.runner {
            Some(runner) => own(runner),
            // In push mode the forge does not name it: it is the attempt that was used.
            None => self.used(),
        };
        let named = attempt.map(|number| self.run.attempt_id(number).to_string());
        let runner = status.runner.clone().or(named).unwrap_or_default();
        let job_attempt = status.wait.attempt.filter(|number| *number > 1);
        self.happened(Happened::Started { runner, attempt, job_attempt });
    }

    /// Returns the number of the latest attempt that got a job.
    fn used(&self) -> Option<u32> {
        let used = |ended: &Ended| ended.why == End::Consumed;
        let current = self.status.attempt.iter();
        let current = current.filter(|a| a.ended.as_ref().is_some_and(used)).map(|a| a.number);
        let past = self.status.past.iter().filter(|p| used(&p.ended)).map(|p| p.number);
        current.chain(past).max()
    }

    /// Rule 5: the name of the runner of a running job. The forge names none once the runner's
    /// registration is removed, as that of a lost machine is; the job is still on the same one.
    pub(super) fn known_runner(&self, named: &str) -> String {
        let known = &self.run.status;
        let recorded = known.runner.as_deref().filter(|_| known.phase == Phase::Running);
        if named.is_empty() { recorded.unwrap_or_default() } else { named }.to_owned()
    }

    /// Rule 5: the condition of a job whose machine is gone: that of this run, or of another one if
    /// the cloud took it. Once told, it holds as long as the job is on the same runner and no
    /// machine of it is seen.
    pub(super) fn lost(&self, runner: &str) -> Option<Lost> {
        let attempt_id = self.run.attempt_of(runner)?;
        let machines = || {
            let all = self.seen.machines.iter().chain(&self.seen.elsewhere);
            all.filter(|m| m.attempt_id == attempt_id)
        };
        if machines().any(|m| m.state != MachineState::Gone) {
            return None;
        }
        let known = &self.run.status;
        let told = known.lost();
        let same_runner = known.runner.as_deref() == Some(runner);
        if let Some(told) = told.filter(|_| known.phase == Phase::Running && same_runner) {
            return Some(Lost { condition: told.clone(), news: None });
        }
        // Absence from the list is no evidence.
        let machine = match own_attempt(self.run, runner) {
            Some((_, current)) => machines().find(|m| m.placement == current),
            None => taken(self.seen, self.run, runner),
        }?;
        let by_age =
            machine.ended_by != Some(EndedBy::Cloud) && is_reached(machine.deadline, self.now());
        let again = self.again(machine);
        let reason = match again {
            _ if by_age => Reason::MaxAge,
            Again::Yes | Again::NotKnown => Reason::AwaitsRerun,
            Again::No | Again::Unsupported | Again::Forbidden(_) => Reason::MachineLost,
        };
        let message = describe(self.run, machine, by_age, again);
        let (machine, ended_by) = (machine.id.clone(), machine.ended_by);
        Some(Lost {
            condition: Condition { reason, since: self.now(), message },
            news: Some(Happened::MachineLost { machine, ended_by }),
        })
    }

    /// Returns whether a job whose machine is lost is run again.
    fn again(&self, machine: &Machine) -> Again<'_> {
        let forbids = forbids(self.seen).filter(|_| machine.ended_by == Some(EndedBy::Cloud));
        if let Some(class) = forbids {
            return Again::Forbidden(class);
        }
        if self.status.interrupted.is_none() || !runs_again(self.seen) {
            return Again::No;
        }
        let workflow_run = self.seen.rerun.as_ref().and_then(|view| view.run.as_ref());
        match workflow_run.map(|run| run.can_rerun) {
            Some(true) => Again::Yes,
            Some(false) => Again::Unsupported,
            None => Again::NotKnown,
        }
    }

    /// Rule 3: returns the outcome. A failed job whose machine was lost has that cause as outcome.
    pub(super) fn outcome(&self, conclusion: Conclusion) -> Outcome {
        let outcome = Outcome::from(conclusion);
        let status = &self.status;
        match (outcome, status.phase, status.outcome, status.reason()) {
            (
                Outcome::Failed,
                Phase::Running,
                _,
                Some(Reason::MachineLost | Reason::AwaitsRerun),
            ) => Outcome::MachineLost,
            (Outcome::Failed, Phase::Running, _, Some(Reason::MaxAge)) => Outcome::MaxAge,
            (
                Outcome::Failed,
                Phase::Finished,
                Some(kept @ (Outcome::MachineLost | Outcome::MaxAge)),
                _,
            ) => kept,
            (Outcome::Failed, ..) if self.ended_at_its_deadline() => Outcome::MaxAge,
            (Outcome::Failed, ..) if self.was_taken_back() => Outcome::MachineLost,
            _ => outcome,
        }
    }

    /// Whether the job's own machine ended at its deadline, and the job with it: a runner that is
    /// told to stop reports its job as failed before the machine is gone.
    fn ended_at_its_deadline(&self) -> bool {
        let Some((attempt, machine)) = self.own_gone() else { return false };
        let (over, deadline) = (self.job_over(), attempt.boot.deadline);
        machine.ended_by != Some(EndedBy::Cloud)
            && is_reached(deadline, over)
            && !older(over, deadline, SEEN_WITHIN)
    }

    /// Whether the cloud took the job's machine back, and the job failed because of that: a machine
    /// ends its job after the cloud's notice, so that the runner can report it.
    fn was_taken_back(&self) -> bool {
        let runner = self.status.runner.as_deref();
        let machine = runner.and_then(|runner| taken(self.seen, self.run, runner));
        let Some(machine) = machine else { return false };
        let ended_at = machine.ended_at.unwrap_or(self.now());
        let over = self.seen.times.completed_at.unwrap_or(self.job_over());
        !older(ended_at, over, FAILED_WITHIN)
    }

    /// Returns the current attempt and its machine, if the job ran on it and it is gone.
    fn own_gone(&self) -> Option<(&Attempt, &Machine)> {
        let attempt = self.status.attempt.as_ref()?;
        let attempt_id = self.run.attempt_id(attempt.number);
        if self.status.runner.as_deref() != Some(attempt_id.to_string().as_str()) {
            return None;
        }
        let mut machines = self.seen.machines.iter().filter(|m| m.attempt_id == attempt_id);
        if machines.clone().any(Machine::is_live) {
            return None;
        }
        machines.find(|m| m.placement == attempt.current()).map(|machine| (attempt, machine))
    }

    /// Returns when the job was seen to be over.
    fn job_over(&self) -> Timestamp {
        self.status.finished_at.unwrap_or(self.now())
    }
}

/// Whether a machine with this deadline has ended itself by now. Machines count whole seconds, and so
/// end up to a second before a deadline between two.
fn is_reached(deadline: Timestamp, now: Timestamp) -> bool {
    now.as_second() >= deadline.as_second()
}

/// Returns the attempt of this run whose runner has this name, and its current placement.
pub(crate) fn own_attempt(run: &Run, runner: &str) -> Option<(AttemptId, u32)> {
    let last = |placements: usize| u32::try_from(placements.saturating_sub(1)).unwrap_or(u32::MAX);
    let past = run.status.past.iter().map(|p| (p.number, last(p.placements.len())));
    let all = run.status.attempt.iter().map(|a| (a.number, a.current())).chain(past);
    all.map(|(number, current)| (run.attempt_id(number), current))
        .find(|(attempt_id, _)| attempt_id.to_string() == runner)
}

/// Returns the machine of this runner if the cloud took it, and no other machine of it is live.
pub(super) fn taken<'a>(seen: &'a Observation, run: &Run, runner: &str) -> Option<&'a Machine> {
    let attempt_id = run.attempt_of(runner)?;
    if attempt_id.run != run.name {
        let elsewhere = seen.elsewhere.as_ref().filter(|m| m.attempt_id == attempt_id);
        return elsewhere.filter(|m| !m.is_live() && m.ended_by == Some(EndedBy::Cloud));
    }
    let (_, current) = own_attempt(run, runner)?;
    let machines = || seen.machines.iter().filter(|machine| machine.attempt_id == attempt_id);
    if machines().any(Machine::is_live) {
        return None;
    }
    machines().find(|m| m.placement == current && m.ended_by == Some(EndedBy::Cloud))
}

/// Names the machine of a run's job, and the run `of` which it is, if that is another one.
pub(super) fn named(run: &Run, machine: &MachineId, of: &RunName) -> String {
    let whose = if *of == run.name { String::new() } else { format!(" of {of}") };
    format!("machine {machine}{whose}")
}

/// Returns whether the class of a run allows to run its job again.
pub(super) fn runs_again(seen: &Observation) -> bool {
    let class = seen.class.as_ref().map(|observed| &observed.class);
    class.is_some_and(|class| class.rerun.jobs == RerunJobs::Lost)
}

/// Returns the class of a run if it forbids to run its job again.
pub(super) fn forbids(seen: &Observation) -> Option<&Class> {
    let class = seen.class.as_ref().map(|observed| &observed.class);
    class.filter(|class| class.rerun.jobs == RerunJobs::Never)
}

fn describe(run: &Run, machine: &Machine, by_age: bool, again: Again<'_>) -> String {
    let Machine { class, market, .. } = machine;
    let name = named(run, &machine.id, &machine.attempt_id.run);
    let what = match machine.ended_by {
        _ if by_age => {
            let fix = format!("raise `max_age` of class {class}");
            format!("{name} reached its maximum age while the job ran: {fix}")
        }
        Some(EndedBy::Cloud) => format!("the cloud took {name} back ({market})"),
        Some(EndedBy::Request) => format!("{name} was ended by a request"),
        Some(EndedBy::Itself) => format!("{name} ended by itself while the job ran"),
        None => format!("{name} is gone; how it ended is not known"),
    };
    let said = machine.state_reason.as_ref();
    let said = said.filter(|_| !by_age && machine.ended_by != Some(EndedBy::Itself));
    let said = said.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let then = match again {
        Again::Yes => "it is run again then".to_owned(),
        Again::NotKnown => "from 1.26 on it is run again then".to_owned(),
        Again::Unsupported => {
            "this version cannot run it again by its API (1.26 can): re-run it there".to_owned()
        }
        Again::Forbidden(class) => {
            let has_profile = class.machines.iter().any(|it| !it.instance_profile.is_empty());
            let default = if has_profile { ", the default with an instance profile" } else { "" };
            let name = &class.name;
            format!("class {name} has `rerun = \"never\"`{default}: re-run it there")
        }
        Again::No => "re-run it there".to_owned(),
    };
    format!("{what}{said}. Gitea usually fails the job 10 to 15 min after that; {then}")
}

/// Returns the machine of a canceled job that is still up. It ends with its registration.
pub fn still_up<'a>(run: &Run, machines: &'a [Machine]) -> Option<&'a Machine> {
    let canceled = run.status.outcome == Some(Outcome::Cancelled);
    let runner = run.status.runner.as_deref().filter(|_| canceled)?;
    let attempt_id: AttemptId = runner.parse().ok()?;
    machines.iter().find(|m| m.attempt_id == attempt_id && m.is_live())
}
