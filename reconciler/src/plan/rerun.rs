//! Rules 3 and R1: a job that failed because the cloud took its machine is run again. Only what the
//! cloud and the forge say is evidence, and a person who acted meanwhile decides.

use jiff::{SignedDuration, Timestamp};

use super::decide::Decision;
use super::lost::{forbids, named, runs_again, taken};
use super::rules::{Action, Plan, Rule};
use super::times::{FAILED_WITHIN, after, older};
use crate::model::{
    Class, Conclusion, FailedJob, FailureCause, Happened, Interruption, Job, MachineState, Market,
    Observation, Outcome, Phase, Reason, RerunEnd, RerunJobs, RerunKey, RerunScope, Reruns, Run,
    WorkflowJob, WorkflowRun,
};

/// A request may land this long after it was recorded: within the 60 s of its reconcile, and the
/// 15 s of its call.
pub const RERUN_LANDS_WITHIN: SignedDuration = SignedDuration::from_secs(75);
/// The time between two readings of a workflow run: a quarter of the time since the job failed,
/// within these limits. Law L17 depends on the longest one: where webhooks do not arrive, only a
/// reading tells that the workflow run is over.
const READ_AGAIN: SignedDuration = SignedDuration::from_secs(30);
const READ_AGAIN_AT_MOST: SignedDuration = SignedDuration::from_secs(90);
/// The time between two checks of the spot machine of a job that failed.
const RECONCILED_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// The next step towards a re-run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RerunStep {
    /// The workflow run goes on, a request may still land, or something was not read yet.
    Wait,
    /// The forge is asked.
    Ask {
        /// The jobs that it is to run again.
        scope: RerunScope,
        /// The requests as they are recorded before.
        requests: Vec<Reruns>,
    },
    /// A request had its effect.
    Landed,
    /// The job is not run again.
    Over(RerunEnd),
}

/// Returns that the cloud took the machine of this runner, if it did. Once noted, it stays as long
/// as the job is on the same runner.
fn interruption(seen: &Observation, run: &Run, runner: &str) -> Option<Interruption> {
    let job = &run.spec.job;
    if job.job_id <= 0 || job.repo_id <= 0 || run.spec.about.run_id <= 0 {
        return None;
    }
    let noted = run.status.interrupted.as_ref().filter(|noted| noted.runner == runner);
    if let Some(noted) = noted {
        return Some(noted.clone());
    }
    let taken = taken(seen, run, runner)?;
    // Where the cloud does not date the end, it was before now, by a clock that agrees.
    let at = taken.ended_at.or(Some(seen.now).filter(|_| seen.clock.agrees()))?;
    let (runner, machine) = (runner.to_owned(), taken.id.clone());
    Some(Interruption { runner, machine, at, failed_at: None, denied: None })
}

/// Whether the job of a running run failed.
fn failed(seen: &Observation, run: &Run) -> bool {
    let failure = Job::Done { conclusion: Conclusion::Failure };
    seen.job == failure && run.status.phase == Phase::Running
}

/// Whether a job failed on a spot machine that is live and that the cloud may be about to take:
/// its runner is told to stop after the cloud's notice, and reports the job before the machine
/// ends.
fn may_still_be_taken(seen: &Observation, run: &Run) -> bool {
    if !failed(seen, run) || !runs_again(seen) {
        return false;
    }
    let is_young = |over| !older(seen.now, over, FAILED_WITHIN);
    let runner = run.status.runner.as_deref();
    let Some(attempt_id) = runner.and_then(|runner| run.attempt_of(runner)) else { return false };
    let mut machines = seen.machines.iter().chain(&seen.elsewhere);
    seen.times.completed_at.is_some_and(is_young)
        && machines.any(|machine| {
            machine.attempt_id == attempt_id && machine.market == Market::Spot && machine.is_live()
        })
}

/// Returns the interruption of a job that failed and may be run again because of it.
pub(crate) fn awaited(seen: &Observation) -> Option<Interruption> {
    if runs_again(seen) { failed_after(seen) } else { None }
}

/// Returns the interruption after which the job of a running run failed.
fn failed_after(seen: &Observation) -> Option<Interruption> {
    let run = seen.run.as_ref().filter(|run| run.deleted_at.is_none() && failed(seen, run))?;
    // With another start it is another attempt of the job: somebody else ran it again.
    let started = run.status.wait.started_at.zip(seen.times.started_at);
    if started.is_some_and(|(known, now)| known != now) {
        return None;
    }
    interruption(seen, run, run.status.runner.as_deref()?)
}

