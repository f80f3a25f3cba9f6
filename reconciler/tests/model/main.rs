//! A model of the decision in every order of events: two runs, two controllers and a budget of
//! faults, explored to the end. No state breaks a law. From every state, once faults stop, all work
//! finishes and is cleaned up within a limit, and nothing is done after that.
//!
//! `cargo test -p tinqs-ci-reconciler --test model -- --ignored --nocapture` explores the larger
//! scopes: millions of states, some minutes.

#![allow(clippy::disallowed_methods, reason = "it prints how long it took")]

mod calls;
mod hung;
mod laws;
mod possible;
mod reconcile;
mod scope;
mod settle;
mod state;
mod time;
mod variant;
mod world;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};
use tinqs_ci_reconciler::plan::Rule;

use scope::{ALL_FAULTS, ALL_USER_ACTIONS, CAME, Fault, Milestone, Scope, UserAction, World};
use state::State;
use variant::Variant;
use world::Action;

/// States are allocated and freed all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LAWS: &str = "no law is broken";
const SETTLES: &str = "once faults stop, everything finishes, is cleaned up and stays so";

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.happen(&mut next, &action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(LAWS, |_, state: &State| state.broken.is_none()),
            Property::always(SETTLES, |world: &World, state: &State| {
                state.broken.is_some() || world.settle(state).is_ok()
            }),
        ]
    }
}

const BASE: Scope = Scope {
    name: "",
    jobs: 2,
    apart: false,
    disables: true,
    reconciles: 2,
    limit: None,
    faults: 0,
    fault_kinds: ALL_FAULTS,
    user_actions: 0,
    user_action_kinds: ALL_USER_ACTIONS,
    steps: usize::MAX,
};

/// Scopes for each change; all but those with a number of steps are explored to the end.
const SCOPES: [Scope; 11] = [
    Scope { name: "one run, two reconciles at once", jobs: 1, ..BASE },
    Scope {
        name: "one run, two faults",
        jobs: 1,
        reconciles: 1,
        faults: 2,
        steps: 1_000_000,
        ..BASE
    },
    Scope {
        name: "one run, a fault, an action",
        jobs: 1,
        reconciles: 1,
        faults: 1,
        user_actions: 1,
        ..BASE
    },
    Scope { name: "two runs", reconciles: 1, ..BASE },
    Scope {
        name: "two runs on one seat, a fault",
        reconciles: 1,
        limit: Some(1),
        faults: 1,
        ..BASE
    },
    Scope {
        name: "one run; a late launch, a refusal, a stale list",
        jobs: 1,
        reconciles: 1,
        faults: 3,
        fault_kinds: &[Fault::LateLaunch, Fault::NoCapacity, Fault::Freeze],
        // Twice as many as it took to find a registration that was retired too early.
        steps: 200_000,
        ..BASE
    },
    Scope {
        name: "two runs on one seat, two reconciles at once, a fault",
        limit: Some(1),
        faults: 1,
        steps: 200_000,
        ..BASE
    },
    Scope {
        name: "one run; a launch without an answer, canceled, run again",
        jobs: 1,
        reconciles: 1,
        faults: 1,
        fault_kinds: &[Fault::Refused, Fault::ReplyLost],
        user_actions: 2,
        user_action_kinds: &[UserAction::Cancel, UserAction::Rerun],
        ..BASE
    },
    Scope { name: "one run; a machine hangs, an outage", steps: 300_000, ..HANGS },
    Scope {
        name: "the same; registrations cannot be disabled",
        disables: false,
        steps: 300_000,
        ..HANGS
    },
    Scope { name: "two runs of two repositories", apart: true, reconciles: 1, ..BASE },
];

/// Rule 22.
const HANGS: Scope = Scope {
    name: "",
    jobs: 1,
    reconciles: 1,
    faults: 2,
    fault_kinds: &[Fault::Hang, Fault::Silent, Fault::Outage],
    ..BASE
};

/// A job that the forge shows as idle runs on another run's machine beyond its promise.
const SILENT: Scope = Scope {
    name: "two runs, a silent job",
    reconciles: 1,
    faults: 1,
    fault_kinds: &[Fault::Silent],
    ..BASE
};

