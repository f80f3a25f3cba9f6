//! A job, as the records and the forge know it.

use tinqs_ci_reconciler::model::{About, AttemptId, Conclusion, Job, JobRef, Run, RunName};
use tinqs_ci_reconciler::ports::WaitingJob;

use crate::server::http::{App, Refusal};
use tinqs_ci_gitea::client::RunJob;
use tinqs_ci_gitea::demand::Mode;

/// The reason of a blocked job, unless more is known.
pub(super) const BLOCKED: &str = "the forge blocks it: needs, approval or concurrency";

/// A job, as known from the run's record or the forge's list.
pub(super) struct JobRecord {
    pub(super) job: JobRef,
    pub(super) about: About,
    pub(super) runs_on: Vec<String>,
    pub(super) listed: bool,
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
pub(super) async fn listed(app: &App, id: i64) -> Result<Option<JobRecord>, Refusal> {
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

/// Returns the machine of a run's latest attempt, if its launch was confirmed.
pub(super) fn machine_of(run: &Run) -> Option<String> {
    let attempt = run.status.attempt.as_ref()?;
    let answered = attempt.placements.iter().rev().find_map(|p| p.answered.as_ref())?;
    Some(answered.id.to_string())
}
