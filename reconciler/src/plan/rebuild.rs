//! A record that is lost, made from what is left: the waiting job, and the machine or the
//! registration of its attempt.

use jiff::Timestamp;

use super::times::{LAUNCH_WINDOW, after};
use crate::model::{
    Answer, Attempt, AttemptId, Boot, Class, Happened, Machine, MachineOptions, MachineSpec, Phase,
    Placement, Refusal, Refused, Registration, Run, RunName, Runner, Secret, SeenBy, Spec, Uid,
};
use crate::ports::WaitingJob;

/// More numbers than a run uses in weeks: after failures it makes one attempt in eight minutes.
const NUMBERS_SKIPPED: u32 = 10_000;

/// More placements than an attempt has: one for each machine of its class.
const MOST_PLACEMENTS: u32 = 100;

/// The remains of an attempt whose record is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOver<'a> {
    /// Its ID.
    pub attempt_id: &'a AttemptId,
    /// Its machine, if one is listed.
    pub machine: Option<&'a Machine>,
    /// Its registration, if it is listed.
    pub registration: Option<&'a Registration>,
}

impl LeftOver<'_> {
    /// Returns the ID of the repository that its machine's tags tell; 0 without a machine.
    pub fn repo_id(&self) -> i64 {
        self.machine.map_or(0, |machine| machine.repo_id)
    }
}

/// Voids the numbers that a run may have used after its record was copied: their names and client
/// tokens must not be used again.
pub fn skip_numbers(run: &mut Run) {
    run.status.next = run.status.next.saturating_add(NUMBERS_SKIPPED);
}

/// Returns the run of a waiting job that the class serves, with the attempt that is left. Its
/// credentials are lost, so no rule launches it. If its machine is not listed, the run waits as
/// long as a launch that was requested until now may still show one.
pub fn rebuilt(job: &WaitingJob, class: &Class, left: &LeftOver<'_>, now: Timestamp) -> Run {
    let spec = Spec {
        job: job.job.clone(),
        runs_on: job.runs_on.clone(),
        about: job.about.clone(),
        ..Spec::default()
    };
    let mut run = Run::new("", RunName::job(job.job.job_id), spec, SeenBy::Poll, now);
    // The names of its attempts are those of the lost record.
    run.uid = Uid::of_short(&left.attempt_id.uid);
    run.status.wait.queued_at = job.created_at.map(|at| at.min(now));
    let attempt = attempt(job, class, left, now);
    if let Some(machine) = left.machine {
        let machine_id = machine.id.clone();
        let what = Happened::Launched { attempt: attempt.number, machine: machine_id };
        run.status.happened(now, what);
    }
    run.status.next = attempt.number.saturating_add(1);
    run.status.phase = Phase::Starting;
    run.status.attempt = Some(attempt);
    skip_numbers(&mut run);
    run
}

fn attempt(job: &WaitingJob, class: &Class, left: &LeftOver<'_>, now: Timestamp) -> Attempt {
    let LeftOver { attempt_id, machine, registration } = *left;
    let promise = machine.and_then(|machine| machine.promise);
    let (id, repo_id) = match (machine, registration) {
        (Some(machine), _) => (machine.registration, machine.repo_id),
        (None, Some(row)) => (row.id, row.repo_id),
        (None, None) => (0, 0),
    };
    // Without a machine: as if its launch window ended just now.
    let decided_at = match machine {
        Some(machine) => machine.launched_at.min(now),
        None => now.checked_sub(LAUNCH_WINDOW).unwrap_or(now),
    };
    let deadline = machine.map_or_else(|| after(now, class.times.max_age), |it| it.deadline);
    Attempt {
        number: attempt_id.number,
        decided_at,
        class: machine.map_or_else(|| class.name.clone(), |machine| machine.class.clone()),
        runner: Runner {
            id,
            repo_id,
            uuid: registration.and_then(|row| row.uuid.clone()).unwrap_or_default(),
            name: attempt_id.to_string(),
            labels: class.runner_labels(&job.runs_on),
            token: Secret::default(),
        },
        boot: Boot {
            deadline,
            idle_within: promise.map_or(class.times.idle_within, |promise| promise.idle_within),
            start_by: promise.map(|promise| promise.start_by),
            hold: promise.map_or(class.times.hold, |promise| promise.hold),
            instance_url: String::new(),
            git_token: None,
        },
        placements: placements(class, machine),
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

/// Returns the placements up to that of the machine. Those before it were refused: an attempt goes
/// on to the next one for no other reason. The number is from a tag, which anybody may have set.
fn placements(class: &Class, machine: Option<&Machine>) -> Vec<Placement> {
    let asked = |machine| Placement { asked_again: true, ..Placement::new(machine) };
    let Some(machine) = machine else {
        return class.machines.first().cloned().map(asked).into_iter().collect();
    };
    let own = Answer { id: machine.id.clone(), at: machine.launched_at };
    let refused = Refused { why: Refusal::NoCapacity, at: machine.launched_at };
    let earlier = |_| Placement { refused: Some(refused), ..asked(spec_of(class, machine)) };
    let before = 0..machine.placement.min(MOST_PLACEMENTS);
    let mut all: Vec<Placement> = before.map(earlier).collect();
    all.push(Placement { answered: Some(own), ..asked(spec_of(class, machine)) });
    all
}

/// Returns the machine spec of the class that the machine is of. Its subnet is not known: there may
/// be several with that kind and market.
fn spec_of(class: &Class, machine: &Machine) -> MachineSpec {
    let is_its = |spec: &&MachineSpec| spec.kind == machine.kind && spec.market == machine.market;
    class.machines.iter().find(is_its).cloned().unwrap_or_else(|| MachineSpec {
        kind: machine.kind.clone(),
        subnet: String::new(),
        market: machine.market,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    })
}
