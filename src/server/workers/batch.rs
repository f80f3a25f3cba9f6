//! Reconciles the runs that a batch names, without the loop around them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::RunName;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::Worker;
use crate::push::Pushes;
use crate::server::state::Intervals;
use crate::telemetry::Telemetry;

/// Reconciles each of these runs once. Returns those that must be delivered again. A wake-up about
/// the inbox goes to `pushes`.
pub(crate) async fn at_once(
    controller: &Arc<Controller>,
    telemetry: &Arc<Telemetry>,
    pushes: Option<&Arc<Pushes>>,
    intervals: Intervals,
    names: impl IntoIterator<Item = RunName>,
) -> BTreeSet<RunName> {
    let mut names: BTreeSet<RunName> = names.into_iter().collect();
    // Kept alive so that `stopping` never fires.
    let (_stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for name in names.clone() {
        let worker = Worker {
            controller: controller.clone(),
            telemetry: telemetry.clone(),
            pushes: pushes.cloned(),
            conflict: intervals.conflict,
            stopping: stopping.clone(),
        };
        if tasks.len() >= intervals.workers.max(1) {
            settled(tasks.join_next().await, &mut names);
        }
        tasks.spawn(async move { worker.at(&name).await.then_some(name) });
    }
    while let Some(reconciled) = tasks.join_next().await {
        settled(Some(reconciled), &mut names);
    }
    names
}

fn settled(reconciled: Option<Result<Option<RunName>, JoinError>>, open: &mut BTreeSet<RunName>) {
    if let Some(Ok(Some(name))) = reconciled {
        open.remove(&name);
    }
}
