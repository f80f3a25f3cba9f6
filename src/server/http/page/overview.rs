//! The overview: what is well, what drifts, the classes, and the latest events.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::{Happened, Milestone, Pause, Run};

use super::parts::{self, age, name, run_link, span};
use super::{actions, answer, layout};
use crate::api::Health;
use crate::api::status::{ClassStatus, Service, StatusView};
use crate::server::http::Ctx;
use crate::server::http::guard::Identity;
use crate::server::http::runs::{RunQuery, page_of};
use crate::server::http::status::read_status;
use crate::settings::Right;
use crate::words::timeline::happened;

/// The number of drift that is shown.
const DRIFT: usize = 10;
/// The number of events that are shown.
const EVENTS: usize = 20;

/// `GET /`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    if !super::reads_html(&headers) {
        return answer(&headers, StatusCode::OK, html! {});
    }
    let status = read_status(&app).await;
    let newest = page_of(&app, RunQuery::default()).await;
    let runs = newest.map(|list| list.items).unwrap_or_default();
    let main = main(&status, &runs, caller.may >= Right::Operate);
    let installation = &app.live.settings().installation;
    let page = layout::page(installation, Some(&caller), ("/", "Overview"), status.now, &main);
    answer(&headers, StatusCode::OK, page)
}

fn main(status: &StatusView, runs: &[Run], may_act: bool) -> Markup {
    let now = status.now;
    html! {
        h1.hidden { "Overview" }
        section #state data-live aria-label="State" {
            p.line {
                (verdict(status))
                @for service in &status.services { (service_part(service, now)) }
                (paused_part(&status.pauses))
            }
            @if !status.attention.is_empty() { (parts::attention(&status.attention, now)) }
            @if may_act {
                @let all_paused = status.pauses.iter().any(|pause| pause.class.is_none());
                p.acts {
                    a href="/sweep" { "Sweep" }
                    (actions::of_launches(None, all_paused))
                }
            }
        }
        section #drift data-live aria-label="Drift" {
            h2 { "Drift " small { (open(status)) } }
            (parts::drift(&status.drift[..status.drift.len().min(DRIFT)], now))
        }
        section #numbers.numbers data-live aria-label="Numbers" { (numbers(status, runs)) }
        section #classes data-live aria-label="Classes" {
            h2 { "Classes" }
            (classes(&status.classes))
        }
        section #events data-live aria-label="Events" {
            h2 { "Latest events" }
            (events(runs, now))
        }
    }
}

fn verdict(status: &StatusView) -> Markup {
    let (sign, words, tone) = if status.needs_person() {
        ("✗", "needs a person", "bad")
    } else if !status.attention.is_empty() {
        ("!", "not all is well", "waits")
    } else if status.open_drift.unwrap_or(0) > 0 {
        ("!", "not converged", "waits")
    } else {
        ("✓", "all is well", "good")
    };
    html! { strong class={ "state " (tone) } { span aria-hidden="true" { (sign) } " " (words) } }
}

fn service_part(service: &Service, now: Timestamp) -> Markup {
    let last = service.last_contact.map(|at| span(now.duration_since(at)));
    let (tone, words) = match (service.state, last) {
        (Health::Failing, _) => ("bad", "✗ fails".to_owned()),
        (Health::Ok, Some(last)) => ("", last),
        (Health::Ok | Health::Unknown, _) => ("quiet", "–".to_owned()),
    };
    html! { span class={ "part " (tone) } { (service.name) " " (words) } }
}

fn paused_part(pauses: &[Pause]) -> Markup {
    let words = match pauses {
        [] => "no".to_owned(),
        [Pause { class: None, .. }, ..] => "all classes".to_owned(),
        [Pause { class: Some(class), .. }] => name(&class.0),
        several => format!("{} classes", several.len()),
    };
    let tone = if pauses.is_empty() { "quiet" } else { "waits" };
    html! { span class={ "part " (tone) } { "paused " (words) } }
}

fn open(status: &StatusView) -> String {
    match status.open_drift {
        None => "unknown: the open runs cannot be read".to_owned(),
        Some(0) => "none".to_owned(),
        Some(open) if open > DRIFT => {
            format!("{open} open; the longest {DRIFT} are shown, `tinqs-ci drift` lists all")
        }
        Some(open) => format!("{open} open"),
    }
}

fn numbers(status: &StatusView, runs: &[Run]) -> Markup {
    let sum = |of: fn(&ClassStatus) -> usize| status.classes.iter().map(of).sum::<usize>();
    let mut waits: Vec<SignedDuration> = runs.iter().filter_map(waited).collect();
    waits.sort();
    let at = |percent: usize| {
        let last = waits.len().checked_sub(1)?;
        waits.get((last * percent).div_ceil(100)).copied()
    };
    let wait = |percent| at(percent).map_or("–".to_owned(), span);
    let rows = [
        ("waiting", sum(|class| class.waiting).to_string()),
        ("starting", sum(|class| class.starting).to_string()),
        ("running", sum(|class| class.running).to_string()),
        ("machines", sum(|class| class.machines).to_string()),
        ("wait p50", wait(50)),
        ("wait p95", wait(95)),
    ];
    html! {
        dl { @for (title, value) in rows { div { dt { (title) } dd { (value) } } } }
        p.quiet { "Waits are those of the newest runs that have started." }
    }
}

/// Returns how long the job of a run waited until it was seen to start.
fn waited(run: &Run) -> Option<SignedDuration> {
    let started = run.status.started_at()?;
    Some(started.duration_since(run.status.waiting_since)).filter(|wait| !wait.is_negative())
}

fn classes(classes: &[ClassStatus]) -> Markup {
    html! {
        div.table { table {
            thead { tr {
                th { "class" } th.n { "desired" } th.n { "actual" } th.n { "limit" } th.n { "waiting" }
                th.n { "running" } th { "waits for" }
            } }
            tbody { @for class in classes { tr {
                td { (name(&class.name)) }
                td.n { (class.open) }
                td.n { (class.machines) }
                td.n { (class.limit.map_or("–".to_owned(), |limit| limit.to_string())) }
                td.n { (class.waiting) }
                td.n { (class.running) }
                td { @for (index, count) in class.reasons.iter().enumerate() {
                    @if index > 0 { ", " }
                    (count.runs) " " (count.reason)
                } }
            } } }
        } }
    }
}

fn events(runs: &[Run], now: Timestamp) -> Markup {
    let all = runs.iter().flat_map(|run| run.status.timeline.iter().map(move |one| (run, one)));
    let mut all: Vec<(&Run, &Milestone)> =
        all.filter(|(_, one)| !matches!(one.what, Happened::Unknown)).collect();
    all.sort_by(|(a, one), (b, other)| other.at.cmp(&one.at).then_with(|| a.name.cmp(&b.name)));
    html! {
        @if all.is_empty() { p.quiet { "No job has been seen yet." } }
        ol.events { @for (run, one) in all.into_iter().take(EVENTS) { li {
            (age(one.at, now)) " ago · "
            (run_link(run.name.as_str()))
            @let (repo, job) = parts::job(run);
            " " (name(&repo)) " " (name(&job)) " · " (happened(&one.what))
        } } }
    }
}
