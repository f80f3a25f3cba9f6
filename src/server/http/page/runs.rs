//! The list of runs, with the filter in its address.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use tinqs_ci_reconciler::model::{Phase, Run};

use super::parts::{self, age, name, run_link, span};
use super::{answer, layout, refused};
use crate::server::http::guard::Identity;
use crate::server::http::runs::{RunQuery, page_of};
use crate::server::http::status::class_of;
use crate::server::http::{App, Ctx, Refusal};

/// The number of runs on a page.
const SHOWN: usize = 100;
/// The maximum number of pages that are searched for a text.
const SEARCHED: usize = 20;

/// The filter. Empty values count as unset; unknown ones are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunsQuery {
    text: String,
    class: String,
    repo: String,
    phase: String,
    after: String,
}

/// `GET /runs`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    query: Result<Query<RunsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Query(query) = query.unwrap_or_default();
    let now = app.telemetry.now();
    match find(&app, &query).await {
        Ok(found) => {
            let main = main(&app, &query, &found, now);
            let installation = &app.live.settings().installation;
            let page = layout::page(installation, Some(&caller), ("/runs", "Runs"), now, &main);
            answer(&headers, StatusCode::OK, page)
        }
        Err(refusal) => refused(&headers, refusal),
    }
}

/// The runs of a page.
struct Found {
    runs: Vec<Run>,
    /// The cursor of older runs.
    next: Option<String>,
}

/// Reads the runs that the filter takes, newest first.
async fn find(app: &App, query: &RunsQuery) -> Result<Found, Refusal> {
    let text = query.text.trim().to_lowercase();
    let mut runs = Vec::new();
    let mut after = query.after.clone();
    for _ in 0..SEARCHED {
        let list = page_of(
            app,
            RunQuery {
                phase: query.phase.clone(),
                class: query.class.clone(),
                repo: query.repo.trim().to_owned(),
                limit: SHOWN.to_string(),
                after: after.clone(),
            },
        );
        let list = list.await?;
        runs.extend(list.items.into_iter().filter(|run| contains(run, &text)));
        let Some(next) = list.next else { return Ok(Found { runs, next: None }) };
        after = next;
        if text.is_empty() || runs.len() >= SHOWN {
            break;
        }
    }
    Ok(Found { runs, next: Some(after) })
}

/// Whether a run shows this text, which is in lower case.
fn contains(run: &Run, text: &str) -> bool {
    let about = &run.spec.about;
    let shown = [
        run.name.as_str(),
        &about.repo,
        &run.spec.job.repo,
        &about.job,
        &about.workflow,
        &about.branch,
    ];
    text.is_empty() || shown.iter().any(|shown| shown.to_lowercase().contains(text))
}

fn main(app: &App, query: &RunsQuery, found: &Found, now: Timestamp) -> Markup {
    let settings = app.controller.settings();
    let class_of = |run: &Run| class_of(&settings.classes, run).map(ToString::to_string);
    let classes: Vec<&str> = settings.classes.iter().map(|class| class.name.0.as_str()).collect();
    html! {
        h1 { "Runs" }
        (form(query, &classes))
        section #runs data-live aria-label="Runs" {
            @if found.runs.is_empty() { (none(query, found.next.is_some())) }
            @else { (table(&found.runs, &class_of, now)) }
            @if let Some(next) = &found.next {
                p { a rel="next" href=(address(query, next)) { "Older runs" } }
            }
        }
    }
}

/// Says why no run is shown, and what to do.
fn none(query: &RunsQuery, has_more: bool) -> Markup {
    let RunsQuery { text, class, repo, phase, after } = query;
    let is_filtered = [text, class, repo, phase].iter().any(|value| !value.trim().is_empty());
    html! {
        @if has_more {
            p { "None of the " (SEARCHED * SHOWN) " runs that were searched matches; older ones may." }
        } @else if !after.is_empty() {
            p { "There are no older runs." }
            p { a href=(address(query, "")) { "Newest runs" } }
        } @else if is_filtered {
            p { "No run matches." }
            p { a href="/runs" { "Clear the filter" } }
        } @else {
            p { "There is no run yet. A run is made when a job waits whose labels a class serves." }
        }
    }
}

fn form(query: &RunsQuery, classes: &[&str]) -> Markup {
    let phases = ["Waiting", "Starting", "Running", "Finished"];
    html! {
        form.filter method="get" action="/runs" role="search" {
            label { "Text " input type="search" name="text" value=(query.text) maxlength="200"; }
            label { "Repository " input type="text" name="repo" value=(query.repo) maxlength="200"; }
            (select("Class", "class", classes, &query.class))
            (select("Phase", "phase", &phases, &query.phase))
            button type="submit" { "Filter" }
            a href="/runs" { "Clear" }
        }
    }
}

fn select(title: &str, key: &str, values: &[&str], chosen: &str) -> Markup {
    html! {
        label { (title) " " select name=(key) {
            option value="" { "any" }
            @for value in values {
                option value=(value) selected[value.eq_ignore_ascii_case(chosen)] { (name(value)) }
            }
        } }
    }
}

/// Returns the address of runs of the same filter, after this cursor.
fn address(query: &RunsQuery, after: &str) -> String {
    let RunsQuery { text, class, repo, phase, after: _ } = query;
    let pairs = [
        ("text", text.as_str()),
        ("class", class),
        ("repo", repo),
        ("phase", phase),
        ("after", after),
    ];
    let mut url = reqwest::Url::parse("http://page/runs").expect("a constant address");
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    url.query_pairs_mut().extend_pairs(given);
    let query = url.query().filter(|query| !query.is_empty());
    query.map_or("/runs".to_owned(), |query| format!("/runs?{query}"))
}

fn table(runs: &[Run], class_of: &dyn Fn(&Run) -> Option<String>, now: Timestamp) -> Markup {
    let content = html! {
        thead { tr {
            th { "run" } th { "job" } th { "status" } th.n { "wait" } th.n { "age" } th { "class" }
            th { "reason" }
        } }
        tbody { @for run in runs { tr {
            @let (repo, job) = parts::job(run);
            td { (run_link(run.name.as_str())) }
            td { span.quiet { (name(&repo)) } " " (name(&job)) }
            td { (parts::state(run)) }
            td.n { (waited(run, now)) }
            td.n { (age(run.created_at, now)) }
            td { (class_of(run).map_or("–".to_owned(), |class| name(&class))) }
            td { (reason(run)) }
        } } }
    };
    parts::table("Runs, newest first", &content)
}

/// Returns how long the job waits, or waited until it was seen to start.
fn waited(run: &Run, now: Timestamp) -> String {
    let since = run.status.waiting_since;
    let until = match run.status.phase {
        Phase::Waiting | Phase::Starting => Some(now),
        Phase::Running | Phase::Finished => run.status.started_at(),
    };
    let wait = until.map(|until| until.duration_since(since)).filter(|wait| !wait.is_negative());
    wait.map_or("–".to_owned(), span)
}

fn reason(run: &Run) -> Markup {
    let shown = run.status.reason().filter(|_| run.is_open() || run.deleted_at.is_some());
    html! {
        @if let Some(reason) = shown {
            span class={ "state " (if reason.needs_person() { "bad" } else { "waits" }) } { (reason.as_str()) }
        }
    }
}