/// Returns whether the cloud took the machine of a running job, and that is told now: whether the
/// forge can run the job again is told together with it.
pub(crate) fn is_lost_now(seen: &Observation) -> bool {
    let open = seen.run.as_ref().filter(|run| run.is_open() && run.deleted_at.is_none());
    let (Some(run), Job::Running { runner }) = (open, &seen.job) else { return false };
    let status = &run.status;
    let recorded = status.runner.as_deref().filter(|_| status.phase == Phase::Running);
    let named = Some(runner.as_str()).filter(|runner| !runner.is_empty());
    let Some(runner) = named.or(recorded) else { return false };
    let told = status.lost().is_some() && recorded == Some(runner);
    runs_again(seen)
        && !told
        && taken(seen, run, runner).is_some_and(|machine| machine.state == MachineState::Gone)
        && interruption(seen, run, runner).is_some()
}

/// Returns whether a run has told and noted that the cloud took the machine of this runner: that
/// needs no further proof.
pub(crate) fn is_told(run: &Run, runner: &str) -> bool {
    let status = &run.status;
    let noted = status.interrupted.as_ref().is_some_and(|noted| noted.runner == runner);
    noted && status.lost().is_some() && status.runner.as_deref() == Some(runner)
}

/// Returns whether a workflow run that was read for another job of it tells enough about this one:
/// of a job that failed, it shows that end.
pub(crate) fn shows_end(seen: &Observation, workflow_run: Option<&WorkflowRun>) -> bool {
    let is_end = |at: Timestamp| noted_end(seen).is_none_or(|noted| noted == at);
    matches!(seen.job, Job::Running { .. }) || failed_at(seen, workflow_run).is_some_and(is_end)
}

/// Returns when a workflow run that was read at this time is read again.
pub(crate) fn read_again_at(
    seen: &Observation,
    workflow_run: Option<&WorkflowRun>,
    read_at: Timestamp,
) -> Timestamp {
    let failed_at = failed_at(seen, workflow_run);
    let waited = failed_at.map_or(0, |at| read_at.duration_since(at).as_secs());
    let wait = SignedDuration::from_secs(waited / 4);
    after(read_at, wait.clamp(READ_AGAIN, READ_AGAIN_AT_MOST))
}

/// Returns whether the requests so far matter: not while the workflow run goes on after the end of
/// the job that was noted, when they were read.
pub(crate) fn asks_for_requests(seen: &Observation, workflow_run: Option<&WorkflowRun>) -> bool {
    let noted = noted_end(seen);
    let same_end = noted.is_some() && failed_at(seen, workflow_run) == noted;
    !same_end || workflow_run.is_some_and(|run| run.is_done)
}

/// Returns when the job failed because of its interruption, if that was noted.
fn noted_end(seen: &Observation) -> Option<Timestamp> {
    seen.run.as_ref()?.status.interrupted.as_ref()?.failed_at
}

/// Returns when the job failed, as its workflow run shows it.
fn failed_at(seen: &Observation, workflow_run: Option<&WorkflowRun>) -> Option<Timestamp> {
    let spec = &seen.run.as_ref()?.spec;
    workflow_run?.job(spec.job.job_id, &spec.about.job)?.failed_at()
}

/// Returns why a job of a workflow run failed, by the record of its run and the class that serves
/// it.
pub(crate) fn cause_of(
    job: &WorkflowJob,
    run: Option<&Run>,
    class: Option<&Class>,
) -> FailureCause {
    let Some(run) = run.filter(|run| run.is_open() && run.deleted_at.is_none()) else {
        return FailureCause::Other;
    };
    let allowed = class.is_some_and(|class| class.rerun.jobs == RerunJobs::Lost);
    let status = &run.status;
    let noted = status.interrupted.as_ref();
    let noted = noted.filter(|noted| status.runner.as_ref() == Some(&noted.runner));
    match noted.map(|noted| noted.failed_at) {
        Some(Some(at)) if job.failed_at() == Some(at) && allowed => FailureCause::Lost,
        Some(Some(_)) => FailureCause::Other,
        // Its next reconcile notes it, or finishes the run.
        Some(None) | None => FailureCause::NotKnownYet,
    }
}

impl FailedJob {
    /// Returns whether it may be run again after this end: each end counts once.
    fn may_run_again(&self, failed_at: Timestamp) -> bool {
        let reruns = self.reruns.as_ref();
        reruns.map_or(self.limit > 0, |it| it.failed_at == failed_at || it.count < self.limit)
    }

