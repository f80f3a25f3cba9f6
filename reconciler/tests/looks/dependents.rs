//! Push mode: runs that need others, and those that wait for them.

use tinqs_ci_reconciler::controller::{ActionKind, Fact};
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, End, InstanceState, Job, Outcome, Phase, RunName, Spec,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Seat};

use super::town::{Town, done};
use super::{MINUTE, effects};

/// Runs of push mode, whose jobs cannot be looked at.
fn pushed(town: &Town, parts: &[&str]) -> Vec<RunName> {
    let demand = |part: &&str| {
        let name = RunName::push(&[part]);
        let spec = Spec { runs_on: vec!["good".to_owned()], ..Spec::default() };
        assert!(done(town.controller.demand_run(name.clone(), spec)).expect("it is durable"));
        name
    };
    town.world().jobs_seen.insert(0, Job::Unobservable);
    let names = parts.iter().map(demand).collect();
    town.woken();
    names
}

fn texts(names: &[RunName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_run_that_is_over_calls_those_that_need_it_once() {
    let town = Town::new();
    let names = town.jobs(3, "good");
    town.change(&names[0], |run| run.spec.needed_by = names[1..].to_vec());
    town.look(&names[0]);
    let runner = town.slot(&names[0], 1).to_string();
    town.job_is(&names[0], Job::Running { runner });
    town.look(&names[0]);
    assert!(town.woken().is_empty(), "it runs");
    town.job_is(&names[0], Job::Done { conclusion: Conclusion::Success });
    town.look(&names[0]);
    assert_eq!(town.woken(), texts(&names[1..]));
    // It is written once more, and nobody is called for that.
    town.job_is(&names[0], Job::Done { conclusion: Conclusion::Failure });
    assert_eq!(effects(&town.look(&names[0])), [("3", ActionKind::Put)]);
    assert!(town.woken().is_empty());
}

#[test]
fn a_call_that_is_lost_keeps_the_others_from_nothing() {
    let town = Town::new();
    let names = town.jobs(3, "good");
    town.change(&names[0], |run| run.spec.needed_by = names[1..].to_vec());
    town.job_is(&names[0], Job::Done { conclusion: Conclusion::Success });
    town.fails("wake", ErrorKind::Unavailable);
    town.look(&names[0]);
    assert_eq!(town.woken(), texts(&names[2..]));
    assert_eq!(town.run(&names[0]).status.phase, Phase::Finished);
}

#[test]
fn a_run_is_blocked_until_all_that_it_needs_have_worked() {
    let observed = |arrange: &dyn Fn(&Town, &RunName)| {
        let town = Town::new();
        let names = pushed(&town, &["needed", "needs"]);
        town.change(&names[1], |run| run.spec.needs = vec![names[0].clone()]);
        arrange(&town, &names[0]);
        done(town.controller.observe(&names[1])).expect("everything can be read").job
    };
    let finished = |outcome: Outcome| {
        move |town: &Town, name: &RunName| {
            town.change(name, |run| {
                (run.status.phase, run.status.outcome) = (Phase::Finished, Some(outcome));
            });
        }
    };
    let skipped = Job::Done { conclusion: Conclusion::Skipped };
    assert_eq!(observed(&|_, _| {}), Job::Blocked, "it is open");
    assert_eq!(observed(&finished(Outcome::MachineEnded)), Job::Unobservable);
    assert_eq!(observed(&finished(Outcome::GaveUp)), skipped);
    assert_eq!(observed(&finished(Outcome::Skipped)), skipped);
    // Whoever is not there, or was deleted, is served by somebody else or long gone.
    assert_eq!(observed(&|town, name| drop(town.world().runs.remove(name))), Job::Unobservable);
    let deleted = |town: &Town, name: &RunName| {
        let now = town.now();
        town.change(name, |run| run.delete(now, false));
    };
    assert_eq!(observed(&deleted), Job::Unobservable);
}

#[test]
fn a_run_that_is_over_waits_for_nothing_any_more() {
    let town = Town::new();
    let names = pushed(&town, &["needed", "needs"]);
    town.change(&names[1], |run| {
        run.spec.needs = vec![names[0].clone()];
        (run.status.phase, run.status.outcome) = (Phase::Finished, Some(Outcome::MachineEnded));
        run.status.finished_at = Some(run.created_at);
    });
    let seen = done(town.controller.observe(&names[1])).expect("everything can be read");
    assert_eq!(seen.job, Job::Unobservable);
}

#[test]
fn a_machine_that_worked_and_has_gone_ends_its_run_in_one_look() {
    let town = Town::new();
    let name = pushed(&town, &["one"]).remove(0);
    town.look(&name);
    town.pass(5 * MINUTE);
    town.world().machines[0].state = InstanceState::Gone;
    // Its ephemeral registration went with the job.
    town.world().rows.clear();
    let report = town.look(&name);
    assert_eq!(effects(&report), [("P1", ActionKind::Put), ("P2", ActionKind::Put)]);
    let run = town.run(&name);
    assert_eq!(run.status.outcome, Some(Outcome::MachineEnded));
    assert_eq!(run.status.attempt.and_then(|a| a.ended).map(|e| e.why), Some(End::Consumed));
    let outcome = Outcome::MachineEnded;
    assert_eq!(report.facts, [Fact::Started { waited_seconds: 300 }, Fact::Finished { outcome }]);
}

#[test]
fn what_only_its_use_lets_go_is_given_back_in_the_same_look() {
    let town = Town::new();
    let name = pushed(&town, &["one"]).remove(0);
    town.look(&name);
    town.world().machines[0].state = InstanceState::Gone;
    town.world().rows.clear();
    // The seat in its own class, and one in a class that it was not recorded for.
    let seat = Seat { slot: town.slot(&name, 1), repo: String::new() };
    let classes = ["good", "bad"].map(|class| ClassName(class.to_owned()));
    town.world().seats = classes.map(|class| (class, seat.clone())).into();
    let report = town.look(&name);
    let expected = [
        ("26", ActionKind::Unseat),
        ("P1", ActionKind::Put),
        ("26", ActionKind::Unseat),
        ("P2", ActionKind::Put),
    ];
    assert_eq!(effects(&report), expected);
    assert_eq!((&*report.effects[0].target, &*report.effects[2].target), ("bad", "good"));
    assert!(town.world().seats.is_empty());
}

#[test]
fn a_machine_that_works_keeps_its_run_running() {
    let town = Town::new();
    let name = pushed(&town, &["one"]).remove(0);
    town.look(&name);
    town.world().rows[0].busy = true;
    let report = town.look(&name);
    assert_eq!(
        (report.phase, effects(&report)),
        (Some(Phase::Running), vec![("P1", ActionKind::Put)])
    );
    assert_eq!(report.due, Some(town.now() + MINUTE));
}
