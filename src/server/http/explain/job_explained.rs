//! `GET /v1/explain/job/{id}`: a job's status at the forge, its attempts, and the next step.

use axum::Json;
use axum::extract::{Path, Query, State};
use tinqs_ci_reconciler::model::RunName;
use tokio::time::Instant;

use super::job::{listed, mode_of, of_nobody};
use super::{AskedJob, Ctx, FORGE_DEADLINE, Refusal, id_of, job_why};
use crate::api::Plan;
use crate::api::explain::JobExplained;
use crate::server::http::runs::note_machines_still_up;

/// `GET /v1/explain/job/{id}[?repo=]`. Tells the story that `/v1/why` tells.
pub(in crate::server::http) async fn explain_job(
    State(app): Ctx,
    path: Path<String>,
    Query(AskedJob { repo }): Query<AskedJob>,
) -> Result<Json<JobExplained>, Refusal> {
    let id = id_of(path)?;
    let mode = mode_of(&app).await?;
    let mut run = app.controller.ports().store.get(&RunName::job(id)).await?;
    let (story, next) = if let Some(run) = &mut run {
        note_machines_still_up(&app, std::slice::from_mut(run));
        let until = Instant::now() + FORGE_DEADLINE;
        job_why::of_run(&app, run, app.telemetry.now(), until).await
    } else {
        let record = listed(&app, id).await?.unwrap_or_else(|| of_nobody(id, repo));
        (job_why::of_any_job(&app, &record, Vec::new()).await, None)
    };
    let mut why = story.sentences();
    let others = run.iter().flat_map(|run| &run.status.conditions);
    let others = others.filter(|one| story.reason.as_deref() != Some(&*one.reason.to_string()));
    why.extend(others.map(|one| format!("{}: {}", one.reason, one.message)));
    Ok(Json(JobExplained {
        job: id,
        repo: story.repo,
        name: story.name,
        demand: mode.word().to_owned(),
        at_forge: story.at_forge.unwrap_or_else(|| "unknown".to_owned()),
        runs_on: story.runs_on,
        class: story.class,
        run: story.run,
        phase: story.phase,
        attempts: story.attempts,
        next: next.map(|plan| Plan { observation: None, ..plan }),
        why,
    }))
}
