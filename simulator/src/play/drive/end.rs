//! The end of a history: leftovers and the outcome.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{Amount, CLOCKS_AGREE_WITHIN, Conclusion, Run, RunName, serving};
use tinqs_ci_reconciler::ports::Seat;

use super::Drive;
use crate::cloud::machine::SimulatedMachine;
use crate::faults::OngoingFault;
use crate::forge::{JobRow, Status};
use crate::laws::usage::Unseen;
use crate::play::outcome::Outcome;
use crate::play::truth::truth;
use crate::world::{Demand, World};

impl Drive<'_> {
    /// Reports everything that should be gone as a violation.
    pub(super) fn tell_left_over(&self, when: &str) {
        let mut world = self.world.lock();
        let now = world.now();
        let mut left: Vec<(String, String)> = Vec::new();
        {
            let forge = world.forge();
            for job in forge.jobs().filter(|job| !job.status.is_done()) {
                let state =
                    if job.status == Status::Waiting { "still waits" } else { "is not done" };
                left.push((format!("job-{}", job.id), format!("job {} {state}", job.id)));
            }
            // Without a runner list, idle registrations are left to the forge's own cleanup.
            let listed = world.demand != Demand::PushWithoutRows;
            for row in forge.runners().filter(|_| listed) {
                let run = row.name.rsplitn(3, '-').nth(2).unwrap_or_default();
                let run = run.trim_start_matches("tq-").to_owned();
                left.push((run, format!("registration {} {} still exists", row.id, row.name)));
            }
        }
        for machine in world.cloud.live() {
            let what = format!("machine {} of {} is still live", machine.id, machine.attempt_id);
            left.push((machine.attempt_id.run.to_string(), what));
        }
        // Runs that no class serves are kept longer.
        let kept = |run: &&Run| {
            let spec = &run.spec;
            let unserved = serving(&world.laws.classes, &spec.job.repo, &spec.runs_on).is_none();
            unserved && !run.is_open() && run.status.due > now
        };
        for run in world.records.runs().filter(|run| !kept(run)) {
            left.push((run.name.to_string(), format!("the record of {} still exists", run.name)));
        }
        for (class, Seat { attempt_id, .. }) in world.records.seats() {
            left.push((
                attempt_id.run.to_string(),
                format!("{attempt_id} still has a seat in {class}"),
            ));
        }
        let truth = truth(&world, now);
        world.laws.drift_is_over(now, &truth);
        for (about, what) in left {
            world.laws.left_over(now, &about, format!("{what} {when}"));
        }
    }

    /// Checks what was counted of all machines, and what the store has of it.
    pub(super) fn usage_is_complete(&self, now: Timestamp) {
        let mut world = self.world.lock();
        let World { laws, cloud, periods, faults, records, .. } = &mut *world;
        let mut stored = Amount::default();
        for used in records.usage(Date::MIN, Date::MAX) {
            stored += used.amount;
        }
        let is_down = |trouble: &OngoingFault| matches!(trouble, OngoingFault::Down(_));
        let down = periods.iter().filter(|(trouble, ..)| is_down(trouble));
        let agreeing = if faults.clocks_set { CLOCKS_AGREE_WITHIN } else { SignedDuration::ZERO };
        let unseen = Unseen {
            down: down.map(|(_, from, until)| (*from, *until)).collect(),
            pauses: faults.pause > 0.0 || faults.clocks_set,
            inaccuracy: faults.list_lag + faults.clocks_apart.abs() * 3 + agreeing * 2,
        };
        laws.usage_is_complete(now, cloud, &stored, &unseen);
    }

    /// Returns how many machines were made for jobs that were canceled before they ran.
    fn made_for_canceled(&self, world: &World) -> usize {
        let forge = world.forge();
        let started: BTreeSet<i64> = self.starts.keys().map(|(id, _)| *id).collect();
        let canceled: BTreeSet<RunName> = forge
            .jobs()
            .filter(|job| job.status == Status::Done(Conclusion::Cancelled))
            .filter(|job| !started.contains(&job.id))
            .map(|job| RunName::job(job.id))
            .collect();
        world.cloud.machines().filter(|machine| canceled.contains(&machine.attempt_id.run)).count()
    }

    pub(super) fn end(self) -> Outcome {
        let world = self.world.lock();
        let calls = world.calls.clone();
        let count = |name| calls.get(name).copied().unwrap_or(0);
        Outcome {
            seed: world.laws.seed(),
            profile: self.profile.name,
            replicas: self.replicas.len(),
            jobs: self.queued.len(),
            ran: self.starts.len(),
            shared: self.starts.values().filter(|own| !**own).count(),
            lost: lost(&world),
            canceled: self.made_for_canceled(&world),
            doubled: doubled(&world),
            machines: world.cloud.machines().count(),
            launches: count("compute.launch"),
            registrations: count("forge.register"),
            writes_per_run: world.laws.written().clone(),
            removals: world.records.removed(),
            mutating_calls_in_settled_day: self.settled_calls,
            calls_in_settled_day: self.idle_calls,
            longest_wait: world.laws.longest_wait().0,
            longest_to_done: self.longest_to_done,
            waited_in_vain: world.laws.waited_in_vain(),
            pools: world.laws.pools(),
            drift: world.laws.drift_seen().clone(),
            counted: world.laws.counted(),
            trace_hash: world.laws.hash(),
            violations: world.laws.violations().to_vec(),
            reconciles: world.laws.reconciles(),
            struck: world.struck.clone(),
            simulated: world.now().duration_since(world.laws.began_at()),
            calls,
        }
    }
}

/// Returns how many jobs failed although their work succeeds.
fn lost(world: &World) -> usize {
    let forge = world.forge();
    let is_lost = |job: &&JobRow| {
        job.status == Status::Done(Conclusion::Failure)
            && job.spec.conclusion == Conclusion::Success
    };
    forge.jobs().filter(is_lost).count()
}

/// Returns how many machines took no job, of runs that had one when all records were lost.
fn doubled(world: &World) -> usize {
    let is_orphan = |machine: &&SimulatedMachine| world.laws.is_orphan(&machine.id);
    let had_one: BTreeSet<&RunName> =
        world.cloud.machines().filter(is_orphan).map(|machine| &machine.attempt_id.run).collect();
    let machines = world.cloud.machines().filter(|machine| !is_orphan(machine));
    let idle = machines.filter(|machine| machine.job_ended_at.is_none());
    idle.filter(|machine| had_one.contains(&machine.attempt_id.run)).count()
}
