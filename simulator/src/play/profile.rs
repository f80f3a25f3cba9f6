//! A narrow world: what is pushed when, in which weather, and what is expected of it. The worlds
//! themselves are in `profiles` and `narrow`.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::Class;

use crate::faults::{Faults, Rng, Spell};
use crate::forge::{JobSpec, Line};
use crate::world::Demand;

/// What people do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Push a commit whose workflow has these jobs.
    Push {
        /// To this repository.
        repo: String,
        /// The jobs.
        jobs: Vec<JobSpec>,
    },
    /// Cancel the job that was pushed so many jobs ago.
    Cancel(usize),
    /// Run that job again, if it is over.
    Rerun(usize),
    /// Say that the job pushed so many jobs ago gets no machine any more.
    Delete {
        /// Which.
        ago: usize,
        /// And end its machine.
        now: bool,
    },
    /// Say that it is to be tried again now.
    Retry(usize),
    /// End a machine that lives, whichever it is.
    Terminate(usize),
    /// Take that job out of the forge's books.
    Forget(usize),
    /// Remove a repository.
    RemoveRepo(String),
    /// Change the classes; replicas learn of it one after the other.
    Configure(Vec<Class>),
    /// Lose all records, seats and leases.
    LoseRecords,
    /// Rewrite a record at random, within its types, with this probability in percent each.
    Scramble(u64),
}

/// A narrow world.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Its weather, while jobs come; drawn anew for each seed.
    pub weather: fn(&mut Rng) -> Faults,
    /// What is wrong for a while.
    pub spells: fn(&mut Rng) -> Vec<Spell>,
    /// What is done, and how long after the start.
    pub deeds: fn(&mut Rng) -> Vec<(SignedDuration, Deed)>,
    /// The weather lasts at least so long.
    pub lasts: SignedDuration,
    /// The classes.
    pub classes: Vec<Class>,
    /// How many replicas, at least and at most.
    pub replicas: (u64, u64),
    /// The forge's release line.
    pub line: fn(&mut Rng) -> Line,
    /// What tells of jobs.
    pub demand: Demand,
    /// How long a job may wait while the weather lasts, the time not counted in which none can start.
    pub waits_at_most: SignedDuration,
    /// How long is looked on, after the last job, for calls that change something while finished
    /// runs are still kept. Zero where they are not kept for so long.
    pub settled: SignedDuration,
}

impl Profile {
    /// The profile of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|profile| profile.name == name)
    }
}
