//! The machines as last listed.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};
use tinqs_ci_reconciler::model::MicroUsd;

use super::parts::{self, age, name, run_link, span};
use super::{answer, layout};
use crate::api::{MachineActivity, MachineView};
use crate::server::http::Ctx;
use crate::server::http::guard::Identity;
use crate::server::http::sides::{list_if_late, machine_views};
use crate::settings::Right;
use crate::words::money;

/// `GET /machines`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    list_if_late(&app).await;
    let now = app.telemetry.now();
    let (listed_at, machines) = app.telemetry.seen.machines();
    let machines = machine_views(&app, machines).await;
    let main = main(listed_at, &machines, caller.may >= Right::Operate, now);
    let installation = &app.live.settings().installation;
    let page = layout::page(installation, Some(&caller), ("/machines", "Machines"), now, &main);
    answer(&headers, StatusCode::OK, page)
}

fn main(
    listed_at: Option<Timestamp>,
    machines: &[MachineView],
    may_act: bool,
    now: Timestamp,
) -> Markup {
    html! {
        h1 { "Machines" }
        section #machines data-live aria-label="Machines" {
            p.quiet {
                @match listed_at {
                    Some(at) => { "As listed " (age(at, now)) " ago." }
                    None => "Not listed yet by this process.",
                }
            }
            @if machines.is_empty() { p { "No machine." } }
            @else { (table(machines, may_act, now)) }
        }
    }
}

fn table(machines: &[MachineView], may_act: bool, now: Timestamp) -> Markup {
    let content = html! {
        thead { tr {
            th { "machine" } th { "doing" } th { "run" } th { "class" } th { "kind" } th { "market" }
            th { "zone" } th.n { "age" } th.n { "cost so far" } th.n { "ends in" }
            @if may_act { th { "action" } }
        } }
        tbody { @for machine in machines { tr {
            td { (name(&machine.id)) }
            td { (doing(machine)) }
            td { (run_link(&machine.run)) }
            td { (name(&machine.class)) }
            td { (name(&machine.kind)) }
            td { (machine.market) }
            td { (if machine.zone.is_empty() { "–".to_owned() } else { name(&machine.zone) }) }
            td.n { (age(machine.launched_at, now)) }
            (cost(machine))
            td.n { (ends(machine, now)) }
            @if may_act { td { @if !is_over(machine) {
                a href={ "/machines/" (machine.id) "/terminate" }
                    aria-label={ "Terminate " (name(&machine.id)) } { "Terminate" }
            } } }
        } } }
    };
    parts::table("Machines as listed", &content)
}

/// Returns the cost so far, with the price as title.
fn cost(machine: &MachineView) -> Markup {
    let price = machine.hourly_micro_usd.map(MicroUsd).map(money::exact);
    let price = price.map(|price| format!("${price} per hour"));
    let cost = machine.cost_micro_usd.map(MicroUsd).map(money::dollars);
    html! {
        td.n title=(price.as_deref().unwrap_or("its price is not known")) {
            (cost.as_deref().unwrap_or(money::UNKNOWN))
        }
    }
}

fn doing(machine: &MachineView) -> Markup {
    let (sign, word, tone) = match machine.doing {
        MachineActivity::Booting => ('◔', "booting", "waits"),
        MachineActivity::Idle => ('○', "idle", "waits"),
        MachineActivity::Job => ('●', "job", "active"),
        MachineActivity::Up => ('●', "up", "active"),
        MachineActivity::Ending => ('–', "ending", "quiet"),
        MachineActivity::Gone => ('–', "gone", "quiet"),
    };
    html! {
        span class={ "state " (tone) } { span aria-hidden="true" { (sign) } " " (word) }
        @if let Some(job) = &machine.job {
            " " span.quiet { (name(&job.repo)) } " " (name(&job.name)) " " (parts::at_forge(&job.url))
        }
    }
}

fn is_over(machine: &MachineView) -> bool {
    matches!(machine.doing, MachineActivity::Ending | MachineActivity::Gone)
}

fn ends(machine: &MachineView, now: Timestamp) -> Markup {
    let left = machine.deadline.duration_since(now);
    html! {
        @if is_over(machine) { "–" }
        @else if left.is_negative() { span.state.bad { "✗ overdue" } }
        @else { (span(left)) }
    }
}
