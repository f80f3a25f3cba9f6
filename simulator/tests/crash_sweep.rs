//! Injects every fault into every effect of a run's life: refused, reply lost, caller dead before
//! or after it; single faults and all pairs in sequence. Each history must end with one machine per
//! job and everything given back, without a violation and without further effects.
//!
//! `TINQS_CI_SWEEP=night cargo test -p tinqs-ci-simulator --test crash_sweep` also sweeps pairs in
//! the larger worlds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{Class, ClassName, MachineOptions, MachineSpec, Market, Times};
use tinqs_ci_reconciler::ports::RegistrationLists;
use tinqs_ci_simulator::faults::{FaultProfile, Rng};
use tinqs_ci_simulator::forge::{JobSpec, Line};
use tinqs_ci_simulator::play::{Outcome, Profile, UserAction, run_scheduled};
use tinqs_ci_simulator::schedule::{Place, Schedule, ScheduledFault};
use tinqs_ci_simulator::world::Demand;

/// The seed of every world: determines the duration of calls and boots.
const SEED: u64 = 7;

fn class() -> Class {
    let machine = |subnet: &str| MachineSpec {
        kind: "c7a.large".to_owned(),
        subnet: subnet.to_owned(),
        market: Market::OnDemand,
        image: "ami-1".to_owned(),
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
        // A limit makes the sweep include taking and giving back seats.
        limit: Some(1),
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times { keep: SignedDuration::from_mins(30), ..Times::default() },
    }
}

fn push(jobs: usize) -> Vec<(SignedDuration, UserAction)> {
    let job = |n| JobSpec {
        work: SignedDuration::from_secs(40),
        ..JobSpec::new(format!("build ({n})"), &["linux"])
    };
    let jobs = (0..jobs).map(job).collect();
    vec![(SignedDuration::from_secs(5), UserAction::Push { repo: "acme/widget".to_owned(), jobs })]
}

/// Creates a profile without random faults.
fn fair(
    name: &'static str,
    user_actions: fn(&mut Rng) -> Vec<(SignedDuration, UserAction)>,
    replicas: u64,
) -> Profile {
    Profile {
        name,
        faults: |_| FaultProfile::default(),
        periods: |_| Vec::new(),
        user_actions,
        lasts: SignedDuration::ZERO,
        classes: vec![class()],
        replicas: (replicas, replicas),
        upgrades: |_| Vec::new(),
        line: |_| Line::V1_27,
        demand: Demand::Jobs,
        lists: RegistrationLists::One,
        waits_at_most: SignedDuration::from_mins(30),
        checks_shares: false,
        settled: SignedDuration::ZERO,
    }
}

/// The scheduled faults of a history.
type Case = Vec<(Place, ScheduledFault)>;

/// Returns a description of the failure, if any.
fn wrong(outcome: &Outcome, schedule: &Schedule, case: &Case, jobs: usize) -> Option<String> {
    let Outcome { ran, machines, removals, violations, .. } = outcome;
    if let Some(violation) = violations.first() {
        return Some(violation.to_string());
    }
    if (*ran, *machines) != (jobs, jobs) {
        return Some(format!("{ran} jobs ran on {machines} machines, not {jobs} on {jobs}"));
    }
    if usize::try_from(*removals) != Ok(jobs) {
        return Some(format!("{removals} records were removed, not {jobs}"));
    }
    // An earlier fault may make the last scheduled call unnecessary, so that its fault never
    // occurs.
    (schedule.struck() != case.len())
        .then(|| format!("{} scheduled faults occurred", schedule.struck()))
}

/// Plays cases on two threads. Returns, for each, all calls after its last fault.
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
                        let mut failed = failed.lock();
                        failed.push(format!("{}: {case:?}: {what}", profile.name));
                    }
                    let last = case.last().map(|(place, _)| *place);
                    let calls = schedule.history().iter().copied();
                    let calls = match last {
                        Some(last) => calls.skip_while(|p| *p != last).skip(1).collect(),
                        None => calls.collect(),
                    };
                    after.lock().insert(index, calls);
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(
        failed.is_empty(),
        "{} of {} cases:\n{}",
        failed.len(),
        cases.len(),
        failed.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
    );
    after.into_inner().into_values().collect()
}

/// Extends each case by one fault at each call after its last.
fn one_more(cases: &[Case], after: &[Vec<Place>]) -> Vec<Case> {
    let further = |case: &Case, place: Place| {
        ScheduledFault::ALL.map(|scheduled_fault| {
            case.iter().copied().chain([(place, scheduled_fault)]).collect::<Case>()
        })
    };
    let pairs = cases.iter().zip(after);
    pairs.flat_map(|(case, places)| places.iter().flat_map(move |p| further(case, *p))).collect()
}

/// Sweeps a profile to a depth. Returns the number of cases of each depth.
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
    println!("{}: {counts:?} histories by number of faults", profile.name);
    counts
}

fn night() -> bool {
    std::env::var("TINQS_CI_SWEEP").is_ok_and(|how| how == "night")
}

#[test]
fn one_run_survives_every_fault_and_every_pair() {
    let counts = sweep_to(&fair("one run", |_| push(1), 1), 1, 2);
    assert!(counts[1] >= 60 && counts[2] >= 1_000, "{counts:?}");
}

#[test]
fn two_runs_that_share_a_seat_survive_every_fault() {
    let depth = if night() { 2 } else { 1 };
    let counts = sweep_to(&fair("two runs, one seat", |_| push(2), 1), 2, depth);
    assert!(counts[1] >= 120, "{counts:?}");
}

#[test]
fn two_replicas_that_reconcile_one_run_survive_every_fault() {
    let depth = if night() { 2 } else { 1 };
    let counts = sweep_to(&fair("two replicas", |_| push(1), 2), 1, depth);
    assert!(counts[1] >= 60, "{counts:?}");
}
