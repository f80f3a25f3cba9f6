//! A forge that was restored from a backup gives its old numbers anew: under the number that a run has
//! recorded stands another run's runner, at work. The first run's own registration is missing then, and
//! the other's is not touched, whatever becomes of the first.

#[allow(dead_code, reason = "others ask for more")]
mod town;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::LookResult;
use tinqs_ci_reconciler::model::{InstanceState, Registration, RunName};

use town::{Town, done};

/// A run whose machine is up since a minute, and a row of another run under its number.
fn stage() -> (Town, RunName, i64) {
    let town = Town::new();
    let names = town.jobs(2, "good");
    let [name, other] = &names[..] else { panic!("two jobs") };
    town.look(name);
    town.pass(SignedDuration::from_secs(60));
    let slot = town.slot(other, 1);
    let mut world = town.world();
    world.machines[0].state = InstanceState::Up;
    let row = &mut world.rows[0];
    (row.slot, row.online, row.busy) = (slot, true, true);
    let number = row.id;
    drop(world);
    (town, name.clone(), number)
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_none_of_this_run() {
    let (town, name, number) = stage();
    let seen = done(town.controller.observe(&name)).expect("everything can be read");
    let missing = Registration {
        id: number,
        slot: town.slot(&name, 1),
        uuid: None,
        online: false,
        busy: false,
        missing_since: Some(town.now()),
    };
    assert_eq!(seen.registrations.seen(), [missing], "missing since it was asked for");
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_never_retired() {
    let (town, name, number) = stage();
    // Its machine is ended a minute after the registration was found missing; then comes the next
    // attempt, and the past one has a number that is another's.
    for _ in 0..20 {
        let report = town.look(&name);
        assert_ne!(report.result, LookResult::Conflict, "nobody else writes");
        let mut world = town.world();
        assert!(world.rows.iter().any(|row| row.id == number), "another run's runner works there");
        // What is asked to end has ended by the next look.
        let ending = world.machines.iter_mut().filter(|m| m.state == InstanceState::Ending);
        ending.for_each(|machine| machine.state = InstanceState::Gone);
        world.now += SignedDuration::from_secs(30);
    }
    let world = town.world();
    assert_eq!(world.machines[0].state, InstanceState::Gone, "it is of no use to anybody");
    let own = |row: &&Registration| row.slot.run == name && row.id != number;
    assert!(world.rows.iter().any(|row| own(&row)), "the next attempt has one of its own");
}
