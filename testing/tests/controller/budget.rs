//! A budget: beyond it the class launches nothing until the next day, and running jobs go on.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::ActionKind;
use tinqs_ci_reconciler::model::{
    Amount, ClassName, Job, MachineState, Market, MicroUsd, Phase, Reason, RunName, UsageKey,
    day_of, next_day,
};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::ready;

use crate::harness::Harness;
use crate::{MINUTE, SECOND, effects};

/// A dollar.
const DOLLAR: u64 = 1_000_000;
/// The budget of `good` per day.
const BUDGET: MicroUsd = MicroUsd(2 * DOLLAR);

/// `good` has only its machine on demand, for a dollar per hour, and a budget of two. It is soon
/// after midnight.
fn harness() -> Harness {
    let harness = Harness::new();
    priced(&harness, true);
    harness.configure("good", |class| {
        class.machines.retain(|spec| spec.market == Market::OnDemand);
        class.budget = Some(BUDGET);
    });
    let now = harness.now();
    harness.pass(next_day(now).duration_since(now) + MINUTE);
    harness
}

fn priced(harness: &Harness, is_priced: bool) {
    let mut settings = (*harness.controller.settings()).clone();
    settings.prices.clear();
    if is_priced {
        settings.prices.insert("small".to_owned(), MicroUsd(DOLLAR));
    }
    harness.controller.configure(settings);
}

fn reason(harness: &Harness, name: &RunName) -> Option<Reason> {
    harness.run(name).status.reason()
}

/// Runs whose machines run their jobs since so many minutes.
fn running(harness: &Harness, count: usize, minutes: i64) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    harness.reconcile_each(&names);
    for name in &names {
        let runner = harness.attempt_id(name, 1).to_string();
        harness.job_is(name, Job::Running { runner });
    }
    harness.state().machines.iter_mut().for_each(|machine| machine.state = MachineState::Up);
    harness.pass(SignedDuration::from_mins(minutes));
    harness.reconcile_each(&names);
    names
}

/// Counts a cost today, of runs that this process does not know.
fn counted(harness: &Harness, cost: u64) {
    let (day, class) = (day_of(harness.now()), ClassName("good".to_owned()));
    let key = UsageKey { day, class, repo: "acme/site".to_owned(), workflow: String::new() };
    let amount = Amount { cost: MicroUsd(cost), ..Amount::default() };
    harness.state().usage.insert(key, amount);
}

fn today(harness: &Harness) -> Option<MicroUsd> {
    harness.controller.spend().first().expect("a budget").today
}

#[test]
fn a_spent_budget_stops_launches_and_running_jobs_go_on() {
    let harness = harness();
    let running = running(&harness, 2, 59);
    let first = harness.jobs(1, "good").remove(0);
    harness.reconcile(&first);
    assert_eq!((harness.launches("good"), reason(&harness, &first)), (3, None), "$1.97 of $2");
    harness.pass(2 * MINUTE);
    let (late, other) = (harness.jobs(2, "good"), harness.jobs(1, "bad"));
    let report = harness.reconcile(&late[0]);
    assert!(!report.effects.iter().any(|effect| effect.action == ActionKind::Register));
    harness.reconcile_each(&late);
    harness.reconcile_each(&other);
    assert_eq!((harness.launches("good"), harness.launches("bad")), (3, 1), "one has no budget");
    for name in &late {
        let status = harness.run(name).status;
        assert_eq!((status.phase, status.reason()), (Phase::Waiting, Some(Reason::Budget)));
        let message = &status.conditions[0].message;
        assert_eq!(
            message,
            "class good has spent its budget of $2/day; it launches again from midnight UTC"
        );
        assert_eq!(status.failures, 0);
    }
    for name in &running {
        let kinds: Vec<_> =
            effects(&harness.reconcile(name)).into_iter().map(|(_, kind)| kind).collect();
        assert!(!kinds.contains(&ActionKind::Terminate), "{kinds:?}");
        assert_eq!(harness.run(name).status.phase, Phase::Running);
    }
    let written = harness.writes();
    harness.pass(5 * MINUTE);
    harness.reconcile_each(&late);
    assert_eq!(harness.writes(), written, "a run that goes on waiting is not written");
}

