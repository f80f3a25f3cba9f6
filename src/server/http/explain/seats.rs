//! Which limit keeps a run from a machine, as the seats say now.

use tinqs_ci_reconciler::model::{LimitOf, LimitReached, Reason, Run, serving};

use super::App;

/// Says which limit a run waits for: `its repository holds 2 of 2 machines of class linux`. `None`
/// if it does not wait for one, if a seat became free meanwhile, or if the seats cannot be read.
pub(super) async fn reached(app: &App, run: &Run) -> Option<String> {
    if !run.is_open() || run.status.reason() != Some(Reason::AtLimit) {
        return None;
    }
    let settings = app.controller.settings();
    let repo = run.spec.job.repo.as_str();
    let class = serving(&settings.classes, repo, &run.spec.runs_on)?;
    let seats = app.controller.ports().store.seats(&class.name).await.ok()?;
    let reached = class.seat_limits().reached(repo, seats.iter().map(|seat| seat.repo.as_str()))?;
    let (LimitReached { held, limit, .. }, class) = (reached, &class.name);
    Some(match reached.of {
        LimitOf::Class => format!("class {class} holds {held} of {limit} machines"),
        LimitOf::Repo | LimitOf::Owner => format!("{reached} machines of class {class}"),
    })
}
