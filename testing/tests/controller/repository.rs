//! The repository and the labels of a job, as the forge tells them.

use tinqs_ci_reconciler::model::{Phase, Reason};
use tinqs_ci_reconciler::ports::RegistrationLists;

use crate::harness::Harness;

#[test]
fn a_forged_name_of_a_repository_selects_no_class() {
    let harness = Harness::new();
    harness.configure("good", |class| class.repos = vec!["acme/*".to_owned()]);
    // The delivery named `acme/site`, and the ID of another repository, which has the job.
    let name = harness.jobs(1, "good").remove(0);
    harness.state().moved.insert(1, "mallory/site".to_owned());
    harness.reconcile(&name);
    let run = harness.run(&name);
    assert_eq!((run.status.phase, run.status.reason()), (Phase::Waiting, Some(Reason::NoClass)));
    assert_eq!(run.spec.job.repo, "mallory/site");
    assert_eq!((harness.calls("register"), harness.calls("launch")), (0, 0));
}

#[test]
fn a_forged_id_of_a_repository_registers_nothing_there() {
    let harness = Harness::new();
    harness.state().lists = RegistrationLists::PerRepository;
    // The delivery named `acme/site`, which has the job, and the ID of another repository.
    let name = harness.jobs(1, "good").remove(0);
    let told = harness.run(&name).spec.job.repo_id;
    harness.state().repo_ids.insert(1, told + 1);
    harness.reconcile(&name);
    let run = harness.run(&name);
    assert_eq!((run.status.phase, run.spec.job.repo_id), (Phase::Starting, told + 1));
    let state = harness.state();
    let rows: Vec<i64> = state.registrations.iter().map(|row| row.repo_id).collect();
    let machines: Vec<i64> = state.machines.iter().map(|machine| machine.repo_id).collect();
    assert_eq!((rows, machines), (vec![told + 1], vec![told + 1]));
}

#[test]
fn forged_labels_select_no_class() {
    // The delivery named a label of the class `good`, which the job does not ask for.
    for asked in [vec!["bad".to_owned()], Vec::new()] {
        let harness = Harness::new();
        harness.configure("bad", |class| class.repos = vec!["acme/other".to_owned()]);
        let name = harness.jobs(1, "good").remove(0);
        harness.state().labels.insert(1, asked.clone());
        harness.reconcile(&name);
        let run = harness.run(&name);
        let expected = (Phase::Waiting, Some(Reason::NoClass));
        assert_eq!((run.status.phase, run.status.reason()), expected, "{asked:?}");
        assert_eq!(run.spec.runs_on, asked);
        assert_eq!((harness.calls("register"), harness.calls("launch")), (0, 0), "{asked:?}");
    }
}

#[test]
fn a_job_gets_a_machine_for_the_labels_that_the_forge_tells() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.state().labels.insert(1, vec!["bad".to_owned()]);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.phase, Phase::Starting);
    assert_eq!((harness.launches("good"), harness.launches("bad")), (0, 1));
}

#[test]
fn a_renamed_repository_is_served_by_its_new_name() {
    let harness = Harness::new();
    harness.configure("good", |class| class.repos = vec!["acme/new".to_owned()]);
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!(harness.run(&name).status.reason(), Some(Reason::NoClass));
    harness.state().moved.insert(1, "acme/new".to_owned());
    harness.reconcile(&name);
    let run = harness.run(&name);
    assert_eq!((run.status.phase, run.spec.job.repo.as_str()), (Phase::Starting, "acme/new"));
    assert_eq!(harness.calls("launch"), 1);
}
