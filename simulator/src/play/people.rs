//! Performs the actions of people: at the forge, the API and the database.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Class, Run, RunName};
use tinqs_ci_reconciler::ports::Expect;

use super::profile::UserAction;
use super::scramble::scramble;
use super::strangers;
use crate::forge::{JobRow, Status};
use crate::world::World;

/// The jobs that were pushed, oldest first.
pub(super) type Pushed = Vec<i64>;

/// Performs an action. Returns the classes that replicas must learn of.
pub(super) fn act(
    world: &mut World,
    pushed: &mut Pushed,
    user_action: UserAction,
) -> Option<Vec<Class>> {
    let now = world.now();
    let ago = |n: usize| pushed.iter().rev().nth(n).copied();
    world.tell(&format!("people: {}", describe(&user_action)));
    match user_action {
        UserAction::Push { repo, jobs } => {
            if takes_a_name(world, &repo) {
                world.count("replaced");
            }
            let ids = world.forge().push(now, &repo, &jobs);
            pushed.extend(ids);
        }
        UserAction::Cancel(n) => {
            if let Some(id) = ago(n) {
                world.forge().cancel(now, id);
            }
        }
        UserAction::Rerun(n) => {
            if let Some(id) = ago(n) {
                at_run_of(world, id);
                let new = world.forge().rerun(now, id);
                if new != id {
                    pushed.push(new);
                }
            }
        }
        UserAction::Delete { ago: n, now: end } => {
            with_record(world, ago(n), |run| run.delete(now, end, None));
        }
        UserAction::Retry(n) => with_record(world, ago(n), |run| run.retry(now, None)),
        UserAction::Terminate(n) => {
            let ids: Vec<_> = world.cloud.live().map(|m| m.id.clone()).collect();
            if let Some(id) = ids.get(n % ids.len().max(1)) {
                world.cloud.terminate(now, id);
            }
        }
        UserAction::Forget(n) => {
            if let Some(id) = ago(n) {
                at_run_of(world, id);
                let mut forge = world.forge();
                forge.forget_job(id);
                // Jobs that need it would be blocked until the server's cleanup a day later.
                let needing =
                    |job: &&JobRow| job.status == Status::Blocked && job.needs.contains(&id);
                let held: Vec<i64> = forge.jobs().filter(needing).map(|job| job.id).collect();
                for job in held {
                    forge.cancel(now, job);
                }
            }
        }
        UserAction::RemoveRepo(repo) => world.forge().remove_repo(&repo),
        UserAction::RenameRepo { from, to } => {
            let is_renamed = world.forge().rename_repo(now, &from, &to);
            if is_renamed {
                world.count("renamed");
            }
        }
        UserAction::Configure(classes) => return Some(classes),
        UserAction::LoseRecords | UserAction::Rebuild => {
            let World { cloud, laws, records, .. } = world;
            laws.on_lost_table(cloud.live().map(|m| m.id.clone()));
            records.lose_all();
            world.count("records_lost");
        }
        UserAction::Scramble(percent) => {
            let runs: Vec<Run> = world.records.runs().cloned().collect();
            for run in runs {
                if world.rng.below(100) < percent {
                    let other = scramble(&mut world.rng, now, &run);
                    world.tell(&format!("{} is scrambled: {:?}", run.name, other.status));
                    world.laws.on_scrambled(&other);
                    world.records.rewrite(other);
                    world.count("scrambled");
                }
            }
        }
        UserAction::Register(stranger) => strangers::register(world, stranger),
        UserAction::WorkElsewhere => strangers::work(world),
        UserAction::StrangersLeave => strangers::leave(world),
    }
    None
}

/// Tells the laws that a person acts on the workflow run of a job.
fn at_run_of(world: &mut World, job: i64) {
    let forge = world.forge.clone();
    let forge = forge.lock();
    if let Some(run_id) = forge.job(job).map(|job| job.run_id) {
        world.laws.on_person_at_run(&forge, run_id);
    }
}

/// Returns whether a push makes a repository whose name another one had.
fn takes_a_name(world: &World, repo: &str) -> bool {
    let forge = world.forge();
    let had_it = |(_, name): &(Timestamp, String)| name == repo;
    forge.repo(repo).is_none() && forge.repos().any(|other| other.former.iter().any(had_it))
}

/// Writes as a person: a compare-and-set like any other, and a wake-up.
fn with_record(world: &mut World, job: Option<i64>, change: impl FnOnce(&mut Run)) {
    let Some(name) = job.map(RunName::job) else { return };
    let Some(before) = world.records.run(&name).cloned() else { return };
    let mut run = before.clone();
    change(&mut run);
    let (now, expect) = (world.now(), Expect::At(before.uid, before.version));
    if world.records.put(&run, expect).is_ok() {
        world.laws.on_put(now, Some(&before), &run, expect);
        world.wake(&name);
    }
}

fn describe(user_action: &UserAction) -> String {
    match user_action {
        UserAction::Push { repo, jobs } => format!("push {} jobs to {repo}", jobs.len()),
        UserAction::Configure(classes) => {
            let names: Vec<String> = classes
                .iter()
                .map(|c| format!("{} limit {:?} repo {:?}", c.name, c.limit, c.repo_limit))
                .collect();
            format!("configure {}", names.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Cancels jobs that were given up, deleted, or are served by no class. All other waiting jobs must
/// run.
pub(super) fn clear_up(world: &mut World, now: Timestamp) {
    let hopeless: Vec<i64> = {
        let forge = world.forge.lock();
        let waiting = forge.jobs().filter(|job| job.status == Status::Waiting);
        waiting.filter(|job| world.is_hopeless(now, job)).map(|job| job.id).collect()
    };
    for id in hopeless {
        world.tell(&format!("people: cancel job-{id}, which no machine will run"));
        world.forge().cancel(now, id);
    }
}
