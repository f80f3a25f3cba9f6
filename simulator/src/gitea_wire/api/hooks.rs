//! The webhooks of the API.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Page;
use crate::forge::Scope;
use crate::gitea_wire::Shared;
use crate::gitea_wire::answer::{missing, refuse};
use crate::gitea_wire::call::Call;
use crate::gitea_wire::hooks::{Hook, HookScope};

/// Lists, creates, shows, tests and removes webhooks.
pub(super) fn hooks(shared: &Shared, call: &Call, scope: &Scope, rest: &[&str]) -> Response {
    let mut state = shared.state();
    let own = |hook: &Hook| match (scope, &hook.scope) {
        (Scope::Global, HookScope::System | HookScope::Default) => true,
        (Scope::Owner(a), HookScope::Owner(b)) | (Scope::Repo(a), HookScope::Repo(b)) => a == b,
        _ => false,
    };
    match (&call.method, rest) {
        (&Method::GET, []) => {
            let page = Page::of(call);
            let rows = state.hooks.iter().filter(|h| own(h)).skip(page.start()).take(page.limit);
            Json(rows.map(Hook::json).collect::<Vec<_>>()).into_response()
        }
        (&Method::POST, []) => match hook(scope, &call.body) {
            Ok(hook) => {
                let id = state.add_hook(hook);
                let made = state.hooks.iter().find(|h| h.id == id).map(Hook::json);
                (StatusCode::CREATED, Json(made)).into_response()
            }
            Err(message) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &message),
        },
        (&Method::POST, [id, "tests"]) => match scope {
            Scope::Repo(repo) => {
                let hook = state.hooks.iter().find(|h| h.id.to_string() == **id && own(h));
                let Some(hook) = hook.cloned() else { return missing() };
                // The event is a push: a hook that does not subscribe to pushes sends nothing, and
                // neither does one of a repository without commits. The answer is the same.
                let push = shared.forge().test_push(repo);
                if let Some(push) = push.filter(|push| hook.subscribes(push)) {
                    state.tests.push((hook, push));
                }
                StatusCode::NO_CONTENT.into_response()
            }
            // Only repositories test their hooks.
            Scope::Global | Scope::Owner(_) => missing(),
        },
        (method, [id]) => {
            let at = state.hooks.iter().position(|h| h.id.to_string() == **id && own(h));
            let Some(at) = at else { return missing() };
            match *method {
                Method::GET => Json(state.hooks[at].json()).into_response(),
                Method::DELETE => {
                    state.hooks.remove(at);
                    StatusCode::NO_CONTENT.into_response()
                }
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        }
        _ => missing(),
    }
}

/// Parses a hook. Gitea's defaults are inactive and `push`.
fn hook(scope: &Scope, body: &Value) -> Result<Hook, String> {
    let config = &body["config"];
    if body["type"] != "gitea" {
        return Err("Invalid hook type".to_owned());
    }
    let url = config["url"].as_str().ok_or("Missing config option: url")?;
    let form = match config["content_type"].as_str() {
        Some("json") => false,
        Some("form") => true,
        Some(_) => return Err("Invalid content type".to_owned()),
        None => return Err("Missing config option: content_type".to_owned()),
    };
    let system = config["is_system_webhook"] == "true";
    let events: Vec<String> = match body["events"].as_array() {
        Some(list) if !list.is_empty() => {
            list.iter().filter_map(|e| e.as_str().map(str::to_owned)).collect()
        }
        _ => vec!["push".to_owned()],
    };
    Ok(Hook {
        id: 0,
        scope: match scope {
            Scope::Global if system => HookScope::System,
            Scope::Global => HookScope::Default,
            Scope::Owner(owner) => HookScope::Owner(owner.clone()),
            Scope::Repo(repo) => HookScope::Repo(repo.clone()),
        },
        url: url.to_owned(),
        secret: config["secret"].as_str().unwrap_or_default().to_owned(),
        form,
        active: body["active"].as_bool().unwrap_or(false),
        events,
    })
}
