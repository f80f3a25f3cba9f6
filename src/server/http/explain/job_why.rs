//! One job as a story: what it is, its state, what it waits for, what happens next.

use axum::http::StatusCode;
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Condition, Phase, Reason, Run, nearest, serving};
use tokio::time::{Instant, timeout_at};

use super::attempts::attempts;
use super::blocked;
use super::job::{self, JobRecord, at_forge, machine_of, mode_of};
use super::{App, FORGE_DEADLINE, Refusal, seats};
use crate::api::status::JobWhy;
use crate::api::{Plan, plan_view};
use crate::server::http::status;
use crate::words::reasons::{Advice, NO_CLASS, advice};
use crate::words::unserved::fix_repos;
use crate::words::{jobs, lasting};

/// Asks the forge for the job's status. Adds what cannot be found out to the notes.
async fn ask_forge(
    app: &App,
    record: &JobRecord,
    until: Instant,
    notes: &mut Vec<String>,
) -> Option<String> {
    let mut why = Vec::new();
    let asked = async { at_forge(app, mode_of(app).await?, record, &mut why).await };
    let answer = timeout_at(until, asked).await;
    match answer {
        Ok(Ok(word)) => {
            notes.extend(why);
            Some(word).filter(|word| word != "unknown")
        }
        Ok(Err(Refusal { detail, .. })) => {
            notes.push(format!(
                "the forge cannot be asked now, this is what the records say: {detail}"
            ));
            None
        }
        Err(_) => {
            notes.push("the forge did not answer in time, this is what the records say".to_owned());
            None
        }
    }
}

/// Tells the story of a run, and plans its next reconcile. What forge and cloud do not answer until
/// then comes from the record, and is not planned.
pub(in crate::server::http) async fn of_run(
    app: &App,
    run: &Run,
    now: Timestamp,
    until: Instant,
) -> (JobWhy, Option<Plan>) {
    let record = job::of_run(run);
    let mut notes = Vec::new();
    let asks = record.job.job_id > 0 && !record.job.repo.is_empty();
    let at_forge = if asks { ask_forge(app, &record, until, &mut notes).await } else { None };
    // Without an answer, the next plan would only wait for the forge again.
    let plans = !asks || at_forge.is_some();
    let plan = if plans { plan(app, run, until).await } else { None };
    let told = status::reason_of(app, run);
    let (reason, since) = match (still_up(run), run.is_open()) {
        (Some(note), _) => (Some(note.reason.to_string()), Some(note.since)),
        (None, true) => (Some(told.reason).filter(|reason| !reason.is_empty()), told.since),
        (None, false) => (None, told.since),
    };
    let failing = app.telemetry.failing_runs.of(&run.name).filter(|_| run.is_open());
    let mut words = reason.as_deref().map(advice).unwrap_or_default();
    if run.status.lost().is_some() {
        // The state says it.
        words.next = "";
    }
    let outcome = run.status.outcome.map(|outcome| format!("{outcome:?}")).unwrap_or_default();
    let (waits_for, fix) = match &failing {
        Some(failing) => (failing.reason.waits_for(), failing.reason.fix(&failing.message)),
        None if run.is_open() => (words.waits_for, words.fix),
        None if jobs::is_settled(&run.status.timeline) => ("", ""),
        None => ("", jobs::after_finish(&outcome)),
    };
    let settings = app.controller.settings();
    let class = serving(&settings.classes, &record.job.repo, &record.runs_on);
    let message = seats::reached(app, run).await.unwrap_or(told.message);
    let text =
        |text: &str| Some(text.replace("RUN", run.name.as_str())).filter(|text| !text.is_empty());
    let mut story = JobWhy {
        id: Some(record.job.job_id).filter(|id| *id > 0),
        repo: told.repo,
        name: told.job,
        url: told.url,
        class: class.map(|class| class.name.to_string()),
        phase: told.phase,
        at_forge,
        job_attempt: run.status.wait.attempt,
        state: state(run, &outcome, &message, now),
        reason,
        since,
        waits_for: text(waits_for),
        next: next(app, run, words, plan.as_ref(), now),
        fix: text(fix),
        attempts: attempts(app, run),
        timeline: run.status.timeline.clone(),
        notes,
        run: Some(run.name.to_string()),
        runs_on: record.runs_on,
    };
    blocked::tell(app, &mut story, now, until).await;
    (story, plan)
}

