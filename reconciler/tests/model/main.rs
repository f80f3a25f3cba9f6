//! The decision in every order of things: two runs, two controllers, faults by a budget, explored to
//! the end. In every state no law is broken; from every state, once nothing more goes wrong, all is
//! done and given back within a bound, and nothing more is done after that.
//!
//! `TINQS_CI_MODEL=night cargo test -p tinqs-ci-reconciler --test model -- --nocapture` looks at
//! the larger scopes too (some minutes).

#![allow(
    clippy::disallowed_methods,
    reason = "how large it is to be comes from the environment, how long it took from the clock"
)]

mod laws;
mod look;
mod scope;
mod settle;
mod state;
mod time;
mod variant;
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};

use scope::{ALL_DEEDS, ALL_FAULTS, Scope, World};
use state::State;
use variant::Variant;
use world::Action;

const LAWS: &str = "no law is broken";
const SETTLES: &str = "once faults stop, all is done, given back, and then nothing more is done";

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
    looks: 2,
    limit: None,
    faults: 0,
    fault_kinds: ALL_FAULTS,
    deeds: 0,
    deed_kinds: ALL_DEEDS,
};

#[test]
fn explore() {
    let number = |name: &str, or: usize| {
        std::env::var(name).ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(or)
    };
    let scope = Scope {
        jobs: number("JOBS", 1),
        looks: number("REPLICAS", 1),
        faults: number("FAULTS", 0) as u8,
        deeds: number("DEEDS", 0) as u8,
        limit: std::env::var("LIMIT").ok().map(|n| n.parse().unwrap()),
        ..BASE
    };
    let world = World::new(scope, Variant::Real);
    let began = std::time::Instant::now();
    let checker = world
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(number("MAX", 1_000_000))
        .spawn_bfs()
        .join();
    println!(
        "{} states, {} generated, depth {}, {} s, {} settles",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f32(),
        checker.model().settles.lock().unwrap().len(),
    );
    println!("{:?} {:?}", checker.model().all_that_came(), checker.model().rows());
    println!("max rounds {:?}", checker.model().settles.lock().unwrap().values().max());
    for (name, path) in checker.discoveries() {
        let last = path.last_state().clone();
        for action in path.into_actions() {
            println!("  {action:?}");
        }
        println!("{name}: {:?}\n{:?}", last.broken, checker.model().settle(&last));
    }
}
