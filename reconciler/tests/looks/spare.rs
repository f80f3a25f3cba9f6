//! A run whose machine was taken waits for the taker's, and no longer than one may come.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    ClassName, Conclusion, End, Ended, Job, Phase, Reason, Run, RunName,
};

use super::town::{Town, done};
use super::{MINUTE, SECOND};

/// Jobs that have each its machine asked for.
fn started(town: &Town, count: usize) -> Vec<RunName> {
    let names = town.jobs(count, "good");
    town.look_at(&names);
    names
}

/// It is told that a job works on the machine of a run's first attempt.
fn takes(town: &Town, taker: &RunName, robbed: &RunName) {
    let runner = town.slot(robbed, 1).to_string();
    let id = town.run(robbed).status.attempt.map(|attempt| attempt.runner.id);
    for row in town.world().rows.iter_mut().filter(|row| Some(row.id) == id) {
        row.busy = true;
    }
    let job_id = town.run(taker).spec.job.job_id;
    let hint = Hint::Job { job_id, runner: Some(runner) };
    done(town.controller.ingest(&[hint])).expect("it is taken in");
    town.woken();
}

fn ended(run: &mut Run, why: End) {
    let at = run.created_at;
    let attempt = run.status.attempt.as_mut().expect("an attempt");
    attempt.ended = Some(Ended { why, at });
}

/// Whether the first run waits for a machine that is given back for its own.
fn waits(town: &Town, name: &RunName) -> bool {
    let report = town.look(name);
    match report.reason {
        Some(Reason::SpareExpected) => {
            assert_eq!(report.due, Some(town.now() + MINUTE), "for a minute at the most");
            true
        }
        None if report.phase == Some(Phase::Starting) => {
            assert_eq!(town.run(name).status.attempt.map(|attempt| attempt.number), Some(2));
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_known_of_the_taker_decides_whether_the_robbed_run_waits() {
    type Case = (&'static str, fn(&mut Run), bool);
    let cases: [Case; 7] = [
        ("its machine is on its way", |_| {}, true),
        ("its attempt is over, and it waits itself", |run| ended(run, End::MachineGone), true),
        ("it runs, and its attempt goes on", |run| run.status.phase = Phase::Running, true),
        (
            "it runs, and its attempt came to nothing",
            |run| {
                ended(run, End::MachineGone);
                run.status.phase = Phase::Running;
            },
            false,
        ),
        (
            "it never had a machine, and runs",
            |run| (run.status.attempt, run.status.phase) = (None, Phase::Running),
            false,
        ),
        (
            "it never had a machine, and is over",
            |run| (run.status.attempt, run.status.phase) = (None, Phase::Finished),
            false,
        ),
        ("its own was taken too, by nobody who is known", |run| ended(run, End::Consumed), true),
    ];
    for (case, change, waits_for_it) in cases {
        let town = Town::new();
        let names = started(&town, 2);
        takes(&town, &names[1], &names[0]);
        town.change(&names[1], change);
        assert_eq!(waits(&town, &names[0]), waits_for_it, "{case}");
    }
}

#[test]
fn nobody_waits_for_a_taker_without_a_record_and_everybody_for_one_that_is_not_known() {
    let town = Town::new();
    let names = started(&town, 3);
    takes(&town, &names[2], &names[0]);
    town.world().runs.remove(&names[2]);
    assert!(!waits(&town, &names[0]));
    // Its registration is at work, and nobody has told for whom.
    town.world().rows[1].busy = true;
    assert!(waits(&town, &names[1]));
}

#[test]
fn those_who_have_got_each_others_machine_do_not_lead_anybody_on() {
    let town = Town::new();
    let names = started(&town, 3);
    takes(&town, &names[1], &names[0]);
    takes(&town, &names[2], &names[1]);
    takes(&town, &names[1], &names[2]);
    for name in &names[1..] {
        town.change(name, |run| ended(run, End::Consumed));
    }
    assert!(waits(&town, &names[0]));
}

#[test]
fn takers_are_followed_over_twenty_hops_and_no_further() {
    for (takers, waits_for_it) in [(2, false), (20, false), (21, true)] {
        let town = Town::new();
        let names = started(&town, takers + 1);
        for pair in names.windows(2) {
            takes(&town, &pair[1], &pair[0]);
            town.change(&pair[1], |run| ended(run, End::Consumed));
        }
        town.change(&names[takers], |run| {
            (run.status.attempt, run.status.phase) = (None, Phase::Running);
        });
        assert_eq!(waits(&town, &names[0]), waits_for_it, "{takers} takers");
    }
}

#[test]
fn what_a_look_sees_of_the_runner_is_remembered_as_well() {
    let town = Town::new();
    let names = started(&town, 2);
    let runner = town.slot(&names[0], 1).to_string();
    town.change(&names[1], |run| run.status.attempt = None);
    town.job_is(&names[1], Job::Running { runner });
    town.look(&names[1]);
    town.world().rows[0].busy = true;
    assert!(!waits(&town, &names[0]));
}

#[test]
fn the_robbed_run_is_called_once_as_soon_as_nothing_comes_back() {
    let town = Town::new();
    let names = started(&town, 2);
    let runner = town.slot(&names[0], 1).to_string();
    town.job_is(&names[1], Job::Running { runner });
    town.look(&names[1]);
    assert!(town.woken().is_empty(), "its own machine is on its way");
    town.change(&names[1], |run| ended(run, End::MachineGone));
    town.look(&names[1]);
    assert_eq!(town.woken(), ["job-1"]);
    town.pass(MINUTE);
    town.look(&names[1]);
    assert!(town.woken().is_empty(), "it was told");
    town.job_is(&names[1], Job::Done { conclusion: Conclusion::Success });
    town.look(&names[1]);
    assert!(town.woken().is_empty());
}

#[test]
fn one_that_is_over_before_it_was_seen_at_work_calls_the_robbed_too() {
    let town = Town::new();
    let names = started(&town, 2);
    takes(&town, &names[1], &names[0]);
    town.change(&names[1], |run| run.status.attempt = None);
    town.job_is(&names[1], Job::Done { conclusion: Conclusion::Success });
    town.look(&names[1]);
    assert_eq!(town.woken(), ["job-1"]);
}

#[test]
fn one_that_waits_itself_calls_nobody() {
    let town = Town::new();
    town.configure("good", |class| class.limit = Some(1));
    let names = started(&town, 2);
    assert_eq!(town.run(&names[1]).status.reason(), Some(Reason::AtLimit));
    takes(&town, &names[1], &names[0]);
    town.look(&names[1]);
    assert!(town.woken().is_empty());
}

#[test]
fn who_runs_on_his_own_machine_has_robbed_nobody() {
    let town = Town::new();
    let names = started(&town, 1);
    // The machine of the first attempt came late, while a second one was under way.
    let runner = town.slot(&names[0], 1).to_string();
    town.change(&names[0], |run| {
        ended(run, End::MachineGone);
        run.status.attempt.as_mut().expect("an attempt").number = 2;
        run.status.attempt.as_mut().expect("an attempt").class = ClassName("good".to_owned());
    });
    town.job_is(&names[0], Job::Running { runner });
    town.look(&names[0]);
    town.pass(SECOND);
    town.look(&names[0]);
    assert!(town.woken().is_empty());
}