/// Plans the next reconcile. `None` if the forge or the cloud does not answer until then.
async fn plan(app: &App, run: &Run, until: Instant) -> Option<Plan> {
    let observed = timeout_at(until, app.controller.observe(&run.name)).await;
    observed.ok()?.ok().map(|seen| plan_view(&seen))
}

/// Returns the note that the machine of a canceled job is still up.
fn still_up(run: &Run) -> Option<&Condition> {
    run.status.conditions.iter().find(|condition| condition.reason == Reason::Cancelled)
}

/// Returns the state of a run in one sentence.
fn state(run: &Run, outcome: &str, message: &str, now: Timestamp) -> String {
    let status = &run.status;
    let waited = lasting(now.duration_since(status.queued_at()));
    let machine = machine_of(run);
    match status.phase {
        Phase::Finished => {
            // The note also says how the job ended.
            let note = still_up(run).map(|note| note.message.clone());
            let ended = note.unwrap_or_else(|| jobs::finished(outcome));
            let deleted = run.deleted_at.map_or("", |_| "; a person deleted the run");
            format!("{ended}{deleted}")
        }
        Phase::Running => {
            let runner = status.runner.as_deref().unwrap_or_default();
            let of = run.attempt_of(runner).map(|attempt_id| attempt_id.run);
            if let Some(Condition { message, .. }) = status.lost() {
                let place = match (of, machine) {
                    (Some(of), _) if of != run.name => format!("the machine of {of}"),
                    (_, Some(machine)) => format!("machine {machine}"),
                    (_, None) => "its machine".to_owned(),
                };
                return format!("the job ran on {place}; {message}");
            }
            let place = match (of, machine) {
                (Some(of), _) if of != run.name => format!("on the machine of {of}"),
                (Some(_), Some(machine)) => format!("on machine {machine}"),
                (Some(_), None) => "on its machine".to_owned(),
                (None, _) if runner.is_empty() => "at the forge".to_owned(),
                (None, _) => format!("on {runner}, a runner of somebody else"),
            };
            let but = if message.is_empty() { String::new() } else { format!("; {message}") };
            format!("the job runs {place}{but}")
        }
        Phase::Starting => {
            let which = machine.map_or("a machine".to_owned(), |id| format!("machine {id}"));
            let but = if message.is_empty() { String::new() } else { format!("; {message}") };
            format!("{which} is starting for it; it has waited for {waited}{but}")
        }
        Phase::Waiting if message.is_empty() => {
            format!("the job has waited for {waited}; its machine is requested next")
        }
        Phase::Waiting => format!("the job has waited for {waited}: {message}"),
    }
}

/// Says what happens next, and when.
fn next(app: &App, run: &Run, words: Advice, plan: Option<&Plan>, now: Timestamp) -> Vec<String> {
    let mut next = Vec::new();
    if !words.next.is_empty() && run.is_open() {
        next.push(words.next.to_owned());
    }
    let until = |at: Timestamp| {
        let left = at.duration_since(now);
        if left.is_positive() { format!("in {}", lasting(left)) } else { "now".to_owned() }
    };
    if let Some(at) = run.status.retry_at.filter(|_| run.is_open()) {
        next.push(format!("the next attempt starts {}", until(at)));
    }
    let failing = app.telemetry.failing_runs.of(&run.name).filter(|_| run.is_open());
    if let Some(at) = failing.and_then(|failing| failing.next) {
        next.push(format!("the failed call is tried again {}", until(at)));
    }
    if let Some(plan) = plan {
        let mut verbs: Vec<&str> =
            plan.changes.iter().filter_map(|change| jobs::planned(&change.verb)).collect();
        verbs.dedup();
        if !verbs.is_empty() {
            next.push(format!("the next reconcile will {}", verbs.join(", ")));
        }
    }
    if run.is_open() {
        next.push(format!(
            "the run is reconciled again {}, or after an event",
            until(run.status.due)
        ));
    }
    next
}

