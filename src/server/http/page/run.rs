//! One run: where it is on its path, why, its attempts, and the commands to act.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use tinqs_ci_reconciler::model::Run;
use tokio::time::Instant;

use super::parts::{self, age, exact, name, sentence, span};
use super::{actions, answer, layout, refused, steps};
use crate::api::explain::AttemptExplained;
use crate::api::status::JobWhy;
use crate::api::{Event, EventKind, machine};
use crate::server::http::Ctx;
use crate::server::http::events::beyond_timeline;
use crate::server::http::explain::story_of;
use crate::server::http::guard::Identity;
use crate::server::http::runs::find_noted;
use crate::settings::Right;
use crate::words::timeline::happened;

/// The maximum wait of the page for the forge and the cloud, before it shows the record alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /runs/{name}`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Response {
    let run = match find_noted(&app, &run).await {
        Ok(run) => run,
        Err(refusal) => return refused(&headers, refusal),
    };
    let now = app.telemetry.now();
    let (why, _) = story_of(&app, &run, now, Instant::now() + PATIENCE).await;
    let installation = &app.live.settings().installation;
    let may_act = caller.may >= Right::Operate;
    let events = beyond_timeline(&app, &run.name);
    let main = main(&run, &why, &events, may_act, now);
    let page = layout::page(installation, Some(&caller), ("/runs", run.name.as_str()), now, &main);
    answer(&headers, StatusCode::OK, page)
}

fn main(run: &Run, why: &JobWhy, events: &[Event], may_act: bool, now: Timestamp) -> Markup {
    let (repo, job) = parts::job(run);
    html! {
        h1 { (run.name) " · " (name(&repo)) " · " (name(&job)) " " (parts::at_forge(&run.spec.about.url)) }
        section #story data-live aria-label="State" {
            p.line { (parts::state(run)) span.part { (age(run.created_at, now)) } }
            (steps::path(run, now))
            dl.facts { (facts(why, now)) }
            @if may_act { (actions::of_run(run)) }
        }
        section #conditions data-live aria-label="Conditions" {
            h2 { "Conditions" }
            (conditions(run, now))
        }
        section #attempts data-live aria-label="Attempts" {
            h2 { "Attempts" }
            (attempts(why, now))
        }
        section #timeline data-live aria-label="Timeline" {
            h2 { "Timeline" }
            (timeline(run))
        }
        section #events data-live aria-label="Events" {
            h2 { "Events " small { "beyond the timeline" } }
            (beyond(events))
        }
        section #commands aria-label="Commands" {
            h2 { "Commands" }
            (commands(run))
        }
    }
}

fn facts(why: &JobWhy, now: Timestamp) -> Markup {
    let mut rows: Vec<(&str, String)> = vec![("state", why.state.clone())];
    if let Some(reason) = &why.reason {
        let since = why.since.map(|at| format!(" for {}", span(now.duration_since(at))));
        rows.push(("reason", format!("{reason}{}", since.unwrap_or_default())));
    }
    rows.extend(why.at_forge.clone().map(|word| ("at the forge", word)));
    rows.extend(why.waits_for.clone().map(|text| ("waits for", text)));
    rows.extend(why.next.iter().map(|text| ("next", text.clone())));
    rows.extend(why.fix.clone().map(|text| ("to unblock", text)));
    let labels: Vec<String> = why.runs_on.iter().map(|label| name(label)).collect();
    let class = why.class.as_ref().map_or("none".to_owned(), |class| name(class));
    rows.push(("class", format!("{class} serves [{}]", labels.join(", "))));
    rows.extend(why.notes.iter().map(|text| ("note", text.clone())));
    html! { @for (title, text) in rows { div { dt { (title) } dd { (sentence(&text)) } } } }
}

