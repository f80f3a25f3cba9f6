//! A displaced run waits while there are more machines that may come than older displaced runs.

use tinqs_ci_reconciler::controller::Hint;
use tinqs_ci_reconciler::model::{
    Conclusion, End, Ended, Job, MachineState, Phase, Reason, Run, RunName,
};
use tinqs_ci_reconciler::ports::{RegistrationLists, WaitingJob};
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, waiting_job};
use crate::harness::Harness;

/// Jobs whose machines were all launched.
fn started(harness: &Harness, count: usize) -> Vec<RunName> {
    let names = harness.jobs(count, "good");
    harness.reconcile_each(&names);
    names
}

/// The registration of a run's attempt has a job.
fn is_busy(harness: &Harness, name: &RunName) {
    let id = harness.run(name).status.attempt.map(|attempt| attempt.runner.id);
    let mut state = harness.state();
    let rows = state.registrations.iter_mut().filter(|row| Some(row.id) == id);
    rows.for_each(|row| row.busy = true);
}

/// A hint says that a job runs on the machine of another run's first attempt.
fn takes(harness: &Harness, taker: &RunName, displaced: &RunName) {
    is_busy(harness, displaced);
    let runner = harness.attempt_id(displaced, 1).to_string();
    let job_id = harness.run(taker).spec.job.job_id;
    harness.job_is(taker, Job::Running { runner: runner.clone() });
    let hint = Hint::Job { job_id, runner: Some(runner) };
    ready(harness.controller.ingest(&[hint])).expect("it is taken in");
    harness.woken();
}

/// The machine of a run's attempt is in this state from now on.
fn machine_is(harness: &Harness, name: &RunName, state: MachineState) {
    let mut world = harness.state();
    let own = world.machines.iter_mut().filter(|machine| machine.attempt_id.run == *name);
    own.for_each(|machine| machine.state = state);
}

/// Reconciles a run. Returns whether it waits for the machine of another run.
fn waits(harness: &Harness, name: &RunName) -> bool {
    let report = harness.reconcile(name);
    match report.reason {
        Some(Reason::MachineReassigned) => true,
        None if report.phase == Some(Phase::Starting) => {
            assert_eq!(harness.run(name).status.attempt.map(|attempt| attempt.number), Some(2));
            false
        }
        other => panic!("{other:?}"),
    }
}

/// The forge lists the jobs of these runs as waiting, and a poll reads it.
fn poll(harness: &Harness, names: &[&RunName]) -> Vec<String> {
    let jobs = names.iter().map(|name| waiting_job(harness.run(name).spec.job.job_id, "good"));
    let jobs: Vec<WaitingJob> = jobs.collect();
    harness.state().waiting = Some(jobs);
    ready(harness.controller.poll());
    harness.woken()
}

