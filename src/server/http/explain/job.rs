//! `GET /v1/explain/job/{id}`: a job's status at the forge, its attempts, and the next step.

use axum::Json;
use axum::extract::{Path, Query, State};
use tinqs_ci_reconciler::model::{
    About, AttemptId, Conclusion, Job, JobRef, NearestClass, Phase, Run, RunName, nearest, serving,
};
use tinqs_ci_reconciler::ports::WaitingJob;

use super::attempts::attempts;
use super::{AskedJob, id_of, seats};
use crate::api::Plan;
use crate::api::explain::JobExplained;
use crate::api::plan_view;
use crate::server::http::{App, Ctx, Refusal};
use tinqs_ci_gitea::client::RunJob;
use tinqs_ci_gitea::demand::Mode;

/// What is said of a blocked job, unless more is known.
pub(super) const BLOCKED: &str = "the forge blocks it: needs, approval or concurrency";

/// A job, as known from the run's record or the forge's list.
pub(super) struct JobRecord {
    pub(super) job: JobRef,
    pub(super) about: About,
    pub(super) runs_on: Vec<String>,
    pub(super) listed: bool,
}

/// `GET /v1/explain/job/{id}[?repo=]`.
pub(in crate::server::http) async fn job(
    State(app): Ctx,
    path: Path<String>,
    Query(AskedJob { repo }): Query<AskedJob>,
) -> Result<Json<JobExplained>, Refusal> {
    let id = id_of(path)?;
    let name = RunName::job(id);
    let ports = app.controller.ports();
    let mode = mode_of(&app).await?;
    let run = ports.store.get(&name).await?;
    let record = match &run {
        Some(run) => Some(of_run(run)),
        None => listed(&app, id).await?,
    };
    let record = record.unwrap_or_else(|| of_nobody(id, repo));
    let mut why = Vec::new();
    let at_forge = at_forge(&app, mode, &record, &mut why).await?;
    let settings = app.controller.settings();
    // Without the labels, the class is unknown.
    let labels_known = run.is_some() || record.listed;
    let class =
        serving(&settings.classes, &record.job.repo, &record.runs_on).filter(|_| labels_known);
    let class = class.map(|class| class.name.to_string());
    let next = match &run {
        Some(_) => {
            Some(Plan { observation: None, ..plan_view(&app.controller.observe(&name).await?) })
        }
        None => None,
    };
    let near = nearest(&settings.classes, &record.job.repo, &record.runs_on);
    reasons(run.as_ref(), mode, &record, class.is_some(), near, &mut why);
    if let Some(run) = &run {
        why.extend(seats::reached(&app, run).await.map(|reached| format!("waits: {reached}")));
    }
    Ok(Json(JobExplained {
        job: id,
        repo: record.job.repo.clone(),
        name: record.about.job.clone(),
        demand: mode.word().to_owned(),
        at_forge,
        runs_on: record.runs_on,
        class,
        phase: run.as_ref().map(|run| run.status.phase),
        attempts: run.as_ref().map(|run| attempts(&app, run)).unwrap_or_default(),
        run: run.map(|run| run.name.to_string()),
        next,
        why,
    }))
}

pub(super) async fn mode_of(app: &App) -> Result<Mode, Refusal> {
    Ok(match &app.pushes {
        Some(pushes) => pushes.demand().mode().await?,
        None => Mode::Jobs,
    })
}

pub(super) fn of_run(run: &Run) -> JobRecord {
    let spec = &run.spec;
    JobRecord {
        job: spec.job.clone(),
        about: spec.about.clone(),
        runs_on: spec.runs_on.clone(),
        listed: false,
    }
}

pub(super) fn of_nobody(id: i64, repo: Option<String>) -> JobRecord {
    let job = JobRef { repo: repo.unwrap_or_default(), repo_id: 0, job_id: id };
    JobRecord { job, about: About::default(), runs_on: Vec::new(), listed: false }
}

/// Returns the record of a job that the forge's list of waiting jobs does not contain.
pub(super) fn of_run_job(repo: &str, job: RunJob) -> JobRecord {
    let RunJob { id, run_id, name, labels, url, .. } = job;
    let about = About { repo: repo.to_owned(), run_id, job: name, url, ..About::default() };
    let job = JobRef { repo: repo.to_owned(), repo_id: 0, job_id: id };
    JobRecord { job, about, runs_on: labels, listed: false }
}

/// Returns the job if the forge's list of waiting jobs contains it.
async fn listed(app: &App, id: i64) -> Result<Option<JobRecord>, Refusal> {
    find_listed(app, |waiting| waiting.job.job_id == id).await
}

