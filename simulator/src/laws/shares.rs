//! L11: how often the seats of a class pass an owner by, checked when a seat is taken.
//!
//! An owner with a waiting job and without a machine in the class is passed by at most once for
//! each other owner that waits, plus once for each replica, whose lists may be old. The same holds
//! for an owner with machines once it has got none for half an hour; then only the others that
//! waited as long count. A reconcile that takes a seat has read the seats shortly before: an owner
//! whose last machine ended meanwhile still had it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, RepoRef, SeatLimits, owner_of, serving,
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

/// What is known of the shares of owners.
#[derive(Clone, Debug, Default)]
pub(super) struct SharesWatch {
    /// When each owner last got a seat of a class.
    served: BTreeMap<(ClassName, String), Timestamp>,
    /// When a seat of each owner was last freed.
    freed: BTreeMap<(ClassName, String), Timestamp>,
    /// The owners that are passed by, of a class; and whether they have a machine in it.
    passed: BTreeMap<(ClassName, String, bool), Passed>,
}

#[derive(Clone, Debug, Default)]
struct Passed {
    seats: usize,
    others: BTreeSet<String>,
    told: bool,
}

fn owner(repo: &str) -> String {
    owner_of(repo).to_ascii_lowercase()
}

impl Laws {
    /// Notes that a seat was freed.
    pub fn on_seat_freed(&mut self, now: Timestamp, class: &ClassName, seat: &Seat) {
        self.shares.freed.insert((class.clone(), owner(&seat.repo)), now);
    }

    /// L11: a seat was taken.
    pub fn on_seat(&mut self, now: Timestamp, taken: &SeatTaken<'_>) {
        let Some(replicas) = self.fair_among else { return };
        let Some(class) = self.classes.iter().find(|c| c.name == *taken.class).cloned() else {
            return;
        };
        let waiting = self.waiting_since(&class, taken);
        let own = owner(taken.repo.name);
        let long_ago = |at: Timestamp, wait: SignedDuration| now.duration_since(at) >= wait;
        let passed_by = |wait| {
            let long = waiting.iter().filter(move |(_, since)| long_ago(**since, wait));
            long.map(|(owner, _)| owner.clone()).collect::<BTreeSet<String>>()
        };
        let (first, maybe_first) = (passed_by(PASSED_BY + SLACK), passed_by(PASSED_BY - SLACK));
        let mut still = BTreeSet::new();
        let mut broken = Vec::new();
        for other in waiting.keys().filter(|other| **other != own) {
            let has_machine = taken.held.iter().any(|seat| owner(&seat.repo) == *other);
            let freed_at = self.shares.freed.get(&(class.name.clone(), other.clone()));
            let lost_one_just_now = freed_at.is_some_and(|at| !long_ago(*at, READ_WITHIN));
            if (has_machine || lost_one_just_now) && !first.contains(other) {
                continue;
            }
            let key = (class.name.clone(), other.clone(), has_machine);
            let entry = self.shares.passed.entry(key.clone()).or_default();
            still.insert(key);
            entry.seats += 1;
            if has_machine {
                entry.others.extend(maybe_first.iter().cloned());
            } else {
                entry.others.extend(waiting.keys().cloned());
                entry.others.insert(own.clone());
            }
            entry.others.remove(other);
            if entry.seats > entry.others.len() + replicas && !entry.told {
                entry.told = true;
                broken.push(format!(
                    "{} seats of {} passed {other} by, which waits with {} others; the last: {}",
                    entry.seats,
                    class.name,
                    entry.others.len(),
                    taken.by,
                ));
            }
        }
        self.shares.passed.retain(|key, _| key.0 != class.name || still.contains(key));
        self.shares.served.insert((class.name, own), now);
        for what in broken {
            self.broken("L11", now, taken.by.run.as_str(), what);
        }
    }

    /// Returns the owners that wait for a seat of the class that their own limits allow, and since
    /// when they got none.
    fn waiting_since(&self, class: &Class, taken: &SeatTaken<'_>) -> BTreeMap<String, Timestamp> {
        let mut waiting = BTreeMap::new();
        for run in taken.waiting {
            let limits = SeatLimits { class: None, ..class.seat_limits() };
            let of_class = serving(&self.classes, &run.repo, &run.runs_on);
            if of_class.is_none_or(|of| of.name != class.name)
                || limits.reached(run.repo_ref(), taken.held.iter().map(Seat::repo_ref)).is_some()
            {
                continue;
            }
            let owner = owner(&run.repo);
            let served = self.shares.served.get(&(class.name.clone(), owner.clone()));
            let since = served.map_or(run.waiting_since, |at| run.waiting_since.max(*at));
            let known = waiting.entry(owner).or_insert(since);
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
    fn an_owner_with_a_machine_is_passed_by_for_half_an_hour() {
        let waiting = [waits(1, "flood/a", 5), waits(2, "Lone/a", 5)];
        let held = ["flood/a", "lone/b"];
        assert_eq!(taken(20, &held, &waiting, 10), 0);
        // The flood had waited as long when it got the first.
        assert_eq!(taken(2, &held, &waiting, 41), 0);
        assert_eq!(taken(4, &held, &waiting, 41), 1);
    }
}
