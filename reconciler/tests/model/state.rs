//! What the model holds: the whole world at one time, small enough to be looked at in every order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Attempt, Class, ClassName, Conclusion, InstanceState, JobRef, Machine, Market, Run, RunName,
    Shortage, Slot, Spec, Times,
};

use crate::look::Look;

/// Jobs, and runs for them.
pub(crate) const RUNS: usize = 2;
/// Controllers.
pub(crate) const REPLICAS: usize = 2;
/// The steps in which time passes.
pub(crate) const GRID: SignedDuration = SignedDuration::from_secs(60);

/// The time of every state: when time passes, all that is remembered moves into the past instead.
pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_767_268_800, 0)
}

/// The world at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The records.
    pub(crate) runs: [Option<Hashed<Run>>; RUNS],
    /// How often each run was made.
    pub(crate) made: [u8; RUNS],
    /// The seats that are taken, and for which repository.
    pub(crate) seats: Vec<(Slot, String)>,
    pub(crate) jobs: [Job; RUNS],
    /// The forge's runner rows.
    pub(crate) rows: Vec<Row>,
    pub(crate) machines: Vec<Vm>,
    /// Launches that were sent and have not reached the cloud.
    pub(crate) landings: Vec<Landing>,
    /// In an order that says nothing: replicas differ by what they remember alone.
    pub(crate) replicas: [Replica; REPLICAS],
    /// Since when the machine list shows nothing new.
    pub(crate) frozen_since: Option<Timestamp>,
    /// Faults that may still happen.
    pub(crate) faults: u8,
    /// Deeds of people that may still happen.
    pub(crate) deeds: u8,
    /// What was ever recorded of attempts: what law L1 and L4 compare with.
    pub(crate) recorded: Vec<Recorded>,
    /// How often each slot was registered.
    pub(crate) registered: Vec<(Slot, u8)>,
    /// The law that was broken, and how.
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

/// A runner row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) slot: Slot,
    /// It got its one job.
    pub(crate) used: bool,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Vm {
    pub(crate) slot: Slot,
    pub(crate) placement: u32,
    pub(crate) repo: String,
    /// All that it was made from, hashed.
    pub(crate) bytes: u64,
    pub(crate) registration: i64,
    pub(crate) launched_at: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) doing: Doing,
    /// What the list says; `None`: it is not listed.
    pub(crate) listed: Option<InstanceState>,
    /// Its own timer does not end it.
    pub(crate) timer_broken: bool,
}

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    Booting,
    /// Up; its runner never comes online.
    Dark,
    /// Its runner asks for a job.
    Online,
    /// Its runner is online and asks for nothing, nor drains.
    Stuck,
    /// Its runner works; a silent one is called idle by the forge.
    Busy {
        job: usize,
        silent: bool,
    },
    /// Its job is over, and it stays.
    Spent,
    Ending,
    Gone,
}

/// A launch on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Landing {
    pub(crate) slot: Slot,
    pub(crate) placement: u32,
    pub(crate) attempt: Attempt,
    pub(crate) sent_at: Timestamp,
}

/// A controller: what it remembers, and the look that it is at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Replica {
    /// Registrations that gave 404, and since when.
    pub(crate) missing: Vec<(i64, Timestamp)>,
    /// Machines that were refused for capacity.
    pub(crate) short: Vec<Shortage>,
    pub(crate) look: Option<Hashed<Look>>,
}

/// What was recorded of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recorded {
    pub(crate) slot: Slot,
    /// Of class, runner, address and idle time.
    pub(crate) identity: u64,
    pub(crate) deadline: Timestamp,
    pub(crate) machines: Vec<Machine>,
}

impl Vm {
    pub(crate) fn state(&self) -> InstanceState {
        match self.doing {
            Doing::Booting => InstanceState::Booting,
            Doing::Dark | Doing::Online | Doing::Stuck | Doing::Busy { .. } | Doing::Spent => {
                InstanceState::Up
            }
            Doing::Ending => InstanceState::Ending,
            Doing::Gone => InstanceState::Gone,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.doing, Doing::Ending | Doing::Gone)
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.doing, Doing::Busy { .. })
    }
}

/// A value that is shared and hashed once.
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
    /// Whether it is the very same value, not only an equal one.
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

/// The same in every process.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn name(run: usize) -> RunName {
    RunName::job(i64::try_from(run).unwrap_or(0) + 1)
}

/// Which run a name is of.
pub(crate) fn index(name: &RunName) -> usize {
    (0..RUNS).find(|run| self::name(*run) == *name).expect("a name of one of the runs")
}

pub(crate) fn repo(run: usize) -> String {
    format!("acme/{run}")
}

/// A record as it is made for a waiting job.
pub(crate) fn new_run(run: usize, made: u8) -> Run {
    let spec = Spec {
        job: JobRef { repo: repo(run), repo_id: 1, job_id: i64::try_from(run).unwrap_or(0) + 1 },
        runs_on: vec!["linux".to_owned()],
        ..Spec::default()
    };
    // Each incarnation was made at another time: that is what its uid is a hash of.
    let created_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(made));
    let mut new = Run::new("model", name(run), spec, created_at);
    new.version = 1;
    new.status.waiting_since = now();
    new
}

/// The class that serves both jobs.
pub(crate) fn class(limit: Option<u32>) -> Class {
    let machine = |kind: &str| Machine {
        kind: kind.to_owned(),
        subnet: String::new(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabelled: false,
        machines: vec![machine("a"), machine("b")],
        limit,
        repo_limit: None,
        times: Times {
            max_age: SignedDuration::from_mins(40),
            // Giving up is a matter of a day, the rest of half an hour.
            give_up_after: SignedDuration::from_hours(24 * 365),
            keep: SignedDuration::from_mins(25),
            ..Times::default()
        },
    }
}
