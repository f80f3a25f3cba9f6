//! A scenario of the simulation: what people do and when, the faults, and the expected limits. The
//! scenarios are defined in `profiles` and `narrow`.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, RecordFormats};
use tinqs_ci_reconciler::ports::RegistrationLists;

use crate::faults::{FaultPeriod, FaultProfile, Rng};
use crate::forge::{JobSpec, Line};
use crate::laws::Laws;
use crate::world::Demand;

/// An action of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Push a commit whose workflow has these jobs.
    Push {
        /// Repository.
        repo: String,
        /// The jobs.
        jobs: Vec<JobSpec>,
    },
    /// Cancel the job pushed this many jobs ago.
    Cancel(usize),
    /// Rerun that job if it is done.
    Rerun(usize),
    /// Request that the job pushed `ago` jobs ago gets no more machines.
    Delete {
        /// Number of jobs ago.
        ago: usize,
        /// Whether to terminate its machine, too.
        now: bool,
    },
    /// Request another attempt now.
    Retry(usize),
    /// Terminate some live machine.
    Terminate(usize),
    /// Delete that job at the forge.
    Forget(usize),
    /// Remove a repository.
    RemoveRepo(String),
    /// Give a repository another name, or another owner. The next push to the former name makes
    /// another repository there.
    RenameRepo {
        /// Its name.
        from: String,
        /// The new one.
        to: String,
    },
    /// Change the classes; replicas learn of it one by one.
    Configure(Vec<Class>),
    /// Lose all records, seats and leases.
    LoseRecords,
    /// Lose the same, stop all replicas, and make the store again before they start.
    Rebuild,
    /// Rewrite each record at random, within its types, with this probability in percent.
    Scramble(u64),
    /// A stranger registers runners for jobs that are not done.
    Register(Stranger),
    /// The neighbor's runners report their jobs as done, and others of them ask for one.
    WorkElsewhere,
    /// All strangers remove their runners.
    StrangersLeave,
}

impl UserAction {
    /// Loses all records at this time, by which half of the histories rebuild them.
    pub(super) fn lose(at: SignedDuration) -> (SignedDuration, Self) {
        (at, if at.as_secs() % 2 == 0 { Self::Rebuild } else { Self::LoseRecords })
    }
}

/// A party that registers runners under names like ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Another installation.
    Neighbor,
    /// An installation of an earlier release: its names do not tell whose they are.
    EarlierRelease,
    /// Somebody who uses the names of our attempts.
    Impostor,
}

/// A replica is replaced by one of another release.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade {
    /// The time after the start; zero: it begins with that release.
    pub after: SignedDuration,
    /// The number of the replica.
    pub replica: usize,
    /// The formats that the other release reads and writes.
    pub to: RecordFormats,
}

/// A scenario of the simulation.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name.
    pub name: &'static str,
    /// Fault probabilities while jobs arrive, drawn for each seed.
    pub faults: fn(&mut Rng) -> FaultProfile,
    /// Periods in which one thing fails.
    pub periods: fn(&mut Rng) -> Vec<FaultPeriod>,
    /// Actions of people, each with its time after the start.
    pub user_actions: fn(&mut Rng) -> Vec<(SignedDuration, UserAction)>,
    /// Minimum duration of the faults.
    pub lasts: SignedDuration,
    /// The classes.
    pub classes: Vec<Class>,
    /// Fewest and most replicas.
    pub replicas: (u64, u64),
    /// The replicas that get another release, and the times of that.
    pub upgrades: fn(&mut Rng) -> Vec<Upgrade>,
    /// Release line of the forge.
    pub line: fn(&mut Rng) -> Line,
    /// Source of demand.
    pub demand: Demand,
    /// The lists that show the registrations.
    pub lists: fn(&mut Rng) -> RegistrationLists,
    /// Longest permitted wait of a job during the faults, without the time in which no job can
    /// start.
    pub waits_at_most: SignedDuration,
    /// Whether the order of free seats is checked where no fault disturbs it (L11).
    pub checks_shares: bool,
    /// The time to watch after the last job for calls that change something, while finished runs
    /// are still kept. Zero if they are not kept that long.
    pub settled: SignedDuration,
}

impl Profile {
    /// Returns the profile with this name, also a narrow one.
    pub fn named(name: &str) -> Option<Self> {
        let mut profiles = Self::all().into_iter().chain(Self::narrow());
        profiles.find(|profile| profile.name == name)
    }

    /// Switches on the laws that only some profiles can be held to. `steady`: the number of
    /// replicas, if there is no period in which something fails.
    pub(super) fn switch_on(&self, laws: &mut Laws, faults: &FaultProfile, steady: Option<usize>) {
        // Replicas that are replaced stand still for a while; without a job list nothing is known of
        // a cancellation.
        let is_checked = self.demand == Demand::Jobs && self.name != "upgrade";
        let is_checked = is_checked && faults.answers_all();
        laws.canceled_among = steady.filter(|_| is_checked);
        laws.watches_boots = self.watches_boots();
        laws.reruns_within = self.reruns_within(faults);
        let is_checked = matches!(self.name, "interrupt" | "taken") && !fails(faults);
        // A run is due within a minute, and a sweep wakes it within another one.
        laws.lost_told_within = is_checked.then_some(SignedDuration::from_mins(4));
    }

    /// Returns within which time a lost job must be run again, where that is checked: nobody sets
    /// clocks, and webhooks arrive. A call that fails is repeated after more than a minute.
    fn reruns_within(&self, faults: &FaultProfile) -> Option<SignedDuration> {
        let fails = fails(faults);
        match self.name {
            "interrupt" if fails => Some(SignedDuration::from_mins(20)),
            "interrupt" => Some(SignedDuration::from_mins(3)),
            "interrupt_lost" => Some(SignedDuration::from_hours(12)),
            _ => None,
        }
    }

    /// Returns whether the breaker for machines is checked. Elsewhere a machine that works may look
    /// offline for a while, because the forge is away, its runner is silent, or a clock is wrong.
    fn watches_boots(&self) -> bool {
        matches!(self.name, "deaf" | "spot" | "cap")
    }
}

/// Returns whether calls fail, or replicas die.
fn fails(faults: &FaultProfile) -> bool {
    faults.refused > 0.0 || faults.reply_lost > 0.0 || faults.crash > 0.0
}
