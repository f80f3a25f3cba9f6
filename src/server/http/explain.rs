//! `GET /v1/explain/…`: combines the forge's rules with the records.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{Class, Run, nearest, serving};
use tinqs_ci_reconciler::ports::{Filter, PortError};
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::jobs::{Initial, PlannedJob};
use tinqs_ci_workflow::trigger::{Evaluation, Judged, Verdict};

use super::{App, Ctx, Refusal};
use crate::api::explain::{
    EventExplained, FilterExplained, JobPlanned, PushExplained, WorkflowExplained,
};
use crate::push::Pushes;
use crate::push::evaluate::{self, Evaluated, WorkflowRun};
use tinqs_ci_gitea::client::{Changes, Client};
use tinqs_ci_gitea::trigger_event::TriggerEvent;

mod attempts;
mod blocked;
mod job;
mod job_explained;
mod job_why;
mod revision;
mod search;
mod seats;
mod target;
mod why;
mod workflow_run;

pub(super) use job_explained::explain_job;
pub(super) use job_why::of_run as story_of;
pub(super) use why::why;

/// The maximum number of pages searched for the runs of a commit.
const PAGES: usize = 10;
const PAGE: usize = 500;
/// The maximum wait for the forge, before the records are used alone.
const FORGE_DEADLINE: Duration = Duration::from_secs(8);
/// The maximum number of changed files in an answer.
const FILES: usize = 1000;

/// The query of `explain push`.
#[derive(Debug, Deserialize)]
pub(super) struct ExplainQuery {
    repo: Option<String>,
    sha: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
}

fn bad(detail: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, detail)
}

fn forge_of(app: &App) -> Result<&Arc<Pushes>, Refusal> {
    app.pushes.as_ref().ok_or_else(|| {
        let detail = "this server does not read repositories and cannot explain pushes";
        Refusal::new(StatusCode::NOT_IMPLEMENTED, detail)
    })
}

