//! The calls that run jobs of a workflow run again, since 1.26.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tinqs_ci_reconciler::model::RerunScope;

use super::super::Shared;
use super::super::answer::{missing, refuse};
use crate::forge::{Line, RerunRefused};

/// Handles such a call about a repository.
pub(super) fn answer(shared: &Shared, repo: &str, rest: &[&str]) -> Response {
    let now = shared.now();
    let mut forge = shared.forge();
    if forge.config.line < Line::V1_26 {
        return missing();
    }
    let (run_id, which) = match rest {
        [run_id, "rerun-failed-jobs"] => (run_id, Some(RerunScope::Failed)),
        [run_id, "jobs", job_id, "rerun"] => (run_id, job_id.parse().ok().map(RerunScope::Job)),
        _ => return missing(),
    };
    let (Ok(run_id), Some(which)) = (run_id.parse::<i64>(), which) else { return missing() };
    if forge.run_json(repo, run_id).is_none() {
        return missing();
    }
    match forge.rerun_by_api(now, run_id, which) {
        Ok(_) => (StatusCode::CREATED, Json(json!({"id": run_id}))).into_response(),
        Err(RerunRefused::NotFound) => missing(),
        Err(RerunRefused::NotDone) => {
            refuse(StatusCode::BAD_REQUEST, "this workflow run is not done")
        }
        Err(RerunRefused::Limit) => {
            refuse(StatusCode::BAD_REQUEST, "this workflow run was run again too often")
        }
    }
}
