//! Fair shares: the order in which waiting runs get free seats, or launches.
//!
//! The owner with the fewest live machines goes first, of several the one that has waited longest
//! since it last got one; within it the same holds for its repositories, and within a repository
//! the oldest run goes first. Capacity that passed an owner or a repository by for half an hour
//! goes to it before all others.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::times::{after, older};
use crate::model::{RepoKey, RepoRef, RunName, SeatLimits, owner_of, same_owner};

/// An owner or a repository that has waited for so long, and got nothing meanwhile, goes first.
pub const PASSED_BY: SignedDuration = SignedDuration::from_mins(30);

/// Time for which the last grant to an owner or a repository is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A run that waits for a seat or for a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter<'a> {
    /// Its name.
    pub name: &'a RunName,
    /// Its repository.
    pub repo: RepoRef<'a>,
    /// Time since which it waits.
    pub since: Timestamp,
}

/// The times of the last grants to owners and repositories, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// By owner, in lower case.
    owners: HashMap<String, Timestamp>,
    repos: HashMap<RepoKey, Timestamp>,
}

impl Served {
    /// Records that a repository, and so its owner, got something.
    pub fn gets(&mut self, repo: RepoRef<'_>, at: Timestamp) {
        self.owners.insert(owner_of(repo.name).to_ascii_lowercase(), at);
        self.repos.insert(repo.key(), at);
    }

    /// Forgets what is too old.
    pub fn forget_old(&mut self, now: Timestamp) {
        self.owners.retain(|_, at| !older(now, *at, KEPT));
        self.repos.retain(|_, at| !older(now, *at, KEPT));
    }
}

/// The machines or seats of one owner or one repository, and its wait.
#[derive(Clone, Copy, Debug)]
struct Share {
    live: u32,
    /// Time since which it waits without having got anything.
    since: Timestamp,
}

impl Share {
    /// Returns its place among others of its kind: the lowest goes first.
    fn rank(self, now: Timestamp) -> (Timestamp, u32, Timestamp) {
        let is_passed_by = now >= after(self.since, PASSED_BY);
        let passed_since = if is_passed_by { self.since } else { Timestamp::MAX };
        (passed_since, self.live, self.since)
    }

    fn gets(&mut self, now: Timestamp) {
        self.live += 1;
        self.since = now;
    }
}

/// The machines or seats of repositories, found by their IDs and by their names.
#[derive(Debug)]
struct Held<'l>(HashMap<RepoKey, Vec<(RepoRef<'l>, u32)>>);

impl<'l> Held<'l> {
    fn new(of_repo: HashMap<RepoRef<'l>, u32>) -> Self {
        let mut held: HashMap<RepoKey, Vec<(RepoRef<'l>, u32)>> = HashMap::new();
        for (repo, count) in of_repo {
            held.entry(RepoRef::named(repo.name).key()).or_default().push((repo, count));
            if repo.id > 0 {
                held.entry(repo.key()).or_default().push((repo, count));
            }
        }
        Self(held)
    }

    /// Yields what is the same repository, once each.
    fn of(&self, repo: RepoRef<'_>) -> impl Iterator<Item = &(RepoRef<'l>, u32)> {
        let of = |key| self.0.get(&key).into_iter().flatten();
        let by_id = (repo.id > 0).then(|| of(repo.key()));
        // Under its name are also those that the ID finds, or tells apart.
        let by_name = of(RepoRef::named(repo.name).key());
        let by_name = by_name.filter(move |(of, _)| repo.id <= 0 || of.id <= 0);
        by_id.into_iter().flatten().chain(by_name)
    }
}

/// The waiting runs of one repository, oldest first.
#[derive(Debug)]
struct Queue<'a> {
    /// The index of its owner.
    owner: usize,
    share: Share,
    /// Its machines or seats under the name of another owner. They count for the limit of this one.
    moved: u32,
    waiting: VecDeque<Waiter<'a>>,
}

/// Yields the waiting runs in their order, as long as the limits allow another seat. Each that it
/// yields counts as live for those after it.
#[derive(Debug)]
pub struct Order<'a> {
    now: Timestamp,
    limits: SeatLimits,
    live: u32,
    owners: Vec<Share>,
    queues: Vec<Queue<'a>>,
}

/// Returns the order of waiting runs. `live`: the repositories that the live machines, or the held
/// seats, count for.
pub fn order<'a, 'l>(
    limits: SeatLimits,
    live: impl IntoIterator<Item = RepoRef<'l>>,
    waiting: impl IntoIterator<Item = Waiter<'a>>,
    served: &Served,
    now: Timestamp,
) -> Order<'a> {
    let (mut in_all, mut of_owner, mut of_repo) = (0, HashMap::new(), HashMap::new());
    for repo in live {
        in_all += 1;
        *of_owner.entry(owner_of(repo.name).to_ascii_lowercase()).or_insert(0_u32) += 1;
        *of_repo.entry(repo).or_insert(0_u32) += 1;
    }
    let held = Held::new(of_repo);
    let mut by_repo: BTreeMap<RepoKey, Vec<Waiter<'a>>> = BTreeMap::new();
    for waiter in waiting {
        by_repo.entry(waiter.repo.key()).or_default().push(waiter);
    }
    let mut indexes: HashMap<String, usize> = HashMap::new();
    let (mut owners, mut queues) = (Vec::new(), Vec::with_capacity(by_repo.len()));
    for (key, mut waiting) in by_repo {
        waiting.sort_by_key(|waiter| (waiter.since, waiter.name));
        let Some(&Waiter { repo, since: oldest, .. }) = waiting.first() else { continue };
        let since = |served: Option<&Timestamp>| served.map_or(oldest, |at| oldest.max(*at));
        let owner = owner_of(repo.name).to_ascii_lowercase();
        let owner_since = since(served.owners.get(&owner));
        let live = of_owner.get(&owner).copied().unwrap_or(0);
        let index = *indexes.entry(owner).or_insert_with(|| {
            owners.push(Share { live, since: owner_since });
            owners.len() - 1
        });
        owners[index].since = owners[index].since.min(owner_since);
        let (mut live, mut moved) = (0, 0);
        for (of, count) in held.of(repo) {
            live += count;
            moved += if same_owner(of.name, repo.name) { 0 } else { *count };
        }
        let share = Share { live, since: since(served.repos.get(&key)) };
        queues.push(Queue { owner: index, share, moved, waiting: waiting.into() });
    }
    Order { now, limits, live: in_all, owners, queues }
}

fn allows(limit: Option<u32>, live: u32) -> bool {
    limit.is_none_or(|limit| live < limit)
}

impl<'a> Iterator for Order<'a> {
    type Item = Waiter<'a>;

    fn next(&mut self) -> Option<Waiter<'a>> {
        let Self { now, limits, live, owners, queues } = self;
        if !allows(limits.class, *live) {
            return None;
        }
        let rank = |queue: &Queue<'a>| {
            let (owner, first) = (owners[queue.owner], queue.waiting.front()?);
            let has_room = allows(limits.owner, owner.live + queue.moved)
                && allows(limits.repo, queue.share.live);
            has_room.then(|| (owner.rank(*now), queue.share.rank(*now), first.since, first.name))
        };
        let ranked = queues.iter().enumerate();
        let (_, first) = ranked.filter_map(|(at, queue)| Some((rank(queue)?, at))).min()?;
        let queue = &mut queues[first];
        *live += 1;
        owners[queue.owner].gets(*now);
        queue.share.gets(*now);
        queue.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests;
