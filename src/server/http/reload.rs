//! `POST /v1/reload`: reads the configuration again.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Ctx, Refusal};
use crate::api::Reloaded;

/// `POST /v1/reload`. A broken configuration is answered with 422 and a line for each mistake.
pub(super) async fn reload(State(app): Ctx) -> Result<Json<Reloaded>, Refusal> {
    let Some(reloader) = app.reloader.clone() else {
        let detail = "the configuration of this server cannot change while it runs: restart it";
        return Err(Refusal::new(StatusCode::CONFLICT, detail));
    };
    let bug = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log");
    let done = tokio::task::spawn_blocking(move || reloader.reload()).await.map_err(bug)?;
    done.map(Json).map_err(|mistakes| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, mistakes.lines.join("\n"))
    })
}