/// Tells the story of a job without a run. Refuses one that neither the records nor the forge know.
pub(super) async fn of_job(
    app: &App,
    record: &JobRecord,
    notes: Vec<String>,
) -> Result<JobWhy, Refusal> {
    let story = of_any_job(app, record, notes).await;
    if !record.listed {
        is_known(record, story.at_forge.as_deref(), &story.notes)?;
    }
    Ok(story)
}

/// Tells the story of a job without a run, as far as it is known.
pub(super) async fn of_any_job(app: &App, record: &JobRecord, mut notes: Vec<String>) -> JobWhy {
    let until = Instant::now() + FORGE_DEADLINE;
    let at_forge = ask_forge(app, record, until, &mut notes).await;
    let settings = app.controller.settings();
    // Without the labels, the class is unknown.
    let (repo, labels) = (&record.job.repo, &record.runs_on);
    let class = serving(&settings.classes, repo, labels).filter(|_| record.listed);
    let unserved = record.listed && class.is_none();
    let words = if unserved { advice(NO_CLASS) } else { Advice::default() };
    let (state, next) = without_run(app, record, unserved, at_forge.as_deref(), words);
    let near = nearest(&settings.classes, repo, labels).filter(|_| unserved);
    let fix = near.as_ref().and_then(fix_repos);
    notes.extend(near.map(|near| near.to_string()));
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut story = JobWhy {
        run: None,
        id: Some(record.job.job_id),
        repo: record.job.repo.clone(),
        name: record.about.job.clone(),
        url: record.about.url.clone(),
        runs_on: record.runs_on.clone(),
        class: class.map(|class| class.name.to_string()),
        phase: None,
        at_forge,
        job_attempt: None,
        state,
        reason: unserved.then(|| NO_CLASS.to_owned()),
        since: if unserved { unserved_since(app, &record.runs_on) } else { None },
        waits_for: text(words.waits_for),
        next: text(&next).into_iter().collect(),
        fix: fix.or_else(|| text(words.fix)),
        attempts: Vec::new(),
        timeline: Vec::new(),
        notes,
    };
    blocked::tell(app, &mut story, app.telemetry.now(), until).await;
    story
}

/// Refuses a job that neither the records nor the forge know.
fn is_known(record: &JobRecord, at_forge: Option<&str>, notes: &[String]) -> Result<(), Refusal> {
    let (id, repo) = (record.job.job_id, &record.job.repo);
    let detail = match at_forge {
        Some("absent") => format!(
            "the forge has no job {id} in {repo}: check the number; a deleted repository has no \
             jobs, and neither has one that `forge.token` cannot read"
        ),
        Some(_) => return Ok(()),
        None => format!(
            "job {id} of {repo} has no run here, and the forge does not say what it is: {}",
            notes.join("; ")
        ),
    };
    Err(Refusal::new(StatusCode::NOT_FOUND, detail))
}

/// Returns the state of a job without a run, and what happens next.
fn without_run(
    app: &App,
    record: &JobRecord,
    unserved: bool,
    at_forge: Option<&str>,
    words: Advice,
) -> (String, String) {
    if unserved {
        let labels = record.runs_on.join(", ");
        return (format!("the job waits: no class serves [{labels}]"), words.next.to_owned());
    }
    if record.listed || at_forge == Some("waiting") {
        let every = lasting(app.controller.settings().poll_every);
        return (
            "the job was just queued and has no run yet".to_owned(),
            format!("the next poll creates its run, within {every}"),
        );
    }
    let Some(word) = at_forge else {
        let state = "the job has no run here, and its status at the forge is not known";
        return (state.to_owned(), String::new());
    };
    let next = match word {
        "blocked" => "it gets a machine as soon as the forge queues it",
        _ => "it needs no machine of this installation",
    };
    (format!("the job is {word} at the forge and has no run here"), next.to_owned())
}

/// Returns when the first job with these labels was seen.
fn unserved_since(app: &App, runs_on: &[String]) -> Option<Timestamp> {
    let mut labels = runs_on.to_vec();
    labels.sort();
    labels.dedup();
    let last = app.telemetry.unserved.last()?;
    let mut sets = last.sets.iter();
    sets.find(|(set, _)| set.runs_on == labels).map(|(_, since)| *since)
}
