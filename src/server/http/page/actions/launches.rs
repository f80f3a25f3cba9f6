//! Pauses and their end.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use maud::{Markup, html};
use tinqs_ci_reconciler::model::ClassName;

use super::super::parts::name;
use super::super::refused;
use super::{Question, asked, done, unknown};
use crate::server::http::guard::Identity;
use crate::server::http::{Ctx, Refusal, pauses};

/// Returns links to what a person may do with launches, of a class or of all.
pub(in crate::server::http::page) fn of_launches(class: Option<&str>, is_paused: bool) -> Markup {
    let before = class.map(|class| format!("/classes/{class}")).unwrap_or_default();
    html! {
        @if is_paused { a href={ (before) "/resume" } { "Resume launches" } }
        @else { a href={ (before) "/pause" } { "Pause launches" } }
    }
}

/// `GET /pause`, `/resume` and the same of a class.
pub(in crate::server::http::page) async fn ask_pause(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    asked((&app, &caller, &headers), Paused::of(&uri).map(|path| pausing(&path)))
}

/// `POST` to the same: as `POST /v1/pause` and its like.
pub(in crate::server::http::page) async fn pause(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let path = match Paused::of(&uri) {
        Ok(path) => path,
        Err(refusal) => return refused(&headers, refusal),
    };
    let class = path.class.map(|class| ClassName(class.to_owned()));
    let result = if path.resumes {
        pauses::resume(&app, class, &caller).await
    } else {
        pauses::pause(&app, class, &caller).await
    };
    done(&headers, result, path.back())
}

/// The class and the action of a path: `/pause` (every class), `/classes/linux/resume`.
struct Paused<'p> {
    class: Option<&'p str>,
    resumes: bool,
}

impl<'p> Paused<'p> {
    fn of(uri: &'p Uri) -> Result<Self, Refusal> {
        let (before, action) = uri.path().rsplit_once('/').ok_or_else(unknown)?;
        let resumes = match action {
            "pause" => false,
            "resume" => true,
            _ => return Err(unknown()),
        };
        // Names of classes have no characters that are encoded.
        Ok(Self { class: before.strip_prefix("/classes/"), resumes })
    }

    fn back(&self) -> &'static str {
        if self.class.is_some() { "/classes" } else { "/" }
    }
}

fn pausing(path: &Paused<'_>) -> Question {
    let what = match path.class {
        Some(class) => format!("class {}", name(class)),
        None => "all classes".to_owned(),
    };
    let (follows, action, button) = match (path.resumes, path.class) {
        (false, _) => (
            "No machine is launched until somebody resumes them, by any replica. Jobs that run go \
             on, and machines that are up still take jobs; other jobs wait.",
            "pause",
            "Pause",
        ),
        (true, Some(_)) => (
            "Waiting jobs get machines again. If all classes are paused, this one stays so.",
            "resume",
            "Resume",
        ),
        (true, None) => (
            "Every pause ends, also those of single classes, and waiting jobs get machines again.",
            "resume",
            "Resume",
        ),
    };
    let of_class = path.class.map(|class| format!("/classes/{class}")).unwrap_or_default();
    Question {
        title: format!("{button} the launches of {what}?"),
        follows: vec![follows.to_owned()],
        fields: html! {},
        button,
        path: format!("{of_class}/{action}"),
        back: path.back().to_owned(),
    }
}
