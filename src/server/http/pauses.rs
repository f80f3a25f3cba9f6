//! Pauses and resumes launches: of a class, or of all.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use tinqs_ci_reconciler::model::{ClassName, Pause};
use tinqs_ci_reconciler::text::cut;

use super::guard::Identity;
use super::{App, Ctx, Refusal};
use crate::api::Pauses;

/// `POST /v1/pause`.
pub(super) async fn pause_all(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
) -> Result<Json<Pauses>, Refusal> {
    pause(&app, None, &caller).await
}

/// `POST /v1/classes/{name}/pause`.
pub(super) async fn pause_class(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(name): Path<String>,
) -> Result<Json<Pauses>, Refusal> {
    pause(&app, Some(ClassName(name)), &caller).await
}

/// `POST /v1/resume`: ends every pause.
pub(super) async fn resume_all(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
) -> Result<Json<Pauses>, Refusal> {
    resume(&app, None, &caller).await
}

/// `POST /v1/classes/{name}/resume`.
pub(super) async fn resume_class(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(name): Path<String>,
) -> Result<Json<Pauses>, Refusal> {
    resume(&app, Some(ClassName(name)), &caller).await
}

/// Pauses a class, or all.
pub(super) async fn pause(
    app: &Arc<App>,
    class: Option<ClassName>,
    caller: &Identity,
) -> Result<Json<Pauses>, Refusal> {
    if let Some(class) = class.as_ref().filter(|class| !is_configured(app, class)) {
        return Err(unknown(&class.0));
    }
    let now = app.telemetry.now();
    let asked = Pause { class, since: now, by: caller.who.clone() };
    let held = app.controller.pause(&asked).await?;
    Ok(answer(app, held == asked, caller))
}

/// Resumes a class, or all. A class that is no longer configured may still be paused.
pub(super) async fn resume(
    app: &Arc<App>,
    class: Option<ClassName>,
    caller: &Identity,
) -> Result<Json<Pauses>, Refusal> {
    if let Some(class) = class.as_ref().filter(|class| !is_configured(app, class)) {
        let pauses = app.controller.read_pauses().await?;
        if !pauses.iter().any(|pause| pause.class.as_ref() == Some(class)) {
            return Err(unknown(&class.0));
        }
    }
    let ended = app.controller.resume(class.as_ref()).await?;
    Ok(answer(app, !ended.is_empty(), caller))
}

fn is_configured(app: &App, class: &ClassName) -> bool {
    app.controller.settings().classes.iter().any(|known| known.name == *class)
}

fn answer(app: &App, changed: bool, caller: &Identity) -> Json<Pauses> {
    let pauses = app.controller.known_pauses();
    app.telemetry.note_pauses(&pauses, Some(&caller.who));
    Json(Pauses { now: app.telemetry.now(), changed, pauses })
}

fn unknown(class: &str) -> Refusal {
    let class = cut(class, 60);
    let detail = format!("class `{class}` is not configured: `tinqs-ci get classes` lists them");
    Refusal::new(StatusCode::NOT_FOUND, detail)
}
