//! Evaluates patterns, triggers, changed files and paths.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tinqs_ci_workflow::changes::{self, Commit, Object, Tree};
use tinqs_ci_workflow::glob::Patterns;
use tinqs_ci_workflow::trigger::{self, Changed, Event};
use tinqs_ci_workflow::{Dialect, files};

/// A filter and its input.
#[derive(Deserialize)]
pub(super) struct Held {
    filter: String,
    patterns: Option<Vec<String>>,
    input: Option<Vec<String>>,
}

/// Checks whether the filter skips the workflow. An invalid filter skips it.
pub(super) fn patterns(case: &Held, dialect: Dialect) -> Result<Value, String> {
    let ignoring = match case.filter.as_str() {
        "branches" | "tags" | "paths" | "workflows" => false,
        "branches-ignore" | "tags-ignore" | "paths-ignore" => true,
        other => return Err(format!("unknown filter `{}`", other.escape_debug())),
    };
    let patterns = case.patterns.as_deref().unwrap_or_default();
    let input = case.input.as_deref().unwrap_or_default();
    Ok(match Patterns::new(patterns, dialect) {
        Ok(patterns) if ignoring => json!({ "skip": patterns.ignores(input), "error": null }),
        Ok(patterns) => json!({ "skip": patterns.skips(input), "error": null }),
        Err(error) => json!({ "skip": true, "error": error.to_string() }),
    })
}

/// A workflow file and an event.
#[derive(Deserialize)]
pub(super) struct Trigger {
    workflow_yaml: String,
    event: String,
    #[serde(default)]
    event_payload: Value,
    #[serde(default, rename = "ref")]
    git_ref: Option<String>,
    #[serde(flatten)]
    changed: ChangedCase,
}

/// The changed files, or git's error.
#[derive(Deserialize)]
pub(super) struct ChangedCase {
    #[serde(default)]
    changed_files: Option<Vec<String>>,
    #[serde(default)]
    changed_files_error: Value,
}

impl ChangedCase {
    pub(super) fn changed(&self) -> Changed {
        match (&self.changed_files_error, &self.changed_files) {
            (Value::Null | Value::Bool(false), Some(files)) => Changed::Files(files.clone()),
            (Value::Null | Value::Bool(false), None) => Changed::Unknown("none given".to_owned()),
            (Value::String(why), _) => Changed::Unknown(why.clone()),
            _ => Changed::Unknown("git failed".to_owned()),
        }
    }
}

/// Returns the file's matching events, in order. Each starts a workflow run.
pub(super) fn trigger(case: &Trigger, dialect: Dialect) -> Value {
    let event = Event {
        name: &case.event,
        payload: &case.event_payload,
        git_ref: case.git_ref.as_deref().unwrap_or_default(),
    };
    let changed = case.changed.changed();
    let evaluation =
        trigger::evaluate_file(case.workflow_yaml.as_bytes(), &event, &changed, dialect);
    let events: Vec<&str> = if evaluation.gives_up() {
        Vec::new()
    } else {
        evaluation.matched().map(|judged| judged.entry.event.as_str()).collect()
    };
    json!({
        "match": !events.is_empty(),
        "events": events,
        "file_invalid": evaluation.invalid.is_some(),
    })
}

/// A commit graph and a push.
#[derive(Deserialize)]
pub(super) struct Push {
    commits: Vec<CommitCase>,
    before: String,
    tip: String,
}

#[derive(Deserialize)]
struct CommitCase {
    name: String,
    #[serde(default)]
    parents: Option<Vec<String>>,
    #[serde(default)]
    tree: BTreeMap<String, ObjectCase>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ObjectCase {
    Text(String),
    Object { mode: Option<String>, data: Option<String>, sha: Option<String> },
}

impl From<ObjectCase> for Object {
    fn from(case: ObjectCase) -> Self {
        let (mode, data, sha) = match case {
            ObjectCase::Text(text) => (None, Some(text), None),
            ObjectCase::Object { mode, data, sha } => (mode, data, sha),
        };
        // The prefix keeps contents and IDs distinct; equal objects have equal IDs.
        let id = match sha {
            Some(sha) => format!("id {sha}"),
            None => format!("data {}", data.unwrap_or_default()),
        };
        Object { mode: mode.unwrap_or_else(|| "100644".to_owned()), id }
    }
}

/// Returns the files that a push changed.
pub(super) fn changed_files(case: Push) -> Value {
    let commits: BTreeMap<String, Commit> = case.commits.into_iter().map(commit).collect();
    let zeros = "0".repeat(40);
    // `zeros` and "" mean that there is no commit before, unless a commit has this name.
    let before = match case.before.as_str() {
        "zeros" | "" if !commits.contains_key(&case.before) => &zeros,
        before => before,
    };
    match changes::between(&commits, before, &case.tip) {
        Ok(files) => json!({ "files": files, "error": false }),
        Err(_) => json!({ "files": null, "error": true }),
    }
}

fn commit(case: CommitCase) -> (String, Commit) {
    let tree: Tree = case.tree.into_iter().map(|(path, object)| (path, object.into())).collect();
    (case.name, Commit { parents: case.parents.unwrap_or_default(), tree })
}

/// A path and the workflow directories.
#[derive(Deserialize)]
pub(super) struct Path {
    #[serde(default)]
    workflow_dirs: Option<Vec<String>>,
    path: String,
}

/// Checks whether the path is that of a workflow.
pub(super) fn path(case: &Path) -> Value {
    let directories = directories(case.workflow_dirs.as_deref());
    json!({ "match": files::is_workflow(&directories, &case.path) })
}

/// Returns the directories as the forge normalizes them, or the default ones.
pub(super) fn directories(named: Option<&[String]>) -> Vec<String> {
    match named {
        Some(named) => {
            let directories = named.iter().map(|directory| files::normalized(directory));
            directories.filter(|directory| !directory.is_empty()).collect()
        }
        None => files::DIRECTORIES.map(str::to_owned).to_vec(),
    }
}
