//! `/v1/runs`: reads and changes runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{ClassName, Condition, Outcome, Phase, Reason, Run, RunName};
use tinqs_ci_reconciler::plan::still_up;
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter};

use super::etag::{Wanted, etag};
use super::guard::Identity;
use super::{App, Ctx, Refusal};
use crate::api::{List, Plan, plan_view};

/// The default number of runs per page.
const PAGE: usize = 100;
/// The maximum number of runs per page.
const PAGE_LIMIT: usize = 500;
/// The number of tries after write conflicts.
const EDIT_TRIES: usize = 8;

/// The query of a list. Empty values count as unset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RunQuery {
    pub(super) phase: String,
    pub(super) class: String,
    pub(super) repo: String,
    pub(super) limit: String,
    pub(super) after: String,
}

/// `GET /v1/runs`.
pub(super) async fn list(
    State(app): Ctx,
    query: Result<Query<RunQuery>, QueryRejection>,
) -> Result<Json<List<Run>>, Refusal> {
    let Query(query) = query.map_err(|_| {
        let detail =
            "invalid query: known parameters are `phase`, `class`, `repo`, `limit`, `after`";
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(Json(page_of(&app, query).await?))
}

/// Returns a page of runs.
pub(super) async fn page_of(app: &App, query: RunQuery) -> Result<List<Run>, Refusal> {
    let (filter, after) = query.filter()?;
    let page = app.controller.ports().store.page(&filter, after.as_deref()).await;
    let page = page.map_err(|error| match error.kind {
        ErrorKind::Invalid => {
            let detail = "`after` is not a valid cursor: use `next` of the previous page";
            Refusal::new(StatusCode::BAD_REQUEST, detail)
        }
        _ => Refusal::from(error),
    })?;
    let mut items = page.items;
    note_machines_still_up(app, &mut items);
    Ok(List { items, next: page.next })
}

impl RunQuery {
    fn filter(self) -> Result<(Filter, Option<String>), Refusal> {
        let Self { phase, class, repo, limit, after } = self;
        let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        let bad = |detail: &str| Refusal::new(StatusCode::BAD_REQUEST, detail);
        let phase = match phase.to_ascii_lowercase().as_str() {
            "" => None,
            "waiting" => Some(Phase::Waiting),
            "starting" => Some(Phase::Starting),
            "running" => Some(Phase::Running),
            "finished" => Some(Phase::Finished),
            _ => return Err(bad("`phase` must be Waiting, Starting, Running or Finished")),
        };
        let limit = match limit.as_str() {
            "" => PAGE,
            text => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_LIMIT).contains(limit))
                .ok_or_else(|| bad("`limit` must be a number from 1 to 500"))?,
        };
        let filter =
            Filter { phase, class: non_empty(class).map(ClassName), repo: non_empty(repo), limit };
        Ok((filter, non_empty(after)))
    }
}

pub(super) fn parse(name: &str) -> Result<RunName, Refusal> {
    name.parse().map_err(|_| {
        let detail = "run not found: a run is named `job-<number>` or `push-<16 hex digits>`";
        Refusal::new(StatusCode::NOT_FOUND, detail)
    })
}

async fn find(app: &App, name: &RunName) -> Result<Run, Refusal> {
    let run = app.controller.ports().store.get(name).await?;
    run.ok_or_else(|| not_found(name))
}

/// Returns a run as the API shows it.
pub(super) async fn find_noted(app: &App, name: &str) -> Result<Run, Refusal> {
    let mut run = find(app, &parse(name)?).await?;
    note_machines_still_up(app, std::slice::from_mut(&mut run));
    Ok(run)
}

/// Adds the condition `Cancelled` to canceled runs whose machine was up when machines were last
/// listed. It is never stored: nothing is decided by it.
pub(super) fn note_machines_still_up(app: &App, runs: &mut [Run]) {
    let canceled = |run: &Run| run.status.outcome == Some(Outcome::Cancelled);
    if !runs.iter().any(canceled) {
        return;
    }
    let (_, machines) = app.telemetry.seen.machines();
    for run in runs.iter_mut().filter(|run| canceled(run)) {
        let Some(machine) = still_up(run, &machines) else { continue };
        let message = format!(
            "the job was canceled, and its machine {} is still up: it ends itself once its runner \
             notices",
            machine.id
        );
        let since = run.status.finished_at.unwrap_or(run.status.due);
        let reason = Reason::Cancelled;
        run.status.conditions.push(Condition { reason, since, message });
    }
}

