//! The page of a workflow run none of whose jobs has a run here: the forge is asked for its jobs.

use axum::http::StatusCode;
use tinqs_ci_reconciler::model::{Job, Outcome, Phase, Reason, RunName, nearest, serving};
use tinqs_ci_reconciler::ports::PortError;
use tinqs_ci_workflow::Dialect;

use super::target::{self, Page};
use super::{App, FORGE_DEADLINE, Refusal};
use crate::api::status::RunReason;
use crate::words::jobs;
use tinqs_ci_gitea::client::{Client, RunJob, WorkflowRun};
use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::demand::by_mode::DemandSource;

/// Returns the jobs of a workflow run by its page.
///
/// # Errors
/// The forge does not know it, it has no jobs, or the forge cannot be asked.
pub(super) async fn jobs_at_forge(app: &App, page: &Page) -> Result<Vec<RunReason>, Refusal> {
    let found = tokio::time::timeout(FORGE_DEADLINE, ask(app, page)).await;
    let found = found.map_err(|_| too_late())??;
    let repo = &page.repo;
    let explain = format!("`tinqs-ci explain push {repo} BRANCH` says what a push starts, and why");
    let Some((run, jobs)) = found else {
        return Err(not_found(format!(
            "this is the page of a workflow run, and none of its jobs has a run here; the forge \
             has no such workflow run in {repo}, or `forge.token` cannot read it: a push that no \
             workflow file accepts makes none; {explain}; the URL of a job's page ends in \
             /jobs/NUMBER"
        )));
    };
    if jobs.is_empty() {
        let file = run.workflow();
        return Err(not_found(format!(
            "this workflow run of `{file}` has no jobs, so nothing waits for a machine: the forge \
             could not create them; {explain}"
        )));
    }
    Ok(jobs.iter().map(|job| reason_of(app, repo, job)).collect())
}

/// Returns the job of a page that names it by its index in the workflow run, as pages do before
/// Gitea 1.26. `None` if the page names the job's ID, or if this server cannot tell.
///
/// # Errors
/// The forge has no such job, or cannot be asked.
pub(super) async fn job_by_index(app: &App, page: &Page) -> Result<Option<RunJob>, Refusal> {
    let (Some(pushes), Some(index), Some(number)) = (&app.pushes, page.job, page.workflow_run)
    else {
        return Ok(None);
    };
    let asked = async {
        let demand = pushes.demand();
        if has_ids(demand).await? || demand.mode().await? != Mode::Jobs {
            return Ok(None);
        }
        by_number(demand.client(), &page.repo, number).await.map(Some)
    };
    let asked = tokio::time::timeout(FORGE_DEADLINE, asked).await;
    let Some(found) = asked.map_err(|_| too_late())?? else { return Ok(None) };
    let repo = &page.repo;
    let Some((_, jobs)) = found else {
        return Err(not_found(format!(
            "the forge has no workflow run {number} in {repo}, or `forge.token` cannot read it: \
             check the URL"
        )));
    };
    let shown = |job: &RunJob| target::page(&job.url).is_ok_and(|shown| shown.is_same_job(page));
    let count = jobs.len();
    let job = jobs.into_iter().find(shown).ok_or_else(|| {
        not_found(format!(
            "workflow run {number} of {repo} has {count} jobs, none with index {index}: check the \
             URL"
        ))
    })?;
    Ok(Some(job))
}

type Asked = Option<(WorkflowRun, Vec<RunJob>)>;

async fn ask(app: &App, page: &Page) -> Result<Asked, Refusal> {
    let no_run = || {
        not_found(
            "this is the page of a workflow run, and none of its jobs has a run here: pass the \
             URL of a job's page, which ends in /jobs/NUMBER"
                .to_owned(),
        )
    };
    let Some(pushes) = &app.pushes else { return Err(no_run()) };
    let (demand, shown) = (pushes.demand(), page.workflow_run.ok_or_else(no_run)?);
    if demand.mode().await? != Mode::Jobs {
        return Err(no_run());
    }
    let client = demand.client();
    if has_ids(demand).await? {
        return Ok(client.run_and_jobs(&page.repo, shown).await?);
    }
    Ok(by_number(client, &page.repo, shown).await?)
}

async fn by_number(client: &Client, repo: &str, number: i64) -> Result<Asked, PortError> {
    match client.workflow_run_id(repo, number).await? {
        Some(id) => client.run_and_jobs(repo, id).await,
        None => Ok(None),
    }
}

/// Whether the forge's pages name workflow runs and jobs by ID. Before Gitea 1.26 they have the
/// number of the run in its repository, and the index of the job in the run.
pub(super) async fn has_ids(demand: &DemandSource) -> Result<bool, PortError> {
    Ok(demand.dialect().await? >= Dialect::V1_26)
}

fn reason_of(app: &App, repo: &str, job: &RunJob) -> RunReason {
    let classes = &app.controller.settings().classes;
    let is_served = serving(classes, repo, &job.labels).is_some();
    let (phase, reason, message) = match &job.state {
        Some(Job::Done { conclusion }) => {
            let outcome = format!("{:?}", Outcome::from(*conclusion));
            (Some(Phase::Finished), None, jobs::finished(&outcome))
        }
        Some(Job::Running { .. }) => (Some(Phase::Running), None, "it runs".to_owned()),
        Some(Job::Blocked) => {
            let message = format!("the forge blocks it: `tinqs-ci why {}` says more", job.url);
            (Some(Phase::Waiting), Some(Reason::Blocked), message)
        }
        Some(Job::Waiting) if !is_served => {
            let near = nearest(classes, repo, &job.labels).map(|near| format!("; {near}"));
            let near = near.unwrap_or_default();
            let message = format!("no class serves [{}]{near}", job.labels.join(", "));
            (Some(Phase::Waiting), Some(Reason::NoClass), message)
        }
        Some(Job::Waiting) => {
            (Some(Phase::Waiting), None, "the next poll creates its run".to_owned())
        }
        Some(Job::Absent | Job::Unobservable) | None => {
            (None, None, "its state is not known".to_owned())
        }
    };
    RunReason {
        run: RunName::job(job.id).to_string(),
        repo: repo.to_owned(),
        job: job.name.clone(),
        url: job.url.clone(),
        phase,
        reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
        since: None,
        message: format!("{message}; it has no run here"),
    }
}

fn not_found(detail: String) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

fn too_late() -> Refusal {
    not_found("the forge did not answer in time".to_owned())
}
