//! Every effect of a run's whole life goes wrong in every way: refused, its reply lost, its caller
//! dead before or after it; one of them, and every two of them one after the other. Each history
//! ends with its jobs done on one machine each and everything given back, no law broken on the way
//! and no effect after it.
//!
//! `TINQS_CI_SWEEP=night cargo test -p tinqs-ci-simulator --test crash_sweep` sweeps pairs of the
//! larger worlds too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName, Machine, Market, Times};
use tinqs_ci_simulator::faults::{Faults, Rng};
use tinqs_ci_simulator::forge::{JobSpec, Line};
use tinqs_ci_simulator::play::{Deed, Outcome, Profile, run_scheduled};
use tinqs_ci_simulator::schedule::{Mishap, Place, Schedule};
use tinqs_ci_simulator::world::Demand;

/// The seed of every world: it decides how long calls and boots take.
const SEED: u64 = 7;

fn class() -> Class {
    let machine = |subnet: &str| Machine {
        kind: "c7a.large".to_owned(),
        subnet: subnet.to_owned(),
        market: Market::OnDemand,
        image: "ami-1".to_owned(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabelled: false,
        machines: vec![machine("a"), machine("b")],
        // Seats are counted, so that taking and giving them back is swept too.
        limit: Some(1),
        repo_limit: None,
        times: Times { keep: SignedDuration::from_mins(30), ..Times::default() },
    }
}

fn push(jobs: usize) -> Vec<(SignedDuration, Deed)> {
    let job = |n| JobSpec {
        work: SignedDuration::from_secs(40),
        ..JobSpec::new(format!("build ({n})"), &["linux"])
    };
    let jobs = (0..jobs).map(job).collect();
    vec![(SignedDuration::from_secs(5), Deed::Push { repo: "acme/widget".to_owned(), jobs })]
}

/// A world without weather.
fn fair(
    name: &'static str,
    deeds: fn(&mut Rng) -> Vec<(SignedDuration, Deed)>,
    replicas: u64,
) -> Profile {
    Profile {
        name,
        weather: |_| Faults::default(),
        spells: |_| Vec::new(),
        deeds,
        lasts: SignedDuration::ZERO,
        classes: vec![class()],
        replicas: (replicas, replicas),
        line: |_| Line::V1_27,
        demand: Demand::Jobs,
        waits_at_most: SignedDuration::from_mins(30),
        settled: SignedDuration::ZERO,
    }
}

/// Mishaps of one history.
type Case = Vec<(Place, Mishap)>;

/// What is wrong with a history, if anything is.
fn wrong(outcome: &Outcome, schedule: &Schedule, case: &Case, jobs: usize) -> Option<String> {
    let Outcome { ran, machines, removals, violations, .. } = outcome;
    if let Some(violation) = violations.first() {
        return Some(violation.to_string());
    }
    if (*ran, *machines) != (jobs, jobs) {
        return Some(format!("{ran} jobs ran on {machines} machines, not {jobs} on {jobs}"));
    }
    if usize::try_from(*removals) != Ok(jobs) {
        return Some(format!("{removals} records were removed"));
    }
    // The last call of a history may be one that an earlier mishap made needless.
    (schedule.struck() != case.len()).then(|| format!("{} mishaps struck", schedule.struck()))
}

/// Sweeps cases over both cores. Answers, for each, all calls after its last mishap.
fn sweep(profile: &Profile, cases: &[Case], jobs: usize) -> Vec<Vec<Place>> {
    let next = AtomicUsize::new(0);
    let after: Mutex<BTreeMap<usize, Vec<Place>>> = Mutex::default();
    let failed: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else { return };
                    let (outcome, schedule) = run_scheduled(SEED, profile, Schedule::of(case));
                    if let Some(what) = wrong(&outcome, &schedule, case, jobs) {
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(format!("{}: {case:?}: {what}", profile.name));
                    }
                    let last = case.last().map(|(place, _)| *place);
                    let calls = schedule.history().iter().copied();
                    let calls = match last {
                        Some(last) => calls.skip_while(|p| *p != last).skip(1).collect(),
                        None => calls.collect(),
                    };
                    after.lock().unwrap_or_else(PoisonError::into_inner).insert(index, calls);
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        failed.is_empty(),
        "{} of {} cases:\n{}",
        failed.len(),
        cases.len(),
        failed.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
    );
    after.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// Each case with one more mishap, at each call after its last.
fn one_more(cases: &[Case], after: &[Vec<Place>]) -> Vec<Case> {
    let further = |case: &Case, place: Place| {
        Mishap::ALL.map(|mishap| case.iter().copied().chain([(place, mishap)]).collect::<Case>())
    };
    let pairs = cases.iter().zip(after);
    pairs.flat_map(|(case, places)| places.iter().flat_map(move |p| further(case, *p))).collect()
}

/// Sweeps a world to a depth. Answers the number of cases of each depth, the fair one first.
fn sweep_to(profile: &Profile, jobs: usize, depth: usize) -> Vec<usize> {
    let mut cases: Vec<Case> = vec![Vec::new()];
    let mut counts = Vec::new();
    for further in 0..=depth {
        let after = sweep(profile, &cases, jobs);
        counts.push(cases.len());
        if further < depth {
            cases = one_more(&cases, &after);
        }
    }
    println!("{}: {counts:?} histories without, with one and with two mishaps", profile.name);
    counts
}

fn night() -> bool {
    std::env::var("TINQS_CI_SWEEP").is_ok_and(|how| how == "night")
}

#[test]
fn one_run_every_effect_and_every_two() {
    let counts = sweep_to(&fair("one run", |_| push(1), 1), 1, 2);
    assert!(counts[1] >= 60 && counts[2] >= 1_000, "{counts:?}");
}

#[test]
fn two_runs_in_turn_on_one_seat() {
    let depth = if night() { 2 } else { 1 };
    let counts = sweep_to(&fair("two runs, one seat", |_| push(2), 1), 2, depth);
    assert!(counts[1] >= 120, "{counts:?}");
}

#[test]
fn two_replicas_look_at_one_run() {
    let depth = if night() { 2 } else { 1 };
    let counts = sweep_to(&fair("two replicas", |_| push(1), 2), 1, depth);
    assert!(counts[1] >= 60, "{counts:?}");
}
