//! The overview: what is well, what drifts, the classes, and the latest events.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::Pause;

use super::parts::{self, age, name, run_link, sentence, span};
use super::{actions, answer, chart, layout};
use crate::api::status::{ClassStatus, ClassWaits, Service, Spend, StatusView};
use crate::api::{Event, EventKind, Health};
use crate::server::http::Ctx;
use crate::server::http::events::latest;
use crate::server::http::guard::Identity;
use crate::server::http::runs::{RunQuery, page_of};
use crate::server::http::status::read_status;
use crate::settings::Right;
use crate::telemetry::{Sample, Samples};
use crate::words::money;

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
    let events = latest(&app, &runs, EVENTS);
    let samples = &app.telemetry.samples;
    let main = main(&status, samples, &events, caller.may >= Right::Operate);
    let installation = &app.live.settings().installation;
    let page = layout::page(installation, Some(&caller), ("/", "Overview"), status.now, &main);
    answer(&headers, StatusCode::OK, page)
}

fn main(status: &StatusView, samples: &Samples, latest: &[Event], may_act: bool) -> Markup {
    let now = status.now;
    html! {
        h1.hidden { "Overview" }
        section #state data-live aria-label="State" {
            p.line {
                (verdict(status))
                @for service in &status.services { (service_part(service, now)) }
                (paused_part(&status.pauses))
            }
            (parts::listed(status.machines_listed_at))
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
        section #numbers.numbers data-live aria-label="Numbers" { (numbers(status)) }
        section #classes data-live aria-label="Classes" {
            h2 { "Classes" }
            (classes(status, samples))
        }
        section #events data-live aria-label="Events" {
            h2 { "Latest events" }
            (events(latest, now))
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

fn numbers(status: &StatusView) -> Markup {
    let sum = |of: fn(&ClassStatus) -> usize| status.classes.iter().map(of).sum::<usize>();
    let waits = status.waits.as_ref();
    let wait = |of: fn(&ClassWaits) -> i64| seconds(waits.map(of));
    let spent =
        |of: fn(&Spend) -> String| status.spend.as_ref().map_or(money::UNKNOWN.to_owned(), of);
    let oldest = status.oldest_waiting_since().map(|since| status.now.duration_since(since));
    let unpriced = status.spend.map_or(0, |spend| spend.unpriced_machines);
    let rows = [
        ("waiting", sum(|class| class.waiting).to_string()),
        ("oldest wait", oldest.map_or("–".to_owned(), span)),
        ("starting", sum(|class| class.starting).to_string()),
        ("running", sum(|class| class.running).to_string()),
        ("machines", sum(|class| class.machines).to_string()),
        ("wait p50", wait(|waits| waits.p50_seconds)),
        ("wait p95", wait(|waits| waits.p95_seconds)),
        ("cost per hour", spent(Spend::per_hour)),
        ("cost today", spent(Spend::today)),
    ];
    html! {
        dl { @for (title, value) in rows { div { dt { (title) } dd { (value) } } } }
        p.quiet {
            @match waits.map(|waits| waits.jobs) {
                None => "No job has started within the last hour, as this process saw it.",
                Some(1) => "The wait is that of the one job that started within the last hour.",
                Some(jobs) => { "Waits are those of " (jobs) " jobs that started within the last hour." }
            }
        }
        @if unpriced > 0 { p.quiet {
            @if unpriced == 1 { "No price is known of one machine" }
            @else { "No price is known of " (unpriced) " machines" }
            ", which no amount contains: " code { "[prices]" } " of the configuration can tell it."
        } }
    }
}

/// Returns a duration; a dash if it is not known.
fn seconds(seconds: Option<i64>) -> String {
    seconds.map_or("–".to_owned(), |seconds| span(SignedDuration::from_secs(seconds)))
}

fn classes(status: &StatusView, samples: &Samples) -> Markup {
    let all = status.classes.iter().map(|class| samples.of(&class.name, status.now));
    let samples: Vec<Vec<Sample>> = all.collect();
    // All charts have one scale of time.
    let window = chart::window(samples.iter().flatten());
    let has_budget = status.classes.iter().any(|class| class.budget.is_some());
    let content = html! {
        thead { tr {
            th { "class" } th.n { "desired" } th.n { "actual" } th.n { "limit" }
            @if has_budget { th.n { "budget of today" } }
            th { (chart::title(window)) } th.n { "wait p50" } th.n { "p95" } th.n { "waiting" }
            th.n { "running" } th { "waits for" }
        } }
        tbody { @for (class, samples) in status.classes.iter().zip(&samples) { tr {
            @let waits = class.waits.as_ref();
            td { (name(&class.name)) }
            td.n { (class.desired) }
            td.n { (class.machines) }
            td.n { (class.limit.map_or("–".to_owned(), |limit| limit.to_string())) }
            @if has_budget {
                td.n { (class.budget.map_or("–".to_owned(), |budget| budget.to_string())) }
            }
            td.charted { (chart::chart(samples, window)) }
            td.n { (seconds(waits.map(|waits| waits.p50_seconds))) }
            td.n { (seconds(waits.map(|waits| waits.p95_seconds))) }
            td.n { (class.waiting) }
            td.n { (class.running) }
            td { @for (index, count) in class.reasons.iter().enumerate() {
                @if index > 0 { ", " }
                (count.runs) " " (count.reason)
            } }
        } } }
    };
    html! {
        (parts::table("Classes and their use", &content))
        p.quiet.key {
            "Chart: " span.swatch.area aria-hidden="true" {} " actual machines as an area, "
            span.swatch.line aria-hidden="true" {} " desired ones as a line; the highest count of each \
            minute since this process started."
        }
    }
}

fn events(latest: &[Event], now: Timestamp) -> Markup {
    html! {
        @if latest.is_empty() { p.quiet { "No job has been seen yet." } }
        ol.events { @for event in latest { li {
            span.when { (age(event.last_at, now)) " ago" } " "
            (subject(event)) " · "
            @if event.kind == EventKind::Warning { span.waits { "! " } }
            (sentence(&event.message))
            @if event.count > 1 { span.took { " " (event.count) " times" } }
        } } }
    }
}

/// Says what an event is about: a run with its job, a class, a service or labels.
fn subject(event: &Event) -> Markup {
    let object = &event.object;
    html! {
        @match object.kind.as_str() {
            "run" => {
                (run_link(&object.name))
                @for part in [&event.repo, &event.job] {
                    @if !part.is_empty() { " " (name(part)) }
                }
            }
            "classes" => "all classes",
            "labels" => { "labels [" (name(&object.name)) "]" }
            kind => { (kind) " " (name(&object.name)) }
        }
    }
}
