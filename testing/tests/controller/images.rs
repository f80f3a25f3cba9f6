//! Names of images: each attempt records the image that the name stood for when it was decided.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Conclusion, Job, Machine, RunName};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

const NAMED: &str = "ssm:/ci/image";

/// Two classes; the images of one have a name that stands for this image.
fn harness(image: &str) -> Harness {
    let harness = Harness::new();
    harness.configure("good", |class| {
        for machine in &mut class.machines {
            NAMED.clone_into(&mut machine.image);
        }
    });
    stands_for(&harness, image);
    harness
}

fn stands_for(harness: &Harness, image: &str) {
    harness.state().images.insert(NAMED.to_owned(), image.to_owned());
}

/// The images that a run's attempt has recorded.
fn recorded(harness: &Harness, name: &RunName) -> Vec<String> {
    let attempt = harness.run(name).status.attempt;
    let placements = attempt.into_iter().flat_map(|attempt| attempt.placements);
    placements.map(|placement| placement.machine.image).collect()
}

#[test]
fn an_attempt_keeps_the_image_of_its_decision() {
    let harness = harness("ami-1");
    let first = harness.jobs(1, "good").remove(0);
    harness.reconcile(&first);
    assert_eq!(recorded(&harness, &first), ["ami-1"]);
    stands_for(&harness, "ami-2");
    harness.reconcile(&first);
    assert_eq!(recorded(&harness, &first), ["ami-1"], "it is recorded");
    let second = harness.jobs(1, "good").remove(0);
    harness.reconcile(&second);
    assert_eq!(recorded(&harness, &second), ["ami-2"]);
    let asked: Vec<String> =
        harness.state().launches.iter().map(|launch| launch.machine.image.clone()).collect();
    assert_eq!(asked, ["ami-1", "ami-2"]);
}

#[test]
fn without_an_answer_no_attempt_is_decided() {
    let harness = harness("ami-1");
    let name = harness.jobs(1, "good").remove(0);
    for kind in [ErrorKind::Unavailable, ErrorKind::Throttled] {
        harness.fails("image", kind);
        harness.reconcile(&name);
        assert_eq!((recorded(&harness, &name).len(), harness.launches("good")), (0, 0));
    }
    harness.reconcile(&name);
    assert_eq!(recorded(&harness, &name), ["ami-1"]);
}

#[test]
fn a_name_that_stands_for_no_image_is_launched_by_its_name_so_that_the_launch_says_why() {
    let harness = harness("ami-1");
    let name = harness.jobs(1, "good").remove(0);
    harness.fails("image", ErrorKind::Denied);
    harness.reconcile(&name);
    assert_eq!(recorded(&harness, &name), [NAMED]);
}

#[test]
fn a_run_whose_job_runs_does_not_ask() {
    let harness = harness("ami-1");
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let asked = harness.calls("image");
    assert!(asked > 0);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.reconcile(&name);
    assert_eq!(harness.calls("image"), asked);
}

/// The plan that gives up a late machine makes the next attempt.
#[test]
fn the_attempt_after_a_late_machine_has_the_image_that_the_name_stands_for() {
    let harness = harness("ami-1");
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    harness.fails("image", ErrorKind::Unavailable);
    harness.reconcile(&name);
    stands_for(&harness, "ami-2");
    harness.pass(5 * MINUTE + SECOND);
    harness.reconcile(&name);
    assert_eq!(recorded(&harness, &name), ["ami-2"]);
    assert_eq!(harness.attempt_id(&name, 2).number, 2);
}

/// A machine that is held for a person is up for long, and serves no re-run.
#[test]
fn a_re_run_asks_while_the_machine_of_the_ended_attempt_is_held() {
    let harness = harness("ami-1");
    harness.configure("good", |class| class.times.hold = SignedDuration::from_hours(2));
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.reconcile(&name);
    harness.pass(10 * SECOND);
    harness.state().registrations.clear();
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    harness.reconcile(&name);
    harness.pass(10 * SECOND);
    stands_for(&harness, "ami-2");
    harness.job_is(&name, Job::Waiting);
    for _ in 0..3 {
        harness.reconcile(&name);
    }
    let first = harness.attempt_id(&name, 1);
    let is_held = |machine: &Machine| machine.attempt_id == first && machine.is_live();
    assert!(harness.state().machines.iter().any(is_held));
    assert_eq!(recorded(&harness, &name), ["ami-2"]);
    assert_eq!(harness.launches("good"), 2);
}
