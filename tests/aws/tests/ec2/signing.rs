//! A launch is signed soon after it was asked for, or not sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_reconciler::ports::{Clock, Compute as _, ErrorKind};

use crate::cloud::{INSTALLATION, UNPACED, ask, clients, wire};

/// A clock that is an hour ahead from the given reading on, as after the process was suspended.
struct Suspended {
    read: AtomicUsize,
    from: usize,
}

impl Clock for Suspended {
    fn now(&self) -> Timestamp {
        let is_late = self.read.fetch_add(1, Ordering::SeqCst) + 1 >= self.from;
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(i64::from(is_late))
    }
}

/// Launches a machine while the process is suspended before the given reading of the clock. Returns
/// whether the launch was sent, and how often the clock was read.
async fn launches(from: usize) -> (bool, usize) {
    let wire = wire(|_| {});
    let clock = Arc::new(Suspended { read: AtomicUsize::new(0), from });
    let machines = Machines::new(clients(&wire.url()).await, INSTALLATION, clock.clone(), UNPACED);
    clock.read.store(0, Ordering::SeqCst);
    let (attempt_id, attempt) = ask(1);
    let answer = machines.launch(&attempt_id, 0, &attempt).await;
    let sent = wire.ledger().count("RunInstances");
    match &answer {
        Ok(_) => assert_eq!(sent, 1),
        Err(error) => {
            assert_eq!((error.kind, sent), (ErrorKind::Unavailable, 0), "{error}");
            assert!(format!("{error:?}").contains("signed within 60 s"), "{error:?}");
        }
    }
    (sent == 1, clock.read.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_was_suspended_before_its_signature_is_not_sent() {
    let (sent, all) = launches(usize::MAX).await;
    assert!(sent);
    // The first reading is the time at which it was asked for.
    assert!(launches(1).await.0, "suspended before");
    let mut refused = 0;
    for from in 2..=all {
        let (sent, _) = launches(from).await;
        refused += usize::from(!sent);
    }
    // Before the request is handed to the SDK, and by the SDK before it signs.
    assert!(refused >= 2, "{refused} of {all} readings");
}
