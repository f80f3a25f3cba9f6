//! The runner protocol (Connect) in its JSON form.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::Conclusion;

use super::Shared;
use super::call::Call;
use super::registration::scope_of_token;
use crate::forge::{Forge, RunnerRow, Task, TaskState, Unregistered};

/// Maximum lines of a stored log.
const MAX_LOG: usize = 10_000;

/// A Connect error.
struct Refusal(StatusCode, &'static str, String);

impl From<Unregistered> for Refusal {
    fn from(error: Unregistered) -> Self {
        Self(StatusCode::UNAUTHORIZED, "unauthenticated", error.to_string())
    }
}

fn unknown(message: &str) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "unknown", message.to_owned())
}

/// Handles a call of the runner service.
pub(super) fn answer(shared: &Shared, call: &Call, method: &str) -> Response {
    if call.method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if !call.header("content-type").starts_with("application/json") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let answer = match method {
        "Ping" => Ok(json!({"data": format!("Hello, {}!", text(&call.body, "data"))})),
        "Register" => register(shared, &call.body),
        "Declare" => declare(shared, call),
        "FetchTask" => fetch(shared, call),
        "UpdateTask" => update_task(shared, call),
        "UpdateLog" => update_log(shared, call),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    match answer {
        Ok(value) => Json(value).into_response(),
        Err(Refusal(status, code, message)) => {
            (status, Json(json!({"code": code, "message": message}))).into_response()
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Reads an int64: JSON encodes it as a string, but readers also accept a number.
fn int64(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

fn credentials(call: &Call) -> (&str, &str) {
    (call.header("x-runner-uuid"), call.header("x-runner-token"))
}

fn runner_json(row: &RunnerRow, version: &str) -> Value {
    json!({
        "id": row.id.to_string(),
        "uuid": row.uuid,
        "token": row.token,
        "name": row.name,
        "version": version,
        "labels": row.labels,
        "ephemeral": row.ephemeral,
    })
}

fn register(shared: &Shared, body: &Value) -> Result<Value, Refusal> {
    let (name, token) = (text(body, "name"), text(body, "token"));
    if name.is_empty() || token.is_empty() {
        return Err(unknown("missing runner token, name"));
    }
    let mut forge = shared.forge();
    let scope = scope_of_token(&forge, &shared.options.user, token)
        .ok_or_else(|| unknown("runner registration token not found"))?;
    let ephemeral = body["ephemeral"].as_bool().unwrap_or_default();
    let labels = texts(&body["labels"]);
    let row = forge.register_in(shared.now(), scope, name, &labels, ephemeral);
    Ok(json!({"runner": runner_json(&row, text(body, "version"))}))
}

fn declare(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let (uuid, token) = credentials(call);
    let labels = texts(&call.body["labels"]);
    let row = shared.forge().declare_labels(shared.now(), uuid, token, &labels)?;
    Ok(json!({"runner": runner_json(&row, text(&call.body, "version"))}))
}

fn fetch(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let (uuid, token) = credentials(call);
    let version = int64(&call.body["tasksVersion"]);
    let mut forge = shared.forge();
    let fetched = forge.fetch(shared.now(), uuid, token, version)?;
    let mut answer = json!({"tasksVersion": fetched.tasks_version.to_string()});
    if let Some(task) = fetched.task {
        answer["task"] = task_json(&forge, &task);
    }
    Ok(answer)
}

/// Returns a task with a workflow of one job. JSON is YAML, so a real runner can read it. Without a
/// script, the context also gives the job's duration and result.
fn task_json(forge: &Forge, task: &Task) -> Value {
    let spec = &task.spec;
    let script = spec.script.clone().unwrap_or_else(|| {
        let code = u8::from(spec.conclusion != Conclusion::Success);
        format!("sleep {}; exit {code}", spec.work.as_secs_f64())
    });
    let job = json!({"name": spec.name, "runs-on": spec.runs_on, "steps": [{"run": script}]});
    let workflow = json!({"name": "ci", "on": "push", "jobs": {"job": job}});
    let row = forge.job(task.job_id);
    let mut context = json!({
        "actor": "alice",
        "event_name": "push",
        "job": "job",
        "ref": "refs/heads/main",
        "repository": task.repo,
        "run_id": row.map_or(0, |j| j.run_id).to_string(),
        "server_url": forge.config.url,
        "sha": row.map(|j| j.head_sha.as_str()),
    });
    if spec.script.is_none() {
        let work = u64::try_from(spec.work.as_millis()).unwrap_or_default();
        context["test_work"] = json!({"ms": work, "result": result_word(Some(spec.conclusion))});
    }
    json!({
        "id": task.id.to_string(),
        "workflowPayload": STANDARD.encode(workflow.to_string()),
        "context": context,
        "secrets": {},
        "needs": {},
        "vars": {},
    })
}

fn result_word(conclusion: Option<Conclusion>) -> &'static str {
    match conclusion {
        None => "RESULT_UNSPECIFIED",
        Some(Conclusion::Success) => "RESULT_SUCCESS",
        Some(Conclusion::Failure) => "RESULT_FAILURE",
        Some(Conclusion::Cancelled) => "RESULT_CANCELLED",
        Some(Conclusion::Skipped) => "RESULT_SKIPPED",
    }
}

fn result(value: &Value) -> Result<Option<Conclusion>, Refusal> {
    let all =
        [Conclusion::Success, Conclusion::Failure, Conclusion::Cancelled, Conclusion::Skipped];
    let mut all = std::iter::once(None).chain(all.map(Some)).zip(0..);
    let Some(word) = value.as_str() else {
        // An enum's number; 0 if omitted.
        let number = value.as_i64().unwrap_or_default();
        return Ok(all.find(|&(_, n)| n == number).and_then(|(r, _)| r));
    };
    all.find(|&(r, _)| result_word(r) == word).map(|(r, _)| r).ok_or_else(|| {
        let message = format!("unknown result {word:?}");
        Refusal(StatusCode::BAD_REQUEST, "invalid_argument", message)
    })
}

fn update_task(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let (uuid, token) = credentials(call);
    let state = &call.body["state"];
    let (id, result) = (int64(&state["id"]), result(&state["result"])?);
    let seen = match shared.forge().report(shared.now(), uuid, token, id, result)? {
        TaskState::Running => None,
        TaskState::Done(conclusion) => Some(conclusion),
        TaskState::Unknown => return Err(unknown("task not found")),
    };
    let state = json!({"id": id.to_string(), "result": result_word(seen)});
    Ok(json!({"state": state, "sentOutputs": []}))
}

fn update_log(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let (uuid, token) = credentials(call);
    let id = int64(&call.body["taskId"]);
    let seen = shared.forge().report(shared.now(), uuid, token, id, None)?;
    if seen == TaskState::Unknown {
        return Err(unknown("task not found"));
    }
    let rows = call.body["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let from = usize::try_from(int64(&call.body["index"])).unwrap_or(usize::MAX);
    let mut state = shared.state();
    let log = state.logs.entry(id).or_default();
    if from <= log.len() {
        // Unacknowledged lines are sent again.
        let new = rows.iter().skip(log.len() - from).map(|r| text(r, "content").to_owned());
        let room = MAX_LOG.saturating_sub(log.len());
        log.extend(new.take(room));
    }
    Ok(json!({"ackIndex": log.len().to_string()}))
}
