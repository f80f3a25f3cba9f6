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
    let settings = app.controller.settings();
    if !settings.classes.iter().any(|class| class.name.0 == name) {
        return Err(unknown(&name));
    }
    pause(&app, Some(ClassName(name)), &caller).await
}

/// `POST /v1/resume`: ends every pause.
pub(super) async fn resume_all(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
) -> Result<Json<Pauses>, Refusal> {
    resume(&app, None, &caller).await
}

/// `POST /v1/classes/{name}/resume`. A class that is no longer configured may still be paused.
pub(super) async fn resume_class(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(name): Path<String>,
) -> Result<Json<Pauses>, Refusal> {
    let class = ClassName(name);
    let is_known = app.controller.settings().classes.iter().any(|known| known.name == class);
    if !is_known {
        let pauses = app.controller.read_pauses().await?;
        if !pauses.iter().any(|pause| pause.class.as_ref() == Some(&class)) {
            return Err(unknown(&class.0));
        }
    }
    resume(&app, Some(&class), &caller).await
}

/// Pauses a class, or all.
pub(super) async fn pause(
    app: &Arc<App>,
    class: Option<ClassName>,
    caller: &Identity,
) -> Result<Json<Pauses>, Refusal> {
    let now = app.telemetry.now();
    let asked = Pause { class, since: now, by: caller.who.clone() };
    let held = app.controller.pause(&asked).await?;
    Ok(answer(app, held == asked, caller))
}

/// Resumes a class, or all.
pub(super) async fn resume(
    app: &Arc<App>,
    class: Option<&ClassName>,
    caller: &Identity,
) -> Result<Json<Pauses>, Refusal> {
    let ended = app.controller.resume(class).await?;
    Ok(answer(app, !ended.is_empty(), caller))
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
