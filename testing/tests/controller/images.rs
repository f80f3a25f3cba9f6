//! Names of images: each attempt records the image that the name stood for when it was decided.

use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::ErrorKind;

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
fn a_run_with_a_machine_does_not_ask() {
    let harness = harness("ami-1");
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    let asked = harness.calls("image");
    assert!(asked > 0);
    harness.reconcile(&name);
    assert_eq!(harness.calls("image"), asked);
}