    /// Returns whether a request because of this end was recorded.
    fn was_requested(&self, failed_at: Timestamp) -> bool {
        self.reruns.as_ref().is_some_and(|reruns| reruns.failed_at == failed_at)
    }

    /// Returns whether a request because of this end may still land.
    fn may_land(&self, failed_at: Timestamp, seen: &Observation) -> bool {
        let reruns = self.reruns.as_ref().filter(|_| self.was_requested(failed_at));
        reruns.is_some_and(|it| {
            !seen.clock.agrees() || seen.now < after(it.asked_at, RERUN_LANDS_WITHIN)
        })
    }

    /// Returns what is recorded before the next request because of this end.
    fn request(&self, run: &Run, failed_at: Timestamp, now: Timestamp) -> Reruns {
        let (repo_id, run_id) = (run.spec.job.repo_id, run.spec.about.run_id);
        let before = self.reruns.as_ref();
        let count = before.map_or(0, |reruns| reruns.count);
        Reruns {
            key: RerunKey { repo_id, run_id, job: self.name.clone() },
            version: before.map_or(0, |reruns| reruns.version),
            count: count.saturating_add(u32::from(!self.was_requested(failed_at))),
            asked_at: now,
            failed_at,
        }
    }
}

/// Returns the next step for a job that was interrupted so.
pub(super) fn step(seen: &Observation, interrupted: &Interruption) -> RerunStep {
    let (Some(run), Some(view)) = (&seen.run, &seen.rerun) else { return RerunStep::Wait };
    if view.unread.is_some() {
        return RerunStep::Wait;
    }
    if view.refused.is_some() {
        return RerunStep::Over(RerunEnd::Refused);
    }
    let Some(workflow_run) = &view.run else { return RerunStep::Over(RerunEnd::Changed) };
    if !workflow_run.can_rerun {
        return RerunStep::Over(RerunEnd::Unsupported);
    }
    let job = workflow_run.job(run.spec.job.job_id, &run.spec.about.job);
    let failed = job.and_then(|job| Some((job, job.failed_at()?)));
    let failed = failed.filter(|(_, at)| interrupted.failed_at.is_none_or(|known| known == *at));
    let Some((job, failed_at)) = failed else {
        let landed = interrupted.failed_at.is_some_and(|at| view.own.was_requested(at));
        return if landed { RerunStep::Landed } else { RerunStep::Over(RerunEnd::Changed) };
    };
    if after(failed_at, FAILED_WITHIN) < interrupted.at {
        return RerunStep::Over(RerunEnd::FailedBefore);
    }
    // Gitea cancels no job by itself for another one that failed: a person did, or a newer commit.
    if workflow_run.jobs.iter().any(|job| job.ended(Conclusion::Cancelled)) {
        return RerunStep::Over(RerunEnd::Cancelled);
    }
    if !view.own.may_run_again(failed_at) {
        return RerunStep::Over(RerunEnd::Limit);
    }
    if !workflow_run.is_done {
        return RerunStep::Wait;
    }
    ask(seen, run, workflow_run, (job, failed_at))
}

/// The workflow run is over: asks for all its failed jobs in one call if they may all run again,
/// otherwise for this one alone. Then its others wait until the workflow run is over again.
fn ask(
    seen: &Observation,
    run: &Run,
    workflow_run: &WorkflowRun,
    (job, failed_at): (&WorkflowJob, Timestamp),
) -> RerunStep {
    let Some(view) = &seen.rerun else { return RerunStep::Wait };
    let mut again = vec![(&view.own, failed_at)];
    let mut is_all = true;
    for other in workflow_run.failed().filter(|other| other.id != job.id) {
        let known = view.others.iter().find(|known| known.id == other.id);
        match (known.map(|known| known.cause), known.zip(other.failed_at())) {
            (None | Some(FailureCause::NotKnownYet), _) => return RerunStep::Wait,
            (Some(FailureCause::Lost), Some((known, at))) if known.may_run_again(at) => {
                again.push((known, at));
            }
            (Some(FailureCause::Lost | FailureCause::Other), _) => is_all = false,
        }
    }
    if !is_all {
        again.truncate(1);
    }
    if again.iter().any(|(known, at)| known.may_land(*at, seen)) {
        return RerunStep::Wait;
    }
    let request = |(known, at): &(&FailedJob, Timestamp)| known.request(run, *at, seen.now);
    let mut requests: Vec<Reruns> = again.iter().map(request).collect();
    // In one order, so that of two that record at once one is refused before it calls.
    requests.sort_by(|a, b| a.key.cmp(&b.key));
    let scope = if is_all { RerunScope::Failed } else { RerunScope::Job(job.id) };
    RerunStep::Ask { scope, requests }
}