/// `GET /v1/explain/push?repo=&sha=[&ref=]`.
pub(super) async fn push(
    State(app): Ctx,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<PushExplained>, Refusal> {
    let pushes = forge_of(&app)?;
    let client = pushes.demand().client();
    let repo = query.repo.filter(|repo| repo.split('/').filter(|p| !p.is_empty()).count() == 2);
    let repo = repo.ok_or_else(|| bad("`repo` must be OWNER/NAME"))?;
    let named = query.sha.filter(|name| revision::is_name(name));
    let named = named.ok_or_else(|| bad("`sha` must be a commit hash, a branch or a tag"))?;
    let mut notes = Vec::new();
    let trigger_event = as_pushed(client, &repo, &named, query.git_ref, &mut notes).await?;
    let dialect = pushes.demand().dialect().await?;
    let evaluated = evaluate::evaluate(client, dialect, &trigger_event).await?;
    let evaluated = evaluated.ok_or_else(|| not_there(&repo, &named))?;
    notes.extend(evaluated.notes.iter().cloned());
    let mode = pushes.demand().mode().await?;
    let runs_by_job =
        runs_of(&app, &evaluated.trigger_event.repo, &evaluated.trigger_event.commit).await?;
    let classes = app.controller.settings().classes.clone();
    Ok(Json(explained(&evaluated, mode.word(), &classes, runs_by_job, notes)))
}

fn not_there(repo: &str, named: &str) -> Refusal {
    let detail = format!(
        "no commit, branch or tag `{named}` in {repo}, or `forge.token` cannot read it: check the \
         name and the token's access"
    );
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

/// Builds the trigger event of a push of the named commit alone.
async fn as_pushed(
    client: &Client,
    repo: &str,
    named: &str,
    git_ref: Option<String>,
    notes: &mut Vec<String>,
) -> Result<TriggerEvent, Refusal> {
    let about = client.about(repo).await?.ok_or_else(|| {
        let detail = format!("no repository {repo}, or `forge.token` cannot read it");
        Refusal::new(StatusCode::NOT_FOUND, detail)
    })?;
    let found = revision::find(client, repo, named).await?;
    let revision::Revision { commit, git_ref: named_ref } =
        found.ok_or_else(|| not_there(repo, named))?;
    let git_ref = git_ref.or(named_ref);
    let git_ref = match git_ref {
        Some(name) if name.starts_with("refs/") => name,
        Some(name) => format!("refs/heads/{name}"),
        None => {
            let branch = client.branch_at(repo, &commit.sha, &about.default_branch).await?;
            if branch.is_none() {
                notes.push(format!(
                    "no branch has this commit as its tip: assuming a push to {}; name another \
                     with --ref",
                    about.default_branch
                ));
            }
            format!("refs/heads/{}", branch.as_ref().unwrap_or(&about.default_branch))
        }
    };
    let tag = git_ref.starts_with("refs/tags/");
    let before = match commit.parents.first() {
        Some(parent) if !tag => parent.clone(),
        Some(_) | None => "0".repeat(commit.sha.len()),
    };
    notes.push("changed files are relative to the commit's first parent".to_owned());
    let payload = serde_json::json!({
        "ref": git_ref, "before": before, "after": commit.sha,
        "head_commit": {"id": commit.sha, "message": commit.message},
        "repository": {
            "id": about.id, "full_name": about.full_name, "default_branch": about.default_branch,
        },
    });
    let trigger_event = TriggerEvent::of("push", payload.to_string().as_bytes());
    let trigger_event = trigger_event.map_err(|malformed| bad(&malformed.to_string()))?;
    trigger_event.ok_or_else(|| bad("a push to this ref starts no workflow"))
}

/// Returns the runs of a commit by job name.
async fn runs_of(app: &App, repo: &str, sha: &str) -> Result<HashMap<String, Vec<Run>>, PortError> {
    let filter = Filter { repo: Some(repo.to_owned()), limit: PAGE, ..Filter::default() };
    let mut found: HashMap<String, Vec<Run>> = HashMap::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let page = app.controller.ports().store.page(&filter, after.as_deref()).await?;
        for run in page.items.into_iter().filter(|run| run.spec.about.commit == sha) {
            found.entry(run.spec.about.job.clone()).or_default().push(run);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(found)
}

fn explained(
    evaluated: &Evaluated,
    demand: &str,
    classes: &[Class],
    mut runs_by_job: HashMap<String, Vec<Run>>,
    mut notes: Vec<String>,
) -> PushExplained {
    let mut changed = None;
    let mut total = 0;
    match &evaluated.changed {
        Some(Changes::All(files) | Changes::Some(files)) => {
            total = files.len();
            changed = Some(files.iter().take(FILES).cloned().collect());
        }
        Some(Changes::Unknown(why)) => {
            notes.push(format!("the changed files are unknown: {why}"));
        }
        None => {}
    }
    let repo = &evaluated.trigger_event.repo;
    let workflows: Vec<WorkflowExplained> = evaluated
        .notified
        .workflows
        .iter()
        .map(|(workflow, evaluation)| {
            let runs: Vec<&WorkflowRun> =
                evaluated.runs.iter().filter(|run| run.workflow == *workflow).collect();
            let jobs = runs.iter().filter_map(|run| Some((run, run.jobs.as_ref().ok()?)));
            let jobs = jobs.flat_map(|(run, jobs)| jobs.iter().map(move |job| (run.held, job)));
            WorkflowExplained {
                workflow: workflow.clone(),
                invalid: evaluation.invalid.as_ref().map(ToString::to_string),
                events: events(evaluation),
                jobs: jobs
                    .map(|(held, job)| {
                        let state = not_dispatched(job, evaluated.dialect);
                        planned(job, repo, (held, state), classes, &mut runs_by_job)
                    })
                    .collect(),
                problem: runs.iter().find_map(|run| run.jobs.as_ref().err().cloned()),
            }
        })
        .collect();
    let at_once = workflows.iter().flat_map(|workflow| &workflow.jobs);
    let at_once = at_once.filter(|job| job.state == "waiting" && job.class.is_some()).count();
    PushExplained {
        repo: evaluated.trigger_event.repo.clone(),
        sha: evaluated.trigger_event.commit.clone(),
        git_ref: evaluated.trigger_event.git_ref.clone(),
        rules: line(evaluated.dialect).to_owned(),
        demand: demand.to_owned(),
        nothing: evaluate::nothing(&evaluated.notified),
        changed_files: changed,
        changed_files_total: total,
        notes,
        workflows,
        machines_at_once: at_once,
    }
}

fn line(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::V1_25 => "1.25",
        Dialect::V1_26 => "1.26",
        Dialect::V1_27 => "1.27",
    }
}

fn events(evaluation: &Evaluation) -> Vec<EventExplained> {
    let event = |judged: &Judged| EventExplained {
        event: judged.entry.event.clone(),
        line: judged.entry.line,
        matched: judged.verdict == Verdict::Matched,
        why: verdict(judged.verdict).to_owned(),
        filters: judged
            .filters
            .iter()
            .map(|filter| FilterExplained {
                filter: filter.key.clone(),
                patterns: judged
                    .entry
                    .filters
                    .iter()
                    .find(|written| written.key == filter.key)
                    .map(|written| written.patterns.clone())
                    .unwrap_or_default(),
                matched: filter.satisfied,
                why: filter.why.to_string(),
            })
            .collect(),
    };
    evaluation.entries.iter().map(event).collect()
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Matched => "starts a workflow run",
        Verdict::OtherEvent => "a different event",
        Verdict::Scheduled => "a schedule, not started by a push",
        Verdict::Unsupported => "the forge does not support this event",
        Verdict::OtherActivity => "`types` does not include this activity",
        Verdict::FilteredOut => "a filter does not match",
        Verdict::GivenUp => "a pattern of `types` is invalid: the forge ignores the event",
    }
}

/// Returns why no runner gets a job; `None` for a job that is dispatched.
fn not_dispatched(job: &PlannedJob, dialect: Dialect) -> Option<String> {
    if job.dispatched {
        return None;
    }
    // Servers before 1.27 dispatch calls, too, so that there it is a text.
    if job.uses.is_some() && dialect >= Dialect::V1_27 {
        return Some("the job calls a reusable workflow and needs no runner itself".to_owned());
    }
    Some(format!(
        "Gitea {} cannot read the stored job back and gives it to no runner: a text begins with \
         an empty line or a space; change the text, or update to 1.27",
        line(dialect)
    ))
}

fn planned(
    job: &PlannedJob,
    repo: &str,
    (held, not_dispatched): (bool, Option<String>),
    classes: &[Class],
    runs_by_job: &mut HashMap<String, Vec<Run>>,
) -> JobPlanned {
    let class = serving(classes, repo, &job.runs_on).map(|class| class.name.to_string());
    let runs = runs_by_job.get_mut(&job.name);
    let run = runs.filter(|runs| !runs.is_empty()).map(|runs| runs.remove(0));
    let state = match job.initial {
        _ if not_dispatched.is_some() => "not dispatched",
        Initial::Blocked => "blocked",
        Initial::Waiting => "waiting",
    };
    let why = match (&class, &run) {
        _ if not_dispatched.is_some() => not_dispatched,
        _ if held => Some("the workflow comes from a fork and waits for approval".to_owned()),
        (None, _) => {
            let near = nearest(classes, repo, &job.runs_on).map(|near| format!("; {near}"));
            let labels = job.runs_on.join(", ");
            Some(format!("no class serves the labels [{labels}]{}", near.unwrap_or_default()))
        }
        (Some(_), Some(run)) => run.status.conditions.first().map(|c| c.message.clone()),
        (Some(_), None) if job.initial == Initial::Blocked => {
            Some(format!("the job waits for {}", job.needs.join(", ")))
        }
        (Some(_), None) => Some("the job has no run, or no longer".to_owned()),
    };
    JobPlanned {
        job: job.job_id.clone(),
        name: job.name.clone(),
        runs_on: job.runs_on.clone(),
        needs: job.needs.clone(),
        state: state.to_owned(),
        class,
        phase: run.as_ref().map(|run| run.status.phase),
        machine: run.as_ref().and_then(job::machine_of),
        run: run.map(|run| run.name.to_string()),
        why,
    }
}

/// The query of `explain job`.
#[derive(Debug, Deserialize)]
pub(super) struct AskedJob {
    repo: Option<String>,
}

/// Parses the job ID of a path.
fn id_of(Path(id): Path<String>) -> Result<i64, Refusal> {
    let id = id.strip_prefix("job-").unwrap_or(&id).parse().ok().filter(|id| *id > 0);
    id.ok_or_else(|| bad("a job ID is a positive number"))
}
