//! The laws of the heart, asserted at the moment of each call. The judge knows the truth of the
//! world and everything that was ever recorded, and nothing of how the controller decides.

mod calls;
mod time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::{Attempt, Class, ClassName, InstanceId, Run, RunName, Slot, Uid};

use crate::executor::Group;

pub use calls::{RetireTruth, TerminateTruth};
pub use time::Excuse;

/// Events that are remembered for a story, where nothing else is asked for.
const REMEMBERED: usize = 20_000;
/// The longest story.
const STORY: usize = 120;
/// Violations of which a story is kept.
const STORIES: usize = 5;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: `L1` to `L8`, or `time`.
    pub law: &'static str,
    /// In which world.
    pub seed: u64,
    /// When.
    pub at: Timestamp,
    /// How.
    pub what: String,
    /// The events before it that name the same run, or the last ones.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} is broken at {}: {}", self.seed, self.law, self.at, self.what)?;
        for line in &self.story {
            writeln!(f, "    {line}")?;
        }
        Ok(())
    }
}

/// The judge, and the chronicle of the world.
#[derive(Clone, Debug)]
pub struct Laws {
    seed: u64,
    began_at: Timestamp,
    violations: Vec<Violation>,
    told: VecDeque<String>,
    hash: Sha256,
    /// Every attempt that was ever recorded, as last recorded.
    attempts: BTreeMap<Slot, Attempt>,
    /// The highest attempt number of an incarnation.
    highest: BTreeMap<(RunName, Uid), u32>,
    writes: BTreeMap<RunName, VecDeque<Timestamp>>,
    written: BTreeMap<RunName, u32>,
    looks: u64,
    /// When a replica was told last that a class's launches are refused for what a person must mend.
    stopped: BTreeMap<(Group, ClassName), Timestamp>,
    /// Slots of which the cloud has made twins, by its own fault.
    twinned: BTreeSet<Slot>,
    /// How often each run was woken.
    woken: BTreeMap<RunName, u64>,
    waiting: BTreeMap<(i64, Timestamp), time::Wait>,
    registration_went: BTreeMap<i64, Timestamp>,
    /// Machines that should be gone: since when, of that excused, and whether it was told.
    lingering: BTreeMap<String, time::Wait>,
    /// Runs whose records were rewritten at random.
    scrambled: BTreeSet<RunName>,
    /// Machines that lived when all records were lost.
    orphans: BTreeSet<InstanceId>,
    /// When every replica knew the classes in force.
    configured_at: Option<Timestamp>,
    /// The longest that a job waited, and which.
    longest_wait: (SignedDuration, i64),
    /// How often a run waited in vain for the machine of the job that had taken its own.
    waited_in_vain: u64,
    /// How many events are remembered.
    pub remembers: usize,
    /// No job may wait longer where capacity is there.
    pub waits_at_most: SignedDuration,
    /// Most writes of one run, in that time.
    pub writes_at_most: (usize, SignedDuration),
    /// Whether the cloud makes twins, by asking twice: L2 and L6 are excepted then.
    pub twins: bool,
    /// The classes in force, for their limits.
    pub classes: Vec<Class>,
    /// What machines are told of git.
    pub git_token: Option<String>,
    /// Whether a registration may be retired under a machine that lives: after a lost table.
    pub records_lost: bool,
}

