//! Strangers at the forge who register runners under names like ours: another installation, one of
//! an earlier release, and somebody who uses the names of our attempts.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{AttemptId, Conclusion, InstallationId, RunName, Uid8};

use super::draw::{minutes, one_of, seconds};
use super::profile::{Stranger, UserAction};
use super::renames::renames;
use super::user_actions::mixed;
use crate::faults::Rng;
use crate::forge::{RunnerRow, Scope};
use crate::world::World;

/// The maximum number of jobs for which a stranger registers runners at once.
const AT_ONCE: usize = 4;

/// Registers a runner for each of the latest jobs that are not done.
pub(super) fn register(world: &mut World, stranger: Stranger) {
    let now = world.now();
    let open: Vec<(i64, Vec<String>)> = {
        let forge = world.forge();
        let open = forge.jobs().filter(|job| !job.status.is_done());
        open.map(|job| (job.id, job.spec.runs_on.clone())).collect()
    };
    for (job, labels) in open.iter().rev().take(AT_ONCE) {
        let Some(name) = name(world, stranger, RunName::job(*job)) else { continue };
        let row = world.forge().register_in(now, Scope::Global, &name.to_string(), labels, true);
        if stranger != Stranger::Impostor {
            world.laws.on_stranger(row.id);
        }
        world.count("registered_elsewhere");
    }
}

/// Returns the name that a stranger gives a runner for the job of a run.
fn name(world: &World, stranger: Stranger, run: RunName) -> Option<AttemptId> {
    const OF_EARLIER_RELEASE: &str = "0a1b2c3d";
    let uid = match stranger {
        Stranger::Neighbor => format!("{}{OF_EARLIER_RELEASE}", InstallationId::of("neighbor")),
        Stranger::EarlierRelease => OF_EARLIER_RELEASE.to_owned(),
        Stranger::Impostor => {
            let record = world.records.run(&run)?;
            return Some(record.attempt_id(record.status.attempt.as_ref()?.number));
        }
    };
    Some(AttemptId { run, uid: Uid8(uid), number: 1 })
}

/// Lets the neighbor's runners work: those with a job report it as done, others ask for one.
pub(super) fn work(world: &mut World) {
    let (now, neighbor) = (world.now(), InstallationId::of("neighbor"));
    let is_neighbors = |row: &&RunnerRow| {
        row.name.parse::<AttemptId>().is_ok_and(|attempt_id| attempt_id.is_of(&neighbor))
    };
    let rows: Vec<RunnerRow> = world.forge().runners().filter(is_neighbors).cloned().collect();
    let mut done = 0;
    for row in rows {
        let mut forge = world.forge();
        let task = row.last_task.filter(|_| forge.busy(&row));
        // A row may be gone by now.
        if let Some(task) = task {
            let success = Some(Conclusion::Success);
            done += usize::from(forge.report(now, &row.uuid, &row.token, task, success).is_ok());
        } else {
            let _ = forge.fetch(now, &row.uuid, &row.token, 0);
        }
    }
    for _ in 0..done {
        world.count("worked_elsewhere");
    }
}

/// Removes the runners of all strangers. Those with our names are left to us.
pub(super) fn leave(world: &mut World) {
    let rows: Vec<i64> = world.forge().runners().map(|row| row.id).collect();
    for id in rows.into_iter().filter(|id| world.laws.is_strangers(*id)) {
        world.forge().delete_runner(id);
    }
}

/// Pushes, each followed by strangers who register runners for its jobs; and repositories that get
/// other names.
pub(super) fn rogue(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = mixed(rng);
    let is_push = |action: &UserAction| matches!(action, UserAction::Push { .. });
    let pushed: Vec<SignedDuration> =
        user_actions.iter().filter(|(_, action)| is_push(action)).map(|(at, _)| *at).collect();
    for at in pushed {
        for _ in 0..3 {
            let all = [Stranger::Neighbor, Stranger::EarlierRelease, Stranger::Impostor];
            let wait = rng.between(seconds(1), minutes(4));
            user_actions.push((at + wait, UserAction::Register(one_of(rng, &all))));
        }
    }
    let last = user_actions.iter().map(|(at, _)| *at).max().unwrap_or_default();
    let mut at = seconds(30);
    while at < last {
        user_actions.push((at, UserAction::WorkElsewhere));
        at += rng.between(seconds(20), minutes(4));
    }
    user_actions.extend(renames(rng));
    user_actions.push((last + minutes(20), UserAction::StrangersLeave));
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}
