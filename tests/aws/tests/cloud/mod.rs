//! EC2's and SQS's wires on loopback, and the adapters that talk to them through the real SDK.

use std::sync::Arc;

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{Clients, Machines};
use tinqs_ci_aws::pace::{Rate, Rates};
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::model::{Attempt, AttemptId, MachineOptions, MachineSpec, Market};
use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire};
use tinqs_ci_testing::conformance::compute;
use tinqs_ci_testing::make;

/// The value of the tag `tinqs-ci`.
pub(crate) const INSTALLATION: &str = "tinqs-ci";

/// Rates so high that the adapter never waits.
pub(crate) const UNPACED: Rates = {
    let rate = Rate { capacity: 10_000.0, per_second: 10_000.0 };
    Rates { launch: rate, terminate: rate, describe: rate }
};

/// Returns clients of a wire, as in `serve` except for the endpoint and the credentials.
pub(crate) async fn clients(url: &str) -> Clients {
    let config = client::load(Some("us-east-1")).await.expect("a configuration");
    let credentials = Credentials::new("ACCESS", "SECRET", None, None, "test");
    let config = config
        .into_builder()
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    Clients::of(&config)
}

/// Starts a wire that is fast and unlimited by default.
pub(crate) fn wire(change: impl FnOnce(&mut Ec2Options)) -> Ec2Wire {
    let mut options =
        Ec2Options { installation: Some(INSTALLATION.to_owned()), ..Ec2Options::instant() };
    change(&mut options);
    Ec2Wire::start(options).expect("a port")
}

/// Returns the adapter over a wire.
pub(crate) async fn machines(wire: &Ec2Wire, rates: Rates) -> Machines {
    Machines::new(clients(&wire.url()).await, INSTALLATION, Arc::new(SystemClock), rates)
}

/// Returns a machine spec that the wire's account accepts.
pub(crate) fn recipe() -> MachineSpec {
    MachineSpec {
        kind: "c7a.medium".to_owned(),
        subnet: "subnet-a".to_owned(),
        market: Market::Spot,
        image: "ami-0123".to_owned(),
        security_groups: vec!["sg-1".to_owned()],
        instance_profile: "tinqs-ci-runner".to_owned(),
        runner: None,
        options: MachineOptions::default(),
    }
}

pub(crate) fn in_an_hour() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(1)
}

/// Returns an attempt with this machine spec.
pub(crate) fn ask(id: i64) -> (AttemptId, Attempt) {
    let attempt_id = make::attempt_id(id, 1);
    let attempt = compute::asking(&recipe(), &attempt_id, 1, in_an_hour());
    (attempt_id, attempt)
}

/// Asserts that no law was violated.
pub(crate) fn is_clean(wire: &Ec2Wire) {
    assert_eq!(wire.violations(), []);
}