/// Scopes for nightly runs, each explored to the end or for a number of steps.
const NIGHT: [Scope; 11] = [
    Scope { name: "one run, two reconciles at once, a fault", jobs: 1, faults: 1, ..DEEP },
    Scope { name: "one run, two faults", jobs: 1, reconciles: 1, faults: 2, ..BASE },
    Scope { name: "one run, three faults", jobs: 1, reconciles: 1, faults: 3, ..DEEP },
    Scope {
        name: "one run, 2 faults, an action",
        jobs: 1,
        reconciles: 1,
        faults: 2,
        user_actions: 1,
        ..DEEP
    },
    Scope {
        name: "two runs, two reconciles, a fault, an action",
        faults: 1,
        user_actions: 1,
        ..DEEP
    },
    Scope {
        name: "two runs on one seat, two reconciles at once, two faults",
        limit: Some(1),
        faults: 2,
        ..DEEP
    },
    Scope { name: "one run; a machine hangs, an outage", ..HANGS },
    Scope { name: "the same; registrations cannot be disabled", disables: false, ..HANGS },
    Scope { name: "two runs; machines hang, an outage", jobs: 2, steps: DEEP.steps, ..HANGS },
    Scope { name: "two runs, a silent job, an outage", steps: DEEP.steps, ..SILENT },
    Scope { name: "two repositories, two reconciles, a fault", apart: true, faults: 1, ..DEEP },
];

const DEEP: Scope = Scope { steps: 2_500_000, ..BASE };

/// A path that breaks a property.
struct Broken {
    property: &'static str,
    way: Vec<Action>,
    why: String,
}

/// The result of exploring a scope.
struct Explored {
    states: usize,
    to_the_end: bool,
    broken: Option<Broken>,
    came: Vec<(Milestone, u32)>,
    rules: Vec<Rule>,
}

fn explore(scope: Scope, variant: Variant) -> Explored {
    let began = Instant::now();
    let checker = World::new(scope, variant)
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(scope.steps)
        .spawn_bfs()
        .join();
    let world = checker.model();
    let discovery = [LAWS, SETTLES].into_iter().find_map(|p| Some((p, checker.discovery(p)?)));
    let broken = discovery.map(|(property, path)| {
        let last = path.last_state();
        let why = last.broken.clone().or_else(|| world.settle(last).err()).unwrap_or_default();
        Broken { property, way: path.clone().into_actions(), why }
    });
    let states = checker.unique_state_count();
    let to_the_end = broken.is_none() && checker.state_count() < scope.steps;
    let slowest = world.settles.lock().values().max().copied();
    println!(
        "{}{}: {states} states, depth {}, {} steps, {:.1} s{}; settled after {} rounds at most",
        scope.name,
        if variant == Variant::Real { String::new() } else { format!(", {variant:?}") },
        checker.max_depth(),
        checker.state_count(),
        began.elapsed().as_secs_f32(),
        if to_the_end { "" } else { ", not to the end" },
        slowest.unwrap_or(0),
    );
    let (came, rules) = (world.all_that_came(), world.rules());
    Explored { states, to_the_end, broken, came, rules }
}

/// Panics with the path to a broken property.
fn must_hold(scope: &Scope, explored: &Explored) {
    if let Some(Broken { property, way, why }) = &explored.broken {
        let way: Vec<String> = way.iter().map(|step| format!("    {step:?}")).collect();
        panic!("{}: broken: {property}:\n{}\n{why}", scope.name, way.join("\n"));
    }
}

#[test]
fn no_law_is_broken_and_every_state_settles() {
    let (mut states, mut reached, mut came) = (0, BTreeSet::new(), BTreeSet::new());
    for scope in SCOPES {
        let explored = explore(scope, Variant::Real);
        must_hold(&scope, &explored);
        assert!(explored.to_the_end || scope.steps < usize::MAX, "{}: cut short", scope.name);
        states += explored.states;
        reached.extend(explored.rules);
        came.extend(explored.came.iter().filter(|(_, n)| *n > 0).map(|(what, _)| *what as usize));
    }
    println!("{states} states in all, rules {reached:?}");
    assert!(states >= 150_000, "only {states} states");
    let missing: Vec<Milestone> =
        CAME.into_iter().filter(|what| !came.contains(&(*what as usize))).collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
    let never = RULES.iter().filter(|rule| !reached.contains(rule)).collect::<Vec<_>>();
    assert!(never.is_empty(), "rules never reached: {never:?}");
}