/// The command line recognizes this text and does not repeat it.
pub(super) fn not_found(name: &RunName) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("run `{name}` not found"))
}

/// `GET /v1/runs/{name}`.
pub(super) async fn one(
    State(app): Ctx,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let run = find_noted(&app, &name).await?;
    let tag = etag(run.version);
    if Wanted::is_held(&headers, run.version) {
        return Ok((StatusCode::NOT_MODIFIED, [tag]).into_response());
    }
    Ok(([tag], Json(run)).into_response())
}

/// `GET /v1/runs/{name}/plan`: plans a reconcile and changes nothing.
pub(super) async fn plan(State(app): Ctx, Path(name): Path<String>) -> Result<Json<Plan>, Refusal> {
    let name = parse(&name)?;
    let seen = app.controller.observe(&name).await?;
    // A run without a record may still have machines or registrations.
    let nothing = seen.run.is_none()
        && seen.machines.is_empty()
        && seen.registrations.seen().is_empty()
        && seen.seats.is_empty();
    if nothing {
        return Err(not_found(&name));
    }
    Ok(Json(plan_view(&seen)))
}

/// The query of a deletion.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Deletion {
    now: String,
}

/// `DELETE /v1/runs/{name}[?now=true]`.
pub(super) async fn delete(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(name): Path<String>,
    deletion: Result<Query<Deletion>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let now = match deletion.map(|Query(deletion)| deletion.now).as_deref() {
        Ok("" | "false") => false,
        Ok("true") => true,
        Ok(_) | Err(_) => {
            let detail = "invalid query: the only known parameter is `now=true`";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let wanted = Wanted::to_change(&headers)?;
    let delete = |run: &mut Run, at: Timestamp| {
        run.delete(at, now, Some(&caller.who));
        Ok(())
    };
    Ok(changed(&edit(&app, &name, &wanted, delete).await?))
}

/// `POST /v1/runs/{name}/retry`.
pub(super) async fn retry(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let wanted = Wanted::to_change(&headers)?;
    Ok(changed(&edit(&app, &name, &wanted, |run, at| retried(run, at, &caller)).await?))
}

/// Retries a run for this caller.
pub(super) fn retried(run: &mut Run, at: Timestamp, caller: &Identity) -> Result<(), Refusal> {
    if !run.can_retry() {
        let detail = format!(
            "run `{}` is finished: there is nothing to retry; re-run its job at the forge",
            run.name
        );
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    }
    run.retry(at, Some(&caller.who));
    Ok(())
}

fn changed(run: &Run) -> Response {
    (StatusCode::ACCEPTED, [etag(run.version)], Json(run)).into_response()
}

/// Changes a run by compare-and-set, and returns it: exactly the wanted version, or any.
pub(super) async fn edit(
    app: &Arc<App>,
    name: &str,
    wanted: &Wanted,
    change: impl Fn(&mut Run, Timestamp) -> Result<(), Refusal>,
) -> Result<Run, Refusal> {
    let name = parse(name)?;
    let stale = || {
        let detail = format!("run `{name}` has changed meanwhile: read it again");
        Refusal::new(StatusCode::PRECONDITION_FAILED, detail)
    };
    let ports = app.controller.ports();
    for _ in 0..EDIT_TRIES {
        let mut run = find(app, &name).await?;
        if !wanted.takes(run.version) {
            return Err(stale());
        }
        let expect = Expect::At(run.uid, run.version);
        change(&mut run, app.telemetry.now())?;
        run.format = app.controller.record_format();
        match ports.store.put(&run, expect).await {
            Ok(version) => run.version = version,
            Err(error) if error.kind == ErrorKind::Conflict => match wanted {
                Wanted::Any => continue,
                Wanted::OneOf(_) => return Err(stale()),
            },
            Err(error) => return Err(error.into()),
        }
        tracing::info!(run = name.as_str(), version = run.version, "changed run on request");
        app.telemetry.acted_on(name.as_str());
        if let Err(error) = ports.queue.wake(&name).await {
            // The run is due, so it is woken later.
            tracing::warn!(run = name.as_str(), error = %error, "cannot wake run");
        }
        return Ok(run);
    }
    let detail = format!("run `{name}` is written concurrently: try again");
    Err(Refusal::new(StatusCode::CONFLICT, detail).again_in(1))
}
