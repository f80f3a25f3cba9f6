//! The reasons that EC2 gives for the end of a machine.

use std::sync::Arc;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{EndedBy, MachineState, Refusal};
use tinqs_ci_reconciler::ports::Compute as _;
use tinqs_ci_testing::make::until;

use crate::cloud::{UNPACED, ask, is_clean, machines, wire};
use crate::processes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_fails_after_ec2_accepted_it_says_why() {
    let wire = wire(|_| {});
    let machines = machines(&wire, UNPACED).await;
    let cases = [
        ("Client.InternalError", Some(Refusal::Invalid), None),
        ("Client.InvalidSnapshot.NotFound", Some(Refusal::Invalid), None),
        ("Client.VolumeLimitExceeded", Some(Refusal::Limit), None),
        ("Server.InsufficientInstanceCapacity", None, Some(EndedBy::Cloud)),
    ];
    for (job, (code, refusal, ended_by)) in (1..).zip(cases) {
        wire.fail_launches(1, code);
        let (attempt_id, attempt) = ask(job);
        let id = machines.launch(&attempt_id, 0, &attempt).await.unwrap().id;
        let gone = until("it is gone", async || {
            let found = machines.find(&id).await.unwrap();
            found.filter(|machine| machine.state == MachineState::Gone)
        })
        .await;
        let reason = gone.state_reason.expect("EC2 says why");
        assert_eq!(
            (reason.code.as_str(), reason.refusal, gone.ended_by),
            (code, refusal, ended_by)
        );
        assert!(!reason.message.is_empty() && !reason.message.starts_with(code), "{reason}");
    }
    is_clean(&wire);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_ec2_does_not_show_yet_is_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let guest = processes(dir.path(), "/usr/local/bin:/usr/bin:/bin");
    let wire = wire(|options| {
        options.guest = Some(Arc::new(guest));
        options.console_lag = SignedDuration::from_hours(1_000);
    });
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, attempt) = ask(1);
    let id = machines.launch(&attempt_id, 0, &attempt).await.unwrap().id;
    until("it powered off", async || {
        let found = machines.find(&id).await.unwrap();
        found.filter(|machine| machine.state == MachineState::Gone)
    })
    .await;
    assert!(!wire.machines()[0].console.is_empty(), "it has printed something");
    assert_eq!(machines.log(&id, 1 << 20).await.unwrap(), None);
    is_clean(&wire);
}
