//! L11: the seats of a class do not pass an owner by for too long, nor those of an owner one of its
//! repositories. Checked when a seat is taken.
//!
//! An owner with a waiting job and without a machine in the class is passed by at most once for
//! each other owner that waits, plus once for each replica, whose lists may be old. An owner that
//! has got no seat for half an hour may pass it by again. The same holds for an owner with machines
//! once it has got no seat for half an hour; then only the other owners that waited as long count.
//! The same holds for a repository, by the seats of its owner and the other repositories of that
//! owner. A reconcile that takes a seat has read the seats shortly before: an owner whose last
//! machine ended meanwhile counts as still having it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, RepoKey, RepoRef, SeatLimits, owner_of, serving,
};
use tinqs_ci_reconciler::plan::share::PASSED_BY;
use tinqs_ci_reconciler::ports::{OpenRun, Seat};

use super::Laws;

/// Replicas may differ by so much in when an owner last got a seat.
const SLACK: SignedDuration = SignedDuration::from_mins(5);

/// A reconcile takes a seat by what it read within this time.
const READ_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// A seat that was taken.
pub struct SeatTaken<'a> {
    /// Its class.
    pub class: &'a ClassName,
    /// The attempt that took it.
    pub by: &'a AttemptId,
    /// The repository that it counts for.
    pub repo: RepoRef<'a>,
    /// The seats of the class that were held before.
    pub held: &'a [Seat],
    /// The runs that waited for a seat of any class.
    pub waiting: &'a [OpenRun],
}

/// State of the check of the shares of owners and repositories.
#[derive(Clone, Debug, Default)]
pub(super) struct SharesWatch {
    /// Time at which each last got a seat of a class.
    served: BTreeMap<(ClassName, Sharer), Timestamp>,
    /// Time at which a seat of each was last freed.
    freed: BTreeMap<(ClassName, Sharer), Timestamp>,
    /// The owners and repositories that are passed by, by class and by whether they have a machine
    /// in it.
    passed: BTreeMap<(ClassName, Sharer, bool), Passed>,
}

#[derive(Clone, Debug, Default)]
struct Passed {
    seats: usize,
    others: BTreeSet<Sharer>,
    /// Those that took the seats.
    took: BTreeSet<Sharer>,
    /// The number of times that one of them took another seat after half an hour.
    again: usize,
    told: bool,
}

/// Among whom seats are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    Owners,
    ReposOfOwner,
}

/// An owner, or a repository of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sharer {
    /// In lower case.
    owner: String,
    /// `None`: the owner.
    repo: Option<RepoKey>,
}

impl Sharer {
    fn of(among: Among, repo: RepoRef<'_>) -> Self {
        let owner = owner_of(repo.name).to_ascii_lowercase();
        Self { owner, repo: (among == Among::ReposOfOwner).then(|| repo.key()) }
    }

    /// Returns whether the seats of another one pass this one by.
    fn is_beside(&self, other: &Self) -> bool {
        self != other && (self.repo.is_none() || self.owner == other.owner)
    }
}

impl fmt::Display for Sharer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repo {
            None => f.write_str(&self.owner),
            Some(repo) => write!(f, "a repository of {} ({repo:?})", self.owner),
        }
    }
}

impl Laws {
    /// Notes that a seat was freed.
    pub fn on_seat_freed(&mut self, now: Timestamp, class: &ClassName, seat: &Seat) {
        for among in [Among::Owners, Among::ReposOfOwner] {
            let sharer = Sharer::of(among, seat.repo_ref());
            self.shares.freed.insert((class.clone(), sharer), now);
        }
    }

    /// L11: a seat was taken.
    pub fn on_seat(&mut self, now: Timestamp, taken: &SeatTaken<'_>) {
        let Some(replicas) = self.fair_among else { return };
        let Some(class) = self.classes.iter().find(|c| c.name == *taken.class).cloned() else {
            return;
        };
        let mut still = BTreeSet::new();
        let mut broken = Vec::new();
        for among in [Among::Owners, Among::ReposOfOwner] {
            let waiting = self.waiting_since(&class, taken, among);
            let own = Sharer::of(among, taken.repo);
            for (other, since) in waiting.iter().filter(|(other, _)| **other != own) {
                if !other.is_beside(&own) {
                    still.extend([false, true].map(|has_machine| (other.clone(), has_machine)));
                    continue;
                }
                let is_its = |seat: &Seat| Sharer::of(among, seat.repo_ref()) == *other;
                let key = (other.clone(), taken.held.iter().any(is_its));
                if self.is_passed_by(now, &class.name, &key, *since) {
                    broken.extend(self.passes_by(now, &class.name, &key, &own, &waiting, replicas));
                    still.insert(key);
                }
            }
            self.shares.served.insert((class.name.clone(), own), now);
        }
        self.shares.passed.retain(|(of, sharer, has_machine), _| {
            *of != class.name || still.contains(&(sharer.clone(), *has_machine))
        });
        for what in broken {
            self.broken("L11", now, taken.by.run.as_str(), format!("{what}: {}", taken.by));
        }
    }