#[test]
#[ignore = "some minutes of both cores: cargo test -p tinqs-ci-reconciler --test model -- --ignored --nocapture"]
fn no_law_is_broken_in_the_larger_scopes() {
    let mut states = 0;
    for scope in NIGHT {
        let explored = explore(scope, Variant::Real);
        must_hold(&scope, &explored);
        states += explored.states;
    }
    println!("{states} states in all");
    assert!(states >= 2_000_000, "only {states} states");
}

/// Rules that `SCOPES` reach: all but those of configuration (9), of a blocked or vanished job
/// (4, 6), of giving up (8) and of push mode.
const RULES: [Rule; 21] = [
    Rule::Remove,
    Rule::Deleted,
    Rule::Done,
    Rule::Running,
    Rule::Reopen,
    Rule::Live,
    Rule::Launch,
    Rule::Unseen,
    Rule::NextPlacement,
    Rule::MachineReassigned,
    Rule::Hold,
    Rule::Seat,
    Rule::NextAttempt,
    Rule::Overdue,
    Rule::Unregistered,
    Rule::Hung,
    Rule::Spent,
    Rule::Duplicate,
    Rule::Void,
    Rule::SeatFree,
    Rule::NoRecord,
];

/// A broken decision, the scope in which it is explored, and what must be found: on the way, or on the
/// quiet way from some state.
const BROKEN: [(Variant, Scope, &str); 21] = [
    (Variant::LaunchBeforeRecord, SCOPES[1], "L1:"),
    (Variant::NoCompareAndSet, SCOPES[0], "L4:"),
    (Variant::TerminateFinished, SCOPES[3], "L3:"),
    (Variant::RetireFinished, SCOPES[3], "L3:"),
    (Variant::RefusalIsDefinitive, SCOPES[1], "L6:"),
    (Variant::GoneWhenUnlisted, SCOPES[1], "L3:"),
    (Variant::NoVoidNumbers, SCOPES[0], "nothing will ever happen"),
    (Variant::NoSecondReading, REMADE, "L3:"),
    (Variant::CredentialsKept, SCOPES[0], "L13:"),
    (Variant::DroppedNotEnded, SCOPES[7], "L1:"),
    (Variant::HungByOneReading, SCOPES[9], "L3:"),
    (Variant::HungDespiteFailure, SCOPES[9], "L3:"),
    (Variant::HungOnceDisabled, SCOPES[8], "L3:"),
    (Variant::HungWithoutJobList, SILENT, "L3:"),
    (Variant::RegisterInScope, SCOPES[10], "L10:"),
    (Variant::Without(Rule::Hung), SCOPES[8], "L12:"),
    (Variant::Without(Rule::Overdue), SCOPES[1], "nothing will ever happen"),
    (Variant::Without(Rule::Spent), SCOPES[1], "nothing will ever happen"),
    (Variant::Without(Rule::Duplicate), SCOPES[0], "nothing will ever happen"),
    (Variant::Without(Rule::Void), SCOPES[0], "nothing will ever happen"),
    (Variant::Without(Rule::SeatFree), SCOPES[4], "nothing will ever happen"),
];

/// A run that is removed and created again during a slow read.
const REMADE: Scope = Scope {
    name: "one run, run again, a slow read",
    jobs: 1,
    faults: 1,
    fault_kinds: &[Fault::SlowRead],
    user_actions: 1,
    user_action_kinds: &[UserAction::Rerun],
    ..BASE
};

#[test]
fn a_broken_decision_is_found() {
    let mut survived = Vec::new();
    for (variant, scope, law) in BROKEN {
        let explored = explore(scope, variant);
        match explored.broken {
            Some(broken) if broken.why.contains(law) => {
                let why = broken.why.lines().next().unwrap_or_default();
                println!("    found after {} steps: {why}", broken.way.len());
            }
            Some(broken) => survived.push(format!(
                "{variant:?}: {} where {law} was expected: {}",
                broken.property, broken.why
            )),
            None => survived.push(format!("{variant:?} in \"{}\"", scope.name)),
        }
    }
    assert!(survived.is_empty(), "not found: {survived:#?}");
}
