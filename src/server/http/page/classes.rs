//! The classes: their use, what keeps them from launching, and their configuration in force.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::{
    self, BootStop, MachineSpec, OpenBreaker, Pause, SpotBreaker, paused,
};

use super::parts::{self, age, name, sentence, span};
use super::{actions, answer, layout, refused};
use crate::api::{Class, Unavailable};
use crate::server::http::Ctx;
use crate::server::http::guard::Identity;
use crate::server::http::sides::{class_views, list_if_late};
use crate::settings::Right;
use crate::words::offerings::why;

/// The number of repositories whose seats are shown.
const REPOS: usize = 20;

/// `GET /classes`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    list_if_late(&app).await;
    let now = app.telemetry.now();
    let (listed_at, machines) = app.telemetry.seen.machines();
    let views = match class_views(&app, &machines).await {
        Ok(views) => views,
        Err(refusal) => return refused(&headers, refusal),
    };
    let settings = app.controller.settings();
    let breakers = app.controller.open_breakers();
    let stops = app.controller.boot_stops();
    let pauses = app.controller.read_pauses().await;
    let pauses = pauses.unwrap_or_else(|_| app.controller.known_pauses());
    let breaker = |class: &model::Class| {
        breakers.iter().find(|(name, _)| *name == class.name).map(|(_, breaker)| breaker)
    };
    let stop = |class: &model::Class| {
        stops.iter().find(|(name, _)| *name == class.name).map(|(_, stop)| stop)
    };
    let may_act = caller.may >= Right::Operate;
    let is_paused =
        |class: &model::ClassName| pauses.iter().any(|pause| pause.class.as_ref() == Some(class));
    let main = html! {
        h1 { "Classes" }
        (parts::listed(listed_at))
        @if views.is_empty() { p { "No class is configured." } }
        @for (number, (view, class)) in views.iter().zip(&settings.classes).enumerate() {
            section id={ "class-" (number) } data-live aria-label={ "Class " (name(&view.name)) } {
                @let stopped = Stopped {
                    breaker: breaker(class),
                    boots: stop(class),
                    pause: paused(&pauses, &class.name),
                };
                (one(view, class, &stopped, now))
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

/// The causes that keep a class from launching.
#[derive(Default)]
struct Stopped<'a> {
    breaker: Option<&'a OpenBreaker>,
    boots: Option<&'a BootStop>,
    pause: Option<&'a Pause>,
}

impl Stopped<'_> {
    fn show(&self, now: Timestamp) -> Markup {
        let refused = self.breaker.map(|it| (it.since, it.until, it.message.clone()));
        let boots = self.boots.map(|it| (it.since, it.until, it.detail()));
        html! {
            @if let Some(pause) = self.pause {
                ul.notes { li.waits {
                    strong { "! Paused" } " · " (age(pause.since, now))
                    p { (sentence(&pause.message())) }
                } }
            }
            @for (since, until, message) in refused.iter().chain(&boots) {
                ul.notes { li.bad {
                    strong { "✗ BreakerOpen" } " · " (age(*since, now))
                    p { (sentence(message)) }
                    p.fix { "→ one attempt may launch " (again(*until, now)) }
                } }
            }
        }
    }
}

fn one(view: &Class, class: &model::Class, stopped: &Stopped<'_>, now: Timestamp) -> Markup {
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
    let durations: [(&str, SignedDuration); 7] = [
        ("boot_within", times.boot_within),
        ("idle_within", times.idle_within),
        ("assign_within", times.assign_within),
        ("max_age", times.max_age),
        ("give_up_after", times.give_up_after),
        ("keep", times.keep),
        ("hold", times.hold),
    ];
    // Only a hold may be zero: there is none.
    let durations = durations.into_iter().filter(|(_, value)| !value.is_zero());
    let labels: Vec<String> = view.labels.iter().map(|label| name(label)).collect();
    let reasons: Vec<&str> = view.blocked_by.iter().map(|reason| reason.as_str()).collect();
    html! {
        h2.as-is { (name(&view.name)) " " small { (labels.join(", ")) } }
        (stopped.show(now))
        @if let Some(breaker) = &view.spot_breaker { ul.notes { (spot_breaker(breaker, now)) } }
        @if !view.unavailable.is_empty() {
            ul.notes { @for one in &view.unavailable { (unavailable(one, now)) } }
        }
        @if !reasons.is_empty() { p { "Waiting runs: " (reasons.join(", ")) } }
        div.numbers { dl { @for (title, value) in counts { div { dt { (title) } dd { (value) } } } } }
        (seats_by_repo(view))
        details {
            summary { "Configuration in force" }
            dl.facts {
                @for (key, text) in texts(view) { div { dt { code { (key) } } dd { (text) } } }
                @for (key, value) in durations { div { dt { code { (key) } } dd { (span(value)) } } }
                @for machine in &class.machines { div { dt { "machine" } dd { (spec(machine)) } } }
            }
        }
    }
}

/// Returns the settings of a class that are texts.
fn texts(view: &Class) -> [(&'static str, String); 4] {
    let listed = |texts: &[String], none: &str| match texts {
        [] => none.to_owned(),
        texts => texts.iter().map(|text| name(text)).collect::<Vec<_>>().join(", "),
    };
    let unlabeled = if view.serves_unlabeled { "yes" } else { "no" };
    let profile = view.instance_profile.as_ref();
    [
        ("repos", listed(&view.repos, "every repository")),
        ("serves_unlabeled", unlabeled.to_owned()),
        ("security_groups", listed(&view.security_groups, "–")),
        ("instance_profile", profile.map_or("–".to_owned(), |profile| name(profile))),
    ]
}

/// Says when something may happen: `in 41s`, or `now`.
fn again(at: Timestamp, now: Timestamp) -> Markup {
    let left = at.duration_since(now);
    html! {
        time datetime=(at) title=(format!("{at:.0}")) {
            @if left.is_positive() { "in " (span(left)) } @else { "now" }
        }
    }
}

fn spot_breaker(breaker: &SpotBreaker, now: Timestamp) -> Markup {
    html! { li.waits {
        strong { "! SpotBreakerOpen" } " · " (age(breaker.since, now))
        p { (sentence(&breaker.detail())) }
        p { "The order of the class holds again " (again(breaker.until, now)) }
    } }
}

fn unavailable(one: &Unavailable, now: Timestamp) -> Markup {
    html! { li.waits {
        strong { "! " (name(&one.kind)) " " (one.market) }
        @if !one.subnet.is_empty() { " in " (name(&one.subnet)) }
        " · unavailable: " (why(one.why)) "; asked for again " (again(one.until, now))
    } }
}

/// Returns who holds the seats.
fn seats_by_repo(view: &Class) -> Markup {
    let held = |seats: usize| match view.repo_limit {
        Some(limit) => format!("{seats} of {limit}"),
        None => seats.to_string(),
    };
    let more = view.seats_by_repo.len().saturating_sub(REPOS);
    let content = html! {
        thead { tr { th { "repository" } th.n { "seats" } } }
        tbody { @for one in view.seats_by_repo.iter().take(REPOS) { tr {
            td { (name(&one.repo)) } td.n { (held(one.seats)) }
        } } }
    };
    html! {
        @if !view.seats_by_repo.is_empty() {
            (parts::table(&format!("Seats of class {} by repository", name(&view.name)), &content))
        }
        @if more > 0 { p.quiet { "and " (more) " more repositories" } }
    }
}

fn spec(machine: &MachineSpec) -> String {
    let MachineSpec { kind, subnet, market, image, .. } = machine;
    let market = market.to_string();
    let parts = [kind.as_str(), &market, subnet, image];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).map(name).collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{Cause, Market, Refusal};
    use tinqs_ci_testing::make::{self, at};

    use super::*;

    fn view(unavailable: Vec<Unavailable>) -> Class {
        Class {
            name: "linux".to_owned(),
            labels: vec!["linux".to_owned()],
            repos: Vec::new(),
            limit: None,
            repo_limit: None,
            owner_limit: None,
            seats: 0,
            seats_by_repo: Vec::new(),
            serves_unlabeled: false,
            security_groups: Vec::new(),
            instance_profile: None,
            machines: 0,
            open_runs: 0,
            waiting_runs: 0,
            blocked_by: Vec::new(),
            unavailable,
            budget: None,
            boot_stop: None,
            spot_breaker: None,
        }
    }

    fn shown(view: &Class, breaker: Option<&OpenBreaker>, now: i64) -> String {
        let class = make::class("linux", vec![make::process()]);
        one(view, &class, &Stopped { breaker, ..Stopped::default() }, at(now)).into_string()
    }

    #[test]
    fn an_unavailable_offering_is_shown_with_its_cause_and_its_end() {
        let text = shown(&view(Vec::new()), None, 0);
        assert!(!text.contains("unavailable"), "{text}");
        let offering = Unavailable {
            kind: "g5.xlarge<b>".to_owned(),
            subnet: "subnet-a".to_owned(),
            market: Market::Spot,
            until: at(98),
            why: Cause::Capacity,
        };
        let view = view(vec![offering]);
        let text = shown(&view, None, 60);
        let part = "! g5.xlarge&lt;b&gt; spot</strong> in subnet-a · unavailable: no capacity; \
                    asked for again <time datetime=\"2023-11-14T22:14:58Z\"";
        assert!(text.contains(part), "{text}");
        assert!(text.contains(">in 38s</time>"), "{text}");
        assert!(shown(&view, None, 98).contains(">now</time>"), "it is over");
    }

    #[test]
    fn a_spot_breaker_is_shown_with_its_end() {
        let breaker = SpotBreaker { interruptions: 3, since: at(0), until: at(900) };
        let view = Class { spot_breaker: Some(breaker), ..view(Vec::new()) };
        let text = shown(&view, None, 60);
        for part in ["SpotBreakerOpen", "took 3 of its spot machines", ">in 14m00s</time>"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_open_breaker_is_shown_with_the_time_of_its_next_attempt() {
        let breaker = OpenBreaker {
            why: Refusal::Denied,
            message: "the cloud denied the launch".to_owned(),
            since: at(0),
            until: at(300),
        };
        let text = shown(&view(Vec::new()), Some(&breaker), 60);
        for part in ["BreakerOpen", "the cloud denied the launch", ">in 4m00s</time>"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let stop = BootStop { machines: 4, since: at(0), until: at(120), launch_failed: false };
        let text = Stopped { boots: Some(&stop), ..Stopped::default() }.show(at(60)).into_string();
        for part in ["BreakerOpen", "he last 4 machines started", ">in 1m00s</time>"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