/// Returns what holds for the run now.
fn conditions(run: &Run, now: Timestamp) -> Markup {
    let all = &run.status.conditions;
    html! {
        @if all.is_empty() { p.quiet { "None." } }
        ul.notes { @for one in all {
            @let needs_person = one.reason.needs_person();
            li class=(if needs_person { "bad" } else { "waits" }) {
                strong { (if needs_person { "✗ " } else { "! " }) (one.reason) }
                " · " (age(one.since, now))
                p { (sentence(&one.message)) }
            }
        } }
    }
}

fn attempts(why: &JobWhy, now: Timestamp) -> Markup {
    html! {
        @if why.attempts.is_empty() { p.quiet { "No attempt yet." } }
        @else { (parts::table("Attempts and their end", &html! {
            thead { tr {
                th.n { "attempt" } th.n { "age" } th { "class" } th { "machine" } th { "kind" }
                th { "market" } th { "zone" } th.n { "per hour" } th { "end" } th { "console" }
            } }
            tbody { @for attempt in &why.attempts { (row(attempt, now)) } }
        })) }
    }
}

fn row(attempt: &AttemptExplained, now: Timestamp) -> Markup {
    let named = |text: Option<&String>| text.map_or("–".to_owned(), |text| name(text));
    html! { tr {
        td.n { (attempt.number) }
        td.n { (age(attempt.decided_at, now)) }
        td { (name(&attempt.class)) }
        td { (named(attempt.machine.as_ref())) }
        td { (named(attempt.kind.as_ref())) }
        td { (attempt.market.map_or("–".to_owned(), |market| market.to_string())) }
        td { (named(attempt.zone.as_ref())) }
        td.n { (attempt.hourly().unwrap_or("–".to_owned())) }
        td {
            (sentence(attempt.ended.as_deref().unwrap_or("in progress")))
            @for refusal in &attempt.refusals { br; (sentence(refusal)) }
        }
        td {
            @if let Some(machine) = &attempt.machine { code { "tinqs-ci logs " (name(machine)) } }
            @else { "–" }
            @if let Some(log) = &attempt.log { details {
                summary { "Its last lines" }
                @for line in log.lines() { code { (sentence(line)) } br; }
            } }
        }
    } }
}

fn timeline(run: &Run) -> Markup {
    let timeline = &run.status.timeline;
    let before = std::iter::once(None).chain(timeline.iter().map(|one| Some(one.at)));
    html! {
        ol.events { @for (one, before) in timeline.iter().zip(before) { li {
            time datetime=(one.at) { (one.at.strftime("%Y-%m-%d %H:%M:%S").to_string()) }
            @if let Some(before) = before { span.took { " +" (exact(one.at.duration_since(before))) } }
            " " (happened(&one.what))
        } } }
    }
}

/// Returns what the log of events has besides the milestones.
fn beyond(events: &[Event]) -> Markup {
    html! {
        @if events.is_empty() { p.quiet { "None, as this process saw the run." } }
        ol.events { @for event in events { li {
            time datetime=(event.last_at) {
                (event.last_at.strftime("%Y-%m-%d %H:%M:%S").to_string())
            }
            " "
            @if event.kind == EventKind::Warning { span.waits { "! " } }
            (event.reason) " · " (sentence(&event.message))
            @if event.count > 1 { span.took { " " (event.count) " times" } }
        } } }
    }
}

/// Returns the commands that concern the run as it is now.
fn commands(run: &Run) -> Markup {
    let run_name = run.name.as_str();
    let mut all = vec![format!("tinqs-ci why {run_name}"), format!("tinqs-ci plan {run_name} -v")];
    if let Some((_, machine)) = machine::answers(run).next() {
        all.push(format!("tinqs-ci logs {}", name(&machine.0)));
    }
    if run.can_retry() {
        all.push(format!("tinqs-ci retry {run_name}"));
    }
    if run.is_open() && run.deleted_at.is_none() {
        all.push(format!("tinqs-ci delete {run_name}"));
    }
    html! { ul.commands { @for command in all { li { code { (command) } } } } }
}
