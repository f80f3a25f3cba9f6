//! The part of the API under `/api/v1` that a controller needs.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::Conclusion;

use super::answer::{missing, refuse};
use super::call::Call;
use super::registration::registration_token;
use super::{Right, Shared, contents};
use crate::forge::{Forge, JobRow, Line, Scope, Status};
use hooks::hooks;

mod hooks;
mod reruns;

/// Maximum rows of a page: `MAX_RESPONSE_ITEMS`.
const MAX_PAGE: usize = 50;

/// Returns the method and route of a request for counting, with names and IDs replaced.
pub(super) fn route(method: &Method, path: &str) -> String {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let mut names = match path.split('/').nth(1) {
        Some("repos") => ["{owner}", "{repo}"].iter(),
        Some("orgs") => ["{org}"].iter(),
        _ => [].iter(),
    };
    let segments = path.split('/').enumerate().map(|(at, segment)| {
        let number = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
        match names.as_slice() {
            [_, ..] if at > 1 => names.next().copied().unwrap_or(segment),
            _ if number => "{id}",
            _ if segment.len() == 40 && segment.bytes().all(|b| b.is_ascii_hexdigit()) => "{sha}",
            _ => segment,
        }
    });
    format!("{method} {}", segments.collect::<Vec<_>>().join("/"))
}

/// Handles a call of the API.
pub(super) fn answer(shared: &Shared, call: &Call) -> Response {
    let Some(path) = call.path.strip_prefix("/api/v1/") else { return missing() };
    let segments: Vec<&str> = path.split('/').collect();
    let read = call.method == Method::GET;
    if read && segments == ["version"] {
        return Json(json!({"version": shared.forge().config.version()})).into_response();
    }
    let Some(right) = right(shared, call) else {
        return refuse(StatusCode::UNAUTHORIZED, "token is required");
    };
    let (scope, rest) = match segments.as_slice() {
        ["repositories", id] if read => {
            let forge = shared.forge();
            let repo = id.parse().ok().and_then(|id| forge.repo_by_id(id));
            return repo.map_or_else(missing, |r| Json(forge.repository_json(r)).into_response());
        }
        ["admin", rest @ ..] if right == Right::Admin => (Scope::Global, rest),
        ["admin", ..] => return refuse(StatusCode::FORBIDDEN, "token lacks scope: admin"),
        ["orgs", org, rest @ ..] => {
            let repos = format!("{org}/");
            if !shared.forge().repos().any(|repo| repo.full_name.starts_with(&repos)) {
                return missing();
            }
            if read && rest.is_empty() {
                return Json(json!({"id": 1, "name": org, "username": org})).into_response();
            }
            (Scope::Owner((*org).to_owned()), rest)
        }
        ["repos", "search"] if read => {
            let found = repository_list(shared, call, &Scope::Global);
            return Json(json!({"ok": true, "data": found})).into_response();
        }
        ["user"] if read => {
            let user = json!({
                "id": 1, "login": shared.options.user, "is_admin": right == Right::Admin,
            });
            return Json(user).into_response();
        }
        ["user", rest @ ..] => (Scope::Owner(shared.options.user.clone()), rest),
        ["repos", owner, name, rest @ ..] => {
            let full_name = format!("{owner}/{name}");
            if shared.forge().repo(&full_name).is_none() {
                return missing();
            }
            (Scope::Repo(full_name), rest)
        }
        _ => return missing(),
    };
    let line = shared.forge().config.line;
    let reads_jobs = matches!(rest, ["actions", "jobs" | "runs", ..]) && line >= Line::V1_26;
    let reads = rest.is_empty() || reads_jobs || contents::is_contents(rest);
    if right == Right::Read && !(read && reads) {
        return refuse(StatusCode::FORBIDDEN, "token lacks scope: write");
    }
    match rest {
        [] => repository(shared, call, &scope),
        ["actions", "jobs", rest @ ..] => jobs(shared, call, &scope, rest),
        ["actions", "runs", rest @ ..] => runs(shared, call, &scope, rest),
        ["actions", "runners", rest @ ..] => runners(shared, call, &scope, rest),
        ["hooks", rest @ ..] => hooks(shared, call, &scope, rest),
        ["repos"] if read => Json(repository_list(shared, call, &scope)).into_response(),
        ["actions", "variables"] if read => Json(json!([])).into_response(),
        rest if contents::is_contents(rest) => match &scope {
            Scope::Repo(repo) => contents::answer(&shared.forge(), call, repo, rest),
            Scope::Global | Scope::Owner(_) => missing(),
        },
        _ => missing(),
    }
}

