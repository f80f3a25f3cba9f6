//! Registrations of single repositories, where each repository has a list of its own.

use tinqs_ci_reconciler::model::{AttemptId, Job, Registration, RunName};
use tinqs_ci_reconciler::ports::RegistrationLists;
use tinqs_ci_testing::ready;

use super::{MINUTE, SECOND, reading};
use crate::harness::Harness;

/// The repository of the harness's jobs.
const REPO: i64 = 7;

fn harness() -> Harness {
    let harness = Harness::new();
    harness.state().lists = RegistrationLists::PerRepository;
    harness
}

fn row(id: i64, repo_id: i64, attempt_id: AttemptId) -> Registration {
    Registration { repo_id, ..reading::row(id, attempt_id) }
}

fn ids(harness: &Harness) -> Vec<i64> {
    harness.state().registrations.iter().map(|row| row.id).collect()
}

#[test]
fn a_reconcile_reads_the_list_of_its_repository_and_records_it() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let attempt = harness.run(&name).status.attempt.expect("one");
    assert_eq!(attempt.runner.repo_id, REPO);
    // One list, before the attempt; the next reconcile finds the registration in it.
    assert_eq!((harness.calls("registrations"), harness.calls("registration")), (1, 0));
    harness.pass(SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.calls("registrations"), harness.calls("registration")), (2, 0));
}

#[test]
fn a_registration_that_no_list_shows_is_read_in_its_repository() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let id = harness.run(&name).status.attempt.expect("one").runner.id;
    harness.state().unlisted.insert(id.to_string());
    harness.pass(MINUTE);
    harness.reconcile(&name);
    harness.pass(2 * MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("registration"), 2);
    assert_eq!(harness.calls("terminate"), 0, "it is not missing");
}

#[test]
fn a_registration_of_an_earlier_release_is_read_in_the_scope() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.change(&name, |run| {
        run.status.attempt.as_mut().expect("one").runner.repo_id = 0;
    });
    {
        let mut state = harness.state();
        state.registrations[0].repo_id = 0;
        state.machines[0].repo_id = 0;
    }
    harness.pass(MINUTE);
    harness.reconcile(&name);
    harness.pass(2 * MINUTE);
    harness.reconcile(&name);
    assert_eq!((harness.calls("registration"), harness.calls("terminate")), (0, 0));
    assert_eq!(ids(&harness), [100]);
}

#[test]
fn a_registration_without_a_record_is_found_by_the_sweep_and_retired_in_its_repository() {
    let harness = harness();
    let names = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    harness.woken();
    let lost = harness.attempt_id(&names[1], 1);
    {
        let mut state = harness.state();
        state.runs.remove(&names[1]);
        state.machines.retain(|machine| machine.attempt_id != lost);
        state.other_jobs = Job::Absent;
    }
    // Of a repository that no record names: it is not looked for.
    let other: AttemptId = "tq-job-99-0a1b2c3d-1".parse().expect("an attempt ID");
    harness.state().registrations.push(row(900, 8, other));
    ready(harness.controller.sweep());
    assert_eq!(harness.woken(), [names[1].to_string()]);
    harness.reconcile(&names[1]);
    assert_eq!(ids(&harness), [100, 900]);
}

#[test]
fn a_registration_without_a_record_in_the_list_of_the_scope_is_retired() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.woken();
    {
        let mut state = harness.state();
        state.runs.remove(&name);
        state.machines.clear();
        // As one that was registered for the whole scope.
        state.registrations[0].repo_id = 0;
        state.other_jobs = Job::Absent;
    }
    ready(harness.controller.sweep());
    assert_eq!(harness.woken(), [name.to_string()]);
    harness.reconcile(&name);
    assert!(ids(&harness).is_empty(), "{:?}", ids(&harness));
}

#[test]
fn a_second_registration_of_a_run_in_the_list_of_the_scope_is_retired() {
    let harness = harness();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let second = row(900, 0, harness.attempt_id(&name, 1));
    harness.state().registrations.push(second);
    harness.pass(SECOND);
    ready(harness.controller.sweep());
    harness.reconcile(&name);
    assert_eq!(ids(&harness), [100]);
}

#[test]
fn a_list_of_registrations_has_those_of_repositories_that_are_not_read_for_it() {
    let harness = harness();
    let names = harness.jobs(12, "good");
    for (repo_id, name) in (1..).zip(&names) {
        harness.change(name, |run| run.spec.job.repo_id = repo_id);
    }
    harness.reconcile_each(&names);
    harness.pass(SECOND);
    // Each reads the list with its registration.
    harness.reconcile_each(&names);
    let before = harness.calls("registrations");
    let listed = ready(harness.controller.list_registrations()).expect("the forge answers");
    let mut listed: Vec<i64> = listed.seen().iter().map(|row| row.id).collect();
    listed.sort_unstable();
    assert_eq!(listed, ids(&harness), "each once");
    assert_eq!(listed.len(), 12);
    assert_eq!(harness.calls("registrations"), before + 11, "the scope and ten repositories");
}

#[test]
fn one_list_serves_all_where_the_forge_has_one() {
    let harness = Harness::new();
    let names: Vec<RunName> = harness.jobs(2, "good");
    harness.reconcile_each(&names);
    let before = harness.calls("registrations");
    ready(harness.controller.sweep());
    assert_eq!(harness.calls("registrations"), before + 1);
}
