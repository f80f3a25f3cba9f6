//! The loops that go by the clock: poll, sweep, and what fell due.

use std::sync::Arc;
use std::time::Duration;

use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::MachineEnds;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::guarded::guarded;
use super::pass::pass;
use super::state::{Nudge, Paces, stopped};
use crate::push::Pushes;
use crate::telemetry::Telemetry;

/// How soon after its end a machine of this host is missed.
const ENDS_NOTICED: Duration = Duration::from_millis(500);
/// Pushes that could not be evaluated are looked at again after this time at the latest.
const PUSHES_AGAIN: Duration = Duration::from_secs(2);
/// A poll that was brought forward begins at the earliest so many times as long after the last one
/// began as that took.
const HINTED_SHARE: u32 = 10;
/// Where the job list tells of demand, pushes of another mode are looked for this often: readings
/// of the store cost money.
const PUSHES_LEFT: Duration = Duration::from_mins(5);

/// Polls at once, every `paces.poll`, and soon after a nudge.
pub(super) async fn poll(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    nudge: Arc<Nudge>,
    paces: Paces,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let began = tokio::time::Instant::now();
        pass("demand", &telemetry, controller.poll()).await;
        // In a burst each webhook asks for a poll, and each poll reads all that waits.
        let gap = paces.hint_gap.max(began.elapsed() * HINTED_SHARE);
        let forward = async {
            nudge.nudged().await;
            sleep_until(began + gap).await;
        };
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep_until(began + paces.poll) => {}
            () = forward => {}
        }
    }
}

/// Sweeps at once and every `every`.
pub(super) async fn sweep(
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let began = tokio::time::Instant::now();
        pass("sweep", &telemetry, controller.sweep()).await;
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = sleep_until(began + every) => {}
        }
    }
}

/// Evaluates what was pushed: at once, and again where that failed.
pub(super) async fn pushes(
    pushes: Arc<Pushes>,
    telemetry: Arc<Telemetry>,
    every: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let mut told = false;
    loop {
        let mut again = every.min(PUSHES_AGAIN);
        match guarded(pushes.pass()).await {
            Ok(pass) => {
                if pass.quiet {
                    again = PUSHES_LEFT;
                }
                telemetry.record_pushes(&pass);
                if let Some(error) = pass.error.as_ref().filter(|_| !told) {
                    tracing::warn!(error = %error, "pushes cannot be evaluated now; trying again");
                }
                told = pass.error.is_some();
            }
            Err(_) => telemetry.metrics.panicked("demand"),
        }
        tokio::select! {
            () = stopped(&mut stopping) => return,
            () = pushes.woken() => {}
            () = sleep(again) => {}
        }
    }
}

/// Wakes what fell due, every `every`.
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

/// Wakes the runs whose machines on this host have ended: what a webhook would tell, or a cloud's event.
pub(super) async fn ends(
    machines: Arc<dyn MachineEnds>,
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    mut stopping: watch::Receiver<bool>,
) {
    loop {
        let wake = async {
            // What cannot be read now is read again; a wake-up that is lost leaves the run to its due.
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
