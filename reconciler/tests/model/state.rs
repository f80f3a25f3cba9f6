//! The state of the model: the whole world at one time, small enough to be explored.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Class, ClassName, Conclusion, JobRef, MachineOptions, MachineSpec,
    MachineState, Market, Run, RunName, SeenBy, Spec, Times, UnavailableOffering,
};

use crate::reconcile::Reconcile;

/// Jobs, and runs for them.
pub(crate) const RUNS: usize = 2;
/// Controllers.
pub(crate) const REPLICAS: usize = 2;
/// The steps in which time passes.
pub(crate) const GRID: SignedDuration = SignedDuration::from_secs(60);

/// The time of every state: instead of the clock, all stored times move when time passes.
pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_767_268_800, 0)
}

/// The world at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The records.
    pub(crate) runs: [Option<Hashed<Run>>; RUNS],
    /// The number of creations of each run.
    pub(crate) made: [u8; RUNS],
    /// The seats that are taken, and for which repository.
    pub(crate) seats: Vec<(AttemptId, String)>,
    pub(crate) jobs: [Job; RUNS],
    /// The registrations at the forge, each in the repository of its job.
    pub(crate) rows: Vec<Row>,
    pub(crate) machines: Vec<Vm>,
    /// Launches that were sent and have not reached the cloud yet.
    pub(crate) landings: Vec<Landing>,
    /// Sorted, because replicas differ only by their caches.
    pub(crate) replicas: [Replica; REPLICAS],
    /// The time since which the list of machines is stale.
    pub(crate) frozen_since: Option<Timestamp>,
    /// Faults that may still happen.
    pub(crate) faults: u8,
    /// Actions of people that may still happen.
    pub(crate) user_actions: u8,
    /// All recorded attempts, for laws L1 and L4.
    pub(crate) recorded: Vec<Recorded>,
    /// The number of registrations of each attempt.
    pub(crate) registered: Vec<(AttemptId, u8)>,
    /// The first broken law, and how it was broken.
    pub(crate) broken: Option<String>,
}

/// A job at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    Waiting,
    /// On the runner with this registration.
    Running {
        registration: i64,
        runner: String,
    },
    Done(Conclusion),
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) attempt_id: AttemptId,
    /// The repository that it serves; 0: every one.
    pub(crate) repo_id: i64,
    /// It got its one job.
    pub(crate) used: bool,
    /// The time since which it gets no job any more.
    pub(crate) disabled_at: Option<Timestamp>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vm {
    pub(crate) attempt_id: AttemptId,
    pub(crate) placement: u32,
    /// The repository of its registration.
    pub(crate) repo_id: i64,
    /// The hash of all that it was launched with.
    pub(crate) bytes: u64,
    pub(crate) registration: i64,
    pub(crate) launched_at: Timestamp,
    /// It starts no runner after this time.
    pub(crate) start_by: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) doing: Doing,
    /// Its listed state; `None` if it is not listed.
    pub(crate) listed: Option<MachineState>,
    /// Its own timer does not end it.
    pub(crate) timer_broken: bool,
}

/// The true state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Booting,
    /// Up; its runner never comes online.
    Dark,
    /// Its runner requests a job.
    Online,
    /// Its runner is online, but neither requests a job nor shuts down.
    Stuck,
    /// Its runner has a job; the forge shows a silent one as idle.
    Busy {
        job: usize,
        silent: bool,
    },
    /// Its job has ended, and it stays.
    Spent,
    Ending,
    Gone,
}

/// A launch on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Landing {
    pub(crate) attempt_id: AttemptId,
    pub(crate) placement: u32,
    pub(crate) attempt: Attempt,
    pub(crate) sent_at: Timestamp,
}

/// A controller: its cache, and its current reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    /// Missing registrations, and since when.
    pub(crate) missing: Vec<(i64, Timestamp)>,
    /// Disabled registrations, and since when that is known without a failed reading.
    pub(crate) disabled: Vec<(i64, Timestamp)>,
    /// Unavailable offerings.
    pub(crate) unavailable: Vec<UnavailableOffering>,
    /// Time of the last failed reading of the forge.
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) reconcile: Option<Hashed<Reconcile>>,
}

/// The recorded part of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recorded {
    pub(crate) attempt_id: AttemptId,
    /// The hash of class, runner, URL and idle limit.
    pub(crate) identity: u64,
    pub(crate) deadline: Timestamp,
    pub(crate) machines: Vec<MachineSpec>,
}

impl Vm {
    pub(crate) fn state(&self) -> MachineState {
        match self.doing {
            Doing::Booting => MachineState::Booting,
            Doing::Dark | Doing::Online | Doing::Stuck | Doing::Busy { .. } | Doing::Spent => {
                MachineState::Up
            }
            Doing::Ending => MachineState::Ending,
            Doing::Gone => MachineState::Gone,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.doing, Doing::Ending | Doing::Gone)
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.doing, Doing::Busy { .. })
    }
}

/// A shared value that is hashed once.
#[derive(Clone, Debug)]
pub(crate) struct Hashed<T> {
    value: Arc<T>,
    hash: u64,
}

impl<T: Hash> Hashed<T> {
    pub(crate) fn new(value: T) -> Self {
        let hash = hash_of(&value);
        Self { value: Arc::new(value), hash }
    }
}

impl<T> Hashed<T> {
    /// Returns whether it is the same value, not only an equal one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl<T: Clone> Hashed<T> {
    pub(crate) fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.value)
    }
}

impl<T> std::ops::Deref for Hashed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.value == other.value
    }
}

impl<T: Eq> Eq for Hashed<T> {}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// Returns a hash that is the same in every process.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    foldhash::fast::FixedState::with_seed(1).hash_one(value)
}

pub(crate) fn name(run: usize) -> RunName {
    RunName::job(i64::try_from(run).unwrap_or(0) + 1)
}

/// Returns the index of the run with that name.
pub(crate) fn index(name: &RunName) -> usize {
    (0..RUNS).find(|run| self::name(*run) == *name).expect("a name of one of the runs")
}

pub(crate) fn repo(run: usize) -> String {
    format!("acme/{run}")
}

/// Returns the new record of a waiting job of a repository.
pub(crate) fn new_run(run: usize, made: u8, repo_id: i64) -> Run {
    let spec = Spec {
        job: JobRef { repo: repo(run), repo_id, job_id: i64::try_from(run).unwrap_or(0) + 1 },
        runs_on: vec!["linux".to_owned()],
        ..Spec::default()
    };
    // The UID is a hash of the creation time, which differs in each incarnation.
    let created_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(made));
    let mut new = Run::new("model", name(run), spec, SeenBy::Poll, created_at);
    new.version = 1;
    new.status.waiting_since = now();
    new
}

/// Returns the class that serves both jobs.
pub(crate) fn class(limit: Option<u32>) -> Class {
    let machine = |kind: &str| MachineSpec {
        kind: kind.to_owned(),
        subnet: String::new(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabeled: false,
        machines: vec![machine("a"), machine("b")],
        limit,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times {
            max_age: SignedDuration::from_mins(40),
            // Far beyond the half hour of everything else.
            give_up_after: SignedDuration::from_hours(24 * 365),
            keep: SignedDuration::from_mins(25),
            ..Times::default()
        },
    }
}
