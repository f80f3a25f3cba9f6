//! Retries and deletions.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use tinqs_ci_reconciler::model::{MachineId, Run};

use super::super::parts::{self, name};
use super::super::{answer, refused};
use super::{Question, asked, done, unknown};
use crate::api::machine;
use crate::server::http::etag::Wanted;
use crate::server::http::guard::Identity;
use crate::server::http::runs::{edit, find_noted, retried};
use crate::server::http::{App, Ctx, Refusal};

/// The fields of the form of an action.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(in crate::server::http::page) struct Given {
    /// The version of the run that the page showed.
    version: u64,
    /// `yes`: the machine of a deleted run is terminated, too.
    now: String,
}

/// An action on a run.
#[derive(Clone, Copy)]
enum OnRun {
    Retry,
    Delete,
}

impl OnRun {
    fn of(action: &str) -> Result<Self, Refusal> {
        match action {
            "retry" => Ok(Self::Retry),
            "delete" => Ok(Self::Delete),
            _ => Err(unknown()),
        }
    }

    fn question(self, run: &Run) -> Result<Question, Refusal> {
        let (repo, job) = parts::job(run);
        let job = format!("{} {}", name(&repo), name(&job));
        let running = current_machine(run);
        let version = html! { input type="hidden" name="version" value=(run.version); };
        let back = format!("/runs/{}", run.name);
        Ok(match self {
            Self::Retry => {
                // The same refusal as that of the action.
                retriable(run)?;
                Question {
                    title: format!("Retry {}?", run.name),
                    follows: vec![
                        format!(
                            "{job}: its backoff, giving up and deletion are cleared, and its time \
                             of waiting starts again."
                        ),
                        "If the job still waits at the forge, it gets a machine as soon as its \
                         class has one."
                            .to_owned(),
                    ],
                    fields: version,
                    button: "Retry",
                    path: format!("{back}/retry"),
                    back,
                }
            }
            Self::Delete => Question {
                title: format!("Delete {}?", run.name),
                follows: vec![
                    format!(
                        "{job}: the job gets no machine any more, and waits at the forge until it \
                         is canceled there. A retry takes the deletion back."
                    ),
                    match running {
                        Some(machine) => format!(
                            "Machine {} goes on: it takes or finishes its job, and ends by itself.",
                            name(&machine.0)
                        ),
                        None => "The run has no machine.".to_owned(),
                    },
                ],
                fields: html! { (version) (also(running)) },
                button: "Delete",
                path: format!("{back}/delete"),
                back,
            },
        })
    }
}

/// Returns the machine of the attempt that has not ended.
fn current_machine(run: &Run) -> Option<&MachineId> {
    let attempt = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none())?;
    machine::of_attempt(run, &run.attempt_id(attempt.number).to_string())
}

/// Returns links to what a person may do with a run as it is now.
pub(in crate::server::http::page) fn of_run(run: &Run) -> Markup {
    html! { p.acts {
        @if run.can_retry() { a href={ "/runs/" (run.name) "/retry" } { "Retry" } }
        @if run.is_open() && run.deleted_at.is_none() {
            a href={ "/runs/" (run.name) "/delete" } { "Delete" }
        }
        @if let Some(machine) = current_machine(run) {
            a href={ "/machines/" (machine.0) "/terminate" } { "Terminate its machine" }
        }
    } }
}

/// Offers to terminate the machine, too.
fn also(machine: Option<&MachineId>) -> Markup {
    html! {
        @if let Some(machine) = machine {
            p { label {
                input type="checkbox" name="now" value="yes";
                " Terminate machine " (name(&machine.0)) " at once, even mid-job"
            } }
        }
    }
}

fn retriable(run: &Run) -> Result<(), Refusal> {
    if run.can_retry() {
        return Ok(());
    }
    let detail = "the job of this run is over: there is nothing to retry; re-run it at the forge";
    Err(Refusal::new(StatusCode::CONFLICT, detail))
}

/// `GET /runs/{name}/{action}`.
pub(in crate::server::http::page) async fn ask_run(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path((run, action)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let question = async { OnRun::of(&action)?.question(&find_noted(&app, &run).await?) };
    asked((&app, &caller, &headers), question.await)
}

/// `POST /runs/{name}/{action}`: as `POST /v1/runs/{name}/retry` and `DELETE /v1/runs/{name}`.
pub(in crate::server::http::page) async fn do_run(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path((run, action)): Path<(String, String)>,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Response {
    let Form(given) = given.unwrap_or_default();
    let result = async {
        let action = OnRun::of(&action)?;
        let wanted = Wanted::OneOf(vec![given.version]);
        let change = |run: &mut Run, at| match action {
            OnRun::Retry => retried(run, at, &caller),
            OnRun::Delete => {
                run.delete(at, given.now == "yes", Some(&caller.who));
                Ok(())
            }
        };
        edit(&app, &run, &wanted, change).await
    };
    match result.await {
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_FAILED => {
            stale(&app, &caller, &headers, &run, &action).await
        }
        result => done(&headers, result, &format!("/runs/{run}")),
    }
}

/// Asks again, because the run is not as it was when the person was asked.
async fn stale(
    app: &Arc<App>,
    caller: &Identity,
    headers: &HeaderMap,
    run: &str,
    action: &str,
) -> Response {
    let question = async { OnRun::of(action)?.question(&find_noted(app, run).await?) };
    match question.await {
        Ok(question) => {
            answer(headers, StatusCode::PRECONDITION_FAILED, question.page(app, caller, true))
        }
        Err(refusal) => refused(headers, refusal),
    }
}
