//! A budget: beyond it the class launches nothing until the next day, and running jobs go on.

use std::task::{Context, Waker};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::ActionKind;
use tinqs_ci_reconciler::model::{
    Amount, ClassName, Job, MachineSpec, MachineState, Market, MicroUsd, Phase, Reason, RunName,
    UsageKey, day_of, next_day,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_testing::{LaunchAnswer, ready};

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
    harness.controller.spend().budgets.first().expect("a budget").today
}

#[test]
fn a_spent_budget_stops_launches_and_running_jobs_go_on() {
    let harness = harness();
    let running = running(&harness, 2, 59);
    let first = harness.jobs(1, "good").remove(0);
    harness.reconcile(&first);
    assert_eq!((harness.launches("good"), harness.reason(&first)), (3, None), "$1.97 of $2");
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
    assert_eq!((harness.launches("good"), harness.reason(&name)), (0, Some(Reason::Budget)));
    let midnight: Timestamp = next_day(harness.now());
    harness.pass(midnight.duration_since(harness.now()) - 2 * MINUTE);
    assert_eq!(harness.reconcile(&name).due, Some(midnight));
    harness.woken();
    harness.pass(2 * MINUTE - SECOND);
    assert_eq!(harness.wakes(), 0);
    harness.pass(SECOND);
    assert_eq!(harness.wakes(), 1);
    harness.follow();
    assert_eq!((harness.launches("good"), harness.reason(&name)), (1, None));
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
    assert!(harness.controller.spend().budgets.is_empty());
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
    assert_eq!((harness.launches("good"), harness.reason(&names[0])), (1, Some(Reason::Budget)));
    assert!(today(&harness) > Some(BUDGET));
}

#[test]
fn a_new_process_knows_what_was_spent_before_it_began() {
    let harness = harness();
    running(&harness, 1, 30);
    counted(&harness, 3 * DOLLAR / 2);
    let other = harness.another();
    assert_eq!(other.spend().budgets[0].today, None, "it has read nothing");
    let names = harness.jobs(1, "good");
    ready(other.reconcile(&names[0]));
    assert_eq!(other.spend().budgets[0].today, Some(MicroUsd(2 * DOLLAR)));
    assert_eq!((harness.launches("good"), harness.reason(&names[0])), (1, Some(Reason::Budget)));
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
    harness.fails("usage", ErrorKind::Unavailable);
    let report = harness.reconcile(&name);
    assert_eq!((harness.launches("good"), harness.calls("usage")), (0, 1), "asked once");
    assert!(report.error.expect("an error").contains("usage"));
    harness.pass(11 * SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.launches("good"), harness.calls("usage")), (1, 2));
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.pass(6 * MINUTE);
    let report = harness.reconcile(&name);
    assert_eq!(report.error, None);
    assert_eq!(harness.calls("usage"), 2, "a run with a machine needs no budget");
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

#[test]
fn a_kind_whose_price_is_not_known_is_left_out_while_another_has_one() {
    let harness = harness();
    harness.configure("good", |class| {
        let spot = MachineSpec { market: Market::Spot, ..class.machines[0].clone() };
        class.machines.insert(0, spot);
    });
    let names = harness.jobs(2, "good");
    harness.reconcile(&names[0]);
    let markets = || -> Vec<Market> {
        harness.state().launches.iter().map(|launch| launch.machine.market).collect()
    };
    assert_eq!((markets(), harness.reason(&names[0])), (vec![Market::OnDemand], None));
    let spend = harness.controller.spend();
    let unpriced: Vec<Market> =
        spend.budgets[0].unpriced.iter().map(|machine| machine.market).collect();
    assert_eq!(unpriced, [Market::Spot]);
    // Nor is it the next placement of a refused one.
    let refused = || PortError::new("compute", "launch", ErrorKind::NoCapacity, "none");
    harness.answers("good", LaunchAnswer::Refuses(refused));
    harness.reconcile(&names[1]);
    assert_eq!(markets(), [Market::OnDemand; 2]);
    let status = harness.run(&names[1]).status;
    assert_eq!(status.reason(), Some(Reason::NoCapacity));
    assert_eq!(status.conditions[0].message, "no capacity for any machine of class good");
    harness.configure("good", |class| class.budget = None);
    harness.pass(10 * MINUTE);
    harness.reconcile(&names[1]);
    assert_eq!(markets()[2..], [Market::Spot, Market::OnDemand], "it has no budget any more");
}

#[test]
fn a_reading_that_hangs_delays_launches_of_its_class_alone_and_each_not_again() {
    let harness = harness();
    let names = harness.jobs(2, "good");
    harness.state().usage_held = true;
    let reconcile = |name| Box::pin(harness.controller.reconcile(name));
    let mut waiting: Vec<_> = names.iter().map(reconcile).collect();
    let mut step = || {
        waiting.retain_mut(|reconcile| {
            reconcile.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        });
        waiting.len()
    };
    assert_eq!((step(), step()), (2, 2));
    harness.reconcile_each(&harness.jobs(1, "bad"));
    assert_eq!(harness.launches("bad"), 1, "one has no budget");
    // Its deadline ends the one call that hangs. The second reconcile makes none of its own.
    harness.fails("usage", ErrorKind::Unavailable);
    harness.let_through(1);
    for _ in 0..3 {
        step();
    }
    assert_eq!((step(), harness.calls("usage")), (0, 1));
    assert_eq!(harness.launches("good"), 0);
    harness.state().usage_held = false;
    harness.pass(15 * SECOND);
    harness.reconcile_each(&names);
    assert_eq!((harness.launches("good"), harness.calls("usage")), (2, 2));
}

#[test]
fn at_midnight_one_reading_serves_all_and_the_launch_rate_spreads_the_launches() {
    let harness = harness();
    counted(&harness, 2 * DOLLAR);
    let names = harness.jobs(6, "good");
    harness.reconcile_each(&names);
    assert_eq!((harness.launches("good"), harness.calls("usage")), (0, 1));
    harness.woken();
    harness.pass(next_day(harness.now()).duration_since(harness.now()));
    harness.room_for(2);
    assert!(harness.wakes() > 0);
    harness.follow();
    assert_eq!((harness.launches("good"), harness.calls("usage")), (2, 2));
    let paced = names.iter().filter(|name| harness.reason(name) == Some(Reason::Paced)).count();
    assert_eq!(paced, 4);
}

#[test]
fn people_are_told_the_sums_that_launches_are_compared_with() {
    let harness = harness();
    counted(&harness, DOLLAR / 2);
    let running = running(&harness, 1, 30);
    let told = ready(harness.controller.spend_now());
    assert_eq!(told.budgets[0].today, Some(MicroUsd(DOLLAR)), "{running:?}");
    assert_eq!((told.total, told.is_partial), (Some(MicroUsd(DOLLAR)), false));
    counted(&harness, DOLLAR);
    assert_eq!(ready(harness.controller.spend_now()), told, "read ten seconds ago at most");
    harness.pass(11 * SECOND);
    let told = ready(harness.controller.spend_now());
    assert_eq!(told.total, Some(MicroUsd(3 * DOLLAR / 2)));
    assert_eq!(told.budgets[0].today, told.total);
}
