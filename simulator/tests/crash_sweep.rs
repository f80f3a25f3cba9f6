//! Injects every fault into every effect of a run's life: refused, reply lost, caller dead before
//! or after it; single faults and all pairs in sequence. Each history must end with one machine per
//! job and everything given back, without a violation and without further effects.
//!
//! `TINQS_CI_SWEEP=night cargo test -p tinqs-ci-simulator --test crash_sweep` also sweeps pairs in
//! the larger worlds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::SignedDuration;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{Class, ClassName, MachineOptions, MachineSpec, Market, Times};
use tinqs_ci_reconciler::ports::RegistrationLists;
use tinqs_ci_simulator::faults::{FaultPeriod, FaultProfile, OngoingFault, Rng};
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
        lists: |_| RegistrationLists::One,
        waits_at_most: SignedDuration::from_mins(30),
        checks_shares: false,
        settled: SignedDuration::ZERO,
    }
}

/// One run whose first machine never starts its runner: rule 22 ends it, and a second one follows.
fn hung(name: &'static str, line: fn(&mut Rng) -> Line) -> Profile {
    let periods = |_: &mut Rng| {
        vec![FaultPeriod {
            trouble: OngoingFault::DeafImage("ami-1"),
            after: SignedDuration::ZERO,
            // A fault may delay the first launch for a minute; the second comes after five.
            lasts: SignedDuration::from_mins(3),
        }]
    };
    Profile { periods, line, ..fair(name, |_| push(1), 1) }
}

/// One run whose job a person cancels while it runs; its repository has a list of registrations of
/// its own. The runner does not hear of it: rule 21 ends the machine.
fn canceled() -> Profile {
    let user_actions = |_: &mut Rng| {
        let job = JobSpec {
            work: SignedDuration::from_mins(20),
            ..JobSpec::new("build".to_owned(), &["linux"])
        };
        let repo = "acme/widget".to_owned();
        vec![
            (SignedDuration::from_secs(5), UserAction::Push { repo, jobs: vec![job] }),
            (SignedDuration::from_mins(5), UserAction::Cancel(0)),
        ]
    };
    let lists = |_: &mut Rng| RegistrationLists::PerRepository;
    Profile { lists, ..fair("a canceled run", user_actions, 1) }
}

/// The scheduled faults of a history.
type Case = Vec<(Place, ScheduledFault)>;

/// A profile, and what every history of it must come to.
struct World {
    profile: Profile,
    jobs: usize,
    /// Machines that hang, beside one for each job.
    hung: usize,
}

/// Returns a description of the failure, if any.
fn wrong(outcome: &Outcome, schedule: &Schedule, case: &Case, world: &World) -> Option<String> {
    let (jobs, needed) = (world.jobs, world.jobs + world.hung);
    let Outcome { ran, machines, removals, violations, .. } = outcome;
    if let Some(violation) = violations.first() {
        return Some(violation.to_string());
    }
    if (*ran, *machines) != (jobs, needed) {
        return Some(format!("{ran} jobs ran on {machines} machines, not {jobs} on {needed}"));
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
fn sweep(world: &World, cases: &[Case]) -> Vec<Vec<Place>> {
    let profile = &world.profile;
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
                    if let Some(what) = wrong(&outcome, &schedule, case, world) {
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

/// The extent of a sweep.
struct Swept {
    /// The number of cases of each number of faults.
    counts: Vec<usize>,
    /// The calls into which faults were injected.
    calls: BTreeSet<&'static str>,
}

/// Sweeps a world to a depth.
fn sweep_to(world: &World, depth: usize) -> Swept {
    let mut cases: Vec<Case> = vec![Vec::new()];
    let mut swept = Swept { counts: Vec::new(), calls: BTreeSet::new() };
    for further in 0..=depth {
        let after = sweep(world, &cases);
        swept.counts.push(cases.len());
        swept.calls.extend(cases.iter().flatten().map(|((name, _), _)| *name));
        if further < depth {
            cases = one_more(&cases, &after);
        }
    }
    let Swept { counts, calls } = &swept;
    println!("{}: {counts:?} histories by number of faults, in {calls:?}", world.profile.name);
    swept
}

/// By default 1.
fn depth() -> usize {
    let is_night = std::env::var("TINQS_CI_SWEEP").is_ok_and(|how| how == "night");
    if is_night { 2 } else { 1 }
}

#[test]
fn one_run_survives_every_fault_and_every_pair() {
    let world = World { profile: fair("one run", |_| push(1), 1), jobs: 1, hung: 0 };
    let Swept { counts, .. } = sweep_to(&world, 2);
    assert!(counts[1] >= 60 && counts[2] >= 1_000, "{counts:?}");
}

#[test]
fn two_runs_that_share_a_seat_survive_every_fault() {
    let world = World { profile: fair("two runs, one seat", |_| push(2), 1), jobs: 2, hung: 0 };
    let Swept { counts, .. } = sweep_to(&world, depth());
    assert!(counts[1] >= 120, "{counts:?}");
}

#[test]
fn two_replicas_that_reconcile_one_run_survive_every_fault() {
    let world = World { profile: fair("two replicas", |_| push(1), 2), jobs: 1, hung: 0 };
    let Swept { counts, .. } = sweep_to(&world, depth());
    assert!(counts[1] >= 60, "{counts:?}");
}

#[test]
fn a_run_whose_machine_hangs_survives_every_fault() {
    let world = World { profile: hung("a hung machine", |_| Line::V1_27), jobs: 1, hung: 1 };
    let Swept { counts, calls } = sweep_to(&world, depth());
    assert!(counts[1] >= 200, "{counts:?}");
    let both = ["forge.disable", "compute.terminate"];
    assert!(both.iter().all(|name| calls.contains(name)), "{calls:?}");
}

/// Gitea 1.25 cannot disable a registration.
#[test]
fn a_run_whose_machine_hangs_survives_every_fault_with_a_forge_that_cannot_disable() {
    let profile = hung("a hung machine, Gitea 1.25", |_| Line::V1_25);
    let Swept { counts, calls } = sweep_to(&World { profile, jobs: 1, hung: 1 }, depth());
    assert!(counts[1] >= 200, "{counts:?}");
    let both = ["forge.disable", "compute.terminate"];
    assert!(both.iter().all(|name| calls.contains(name)), "{calls:?}");
}

#[test]
fn a_run_that_is_canceled_survives_every_fault() {
    let world = World { profile: canceled(), jobs: 1, hung: 0 };
    let Swept { counts, calls } = sweep_to(&world, depth());
    assert!(counts[1] >= 80, "{counts:?}");
    assert!(calls.contains("compute.terminate"), "{calls:?}");
}