#[test]
fn a_displaced_run_waits_while_the_machine_of_the_other_job_may_come() {
    type Case = (&'static str, fn(&Harness, &RunName), bool);
    let cases: [Case; 5] = [
        ("it boots", |_, _| {}, true),
        ("it is up", |harness, name| machine_is(harness, name, MachineState::Up), true),
        ("it ends", |harness, name| machine_is(harness, name, MachineState::Ending), false),
        ("it is gone", |harness, name| machine_is(harness, name, MachineState::Gone), false),
        ("it is late", |harness, _| harness.pass(6 * MINUTE), false),
    ];
    for (case, change, waits_for_it) in cases {
        let harness = Harness::new();
        harness.configure("good", |class| class.times.boot_within = 5 * MINUTE);
        let names = started(&harness, 2);
        takes(&harness, &names[1], &names[0]);
        change(&harness, &names[1]);
        assert_eq!(waits(&harness, &names[0]), waits_for_it, "{case}");
    }
}

#[test]
fn it_waits_for_assign_within_at_most() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    takes(&harness, &names[1], &names[0]);
    let report = harness.reconcile(&names[0]);
    assert_eq!(report.reason, Some(Reason::MachineReassigned));
    assert_eq!(report.due, Some(harness.now() + MINUTE));
    harness.pass(MINUTE);
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn a_machine_whose_own_job_waits_does_not_count() {
    let harness = Harness::new();
    let names = started(&harness, 3);
    takes(&harness, &names[2], &names[0]);
    machine_is(&harness, &names[2], MachineState::Gone);
    assert!(!waits(&harness, &names[0]), "that of the second job is for the second job");
}

#[test]
fn a_poll_tells_which_machines_are_those_of_jobs_that_wait() {
    for own_job_waits in [true, false] {
        let harness = Harness::new();
        let names = started(&harness, 3);
        // Longer than what a reconcile has seen of a job counts.
        harness.pass(2 * MINUTE);
        let all = [&names[0], &names[2], &names[1]];
        poll(&harness, if own_job_waits { &all } else { &all[..2] });
        takes(&harness, &names[2], &names[0]);
        machine_is(&harness, &names[2], MachineState::Gone);
        let waits_for_it = waits(&harness, &names[0]);
        assert_eq!(waits_for_it, !own_job_waits, "the job of the machine waits: {own_job_waits}");
    }
}

#[test]
fn machines_of_other_labels_and_repositories_do_not_count() {
    type Case = (&'static str, fn(&mut Run), bool);
    let cases: [Case; 4] = [
        ("of the same", |_| {}, true),
        (
            "of the same labels, one of them twice",
            |run| {
                run.spec.runs_on = vec!["good".to_owned(), "good".to_owned()];
            },
            true,
        ),
        ("of more labels", |run| run.spec.runs_on.push("host".to_owned()), false),
        ("of another repository", |run| run.spec.job.repo_id = 8, false),
    ];
    for (case, change, waits_for_it) in cases {
        let harness = Harness::new();
        harness.configure("good", |class| class.labels.push("host".to_owned()));
        harness.state().lists = RegistrationLists::PerRepository;
        let names = harness.jobs(2, "good");
        harness.change(&names[1], change);
        harness.reconcile_each(&names);
        takes(&harness, &names[1], &names[0]);
        assert_eq!(waits(&harness, &names[0]), waits_for_it, "{case}");
    }
}

#[test]
fn the_oldest_displaced_run_gets_the_machine_and_the_others_are_woken() {
    for reversed in [false, true] {
        let harness = Harness::new();
        let names = started(&harness, 4);
        takes(&harness, &names[2], &names[0]);
        takes(&harness, &names[3], &names[1]);
        machine_is(&harness, &names[3], MachineState::Gone);
        if reversed {
            assert!(waits(&harness, &names[1]), "nobody else is known to wait");
            assert!(waits(&harness, &names[0]));
            assert_eq!(harness.woken(), ["job-2"]);
        } else {
            assert!(waits(&harness, &names[0]));
        }
        assert!(!waits(&harness, &names[1]));
        assert!(waits(&harness, &names[0]), "its machine is still there");
    }
}

#[test]
fn a_job_that_runs_may_still_launch_until_its_record_says_so() {
    let harness = Harness::new();
    harness.configure("good", |class| class.limit = Some(1));
    let names = started(&harness, 2);
    assert_eq!(harness.run(&names[1]).status.reason(), Some(Reason::AtLimit));
    takes(&harness, &names[1], &names[0]);
    assert!(waits(&harness, &names[0]), "an attempt may be in preparation");
    harness.configure("good", |class| class.limit = None);
    harness.reconcile(&names[1]);
    assert_eq!(harness.woken(), ["job-1"], "it runs, and launches nothing");
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty(), "once");
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn a_launched_machine_that_no_list_shows_counts() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    takes(&harness, &names[1], &names[0]);
    harness.state().machines.retain(|m| m.attempt_id.run != names[1]);
    assert!(waits(&harness, &names[0]));
    // Its attempt ends without a machine.
    let at = harness.now();
    harness.change(&names[1], |run| {
        run.status.attempt.as_mut().expect("an attempt").ended =
            Some(Ended { why: End::NeverSeen, at });
    });
    harness.reconcile(&names[1]);
    assert_eq!(harness.woken(), ["job-1"]);
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn what_an_unknown_job_took_counts_until_a_poll_tells_which_jobs_wait() {
    let harness = Harness::new();
    let names = started(&harness, 3);
    harness.pass(SECOND);
    is_busy(&harness, &names[0]);
    assert!(waits(&harness, &names[0]), "the job may have left its machine");
    harness.pass(SECOND);
    let others = [&names[0], &names[1], &names[2]];
    assert_eq!(poll(&harness, &others), ["job-1"], "it left none");
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn without_webhooks_a_poll_wakes_who_started_and_whose_machine_is_used() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    harness.pass(SECOND);
    is_busy(&harness, &names[0]);
    // Any list shows it.
    harness.job_is(&names[1], Job::Done { conclusion: Conclusion::Success });
    assert_eq!(poll(&harness, &[&names[0]]), ["job-2"]);
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty(), "a webhook may tell it yet");
    harness.pass(3 * SECOND);
    assert_eq!(poll(&harness, &[&names[0]]), ["job-1"]);
    assert!(waits(&harness, &names[0]), "the machine of the second job boots");
    harness.pass(SECOND);
    assert!(poll(&harness, &[&names[0]]).is_empty(), "once");
}

#[test]
fn what_a_reconcile_sees_of_the_runner_wakes_the_displaced_run() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    let runner = harness.attempt_id(&names[0], 1).to_string();
    is_busy(&harness, &names[0]);
    harness.job_is(&names[1], Job::Running { runner });
    harness.reconcile(&names[1]);
    assert_eq!(harness.woken(), ["job-1"]);
    harness.reconcile(&names[1]);
    assert!(harness.woken().is_empty(), "once");
}

#[test]
fn a_machine_that_was_busy_once_is_used_though_its_runner_reports_rarely() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    takes(&harness, &names[1], &names[0]);
    is_busy(&harness, &names[1]);
    harness.reconcile(&names[1]);
    {
        let mut state = harness.state();
        let rows = state.registrations.iter_mut().filter(|row| row.attempt_id.run == names[1]);
        rows.for_each(|row| row.busy = false);
    }
    harness.change(&names[0], |run| {
        let attempt = run.status.attempt.as_mut().expect("an attempt");
        attempt.ended = Some(Ended { why: End::Consumed, at: run.created_at });
    });
    harness.pass(SECOND);
    poll(&harness, &[&names[0]]);
    assert!(!waits(&harness, &names[0]));
}

#[test]
fn where_registrations_cannot_be_listed_it_waits() {
    let harness = Harness::new();
    let names = started(&harness, 1);
    harness.state().registrations_hidden = true;
    harness.change(&names[0], |run| {
        let attempt = run.status.attempt.as_mut().expect("an attempt");
        attempt.ended = Some(Ended { why: End::Consumed, at: run.created_at });
    });
    machine_is(&harness, &names[0], MachineState::Gone);
    assert!(waits(&harness, &names[0]));
}

#[test]
fn another_process_counts_what_it_does_not_know_as_machines_that_may_come() {
    let harness = Harness::new();
    let names = started(&harness, 2);
    is_busy(&harness, &names[0]);
    let another = harness.another();
    let seen = ready(another.observe(&names[0])).expect("everything can be read");
    assert!(!seen.no_replacement);
}
