//! `GET /v1/why[?what=]`: why a job waits, or everything that is not well.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use reqwest::Url;
use serde::Deserialize;
use tinqs_ci_reconciler::controller::UnservedJob;
use tinqs_ci_reconciler::model::{Run, RunName};
use tinqs_ci_reconciler::ports::WaitingJob;
use tokio::time::Instant;

use super::job::{self, JobRecord, find_listed, of_nobody};
use super::target::{self, Page, Target};
use super::{App, Ctx, FORGE_DEADLINE, Refusal, bad, job_why, search, workflow_run};
use crate::api::status::{RunReason, WaitReasons};
use crate::server::http::runs::note_machines_still_up;
use crate::server::http::status::{self, StatusData};
use crate::words::reasons::{NO_CLASS, advice};

/// The subjects that concern every job.
const SERVICES: [&str; 4] = ["forge", "store", "cloud", "queue"];
/// The maximum number of runs in an answer.
const RUNS: usize = 200;

/// The query of `why`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::server::http) struct WhyQuery {
    what: String,
}

/// `GET /v1/why[?what=]`.
pub(in crate::server::http) async fn why(
    State(app): Ctx,
    query: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<Json<WaitReasons>, Refusal> {
    let Query(WhyQuery { what }) =
        query.map_err(|_| bad("invalid query: the only known parameter is `what`"))?;
    let known = status::read(&app).await;
    if what.trim().is_empty() {
        let attention = status::attention(&app, &known);
        return Ok(Json(WaitReasons { attention, runs: waiting(&app, &known), job: None }));
    }
    let found = match target::parse(&what).map_err(|mistake| bad(&mistake))? {
        Target::Run(name) => by_name(&app, &name).await?,
        Target::Job(id) => by_id(&app, id).await?,
        Target::Page(page) => by_page(&app, &page).await?,
    };
    let mut why = WaitReasons::default();
    match found {
        Found::Runs(mut runs) => {
            note_machines_still_up(&app, &mut runs);
            let runs = runs.iter().take(RUNS).map(|run| status::reason_of(&app, run));
            why.runs = runs.collect();
        }
        Found::Jobs(jobs) => why.runs = jobs.into_iter().take(RUNS).collect(),
        Found::Run(mut run) => {
            note_machines_still_up(&app, std::slice::from_mut(&mut *run));
            let until = Instant::now() + FORGE_DEADLINE;
            why.job = Some(job_why::of_run(&app, &run, known.now, until).await.0);
        }
        Found::Job(record, notes) => {
            why.job = Some(job_why::of_job(&app, &record, notes).await?);
        }
    }
    // Afterwards, because asking the forge shows whether it answers.
    why.attention = status::attention(&app, &known);
    why.attention.retain(|one| SERVICES.contains(&one.subject.as_str()));
    Ok(Json(why))
}

/// The runs or jobs that were found for a target.
enum Found {
    /// The run of a job.
    Run(Box<Run>),
    /// A job without a run, and what could not be found out.
    Job(Box<JobRecord>, Vec<String>),
    /// The runs of a workflow run.
    Runs(Vec<Run>),
    /// The jobs of a workflow run without runs.
    Jobs(Vec<RunReason>),
}

/// Returns the waiting jobs with their reasons, most important first, longest wait first.
fn waiting(app: &App, known: &StatusData) -> Vec<RunReason> {
    let sets = known.unserved.iter().flat_map(|last| &last.sets);
    let unserved = sets.flat_map(|(set, since)| {
        let message = status::unserved_sentence(set);
        set.examples.iter().map(move |job| RunReason {
            run: RunName::job(job.job_id).to_string(),
            repo: job.repo.clone(),
            job: job.name.clone(),
            url: job.url.clone(),
            phase: None,
            reason: NO_CLASS.to_owned(),
            since: Some(*since),
            message: message.clone(),
        })
    });
    let waiting = known.waiting.iter().map(|run| {
        let told = status::reason_of(app, run);
        RunReason { since: told.since.or(Some(run.status.queued_at())), ..told }
    });
    let mut runs: Vec<RunReason> = unserved.chain(waiting).collect();
    runs.sort_by_key(|run| (std::cmp::Reverse(advice(&run.reason).weight), run.since));
    runs.truncate(RUNS);
    runs
}

/// Returns the notes as the end of a sentence.
fn after(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) }
}

