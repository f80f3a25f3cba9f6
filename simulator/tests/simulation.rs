//! The whole controller in the pretended world, seed by seed.
//!
//! A failing seed prints its story. To repeat one:
//! `TINQS_CI_SEED=7 cargo test -p tinqs-ci-simulator --test simulation <profile>`.
//! To look at more: `TINQS_CI_SEEDS=1000`. To read all that happened: `TINQS_CI_TRACE=FILE` beside
//! `TINQS_CI_SEED`.

use std::collections::BTreeMap;

use tinqs_ci_simulator::world::{Outcome, Profile, chronicle, run};

/// The seeds to look at: the one asked for, or as many as asked for, or `count`.
fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
    };
    match (number("TINQS_CI_SEED"), number("TINQS_CI_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1..=count).collect(),
        (None, None) => (1..=count).collect(),
    }
}

fn history(seed: u64, profile: &Profile) -> Outcome {
    match std::env::var("TINQS_CI_TRACE") {
        Err(_) => run(seed, profile),
        Ok(path) => {
            let (outcome, lines) = chronicle(seed, profile);
            std::fs::write(&path, lines.join("\n")).unwrap_or_else(|e| panic!("{path}: {e}"));
            outcome
        }
    }
}

/// Plays the seeds of a profile. Panics with the stories of those that broke a law.
fn play(profile: &Profile, count: u64) -> Vec<Outcome> {
    let outcomes: Vec<Outcome> =
        seeds(count).into_iter().map(|seed| history(seed, profile)).collect();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| !o.violations.is_empty()).collect();
    if failed.is_empty() {
        let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
        println!(
            "{}: {} seeds, {} jobs ran, {} on another run's machine, {} machines, {} launches, \
             most writes of a run {}, longest wait {} s",
            profile.name,
            outcomes.len(),
            sum(|o| o.ran),
            sum(|o| o.shared),
            sum(|o| o.machines),
            outcomes.iter().map(|o| o.launches).sum::<u64>(),
            outcomes.iter().filter_map(|o| o.writes_per_run.values().max()).max().unwrap_or(&0),
            outcomes.iter().map(|o| o.longest_wait.as_secs()).max().unwrap_or(0),
        );
        return outcomes;
    }
    for outcome in failed.iter().take(3) {
        for violation in outcome.violations.iter().take(2) {
            println!("{}: {violation}", profile.name);
        }
    }
    let mut laws: BTreeMap<&str, usize> = BTreeMap::new();
    for violation in failed.iter().flat_map(|o| &o.violations) {
        *laws.entry(violation.law).or_insert(0) += 1;
    }
    let numbers: Vec<u64> = failed.iter().map(|o| o.seed).collect();
    panic!(
        "{}: {} of {} seeds broke laws {laws:?}: {numbers:?}\nrepeat one: TINQS_CI_SEED={} cargo \
         test -p tinqs-ci-simulator --test simulation {}",
        profile.name,
        failed.len(),
        outcomes.len(),
        numbers[0],
        profile.name,
    );
}

#[test]
fn calm_weather_costs_one_machine_one_launch_five_writes_and_a_removal() {
    for outcome in play(&Profile::calm(), 6) {
        let Outcome { seed, jobs, ran, machines, launches, registrations, removals, .. } = outcome;
        assert_eq!((jobs, ran, machines), (40, 40, 40), "seed {seed}");
        assert_eq!((launches, removals), (40, 40), "seed {seed}");
        // Two replicas that look at a new run at once both register; row 24 takes one back.
        let twins = registrations - 40;
        assert!(twins <= if outcome.replicas == 1 { 0 } else { 2 }, "seed {seed}: {twins} twins");
        let retired = outcome.calls.get("forge.retire").copied().unwrap_or(0);
        assert!(retired <= 2 * twins, "seed {seed}: {retired} retired");
        assert_eq!(outcome.writes_per_run.len(), 40, "seed {seed}");
        let more: Vec<_> = outcome.writes_per_run.iter().filter(|(_, n)| **n != 5).collect();
        assert!(more.is_empty(), "seed {seed}: not five writes: {more:?}");
        assert_eq!(outcome.mutating_calls_in_settled_day, 0, "seed {seed}");
        assert_eq!(outcome.calls.get("compute.terminate"), None, "seed {seed}");
    }
}

#[test]
fn steal_shares_machines_and_makes_none_too_many() {
    let outcomes = play(&Profile::steal(), 12);
    for outcome in &outcomes {
        let Outcome { seed, jobs, ran, machines, .. } = outcome;
        assert_eq!((*jobs, *ran, *machines), (120, 120, 120), "seed {seed}");
    }
    let shared: usize = outcomes.iter().map(|o| o.shared).sum();
    assert!(shared > 120 * outcomes.len() / 2, "only {shared} jobs ran on another run's machine");
}

#[test]
fn webhooks_lost() {
    every_job_is_done(&Profile::webhooks_lost());
}

#[test]
fn crash() {
    every_job_is_done(&Profile::crash());
}

#[test]
fn lost_reply() {
    every_job_is_done(&Profile::lost_reply());
}

#[test]
fn silence() {
    for outcome in play(&Profile::silence(), 12) {
        let Outcome { seed, ran, machines, .. } = outcome;
        assert_eq!((ran, machines), (120, 120), "seed {seed}");
    }
}

#[test]
fn limits() {
    every_job_is_done(&Profile::limits());
}

#[test]
fn chaos() {
    every_job_is_done(&Profile::chaos());
}

fn every_job_is_done(profile: &Profile) {
    for outcome in play(profile, 50) {
        assert!(outcome.jobs > 0 && outcome.ran > 0, "seed {}: no jobs", outcome.seed);
        assert!(outcome.removals > 0, "seed {}: no record was removed", outcome.seed);
    }
}

#[test]
fn a_history_is_a_function_of_its_seed() {
    for profile in Profile::all() {
        let (first, again, other) = (run(3, &profile), run(3, &profile), run(4, &profile));
        assert_eq!(first.trace_hash, again.trace_hash, "{}", profile.name);
        assert_ne!(first.trace_hash, other.trace_hash, "{}", profile.name);
    }
}
