//! `GET /v1/drift`: what differs for longer than its stage allows. Calls neither forge nor cloud.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{Ctx, Refusal, status};
use crate::api::DriftList;

/// `GET /v1/drift`.
pub(super) async fn drift(State(app): Ctx) -> Result<Json<DriftList>, Refusal> {
    let known = status::read(&app).await;
    let now = known.now;
    let Some(found) = status::open_drift(&app, &known).await else {
        let detail = "cannot read the open runs from the store: see `tinqs-ci status`";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(5));
    };
    let items = found.views(now, usize::MAX);
    Ok(Json(DriftList { now, machines_listed_at: known.machines_listed_at, items }))
}