impl Laws {
    /// A judge of the world of a seed.
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
            looks: 0,
            stopped: BTreeMap::new(),
            twinned: BTreeSet::new(),
            woken: BTreeMap::new(),
            waiting: BTreeMap::new(),
            registration_went: BTreeMap::new(),
            lingering: BTreeMap::new(),
            scrambled: BTreeSet::new(),
            orphans: BTreeSet::new(),
            configured_at: None,
            longest_wait: (SignedDuration::ZERO, 0),
            waited_in_vain: 0,
            remembers: REMEMBERED,
            waits_at_most: SignedDuration::from_hours(1),
            writes_at_most: (150, SignedDuration::from_hours(24)),
            twins: false,
            classes: Vec::new(),
            git_token: None,
            records_lost: false,
        }
    }

    /// An event of the world, as a line of its chronicle.
    pub fn tell(&mut self, now: Timestamp, line: &str) {
        let since = now.duration_since(self.began_at).as_millis();
        let (seconds, millis) = (since / 1000, since % 1000);
        let line = format!(
            "{:3}:{:02}:{:02}.{millis:03} {line}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        );
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if self.told.len() >= self.remembers {
            self.told.pop_front();
        }
        self.told.push_back(line);
    }

    /// A law was broken. `about` is what the events that led to it have in common.
    pub fn broken(&mut self, law: &'static str, now: Timestamp, about: &str, what: String) {
        self.tell(now, &format!("BROKEN {law}: {what}"));
        let story = if self.violations.len() < STORIES { self.story(about) } else { Vec::new() };
        self.violations.push(Violation { law, seed: self.seed, at: now, what, story });
    }

    /// All records are gone; these machines lived then.
    pub fn on_lost_table(&mut self, live: impl Iterator<Item = InstanceId>) {
        self.records_lost = true;
        self.orphans.extend(live);
    }

    /// A record was rewritten at random. What it says now is what is true of it; what it said before
    /// binds nobody.
    pub fn on_scrambled(&mut self, run: &Run) {
        self.attempts.retain(|slot, _| slot.run != run.name);
        self.highest.retain(|(name, _), _| *name != run.name);
        self.scrambled.insert(run.name.clone());
        if let Some(attempt) = &run.status.attempt {
            self.attempts.insert(run.slot(attempt.number), attempt.clone());
        }
    }

    /// Other classes are in force, and every replica knows them from then on.
    pub fn on_configured(&mut self, classes: &[Class], known_at: Timestamp) {
        self.classes = classes.to_vec();
        self.configured_at = Some(known_at);
    }

    /// A replica hears of other classes: it may try them.
    pub fn on_heard(&mut self) {
        self.stopped.clear();
    }

    /// The last events that hold a word, in order; all last events where the word is empty.
    pub fn story(&self, about: &str) -> Vec<String> {
        let of_it = self.told.iter().rev().filter(|line| mentions(line, about));
        let mut story: Vec<String> = of_it.take(STORY).cloned().collect();
        story.reverse();
        story
    }

    /// All events that are remembered.
    pub fn chronicle(&self) -> impl Iterator<Item = &str> {
        self.told.iter().map(String::as_str)
    }

    /// The seed of the world that is judged.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What was broken so far.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A hash over everything that happened.
    pub fn hash(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }

    /// When the world began.
    pub fn began_at(&self) -> Timestamp {
        self.began_at
    }

    /// Looks that were told of.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// How often each run was written.
    pub fn written(&self) -> &BTreeMap<RunName, u32> {
        &self.written
    }

    /// How often a run waited the whole `assign_within` for a robber's machine, and then needed another.
    pub fn waited_in_vain(&self) -> u64 {
        self.waited_in_vain
    }

    /// The longest that a job waited for its runner, and the job.
    pub fn longest_wait(&self) -> (SignedDuration, i64) {
        self.longest_wait
    }
}

/// Whether a line holds a word, not followed by a digit: `job-1` is not `job-12`.
fn mentions(line: &str, word: &str) -> bool {
    word.is_empty()
        || line
            .match_indices(word)
            .any(|(at, _)| !line[at + word.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_of_one_run_and_the_hash_of_all() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let mut other = Laws::new(1, start);
        for line in ["put job-1", "put job-12", "launch tq-job-1-abc"] {
            laws.tell(start, line);
            other.tell(start, line);
        }
        assert_eq!(laws.hash(), other.hash());
        laws.broken("L2", start + SignedDuration::from_secs(3), "job-1", "two machines".into());
        assert_ne!(laws.hash(), other.hash());
        let story = &laws.violations()[0].story;
        assert_eq!(story.len(), 2, "{story:?}");
        assert!(laws.violations()[0].to_string().contains("seed 1: L2"));
    }

    #[test]
    fn a_registration_may_go_under_a_machine_of_twins_alone() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let slot = |job: i64| format!("tq-job-{job}-0a1b2c3d-1").parse::<Slot>().expect("a slot");
        laws.twinned.insert(slot(1));
        let truth =
            |job: i64, works| RetireTruth { name: slot(job).to_string(), works, lives: true };
        laws.on_retire(start, 101, &truth(1, false));
        assert!(laws.violations().is_empty());
        laws.on_retire(start, 102, &truth(2, false));
        laws.on_retire(start, 101, &truth(1, true));
        let broken: Vec<_> = laws.violations().iter().map(|v| (v.law, v.what.as_str())).collect();
        assert_eq!(broken.len(), 2, "{broken:?}");
        assert!(broken.iter().all(|(law, _)| *law == "L3"));
    }

    #[test]
    fn a_class_that_was_refused_is_left_alone_for_five_minutes_by_whom_was_told() {
        let start = Timestamp::UNIX_EPOCH;
        let mut laws = Laws::new(1, start);
        let class = |name: &str| ClassName(name.to_owned());
        let slot: Slot = "tq-job-1-0a1b2c3d-1".parse().expect("a slot");
        laws.on_stopped(start, 1, &class("bad"));
        let later = |seconds| start + SignedDuration::from_secs(seconds);
        laws.on_asked(later(1), 2, &slot, &class("bad"));
        laws.on_asked(later(1), 1, &slot, &class("good"));
        laws.on_asked(later(300), 1, &slot, &class("bad"));
        assert!(laws.violations().is_empty());
        laws.on_asked(later(299), 1, &slot, &class("bad"));
        assert_eq!(laws.violations().len(), 1);
    }
}