/// Returns the first job of the forge's list of waiting jobs that fits.
pub(super) async fn find_listed(
    app: &App,
    fits: impl Fn(&WaitingJob) -> bool,
) -> Result<Option<JobRecord>, Refusal> {
    let waiting = app.controller.ports().forge.waiting().await?.unwrap_or_default();
    let found = waiting.into_iter().find(fits);
    Ok(found.map(|WaitingJob { job, runs_on, about, created_at: _ }| JobRecord {
        job,
        about,
        runs_on,
        listed: true,
    }))
}

/// Returns the job's status at the forge in one word.
pub(super) async fn at_forge(
    app: &App,
    mode: Mode,
    record: &JobRecord,
    why: &mut Vec<String>,
) -> Result<String, Refusal> {
    if record.job.repo.is_empty() {
        why.push(match mode {
            Mode::Jobs => {
                "the job is not in the forge's list of waiting jobs and has no run: it ended, is \
                 blocked, runs elsewhere, or is outside `forge.scope`; add --repo OWNER/NAME"
            }
            Mode::Push => {
                "in push mode runs have no job ID: use `tinqs-ci explain push OWNER/REPO SHA`"
            }
        }
        .to_owned());
        return Ok("unknown".to_owned());
    }
    let job = match (&app.pushes, mode) {
        (_, Mode::Jobs) => app.controller.ports().forge.job(&record.job).await?.state,
        // Servers without the job API answer 404, which says nothing about the job.
        (Some(_) | None, Mode::Push) => Job::Unobservable,
    };
    Ok(match job {
        Job::Unobservable => {
            why.push("in push mode the forge's job API is not used".to_owned());
            "unknown".to_owned()
        }
        Job::Absent => {
            why.push("the forge has no such job".to_owned());
            "absent".to_owned()
        }
        Job::Blocked => {
            why.push(BLOCKED.to_owned());
            "blocked".to_owned()
        }
        Job::Waiting => "waiting".to_owned(),
        Job::Running { runner } => {
            let own = app.controller.settings().installation_id();
            let ours = runner.parse::<AttemptId>().ok().filter(|it| !it.is_of_another(&own));
            why.push(match ours.map(|attempt_id| attempt_id.run) {
                Some(run) if run == RunName::job(record.job.job_id) => {
                    format!("it runs on its own machine, {runner}")
                }
                Some(run) => format!("it runs on {runner}, the machine of {run}"),
                None => format!("it runs on {runner}, which this installation does not manage"),
            });
            "running".to_owned()
        }
        Job::Done { conclusion } => {
            let word = format!("{conclusion:?}").to_lowercase();
            why.push(match conclusion {
                Conclusion::Cancelled => "it ended: canceled".to_owned(),
                _ => format!("it ended: {word}"),
            });
            word
        }
    })
}

/// Adds the reasons known from the run's record. `near`: the class that comes closest, if none serves
/// the job.
fn reasons(
    run: Option<&Run>,
    mode: Mode,
    record: &JobRecord,
    served: bool,
    near: Option<NearestClass>,
    why: &mut Vec<String>,
) {
    let Some(run) = run else {
        if record.listed && !served {
            let labels = record.runs_on.join(", ");
            why.push(match near {
                Some(near) if !near.repos.is_empty() => {
                    format!("no class serves the labels [{labels}] of this repository; {near}")
                }
                _ => format!("no class serves the labels [{labels}]: add them to a [[class]]"),
            });
        } else if record.listed && mode == Mode::Jobs {
            why.push("it was just queued: the next poll creates its run".to_owned());
        }
        return;
    };
    if run.deleted_at.is_some() {
        why.push(
            "its run was deleted: it gets no machine; undo with `tinqs-ci retry RUN`".to_owned(),
        );
    }
    why.extend(run.status.conditions.iter().map(|c| format!("{}: {}", c.reason, c.message)));
    if let Some(outcome) = run.status.outcome {
        why.push(format!("its run is finished: {outcome:?}"));
    }
    if run.status.phase == Phase::Starting {
        why.push("its machine is starting, or waits to be assigned a job".to_owned());
    }
    if let Some(at) = run.status.retry_at {
        why.push(format!("next attempt at {at:.0}, after {} failures", run.status.failures));
    }
}

/// Returns the machine of a run's latest attempt, if its launch was confirmed.
pub(super) fn machine_of(run: &Run) -> Option<String> {
    let attempt = run.status.attempt.as_ref()?;
    let answered = attempt.placements.iter().rev().find_map(|p| p.answered.as_ref())?;
    Some(answered.id.to_string())
}
