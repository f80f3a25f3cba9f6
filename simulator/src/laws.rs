//! The laws, checked at the moment of each call. The checker knows the true state of the world and
//! all records ever written, but not how the controller decides.

mod assigned;
mod boots;
mod calls;
mod canceled;
mod credentials;
pub(crate) mod drift;
mod formats;
mod given_up;
mod hung;
mod lost;
mod pools;
mod report;
mod reruns;
mod shares;
mod story;
mod time;
pub(crate) mod usage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Class, ClassName, JobRef, MachineId, Run, RunName, Uid,
};

use crate::executor::Group;

pub use calls::RetireTruth;
pub use hung::TerminateTruth;
pub use pools::{Figure, PoolFigures};
pub use shares::SeatTaken;
pub use time::Allowance;

/// Events kept for a story, unless set otherwise.
const STORY_EVENTS: usize = 20_000;
/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law: `L1` to `L15`, `L16 usage`, `L17`, `boots`, `formats`, `given up`, `time`, or
    /// `drift`.
    pub law: &'static str,
    /// Seed of the world.
    pub seed: u64,
    /// Simulated time of the violation.
    pub at: Timestamp,
    /// A description of the violation.
    pub what: String,
    /// Earlier events that name the same run; without a run, the last events.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} was broken at {}: {}", self.seed, self.law, self.at, self.what)?;
        for line in &self.story {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// Checks the laws and records the events of the world.
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
#[derive(Clone, Debug)]
pub struct Laws {
    seed: u64,
    began_at: Timestamp,
    violations: Vec<Violation>,
    told: VecDeque<String>,
    hash: Sha256,
    /// Every attempt ever recorded, in its last recorded form, with the credentials that it had.
    attempts: BTreeMap<AttemptId, Attempt>,
    /// The highest attempt number of each incarnation.
    highest: BTreeMap<(RunName, Uid), u32>,
    writes: BTreeMap<RunName, VecDeque<Timestamp>>,
    written: BTreeMap<RunName, u32>,
    reconciles: u64,
    /// Time at which a replica last learned that launches of a class are refused until a person
    /// fixes something.
    stopped: BTreeMap<(Group, ClassName), Timestamp>,
    /// Attempts for which the cloud made duplicate machines, by its own fault.
    twinned: BTreeSet<AttemptId>,
    /// Attempts whose launch landed after the decision had stopped waiting for it.
    late: BTreeSet<AttemptId>,
    /// The number of wake-ups of each run.
    woken: BTreeMap<RunName, u64>,
    /// The requirements of each run's job: repository and labels.
    launched_for: BTreeMap<RunName, (i64, Vec<String>)>,
    /// The job with which each attempt was recorded: its seat counts for the job's repository.
    decided_for: BTreeMap<AttemptId, JobRef>,
    waiting: BTreeMap<(i64, Timestamp), time::Wait>,
    registration_went: BTreeMap<i64, Timestamp>,
    /// Machines that should be gone, and for how long.
    lingering: BTreeMap<String, time::Wait>,
    /// Machines that were never used although their boot promise is over.
    unused: BTreeMap<String, time::Wait>,
    /// Runs whose records were rewritten at random.
    scrambled: BTreeSet<RunName>,
    /// The registrations of other installations.
    strangers: BTreeSet<i64>,
    /// Machines that were live when all records were lost.
    orphans: BTreeSet<MachineId>,
    /// Time from which every replica knows the current classes.
    configured_at: Option<Timestamp>,
    /// The longest wait of a job, and the job.
    longest_wait: (SignedDuration, i64),
    /// The number of times that a run waited in vain for the machine of the job that displaced its
    /// own.
    waited_in_vain: u64,
    /// State of the check of drift.
    drift: drift::DriftWatch,
    /// The recorded and counted usage of machines.
    usage: usage::UsageWatch,
    /// Machines that never came online.
    boots: boots::BootWatch,
    /// The shares of owners in classes.
    shares: shares::SharesWatch,
    /// Jobs that were run again.
    reruns: reruns::RerunWatch,
    /// Machines that the cloud took and whose loss is not told yet: the job, and when.
    untold: BTreeMap<(i64, Timestamp), time::Wait>,
    /// Figures of the pools from which machines came.
    pools: PoolFigures,
    /// Number of events to keep.
    pub keeps_events: usize,
    /// Longest permitted wait of a job while capacity is available.
    pub waits_at_most: SignedDuration,
    /// Most writes of one run, and the time window.
    pub writes_at_most: (usize, SignedDuration),
    /// Whether the cloud duplicates machines when asked twice: L2 and L6 are then not checked.
    pub twins: bool,
    /// The current classes, for their limits.
    pub classes: Vec<Class>,
    /// The number of replicas, if the order of free seats is checked (L11).
    pub fair_among: Option<usize>,
    /// The git credential that machines receive.
    pub git_token: Option<String>,
    /// Whether a registration may be retired while its machine is live: after a lost table.
    pub records_lost: bool,
    /// Whether records are made again: an attempt then has what its machine's tags tell.
    pub rebuilds: bool,
    /// Whether the breaker for machines is checked: where a machine whose runner works never looks
    /// offline.
    pub watches_boots: bool,
    /// The longest permitted time from the end of a workflow run until its lost jobs are run again
    /// (L17); `None`: not checked.
    pub reruns_within: Option<SignedDuration>,
    /// The longest permitted time until a run says that the cloud took the machine of its job (L9);
    /// `None`: not checked.
    pub lost_told_within: Option<SignedDuration>,
    /// The number of replicas, if the life of machines whose job was canceled is checked.
    pub canceled_among: Option<usize>,
    /// Machines that outlived the cancellation of their job, once each.
    outlived: BTreeSet<MachineId>,
}

impl Laws {
    /// Creates the laws for the world of a seed.
    pub fn new(seed: u64, began_at: Timestamp) -> Self {
        Self {
            seed,
            began_at,
            violations: Vec::new(),
            told: VecDeque::new(),
            hash: Sha256::new(),
            attempts: BTreeMap::new(),
            highest: BTreeMap::new(),
            writes: BTreeMap::new(),
            written: BTreeMap::new(),
            reconciles: 0,
            stopped: BTreeMap::new(),
            twinned: BTreeSet::new(),
            late: BTreeSet::new(),
            woken: BTreeMap::new(),
            launched_for: BTreeMap::new(),
            decided_for: BTreeMap::new(),
            waiting: BTreeMap::new(),
            registration_went: BTreeMap::new(),
            lingering: BTreeMap::new(),
            unused: BTreeMap::new(),
            scrambled: BTreeSet::new(),
            strangers: BTreeSet::new(),
            orphans: BTreeSet::new(),
            configured_at: None,
            longest_wait: (SignedDuration::ZERO, 0),
            waited_in_vain: 0,
            drift: drift::DriftWatch::default(),
            usage: usage::UsageWatch::default(),
            boots: boots::BootWatch::default(),
            shares: shares::SharesWatch::default(),
            reruns: reruns::RerunWatch::default(),
            untold: BTreeMap::new(),
            pools: PoolFigures::default(),
            keeps_events: STORY_EVENTS,
            waits_at_most: SignedDuration::from_hours(1),
            writes_at_most: (240, SignedDuration::from_hours(24)),
            twins: false,
            classes: Vec::new(),
            fair_among: None,
            git_token: None,
            records_lost: false,
            rebuilds: false,
            watches_boots: false,
            reruns_within: None,
            lost_told_within: None,
            canceled_among: None,
            outlived: BTreeSet::new(),
        }
    }

    /// Records that all records are lost; `live` are the machines at that time.
    pub fn on_lost_table(&mut self, live: impl Iterator<Item = MachineId>) {
        self.records_lost = true;
        self.orphans.extend(live);
    }

    /// Records that a launch landed later than the decision waits for it, because its process was
    /// suspended between the signature and the sending: its machine may be beyond a limit (L6), and
    /// without registration (L3) or record (L16).
    pub fn on_landed_late(&mut self, attempt_id: &AttemptId) {
        self.late.insert(attempt_id.clone());
    }

    /// Returns whether a launch of this attempt landed late.
    fn is_late(&self, attempt_id: &AttemptId) -> bool {
        self.late.contains(attempt_id)
    }

    /// Returns whether a machine was live when all records were lost.
    pub fn is_orphan(&self, machine: &MachineId) -> bool {
        self.orphans.contains(machine)
    }

    /// Records that a record was rewritten at random. Only its new content counts from now on.
    pub fn on_scrambled(&mut self, run: &Run) {
        let attempt = run.status.attempt.as_ref().map(|attempt| {
            let attempt_id = run.attempt_id(attempt.number);
            let attempt = credentials::with_former(self.attempts.get(&attempt_id), attempt);
            (attempt_id, attempt)
        });
        self.attempts.retain(|attempt_id, _| attempt_id.run != run.name);
        self.highest.retain(|(name, _), _| *name != run.name);
        self.scrambled.insert(run.name.clone());
        self.attempts.extend(attempt);
    }

    /// Records that another installation registered a runner.
    pub fn on_stranger(&mut self, registration: i64) {
        self.strangers.insert(registration);
    }

    /// Returns whether a registration is another installation's.
    pub fn is_strangers(&self, registration: i64) -> bool {
        self.strangers.contains(&registration)
    }

    /// Records that the classes changed; every replica knows them from `known_at` on.
    pub fn on_configured(&mut self, classes: &[Class], known_at: Timestamp) {
        self.classes = classes.to_vec();
        self.configured_at = Some(known_at);
    }

    /// Records that a replica learned of other classes, so it may try them.
    pub fn on_heard(&mut self) {
        self.stopped.clear();
    }

    /// Returns the seed of the world.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the violations so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns when the world began.
    pub fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// Returns the number of reconciles.
    pub fn reconciles(&self) -> u64 {
        self.reconciles
    }

    /// Returns how often each run was written.
    pub fn written(&self) -> &BTreeMap<RunName, u32> {
        &self.written
    }

    /// Returns how often a run waited all of `assign_within` for the machine of the job that
    /// displaced its own, and then needed another machine.
    pub fn waited_in_vain(&self) -> u64 {
        self.waited_in_vain
    }

    /// Returns the longest wait of a job for its runner, and the job.
    pub fn longest_wait(&self) -> (SignedDuration, i64) {
        self.longest_wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_duplicate_machine_may_lose_its_registration() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let attempt_id = |job: i64| {
            format!("tq-job-{job}-0a1b2c3d-1").parse::<AttemptId>().expect("an attempt ID")
        };
        laws.twinned.insert(attempt_id(1));
        let truth =
            |job: i64, works| RetireTruth { name: attempt_id(job).to_string(), works, lives: true };
        laws.on_retire(start, 101, &truth(1, false));
        assert!(laws.violations().is_empty());
        laws.on_retire(start, 102, &truth(2, false));
        laws.on_retire(start, 101, &truth(1, true));
        let broken: Vec<_> = laws.violations().iter().map(|v| (v.law, v.what.as_str())).collect();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken.iter().all(|(law, _)| *law == "L3"));
    }

    #[test]
    fn a_replica_does_not_ask_for_five_minutes_after_a_permanent_refusal() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let class = |name: &str| ClassName(name.to_owned());
        let attempt_id: AttemptId = "tq-job-1-0a1b2c3d-1".parse().expect("an attempt ID");
        laws.on_stopped(start, 1, &class("bad"));
        let later = |seconds| start + SignedDuration::from_secs(seconds);
        laws.on_asked(later(1), 2, &attempt_id, &class("bad"));
        laws.on_asked(later(1), 1, &attempt_id, &class("good"));
        laws.on_asked(later(300), 1, &attempt_id, &class("bad"));
        assert!(laws.violations().is_empty());
        laws.on_asked(later(299), 1, &attempt_id, &class("bad"));
        assert_eq!(laws.violations().len(), 1);
    }
}
