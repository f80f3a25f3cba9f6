//! The limit that keeps a run from a machine, by the current seats.

use tinqs_ci_reconciler::model::{LimitOf, LimitReached, Reason, Run, serving};
use tinqs_ci_reconciler::ports::Seat;

use super::App;

/// Says which limit a run waits for: `its repository holds 2 of 2 machines of class linux`, and
/// whether jobs of other repositories get machines of the class before it. `None` if it does not
/// wait for one, if a seat is free and its turn has come, or if the seats cannot be read.
pub(super) async fn reached(app: &App, run: &Run) -> Option<String> {
    if !run.is_open() || run.status.reason() != Some(Reason::AtLimit) {
        return None;
    }
    let settings = app.controller.settings();
    let job = &run.spec.job;
    let class = serving(&settings.classes, &job.repo, &run.spec.runs_on)?;
    let seats = app.controller.ports().store.seats(&class.name).await.ok()?;
    let held = seats.iter().map(Seat::repo_ref);
    let reached = class.seat_limits().reached(job.repo_ref(), held);
    let before = match app.controller.waits_behind(run, class, &seats) {
        None | Some(0) => None,
        Some(1) => Some("a job of another repository is before it".to_owned()),
        Some(count) => Some(format!("{count} jobs of other repositories are before it")),
    };
    let class = &class.name;
    match (reached, before) {
        (None, before) => before.map(|before| format!("its turn has not come: {before}")),
        (Some(LimitReached { of: LimitOf::Class, held, limit }), before) => {
            let before = before.map(|before| format!("; {before}")).unwrap_or_default();
            Some(format!("class {class} holds {held} of {limit} machines{before}"))
        }
        (Some(reached), _) => Some(format!("{reached} machines of class {class}")),
    }
}