/// Returns why a job was not run again in time.
fn expiry(seen: &Observation, interrupted: &Interruption) -> RerunEnd {
    let view = seen.rerun.as_ref();
    if view.is_some_and(|view| view.unread.is_some()) {
        RerunEnd::Unread
    } else if interrupted.denied.is_some() || view.is_some_and(|view| view.denied.is_some()) {
        RerunEnd::NotAllowed
    } else {
        RerunEnd::Expired
    }
}

impl Decision<'_> {
    /// Rule 5: notes that the cloud took the machine on which the job runs.
    pub(super) fn note_interruption(&mut self, runner: &str) {
        self.status.interrupted = interruption(self.seen, self.run, runner);
    }

    /// Rules 3 and R1: the job is done.
    pub(super) fn done(mut self, conclusion: Conclusion) -> Plan {
        if may_still_be_taken(self.seen, self.run) {
            self.end_if_consumed();
            self.due_in(RECONCILED_AGAIN_AFTER);
            return self.write(Rule::AwaitsRerun);
        }
        let mut outcome = self.outcome(conclusion);
        if let Some(interrupted) = awaited(self.seen) {
            let expired = self.is_over(interrupted.at, self.times.give_up_after);
            let next = match step(self.seen, &interrupted) {
                RerunStep::Wait if expired => RerunStep::Over(expiry(self.seen, &interrupted)),
                next => next,
            };
            match next {
                RerunStep::Wait => return self.awaits_rerun(interrupted, None),
                RerunStep::Ask { scope, requests } => {
                    return self.awaits_rerun(interrupted, Some((scope, requests)));
                }
                RerunStep::Landed => outcome = Outcome::MachineLost,
                RerunStep::Over(why) => {
                    let before = why == RerunEnd::FailedBefore;
                    outcome = if before { Outcome::Failed } else { Outcome::MachineLost };
                    self.happened(Happened::NotRerun { why });
                }
            }
            self.status.interrupted = Some(interrupted);
        } else if outcome == Outcome::MachineLost
            && forbids(self.seen).is_some()
            && failed_after(self.seen).is_some()
        {
            self.happened(Happened::NotRerun { why: RerunEnd::Never });
        }
        self.ran();
        self.finish(Rule::Done, outcome)
    }

    /// Rule R1.
    fn awaits_rerun(
        mut self,
        interrupted: Interruption,
        call: Option<(RerunScope, Vec<Reruns>)>,
    ) -> Plan {
        self.end_if_consumed();
        let view = self.seen.rerun.as_ref();
        let workflow_run = view.and_then(|view| view.run.as_ref());
        let failed_at = interrupted.failed_at.or(failed_at(self.seen, workflow_run));
        let denied = view.and_then(|view| view.denied.clone()).or(interrupted.denied);
        let interrupted = Interruption { failed_at, denied, ..interrupted };
        let unread = view.and_then(|view| view.unread.as_deref());
        let message = awaits_because(self.run, &interrupted, unread);
        self.tell(Reason::AwaitsRerun, interrupted.at, message);
        self.status.interrupted = Some(interrupted);
        let read_at = view.and_then(|view| view.read_at).unwrap_or(self.now());
        self.status.due = read_again_at(self.seen, workflow_run, read_at).max(self.now());
        let (rule, run_id) = (Rule::AwaitsRerun, self.run.spec.about.run_id);
        let mut plan = self.write(rule);
        let call = call.map(|(scope, requests)| Action::Rerun { run_id, scope, requests, rule });
        plan.actions.extend(call);
        plan
    }
}

/// Returns what a run says that waits until its job can be run again.
fn awaits_because(run: &Run, interrupted: &Interruption, unread: Option<&str>) -> String {
    let Interruption { runner, machine, denied, .. } = interrupted;
    let of = run.attempt_of(runner).map_or_else(|| run.name.clone(), |attempt_id| attempt_id.run);
    let machine = named(run, machine, &of);
    let when = match denied {
        Some(why) => format!(
            "the forge denies to run it again ({why}): give `forge.token` the right \
             `write:repository`, of a user who may write to Actions of the repository"
        ),
        None => "it is run again once its workflow run is over".to_owned(),
    };
    let unread = unread.map(|why| format!("; it cannot be read now: {why}")).unwrap_or_default();
    format!("the cloud took {machine}, and the job failed: {when}{unread}")
}
