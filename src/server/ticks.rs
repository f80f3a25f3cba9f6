//! The timed loops: poll, sweep, push evaluation, due runs, ended machines.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::MachineEnds;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::drift;
use super::guarded::guarded;
use super::pass::{self, pass};
use super::pauses;
use super::state::{Intervals, PollSignal, stopped};
use crate::push::Pushes;
use crate::telemetry::Telemetry;

/// The interval between checks for ended machines of this host.
const ENDS_NOTICED: Duration = Duration::from_millis(500);
/// The longest delay before pushes that failed are evaluated again.
const PUSHES_AGAIN: Duration = Duration::from_secs(2);
/// The minimum gap between polls triggered early, as a multiple of the last poll's duration.
const HINTED_SHARE: u32 = 10;
/// The interval of checking the inbox while the job list shows the demand: store reads cost money.
const PUSHES_LEFT: Duration = Duration::from_mins(5);
/// The time after which a stored delivery is surely listed: the list of a store may lag.
const PUSHES_LISTED: Duration = Duration::from_secs(10);

/// Waits until the intervals change.
async fn changed(intervals: &mut watch::Receiver<Intervals>) {
    if intervals.changed().await.is_err() {
        // They cannot change any more.
        pending::<()>().await;
    }
}

/// Polls at the start, every `intervals.poll`, soon after a nudge, and when the intervals change.
pub(super) async fn poll(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    poll_signal: Arc<PollSignal>,
    mut intervals: watch::Receiver<Intervals>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let began = tokio::time::Instant::now();
        let Intervals { poll, hint_gap, .. } = *intervals.borrow_and_update();
        pass("demand", &telemetry, controller.poll()).await;
        pauses::note(&controller, &telemetry);
        telemetry.note_boot_stops(&controller.boot_stops());
        telemetry.note_spot_breakers(&controller.spot_breakers());
        // In a burst each webhook asks for a poll, and each poll reads all waiting jobs.
        let gap = hint_gap.max(began.elapsed() * HINTED_SHARE);
        let forward = async {
            poll_signal.nudged().await;
            sleep_until(began + gap).await;
        };
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep_until(began + poll) => {}
            () = forward => {}
            () = changed(&mut intervals) => {}
        }
    }
}

/// Notes the drift of the last poll, after each interval of polls. Apart from the polls, so that a
/// slow store delays none of them.
pub(super) async fn drift(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    mut intervals: watch::Receiver<Intervals>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let every = intervals.borrow_and_update().poll;
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep(every) => drift::note(&controller, &telemetry).await,
            () = changed(&mut intervals) => {}
        }
    }
}

/// Sweeps at the start, every `intervals.sweep`, and when the intervals change.
pub(super) async fn sweep(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    mut intervals: watch::Receiver<Intervals>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let began = tokio::time::Instant::now();
        let every = intervals.borrow_and_update().sweep;
        pass::sweep(&controller, &telemetry).await;
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep_until(began + every) => {}
            () = changed(&mut intervals) => {}
        }
    }
}

/// Takes stored deliveries at once, and retries those that failed.
pub(super) async fn pushes(
    pushes: Arc<Pushes>,
    telemetry: Arc<Telemetry>,
    poll_signal: Arc<PollSignal>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let mut warned = false;
    let mut woken_at: Option<tokio::time::Instant> = None;
    loop {
        let mut again = every.min(PUSHES_AGAIN);
        match guarded(pushes.pass()).await {
            Ok(pass) => {
                let listed = woken_at.is_none_or(|at| at.elapsed() > PUSHES_LISTED);
                if pass.quiet && listed {
                    again = PUSHES_LEFT;
                }
                if pass.poll_soon {
                    poll_signal.poll_soon();
                }
                telemetry.record_pushes(&pass);
                if let Some(error) = pass.error.as_ref().filter(|_| !warned) {
                    tracing::warn!(error = %error, "cannot evaluate pushes, will retry");
                }
                warned = pass.error.is_some();
            }
            Err(_) => telemetry.metrics.panicked("demand"),
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = pushes.woken() => woken_at = Some(tokio::time::Instant::now()),
            () = sleep(again) => {}
        }
    }
}

/// Wakes due runs, every `every`.
pub(super) async fn due(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        if guarded(controller.wake_due()).await.is_err() {
            telemetry.metrics.panicked("sweep");
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep(every) => {}
        }
    }
}

/// Wakes the runs whose machines on this host ended. In a cloud, events do this.
pub(super) async fn ends(
    machines: Arc<dyn MachineEnds>,
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let wake = async {
            // A failed read is repeated; a run whose wake-up is lost is woken when due.
            for name in machines.ended().await.unwrap_or_default() {
                let _ = controller.ports().queue.wake(&name).await;
            }
        };
        if guarded(wake).await.is_err() {
            telemetry.metrics.panicked("sweep");
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep(ENDS_NOTICED) => {}
        }
    }
}
