//! Results of many seeds as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tinqs_ci_simulator::play::Outcome;

/// Sums over seeds: per profile, and the faults of all profiles.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    profiles: BTreeMap<&'static str, Sums>,
    struck: BTreeMap<&'static str, u64>,
    /// Law, profile and seed of each violation.
    violations: BTreeSet<(&'static str, &'static str, u64)>,
    broken: u64,
}

#[derive(Debug, Default)]
struct Sums {
    seeds: u64,
    broken: u64,
    jobs: u64,
    ran: u64,
    machines: u64,
    launches: u64,
    runs: u64,
    writes: u64,
    most_writes: u32,
    reconciles: u64,
    longest_wait: i64,
    longest_to_done: i64,
    waited_in_vain: u64,
    /// Seeds with more machines than jobs that ran.
    surplus: u64,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.seeds += 1;
        self.broken += u64::from(!outcome.violations.is_empty());
        self.jobs += count(outcome.jobs);
        self.ran += count(outcome.ran);
        self.machines += count(outcome.machines);
        self.launches += outcome.launches;
        self.runs += count(outcome.writes_per_run.len());
        self.writes += outcome.writes();
        let most = outcome.writes_per_run.values().max().copied().unwrap_or(0);
        self.most_writes = self.most_writes.max(most);
        self.reconciles += outcome.reconciles;
        self.longest_wait = self.longest_wait.max(outcome.longest_wait.as_secs());
        self.longest_to_done = self.longest_to_done.max(outcome.longest_to_done.as_secs());
        self.waited_in_vain += outcome.waited_in_vain;
        self.surplus += u64::from(outcome.machines > outcome.ran);
    }
}

impl Summary {
    /// Adds the result of one seed.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.profiles.entry(outcome.profile).or_default().add(outcome);
        for (fault, count) in &outcome.struck {
            *self.struck.entry(fault).or_insert(0) += count;
        }
        self.broken += u64::from(!outcome.violations.is_empty());
        for violation in &outcome.violations {
            self.violations.insert((violation.law, outcome.profile, outcome.seed));
        }
    }

    /// Returns the number of seeds that broke a law.
    pub(crate) fn broken(&self) -> u64 {
        self.broken
    }
}

/// Returns the command that replays a seed.
pub(crate) fn repeat(seed: u64, profile: &str) -> String {
    format!(
        "cargo run -p tinqs-ci-simulator --release -- --seeds 1 --first-seed {seed} --profile \
         {profile}"
    )
}

/// `of` per `each`.
#[allow(clippy::cast_precision_loss, reason = "a displayed ratio")]
fn per(of: u64, each: u64) -> f64 {
    of as f64 / each.max(1) as f64
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<14} {:>6} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>10} {:>9} {:>7}",
            "profile",
            "seeds",
            "jobs",
            "ran",
            "machines",
            "launches",
            "writes",
            "most",
            "reconciles",
            "longest",
            "broken"
        )?;
        writeln!(
            f,
            "{:<14} {:>6} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>10} {:>9} {:>7}",
            "",
            "",
            "",
            "",
            "per job",
            "per job",
            "per run",
            "writes",
            "per run",
            "wait (s)",
            "seeds"
        )?;
        for (name, sums) in &self.profiles {
            writeln!(
                f,
                "{name:<14} {:>6} {:>8} {:>8} {:>9.3} {:>9.3} {:>7.2} {:>7} {:>10.1} {:>9} {:>7}",
                sums.seeds,
                sums.jobs,
                sums.ran,
                per(sums.machines, sums.ran),
                per(sums.launches, sums.ran),
                per(sums.writes, sums.runs),
                sums.most_writes,
                per(sums.reconciles, sums.runs),
                sums.longest_wait,
                sums.broken,
            )?;
        }
        let total = |of: fn(&Sums) -> u64| self.profiles.values().map(of).sum::<u64>();
        writeln!(
            f,
            "\n{} seeds, {} jobs, {} machines, {} launches, {} writes, {} reconciles",
            total(|s| s.seeds),
            total(|s| s.jobs),
            total(|s| s.machines),
            total(|s| s.launches),
            total(|s| s.writes),
            total(|s| s.reconciles),
        )?;
        let faults: Vec<String> = self.struck.iter().map(|(k, n)| format!("{k} {n}")).collect();
        writeln!(
            f,
            "faults: {}",
            if faults.is_empty() { "none".into() } else { faults.join(", ") }
        )?;
        for (name, sums) in &self.profiles {
            let Sums { waited_in_vain, surplus, longest_to_done, .. } = sums;
            writeln!(
                f,
                "{name}: {waited_in_vain} waits in vain, more machines than jobs in {surplus} \
                 seeds, at most {longest_to_done} s from queued to done"
            )?;
        }
        if self.broken == 0 {
            return writeln!(f, "no law was broken");
        }
        writeln!(f, "{} seeds broke a law:", self.broken)?;
        for (law, profile, seed) in &self.violations {
            writeln!(f, "  {law} {profile} {seed}: {}", repeat(*seed, profile))?;
        }
        Ok(())
    }
}