    /// Returns whether a waiting owner or repository counts as passed by: it has no machine, or has
    /// got no seat for half an hour.
    fn is_passed_by(
        &self,
        now: Timestamp,
        class: &ClassName,
        (sharer, has_machine): &(Sharer, bool),
        since: Timestamp,
    ) -> bool {
        let freed_at = self.shares.freed.get(&(class.clone(), sharer.clone()));
        let lost_one_just_now = freed_at.is_some_and(|at| now.duration_since(*at) < READ_WITHIN);
        !(*has_machine || lost_one_just_now) || now.duration_since(since) >= PASSED_BY + SLACK
    }

    /// Counts a seat that passes one by. Returns what is wrong, once.
    fn passes_by(
        &mut self,
        now: Timestamp,
        class: &ClassName,
        (sharer, has_machine): &(Sharer, bool),
        own: &Sharer,
        waiting: &BTreeMap<Sharer, Timestamp>,
        replicas: usize,
    ) -> Option<String> {
        let key = (class.clone(), sharer.clone(), *has_machine);
        let passed = self.shares.passed.entry(key).or_default();
        passed.seats += 1;
        let is_long_ago = |since: &Timestamp| now.duration_since(*since) >= PASSED_BY - SLACK;
        let is_second = !passed.took.insert(own.clone());
        passed.again += usize::from(is_second && waiting.get(own).is_some_and(is_long_ago));
        let counts = |since: &Timestamp| !has_machine || is_long_ago(since);
        let others = waiting.iter().filter(|(_, since)| counts(since)).map(|(other, _)| other);
        passed.others.extend(others.filter(|other| sharer.is_beside(other)).cloned());
        if !has_machine {
            passed.others.insert(own.clone());
        }
        if passed.seats <= passed.others.len() + passed.again + replicas || passed.told {
            return None;
        }
        passed.told = true;
        let (seats, others) = (passed.seats, passed.others.len());
        Some(format!(
            "{seats} seats of {class} passed {sharer} by, which waits with {others} others; the last"
        ))
    }

