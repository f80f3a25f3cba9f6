//! The adapters' laws on the real EC2 and SQS, if variables name the resources to use. The tests
//! make everything under an installation or a name of their own, remove it again, and touch nothing
//! else. `AWS_ENDPOINT_URL_EC2` and `AWS_ENDPOINT_URL_SQS` replace AWS, here with our own wires.

#[allow(dead_code, reason = "the other suites use the rest")]
#[path = "../cloud/mod.rs"]
mod cloud;
mod machines;
mod wakes;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use tinqs_ci_reconciler::model::MachineState;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire};
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};

/// Runs one test of this binary in its own process with these variables. Returns its output.
async fn by_itself(test: &str, variables: Vec<(&str, String)>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", test, "--nocapture"])
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables)
        .stdin(Stdio::null());
    let ran =
        tokio::task::spawn_blocking(move || command.output()).await.expect("the process is joined");
    let ran = ran.expect("it ran");
    let said =
        format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{said}");
    assert!(said.contains("1 passed") && !said.contains("skipped"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ec2_suite_passes_on_our_wire_and_leaves_foreign_instances_alone() {
    let wire = Ec2Wire::start(Ec2Options { speed: 20, ..Ec2Options::default() }).expect("EC2");
    let others = [
        BTreeMap::from([("tinqs-ci".to_owned(), "tinqs-ci".to_owned())]),
        BTreeMap::from([("Name".to_owned(), "database".to_owned())]),
    ];
    let others = others.map(|tags| wire.add_foreign(tags).expect("a machine"));
    let said = by_itself(
        "machines::the_laws_on_ec2",
        vec![
            ("AWS_ENDPOINT_URL_EC2", wire.url()),
            (machines::IMAGE, "ami-0123".to_owned()),
            (machines::SUBNET, "subnet-a".to_owned()),
            (machines::GROUP, "sg-1".to_owned()),
            (machines::KIND, "t3.small".to_owned()),
        ],
    );
    println!("{}", said.await);
    let ledger = wire.ledger();
    assert!(ledger.count("RunInstances") >= 4, "one dry run, two launches and one repeat");
    for machine in wire.machines() {
        let alive = machine.state == MachineState::Up;
        assert_eq!(alive, others.contains(&machine.id), "{machine:?}");
    }
    assert_eq!(wire.violations(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sqs_suite_passes_on_our_wire_and_leaves_other_queues_alone() {
    let wire = SqsWire::start(SqsOptions::with_queue("wakes")).expect("SQS");
    wire.post("wakes", "job-7", std::time::Duration::ZERO);
    let variables = vec![("AWS_ENDPOINT_URL_SQS", wire.url()), (wakes::QUEUE, "wakes".to_owned())];
    println!("{}", by_itself("wakes::the_laws_on_sqs", variables).await);
    assert_eq!(wire.bodies("wakes"), ["job-7"]);
    let ledger = wire.ledger();
    let (made, deleted) = (ledger.count("CreateQueue"), ledger.count("DeleteQueue"));
    assert_eq!((made, deleted), (1, 1), "the suite makes and removes its own queue");
}
