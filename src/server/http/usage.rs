//! `GET /v1/usage`: what the machines of a month did. Reads the store only.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{App, Ctx, Refusal};
use crate::api::{Month, UsageBy, UsageList, usage_list};

/// The query of usage. Empty values count as unset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UsageQuery {
    by: String,
    month: String,
}

/// `GET /v1/usage`.
pub(super) async fn usage(
    State(app): Ctx,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<Json<UsageList>, Refusal> {
    let (by, month) = selected(&app, query)?;
    Ok(Json(list(&app, by, month).await?))
}

/// Returns what a query asks for: by default the current month by repository.
pub(super) fn selected(
    app: &App,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<(UsageBy, Month), Refusal> {
    let wrong = |detail: &str| Refusal::new(StatusCode::BAD_REQUEST, detail);
    let Query(UsageQuery { by, month }) =
        query.map_err(|_| wrong("invalid query: known parameters are `by` and `month`"))?;
    let by = if by.is_empty() {
        UsageBy::default()
    } else {
        let known = UsageBy::ALL.into_iter().find(|known| known.as_str() == by);
        known.ok_or_else(|| wrong("`by` is `repo`, `class`, `workflow` or `day`"))?
    };
    let month = if month.is_empty() {
        Month::of(app.telemetry.now())
    } else {
        month.parse().map_err(|expected: String| wrong(&format!("`month`: {expected}")))?
    };
    Ok((by, month))
}

/// Returns the usage of a month.
pub(super) async fn list(app: &App, by: UsageBy, month: Month) -> Result<UsageList, Refusal> {
    let all = app.controller.ports().store.usage(month.first(), month.last()).await?;
    Ok(usage_list(&all, month, by, app.telemetry.now()))
}