    /// Returns who waits for a seat of the class that its own limits allow, and since when it got
    /// none.
    fn waiting_since(
        &self,
        class: &Class,
        taken: &SeatTaken<'_>,
        among: Among,
    ) -> BTreeMap<Sharer, Timestamp> {
        let mut waiting = BTreeMap::new();
        for run in taken.waiting {
            let limits = SeatLimits { class: None, ..class.seat_limits() };
            let of_class = serving(&self.classes, &run.repo, &run.runs_on);
            if of_class.is_none_or(|of| of.name != class.name)
                || limits.reached(run.repo_ref(), taken.held.iter().map(Seat::repo_ref)).is_some()
            {
                continue;
            }
            let sharer = Sharer::of(among, run.repo_ref());
            let served = self.shares.served.get(&(class.name.clone(), sharer.clone()));
            let since = served.map_or(run.waiting_since, |at| run.waiting_since.max(*at));
            let known = waiting.entry(sharer).or_insert(since);
            *known = since.min(*known);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{Phase, RunName, Times};

    use super::*;

    const LINUX: &str = "linux";

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn linux() -> Class {
        Class {
            name: ClassName(LINUX.to_owned()),
            labels: vec![LINUX.to_owned()],
            serves_unlabeled: false,
            repos: Vec::new(),
            machines: Vec::new(),
            limit: Some(12),
            repo_limit: None,
            owner_limit: None,
            rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
            budget: None,
            allocation: tinqs_ci_reconciler::model::Allocation::Order,
            times: Times::default(),
        }
    }

    fn waits(job: i64, repo: &str, since: i64) -> OpenRun {
        OpenRun {
            name: RunName::job(job),
            phase: Phase::Waiting,
            deleted: false,
            due: at(since),
            attempt: None,
            at_limit: true,
            runs_on: [LINUX.to_owned()].into(),
            repo: repo.into(),
            repo_id: 0,
            waiting_since: at(since),
            boots: Vec::new(),
        }
    }

    /// Returns the laws of one replica.
    fn shared() -> Laws {
        let mut laws = Laws::new(1, at(0));
        laws.classes = vec![linux()];
        laws.fair_among = Some(1);
        laws
    }

    /// The repository `flood/a` takes a seat.
    fn flood_takes(laws: &mut Laws, job: i64, now: Timestamp, held: &[Seat], waiting: &[OpenRun]) {
        let by: AttemptId = format!("tq-job-{job}-0a1b2c3d-1").parse().expect("an attempt ID");
        let (class, repo) = (&ClassName(LINUX.to_owned()), RepoRef::named("flood/a"));
        laws.on_seat(now, &SeatTaken { class, by: &by, repo, held, waiting });
    }

    /// Takes seats for a repository, one a minute; others hold seats and wait. Returns how many
    /// violations there were.
    fn taken(count: i64, held: &[&str], waiting: &[OpenRun], from: i64) -> usize {
        let mut laws = shared();
        let seat = |(n, repo)| {
            let attempt_id = format!("tq-job-{n}-0a1b2c3d-1").parse().expect("an attempt ID");
            Seat::new(attempt_id, RepoRef::named(repo))
        };
        let held: Vec<Seat> = (1_000..).zip(held.iter().copied()).map(seat).collect();
        for n in 0..count {
            flood_takes(&mut laws, n, at(from + n), &held, waiting);
        }
        assert!(laws.violations().iter().all(|violation| violation.law == "L11"));
        laws.violations().len()
    }

    #[test]
    fn a_reconcile_may_have_seen_a_machine_that_ended_since() {
        let seat = Seat::new(
            "tq-job-9-0a1b2c3d-1".parse().expect("an attempt ID"),
            RepoRef::named("lone/a"),
        );
        for (seconds, expected) in [(1, 0), (2, 1)] {
            let mut laws = shared();
            laws.on_seat_freed(at(10) - SignedDuration::from_secs(seconds), &linux().name, &seat);
            for n in 0..3 {
                flood_takes(
                    &mut laws,
                    n,
                    at(10),
                    &[],
                    &[waits(1, "flood/a", 0), waits(2, "lone/a", 5)],
                );
            }
            assert_eq!(laws.violations().len(), expected, "{seconds} s ago");
        }
    }

    #[test]
    fn an_owner_without_a_machine_is_passed_by_once_for_each_other_owner_and_replica() {
        let waiting = [waits(1, "flood/a", 0), waits(2, "lone/a", 5)];
        assert_eq!(taken(2, &["flood/a"], &waiting, 10), 0, "one owner and one replica");
        assert_eq!(taken(3, &["flood/a"], &waiting, 10), 1);
        assert_eq!(taken(9, &["flood/a"], &waiting, 10), 1, "told once");
        let more = [waits(1, "flood/a", 0), waits(2, "lone/a", 5), waits(3, "other/a", 6)];
        assert_eq!(taken(3, &["flood/a"], &more, 10), 0, "one owner more");
    }

    #[test]
    fn one_that_got_none_for_half_an_hour_passes_others_by_again() {
        let mut laws = shared();
        let waiting = [waits(1, "flood/a", 0), waits(2, "lone/a", 5)];
        for (n, (minute, expected)) in (0..).zip([(10, 0), (11, 0), (45, 0), (46, 1)]) {
            flood_takes(&mut laws, n, at(minute), &[], &waiting);
            assert_eq!(laws.violations().len(), expected, "minute {minute}");
        }
    }

    #[test]
    fn a_repository_is_passed_by_once_for_each_other_one_of_its_owner_and_replica() {
        let waiting = [waits(1, "flood/a", 0), waits(2, "flood/b", 5), waits(3, "lone/a", 5)];
        let held = ["flood/a", "lone/b"];
        assert_eq!(taken(2, &held, &waiting, 10), 0, "one repository and one replica");
        assert_eq!(taken(3, &held, &waiting, 10), 1);
        let has_one = ["flood/a", "flood/b", "lone/b"];
        assert_eq!(taken(9, &has_one, &waiting, 10), 0, "it has a machine");
        let of_others = [waits(2, "lone/b", 5), waits(3, "lone/a", 5)];
        assert_eq!(taken(9, &["lone/b"], &of_others, 10), 0, "the seats of other owners");
    }

    #[test]
    fn an_owner_with_a_machine_is_passed_by_for_half_an_hour() {
        let waiting = [waits(1, "flood/a", 5), waits(2, "Lone/a", 5)];
        let held = ["flood/a", "lone/b"];
        assert_eq!(taken(20, &held, &waiting, 10), 0);
        // The flood had waited as long when it got the first.
        assert_eq!(taken(2, &held, &waiting, 41), 0);
        assert_eq!(taken(4, &held, &waiting, 41), 1);
    }
}