/// Returns the permissions of the call's token; `None` if unknown.
fn right(shared: &Shared, call: &Call) -> Option<Right> {
    let sent = call.header("authorization");
    let sent = sent.strip_prefix("token ").or_else(|| sent.strip_prefix("Bearer "))?;
    shared.state().tokens.iter().find(|t| t.token == sent).map(|t| t.right)
}

fn repository(shared: &Shared, call: &Call, scope: &Scope) -> Response {
    let forge = shared.forge();
    match scope {
        Scope::Repo(name) if call.method == Method::GET => forge
            .repo(name)
            .map_or_else(missing, |r| Json(forge.repository_json(r)).into_response()),
        Scope::Repo(_) | Scope::Global | Scope::Owner(_) => missing(),
    }
}

/// Returns a page of the repositories of a scope.
fn repository_list(shared: &Shared, call: &Call, scope: &Scope) -> Vec<Value> {
    let forge = shared.forge();
    let page = Page::of(call);
    let rows = forge.repos().filter(|repo| in_scope(scope, &repo.full_name));
    let shown = rows.skip(page.start()).take(page.limit);
    shown.map(|repo| forge.repository_json(repo)).collect()
}

fn in_scope(scope: &Scope, repo: &str) -> bool {
    match scope {
        Scope::Global => true,
        Scope::Owner(owner) => repo.split('/').next() == Some(owner),
        Scope::Repo(name) => repo == name,
    }
}

fn jobs(shared: &Shared, call: &Call, scope: &Scope, rest: &[&str]) -> Response {
    if call.method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match rest {
        [] => job_list(shared, call, scope),
        // Only repositories return single jobs.
        [id] => match scope {
            Scope::Repo(repo) => {
                let forge = shared.forge();
                let job = id.parse().ok().and_then(|id| forge.job(id)).filter(|j| j.repo == *repo);
                job.map_or_else(missing, |j| Json(forge.job_json(j)).into_response())
            }
            Scope::Global | Scope::Owner(_) => missing(),
        },
        _ => missing(),
    }
}

/// Handles a call about a workflow run; only repositories return them.
fn runs(shared: &Shared, call: &Call, scope: &Scope, rest: &[&str]) -> Response {
    let Scope::Repo(repo) = scope else { return missing() };
    match call.method {
        Method::GET => {}
        Method::POST => return reruns::answer(shared, repo, rest),
        _ => return missing(),
    }
    let forge = shared.forge();
    let [id, rest @ ..] = rest else {
        let (runs, page) = (forge.runs_json(repo), Page::of(call));
        let shown: Vec<&Value> = runs.iter().skip(page.start()).take(page.limit).collect();
        return Json(json!({"workflow_runs": shown, "total_count": runs.len()})).into_response();
    };
    let Ok(id) = id.parse() else { return missing() };
    let Some(run) = forge.run_json(repo, id) else { return missing() };
    match rest {
        [] => Json(run).into_response(),
        ["jobs"] => {
            let jobs = forge.jobs_of_run(id);
            let page = Page::of(call);
            let shown = jobs.iter().skip(page.start()).take(page.limit);
            let items: Vec<Value> = shown.map(|job| forge.job_json(job)).collect();
            Json(json!({"jobs": items, "total_count": jobs.len()})).into_response()
        }
        _ => missing(),
    }
}

/// Returns whether a filter word selects a job; `None` if the word is unknown.
fn selects(word: &str, status: Status) -> Option<bool> {
    let done = |conclusion| status == Status::Done(conclusion);
    Some(match word {
        "queued" => status == Status::Waiting,
        "pending" | "waiting" | "requested" | "action_required" => status == Status::Blocked,
        "in_progress" => status == Status::Running,
        "completed" => status.is_done(),
        "success" => done(Conclusion::Success),
        "failure" => done(Conclusion::Failure),
        "skipped" | "neutral" => done(Conclusion::Skipped),
        "cancelled" | "timed_out" => done(Conclusion::Cancelled),
        _ => return None,
    })
}

