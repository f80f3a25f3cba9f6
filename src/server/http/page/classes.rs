//! The classes: their use, what keeps them from launching, and their configuration in force.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::{self, MachineSpec, OpenBreaker, Pause, paused};

use super::parts::{age, name, sentence, span};
use super::{actions, answer, layout, refused};
use crate::api::Class;
use crate::server::http::Ctx;
use crate::server::http::guard::Identity;
use crate::server::http::sides::class_views;
use crate::settings::Right;

/// `GET /classes`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    let now = app.telemetry.now();
    let machines = app.telemetry.seen.machines().1;
    let views = match class_views(&app, &machines).await {
        Ok(views) => views,
        Err(refusal) => return refused(&headers, refusal),
    };
    let settings = app.controller.settings();
    let breakers = app.controller.open_breakers();
    let pauses = app.controller.read_pauses().await;
    let pauses = pauses.unwrap_or_else(|_| app.controller.known_pauses());
    let breaker = |class: &model::Class| {
        breakers.iter().find(|(name, _)| *name == class.name).map(|(_, breaker)| breaker)
    };
    let may_act = caller.may >= Right::Operate;
    let is_paused =
        |class: &model::ClassName| pauses.iter().any(|pause| pause.class.as_ref() == Some(class));
    let main = html! {
        h1 { "Classes" }
        @if views.is_empty() { p { "No class is configured." } }
        @for (number, (view, class)) in views.iter().zip(&settings.classes).enumerate() {
            section id={ "class-" (number) } data-live aria-label={ "Class " (name(&view.name)) } {
                (one(view, class, (breaker(class), paused(&pauses, &class.name)), now))
                @if may_act {
                    p.acts { (actions::of_launches(Some(&view.name), is_paused(&class.name))) }
                }
            }
        }
    };
    let installation = &app.live.settings().installation;
    let page = layout::page(installation, Some(&caller), ("/classes", "Classes"), now, &main);
    answer(&headers, StatusCode::OK, page)
}

fn one(
    view: &Class,
    class: &model::Class,
    (breaker, pause): (Option<&OpenBreaker>, Option<&Pause>),
    now: Timestamp,
) -> Markup {
    let limit = |limit: Option<u32>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    let counts = [
        ("machines", view.machines.to_string()),
        ("seats", if class.has_limit() { view.seats.to_string() } else { "–".to_owned() }),
        ("limit", limit(view.limit)),
        ("per repository", limit(view.repo_limit)),
        ("per owner", limit(view.owner_limit)),
        ("budget of today", view.budget.map_or("none".to_owned(), |budget| budget.to_string())),
        ("open runs", view.open_runs.to_string()),
        ("waiting", view.waiting_runs.to_string()),
    ];
    let times = &class.times;
    let durations: [(&str, SignedDuration); 6] = [
        ("boot_within", times.boot_within),
        ("idle_within", times.idle_within),
        ("assign_within", times.assign_within),
        ("max_age", times.max_age),
        ("give_up_after", times.give_up_after),
        ("keep", times.keep),
    ];
    let labels: Vec<String> = view.labels.iter().map(|label| name(label)).collect();
    let repos = match view.repos.as_slice() {
        [] => "every repository".to_owned(),
        repos => repos.iter().map(|pattern| name(pattern)).collect::<Vec<_>>().join(", "),
    };
    let reasons: Vec<&str> = view.blocked_by.iter().map(|reason| reason.as_str()).collect();
    html! {
        h2.as-is { (name(&view.name)) " " small { (labels.join(", ")) } }
        @if let Some(pause) = pause {
            ul.notes { li.waits {
                strong { "! Paused" } " · " (age(pause.since, now))
                p { (sentence(&pause.message())) }
            } }
        }
        @if let Some(breaker) = breaker {
            ul.notes { li.bad {
                strong { "✗ BreakerOpen" } " · " (age(breaker.since, now))
                p { (sentence(&breaker.message)) }
            } }
        }
        @if !reasons.is_empty() { p { "Waiting runs: " (reasons.join(", ")) } }
        div.numbers { dl { @for (title, value) in counts { div { dt { (title) } dd { (value) } } } } }
        details {
            summary { "Configuration in force" }
            dl.facts {
                div { dt { code { "repos" } } dd { (repos) } }
                @for (key, value) in durations { div { dt { code { (key) } } dd { (span(value)) } } }
                @for machine in &class.machines { div { dt { "machine" } dd { (spec(machine)) } } }
            }
        }
    }
}

fn spec(machine: &MachineSpec) -> String {
    let MachineSpec { kind, subnet, market, image, .. } = machine;
    let market = market.to_string();
    let parts = [kind.as_str(), &market, subnet, image];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(name).collect();
    parts.join(" · ")
}