fn not_found(detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

async fn by_name(app: &App, name: &RunName) -> Result<Found, Refusal> {
    let run = app.controller.ports().store.get(name).await?;
    let detail =
        format!("run `{name}` not found: finished runs are kept for the `keep` of a class");
    run.map(|run| Found::Run(Box::new(run))).ok_or_else(|| not_found(detail))
}

async fn by_id(app: &App, id: i64) -> Result<Found, Refusal> {
    if let Some(run) = app.controller.ports().store.get(&RunName::job(id)).await? {
        return Ok(Found::Run(Box::new(run)));
    }
    let mut notes = Vec::new();
    let listed = on_list(app, &mut notes, |job| job.job.job_id == id).await;
    listed.map(|record| Found::Job(Box::new(record), Vec::new())).ok_or_else(|| {
        let unread = after(&notes);
        not_found(format!(
            "job {id} has no run and is not in the forge's list of waiting jobs: it ended, is \
             blocked, runs elsewhere or is outside `forge.scope`; pass the URL of its page to ask \
             the forge{unread}"
        ))
    })
}

/// Returns a job of the forge's list; `None` also if the list cannot be read, which is noted.
async fn on_list(
    app: &App,
    notes: &mut Vec<String>,
    fits: impl Fn(&WaitingJob) -> bool,
) -> Option<JobRecord> {
    match tokio::time::timeout(FORGE_DEADLINE, find_listed(app, fits)).await {
        Ok(Ok(found)) => found,
        Ok(Err(refusal)) => {
            notes.push(format!("cannot read the forge's list now: {}", refusal.detail));
            None
        }
        Err(_) => {
            notes.push("the forge did not answer in time".to_owned());
            None
        }
    }
}

async fn by_page(app: &Arc<App>, page: &Page) -> Result<Found, Refusal> {
    let store = &app.controller.ports().store;
    let is_job =
        |run: &Run| target::page(&run.spec.about.url).is_ok_and(|of_run| of_run.is_same_job(page));
    // Where the page names the job's ID, one read finds the run.
    if let Some(id) = page.job.filter(|id| *id > 0)
        && let Some(run) = store.get(&RunName::job(id)).await?
        && is_of_repo(&run, &page.repo)
        && (is_job(&run) || run.spec.about.url.is_empty() || page.workflow_run.is_none())
    {
        check_host(app, page, std::slice::from_ref(&run))?;
        return Ok(Found::Run(Box::new(run)));
    }
    let runs = search::runs(app, page, is_job).await?;
    check_host(app, page, &runs)?;
    if page.job.is_none() {
        let runs = of_workflow_run(page, runs);
        if runs.is_empty() {
            return workflow_run::jobs_at_forge(app, page).await.map(Found::Jobs);
        }
        return Ok(Found::Runs(runs));
    }
    if let Some(run) = runs.into_iter().find(|run| is_job(run)) {
        return Ok(Found::Run(Box::new(run)));
    }
    let mut notes = Vec::new();
    let fits = |job: &WaitingJob| {
        let same_page = target::page(&job.about.url).is_ok_and(|of_job| of_job.is_same_job(page));
        let same_id = job.about.url.is_empty() && Some(job.job.job_id) == page.job;
        same_page || (same_id && job.job.repo.eq_ignore_ascii_case(&page.repo))
    };
    if let Some(record) = on_list(app, &mut notes, fits).await {
        return Ok(Found::Job(Box::new(record), notes));
    }
    if let Some(job) = workflow_run::job_by_index(app, page).await? {
        return match store.get(&RunName::job(job.id)).await? {
            Some(run) => Ok(Found::Run(Box::new(run))),
            None => Ok(Found::Job(Box::new(job::of_run_job(&page.repo, job)), notes)),
        };
    }
    let id = page.job.filter(|id| *id > 0).ok_or_else(|| {
        not_found(format!(
            "no run and no waiting job has this page, and the number in it is the job's index in \
             its workflow run: pass the job's ID, the number in its API address{}",
            after(&notes)
        ))
    })?;
    // The forge is asked for the job by its ID.
    Ok(Found::Job(Box::new(of_nobody(id, Some(page.repo.clone()))), notes))
}

fn is_of_repo(run: &Run, repo: &str) -> bool {
    run.spec.job.repo.eq_ignore_ascii_case(repo) || run.spec.about.repo.eq_ignore_ascii_case(repo)
}

/// Refuses the page of another forge. The forge may call itself by another name than
/// `forge.url`, which the pages of its jobs show.
fn check_host(app: &App, page: &Page, runs: &[Run]) -> Result<(), Refusal> {
    let settings = app.live.settings();
    let forge = &settings.forge;
    let own = [Some(&forge.url), forge.machine_url.as_ref()];
    let own: Vec<String> = own
        .into_iter()
        .flatten()
        .filter_map(|url| Some(Url::parse(url).ok()?.host_str()?.to_owned()))
        .collect();
    let shown = |url: &str| target::page(url).is_ok_and(|of_job| of_job.host == page.host);
    let listed = app.telemetry.unserved.last().unwrap_or_default().sets;
    let mut listed = listed.iter().flat_map(|(set, _)| &set.examples);
    if own.contains(&page.host)
        || runs.iter().any(|run| shown(&run.spec.about.url))
        || listed.any(|job: &UnservedJob| shown(&job.url))
    {
        return Ok(());
    }
    Err(bad(&format!(
        "the URL is of {}, but this server works for the forge at {}: pass a URL of that forge, or \
         ask the other server with --server",
        page.host,
        own.first().map_or("`forge.url`", String::as_str)
    )))
}

fn of_workflow_run(page: &Page, mut runs: Vec<Run>) -> Vec<Run> {
    runs.retain(|run| {
        let same =
            target::page(&run.spec.about.url).is_ok_and(|of_run| of_run.is_same_workflow_run(page));
        same || (run.spec.about.url.is_empty() && page.workflow_run == Some(run.spec.about.run_id))
    });
    runs
}