fn job_list(shared: &Shared, call: &Call, scope: &Scope) -> Response {
    let forge = shared.forge();
    if !forge.config.lists {
        return missing();
    }
    let words: Vec<&str> = values(call, "status").collect();
    if let Some(word) = words.iter().find(|w| selects(w, Status::Waiting).is_none()) {
        return refuse(StatusCode::BAD_REQUEST, &format!("invalid status: {word:?}"));
    }
    let wanted = |job: &&JobRow| {
        let any = words.is_empty() || words.iter().any(|w| selects(w, job.status) == Some(true));
        any && in_scope(scope, &job.repo)
    };
    let mut rows: Vec<&JobRow> = forge.jobs().filter(wanted).collect();
    let page = Page::of(call);
    let ordered = forge.config.line >= Line::V1_27;
    if !ordered {
        let salt = {
            let mut state = shared.state();
            state.lists += u64::from(page.number == 1);
            state.lists
        };
        rows.sort_by_cached_key(|job| Sha256::digest(format!("{salt}/{}", job.id)).to_vec());
    }
    // Without a fixed order, a row may appear twice and others not at all.
    let overlap = usize::from(!ordered && page.number > 1);
    let shown = rows.iter().skip(page.start() - overlap).take(page.limit);
    let items: Vec<Value> = shown.map(|job| forge.job_json(job)).collect();
    let total = rows.len();
    let mut response = Json(json!({"jobs": items, "total_count": total})).into_response();
    if ordered {
        page.add_headers(&mut response, &forge, call, total);
    }
    response
}

fn values<'a>(call: &'a Call, name: &'a str) -> impl Iterator<Item = &'a str> {
    call.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The requested page of a list.
struct Page {
    number: usize,
    limit: usize,
}

impl Page {
    fn of(call: &Call) -> Self {
        let number = |name: &str| call.param(name).and_then(|v| v.parse::<usize>().ok());
        let limit = number("limit").filter(|&n| n > 0).unwrap_or(30).min(MAX_PAGE);
        Self { number: number("page").unwrap_or(1).clamp(1, 1 << 20), limit }
    }

    fn start(&self) -> usize {
        (self.number - 1) * self.limit
    }

    fn add_headers(&self, response: &mut Response, forge: &Forge, call: &Call, total: usize) {
        let last = total.div_ceil(self.limit);
        let others = call.query.iter().filter(|(key, _)| key != "page");
        let others: Vec<String> = others
            .map(|(key, value)| format!("&{key}={}", super::hooks::form_encode(value)))
            .collect();
        let others = others.concat();
        let link = |page: usize, rel: &str| {
            format!("<{}{}?page={page}{others}>; rel=\"{rel}\"", forge.config.url, call.path)
        };
        let mut links = Vec::new();
        if self.number < last {
            links.extend([link(self.number + 1, "next"), link(last, "last")]);
        }
        if self.number > 1 {
            links.extend([link(1, "first"), link(self.number - 1, "prev")]);
        }
        let headers = response.headers_mut();
        headers.insert("x-total-count", HeaderValue::from(total));
        if let Ok(value) = HeaderValue::from_str(&links.join(","))
            && !links.is_empty()
        {
            headers.insert("link", value);
        }
    }
}

fn runners(shared: &Shared, call: &Call, scope: &Scope, rest: &[&str]) -> Response {
    let (mut forge, now) = (shared.forge(), shared.now());
    // The admin's list has all rows, other lists only rows of exactly their scope.
    let visible = |row: &Scope| *scope == Scope::Global || row == scope;
    match (&call.method, rest) {
        (&Method::POST, ["registration-token"]) => {
            Json(json!({"token": registration_token(&forge, scope)})).into_response()
        }
        (&Method::GET, ["registration-token"]) if forge.config.line == Line::V1_25 => {
            Json(json!({"token": registration_token(&forge, scope)})).into_response()
        }
        (&Method::GET, []) => {
            let rows: Vec<_> = forge.runners().filter(|r| visible(&r.scope)).collect();
            let page = Page::of(call);
            let shown = rows.iter().skip(page.start()).take(page.limit);
            let items: Vec<Value> = shown.map(|row| forge.runner_json(row, now)).collect();
            Json(json!({"runners": items, "total_count": rows.len()})).into_response()
        }
        (method, [id]) => {
            let row = id.parse().ok().and_then(|id| forge.runner(id));
            let Some(row) = row.filter(|r| visible(&r.scope)) else { return missing() };
            match *method {
                Method::GET => Json(forge.runner_json(row, now)).into_response(),
                Method::DELETE => {
                    let id = row.id;
                    forge.delete_runner(id);
                    StatusCode::NO_CONTENT.into_response()
                }
                // Since 1.26.
                Method::PATCH if forge.config.line >= Line::V1_26 => {
                    let id = row.id;
                    forge.disable_runner(now, id, call.body["disabled"] == true);
                    let row = forge.runner(id).map(|row| forge.runner_json(row, now));
                    row.map_or_else(missing, |row| Json(row).into_response())
                }
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        }
        _ => missing(),
    }
}
