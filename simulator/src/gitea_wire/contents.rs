//! The API of repository contents.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{missing, refuse};
use super::call::Call;
use crate::forge::{Commit, Forge};

/// `[api] DEFAULT_GIT_TREES_PER_PAGE`.
const PER_PAGE: usize = 1000;
/// `[api] DEFAULT_PAGING_NUM`: files in one response; further ones are omitted silently.
const FILES: usize = 30;

/// Returns whether the rest of a repository's path concerns its contents.
pub(super) fn is_contents(rest: &[&str]) -> bool {
    matches!(
        rest,
        ["git", "trees" | "blobs" | "commits", _]
            | ["file-contents" | "pulls"]
            | ["branches" | "tags", ..]
            | ["actions", "workflows"]
    )
}

/// Handles a call of `/repos/{owner}/{name}/…`.
pub(super) fn answer(forge: &Forge, call: &Call, repo: &str, rest: &[&str]) -> Response {
    if call.method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    match rest {
        ["git", "trees", sha] => tree(forge, call, sha),
        ["git", "blobs", sha] => forge.blob(sha).map_or_else(missing, |content| {
            Json(json!({
                "sha": sha, "encoding": "base64", "content": STANDARD.encode(content),
                "size": content.len(),
            }))
            .into_response()
        }),
        ["git", "commits", sha] => {
            let found = forge.commit(sha).map(|commit| commit_json(forge, commit));
            found.map_or_else(missing, |json| Json(json).into_response())
        }
        ["file-contents"] if forge.config.file_contents => file_contents(forge, call),
        ["pulls"] => pulls(forge, call, repo),
        ["actions", "workflows"] => match forge.workflows_json(repo) {
            Some(all) => Json(json!({"workflows": all, "total_count": all.len()})).into_response(),
            None => refuse(StatusCode::INTERNAL_SERVER_ERROR, "object does not exist"),
        },
        ["branches"] => {
            let all: Vec<Value> = forge.branches(repo).map(|(n, c)| branch_json(n, c)).collect();
            Json(all).into_response()
        }
        ["branches", name @ ..] => {
            let name = name.join("/").replace("%2F", "/");
            let tip = forge.tip(repo, &format!("refs/heads/{name}"));
            tip.map_or_else(missing, |commit| Json(branch_json(&name, commit)).into_response())
        }
        ["tags", name @ ..] => {
            let name = name.join("/").replace("%2F", "/");
            let tip = forge.tip(repo, &format!("refs/tags/{name}"));
            tip.map_or_else(missing, |commit| Json(tag_json(&name, commit)).into_response())
        }
        _ => missing(),
    }
}

/// Only merged pull requests are modeled, and only by their users.
fn pulls(forge: &Forge, call: &Call, repo: &str) -> Response {
    let poster = call.param("poster").unwrap_or_default();
    let closed = matches!(call.param("state"), Some("closed" | "all"));
    let merged = forge.repo(repo).into_iter().flat_map(|row| &row.merged).zip(1..);
    let shown = merged.filter(|(user, _)| closed && (poster.is_empty() || *user == poster));
    let row = |(user, number)| json!({"number": number, "user": {"login": user}, "state": "closed", "merged": true});
    Json(shown.map(row).collect::<Vec<Value>>()).into_response()
}

fn tree(forge: &Forge, call: &Call, sha: &str) -> Response {
    let recursive = matches!(call.param("recursive"), Some("true" | "1"));
    let Some(entries) = forge.tree(sha, recursive) else { return missing() };
    let number = |name: &str| call.param(name).and_then(|v| v.parse::<usize>().ok());
    let asked = number("per_page").filter(|n| *n > 0).unwrap_or(PER_PAGE);
    let size = asked.min(forge.config.tree_page.min(PER_PAGE));
    let page = number("page").filter(|n| *n > 0).unwrap_or(1);
    let shown: Vec<Value> = entries
        .iter()
        .skip((page - 1) * size)
        .take(size)
        .map(crate::forge::TreeEntry::json)
        .collect();
    let truncated = page * size < entries.len();
    Json(json!({
        "sha": sha, "url": "", "tree": shown, "truncated": truncated, "page": page,
        "total_count": entries.len(),
    }))
    .into_response()
}

fn file_contents(forge: &Forge, call: &Call) -> Response {
    let body: Value =
        call.param("body").and_then(|b| serde_json::from_str(b).ok()).unwrap_or_default();
    let Some(names) = body["files"].as_array() else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "files: required");
    };
    let Some(commit) = call.param("ref").and_then(|sha| forge.commit(sha)) else {
        return missing();
    };
    let row = |name: &Value| {
        let path = name.as_str()?;
        let content = commit.files.get(path)?;
        Some(json!({
            "name": path.rsplit('/').next(), "path": path, "type": "file", "encoding": "base64",
            "sha": crate::forge::blob_sha(content), "size": content.len(),
            "content": STANDARD.encode(content),
        }))
    };
    let rows: Vec<Option<Value>> = names.iter().take(FILES).map(row).collect();
    Json(rows).into_response()
}

fn commit_json(forge: &Forge, commit: &Commit) -> Value {
    let parents: Vec<Value> = commit.parents.iter().map(|sha| json!({"sha": sha})).collect();
    // For a merge, only what differs from the first parent.
    let files: Vec<Value> = forge
        .changed(commit)
        .into_iter()
        .map(|name| json!({"filename": name, "status": "modified"}))
        .collect();
    json!({
        "sha": commit.sha, "parents": parents, "files": files,
        "commit": {"message": commit.message, "tree": {"sha": commit.sha}},
    })
}

fn branch_json(name: &str, commit: &Commit) -> Value {
    json!({"name": name, "commit": {"id": commit.sha, "message": commit.message}, "protected": false})
}

fn tag_json(name: &str, commit: &Commit) -> Value {
    json!({"name": name, "message": "", "id": commit.sha, "commit": {"sha": commit.sha, "url": ""}})
}