#[test]
fn the_next_day_launches_by_itself() {
    let harness = harness();
    counted(&harness, 2 * DOLLAR);
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!((harness.launches("good"), reason(&harness, &name)), (0, Some(Reason::Budget)));
    let midnight: Timestamp = next_day(harness.now());
    harness.pass(midnight.duration_since(harness.now()) - 2 * MINUTE);
    assert_eq!(harness.reconcile(&name).due, Some(midnight));
    harness.woken();
    harness.pass(2 * MINUTE - SECOND);
    assert_eq!(harness.wakes(), 0);
    harness.pass(SECOND);
    assert_eq!(harness.wakes(), 1);
    harness.follow();
    assert_eq!((harness.launches("good"), reason(&harness, &name)), (1, None));
}

#[test]
fn a_higher_budget_launches_at_once() {
    let harness = harness();
    counted(&harness, 2 * DOLLAR);
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    harness.woken();
    harness.pass(SECOND);
    assert_eq!(harness.wakes(), 0, "nothing is due");
    harness.configure("good", |class| class.budget = Some(MicroUsd(BUDGET.0 + 1)));
    assert_eq!(harness.wakes(), 2);
    harness.follow();
    assert_eq!(harness.launches("good"), 2);
    harness.configure("good", |class| class.budget = None);
    assert!(harness.controller.spend().is_empty());
}

#[test]
fn machines_that_ended_for_nothing_are_spent_before_they_are_counted() {
    let harness = harness();
    let names = harness.jobs(1, "good");
    harness.reconcile(&names[0]);
    harness.pass(130 * MINUTE);
    let now = harness.now();
    for machine in &mut harness.state().machines {
        (machine.state, machine.ended_at) = (MachineState::Gone, Some(now));
    }
    harness.reconcile(&names[0]);
    assert!(harness.state().usage.is_empty(), "its run is not over");
    assert_eq!((harness.launches("good"), reason(&harness, &names[0])), (1, Some(Reason::Budget)));
    assert!(today(&harness) > Some(BUDGET));
}

#[test]
fn a_new_process_knows_what_was_spent_before_it_began() {
    let harness = harness();
    running(&harness, 1, 30);
    counted(&harness, 3 * DOLLAR / 2);
    let other = harness.another();
    assert_eq!(other.spend()[0].today, None, "it has read nothing");
    let names = harness.jobs(1, "good");
    ready(other.reconcile(&names[0]));
    assert_eq!(other.spend()[0].today, Some(MicroUsd(2 * DOLLAR)));
    assert_eq!((harness.launches("good"), reason(&harness, &names[0])), (1, Some(Reason::Budget)));
}

#[test]
fn a_class_whose_price_is_not_known_launches_nothing() {
    let harness = harness();
    priced(&harness, false);
    let name = harness.jobs(1, "good").remove(0);
    let other = harness.another();
    ready(other.reconcile(&name));
    assert_eq!(harness.launches("good"), 0);
    let message = harness.run(&name).status.conditions[0].message.clone();
    assert_eq!(message, "the budget of class good cannot be kept: the price of small is not known");
    // A process that knew the price goes on with the last one.
    priced(&harness, true);
    harness.reconcile(&name);
    assert_eq!(harness.launches("good"), 1);
    priced(&harness, false);
    harness.reconcile_each(&harness.jobs(1, "good"));
    assert_eq!(harness.launches("good"), 2);
}

#[test]
fn a_store_that_cannot_be_read_launches_nothing_and_stops_nothing_else() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    // Once with the observation, once before the launch.
    harness.fails("usage", ErrorKind::Unavailable);
    harness.fails("usage", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert_eq!(harness.launches("good"), 0);
    assert!(report.error.expect("an error").contains("usage"));
    harness.reconcile(&name);
    assert_eq!(harness.launches("good"), 1);
    harness.pass(6 * MINUTE);
    harness.fails("usage", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert_eq!(report.error, None, "a run with a machine needs no budget");
}

#[test]
fn what_was_counted_is_read_every_five_minutes_and_not_without_a_budget() {
    let harness = harness();
    harness.reconcile_each(&harness.jobs(3, "good"));
    assert_eq!(harness.calls("usage"), 1);
    harness.pass(4 * MINUTE);
    harness.reconcile_each(&harness.jobs(2, "good"));
    assert_eq!(harness.calls("usage"), 1);
    harness.pass(2 * MINUTE);
    harness.reconcile_each(&harness.jobs(2, "good"));
    assert_eq!(harness.calls("usage"), 2);
    let none = Harness::new();
    none.reconcile_each(&none.jobs(3, "good"));
    ready(none.controller.sweep());
    assert_eq!(none.calls("usage"), 0);
}
