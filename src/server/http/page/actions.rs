//! The actions of a person on the page: each has a page with its consequences, and a button.
//!
//! The middleware of the screens has checked who asks: a change needs the right to operate, comes
//! from the page of this server, and is a line of the audit log.

mod launches;
mod runs;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tinqs_ci_reconciler::controller::SweepReport;

use super::parts::{name, sentence};
use super::{answer, layout, refused};
use crate::api::{MachineActivity, MachineView};
use crate::server::http::guard::Identity;
use crate::server::http::sides::{self, machine_views};
use crate::server::http::{App, Ctx, Refusal, sweep as sweeps};
use crate::settings::Right;

pub(super) use launches::{ask_pause, of_launches, pause};
pub(super) use runs::{ask_run, do_run, of_run};

/// A question before an action.
struct Question {
    title: String,
    /// The consequences, in sentences.
    follows: Vec<String>,
    /// The fields that the form sends, apart from the button.
    fields: Markup,
    button: &'static str,
    /// The path of the action.
    path: String,
    /// The screen to which the action and its refusal lead.
    back: String,
}

impl Question {
    fn page(&self, app: &App, caller: &Identity, stale: bool) -> Markup {
        let main = html! {
            h1 { (self.title) }
            @if stale {
                p.bad role="alert" { "It has changed since you were asked. This is how it is now." }
            }
            @for one in &self.follows { p { (sentence(one)) } }
            form.act method="post" action=(self.path) {
                (self.fields)
                p.line { button type="submit" { (self.button) } a href=(self.back) { "Cancel" } }
            }
        };
        screen(app, caller, &self.title, &main)
    }
}

fn screen(app: &App, caller: &Identity, title: &str, main: &Markup) -> Markup {
    let installation = &app.live.settings().installation;
    layout::page(installation, Some(caller), ("", title), app.telemetry.now(), main)
}

/// Asks, or says why not.
fn asked(
    (app, caller, headers): (&App, &Identity, &HeaderMap),
    question: Result<Question, Refusal>,
) -> Response {
    // A reader finds no link that leads here.
    match caller.needs(Right::Operate).and(question) {
        Ok(question) => answer(headers, StatusCode::OK, question.page(app, caller, false)),
        Err(refusal) => refused(headers, refusal),
    }
}

/// Leads to the screen that shows what was done, or says why it was not.
fn done<T>(headers: &HeaderMap, result: Result<T, Refusal>, back: &str) -> Response {
    match result {
        Ok(_) => (StatusCode::SEE_OTHER, [(header::LOCATION, back)]).into_response(),
        Err(refusal) => refused(headers, refusal),
    }
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "this path does not exist")
}

/// `GET /machines/{id}/terminate`.
pub(super) async fn ask_terminate(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let question = async {
        let id = sides::machine_id(&id)?;
        let found = app.controller.ports().compute.find(&id).await?;
        let found = found.ok_or_else(sides::unknown_machine)?;
        let views = machine_views(&app, vec![found]).await;
        views.first().map(terminating).ok_or_else(sides::unknown_machine)
    };
    asked((&app, &caller, &headers), question.await)
}

fn terminating(machine: &MachineView) -> Question {
    let id = name(&machine.id);
    let follows = match (&machine.job, machine.doing) {
        (Some(job), _) => format!(
            "It executes {} {} and ends at once. The job fails at the forge, which may take it ten \
             minutes to notice.",
            name(&job.repo),
            name(&job.name)
        ),
        (None, MachineActivity::Gone | MachineActivity::Ending) => "It ends already.".to_owned(),
        (None, _) => format!(
            "It ends at once, even if it has just taken a job. If the job of {} still waits, that \
             gets another machine.",
            name(&machine.run)
        ),
    };
    Question {
        title: format!("Terminate {id}?"),
        follows: vec![
            format!("Class {}, launched for {}.", name(&machine.class), name(&machine.run)),
            follows,
        ],
        fields: html! {},
        button: "Terminate",
        path: format!("/machines/{}/terminate", machine.id),
        back: "/machines".to_owned(),
    }
}

/// `POST /machines/{id}/terminate`: as `POST /v1/machines/{id}/terminate`.
pub(super) async fn terminate(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    done(&headers, sides::end(&app, &id, &caller).await, "/machines")
}

/// `GET /sweep`.
pub(super) async fn ask_sweep(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    let follows = "The forge's list of jobs is read, and machines, registrations and seats are \
                   checked: missing runs are made, and what nothing needs any more is removed. It \
                   may take a minute, and happens by itself every now and then.";
    let question = Question {
        title: "Sweep now?".to_owned(),
        follows: vec![follows.to_owned()],
        fields: html! {},
        button: "Sweep",
        path: "/sweep".to_owned(),
        back: "/".to_owned(),
    };
    asked((&app, &caller, &headers), Ok(question))
}

/// `POST /sweep`: as `POST /v1/sweep`, and shows its report.
pub(super) async fn sweep(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
) -> Response {
    match sweeps::now(&app).await {
        Ok(report) => {
            let page = screen(&app, &caller, "Swept", &swept(&report.0));
            answer(&headers, StatusCode::OK, page)
        }
        Err(refusal) => refused(&headers, refusal),
    }
}

fn swept(report: &SweepReport) -> Markup {
    let rows = [
        ("waiting jobs", report.waiting_jobs),
        ("of which no class serves", report.unserved_jobs),
        ("runs made", report.created),
        ("runs woken", report.woken),
        ("machines", report.machines),
        ("registrations", report.registrations),
        ("seats", report.seats),
    ];
    html! {
        h1 { (if report.errors.is_empty() { "Swept" } else { "Swept, with errors" }) }
        @if !report.leader { p { "Another replica does this: nothing was read here." } }
        ul.notes { @for error in &report.errors { li.bad { p { (sentence(error)) } } } }
        dl.facts { @for (title, count) in rows { div { dt { (title) } dd { (count) } } } }
        p { a href="/" { "Overview" } }
    }
}
