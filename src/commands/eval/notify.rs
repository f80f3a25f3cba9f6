//! Lists the workflow runs of an event.

use serde::Deserialize;
use serde_json::{Value, json};
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::notify::{self, At, Context, Files, Notification, Run};
use tinqs_ci_workflow::trigger::Event;

use super::workflow::{ChangedCase, directories};

/// A repository's files and an event.
#[derive(Deserialize)]
pub(super) struct Case {
    #[serde(default)]
    repo_files: Option<Files>,
    event: String,
    #[serde(default)]
    event_payload: Value,
    #[serde(default, rename = "ref")]
    git_ref: Option<String>,
    #[serde(default)]
    context: Option<ContextCase>,
    #[serde(flatten)]
    changed: ChangedCase,
}

/// The forge's further state. Unset fields come from the payload, or have their default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ContextCase {
    default_branch: Option<String>,
    tip_commit_message: Option<String>,
    pr_title: Option<String>,
    /// The commits that have the files: the ref's, the tip of the base branch, or both.
    files_at: Option<String>,
    actions_unit_enabled: Option<bool>,
    actions_enabled: Option<bool>,
    repo_empty: Option<bool>,
    repo_archived: Option<bool>,
    empty: Option<bool>,
    archived: Option<bool>,
    disabled_workflows: Option<Vec<String>>,
    workflow_dirs: Option<Vec<String>>,
    skip_workflow_strings: Option<Vec<String>>,
    pr_from_fork: Option<bool>,
    #[serde(alias = "doer_is_restricted")]
    doer_restricted: Option<bool>,
    doer_can_write_actions: Option<bool>,
    doer_approved_before: Option<bool>,
    #[serde(alias = "doer_has_merged_pull_request", alias = "doer_merged_before")]
    doer_has_merged_pr: Option<bool>,
    #[serde(alias = "doer_is_actions_user")]
    doer_is_actions: Option<bool>,
    ref_exists: Option<bool>,
    chain_depth: Option<usize>,
}

/// Returns the workflow runs that the event starts, in the order of their creation.
pub(super) fn notify(case: &Case, dialect: Dialect) -> Value {
    let no_context = ContextCase::default();
    let context_case = case.context.as_ref().unwrap_or(&no_context);
    let none = Files::new();
    let files = case.repo_files.as_ref().unwrap_or(&none);
    let (head, base) = match context_case.files_at.as_deref() {
        Some(place) if place.contains("base") => (&none, files),
        Some(place) if place.to_lowercase().contains("head") => (files, &none),
        _ => (files, files),
    };
    let changed = case.changed.changed();
    let notification = Notification {
        event: Event {
            name: &case.event,
            payload: &case.event_payload,
            git_ref: case.git_ref.as_deref().unwrap_or_default(),
        },
        files: head,
        base_files: base,
        changed: &changed,
    };
    let notified = notify::notify(
        &notification,
        &context(context_case, &notification.event, dialect),
        dialect,
    );
    json!({
        "match": !notified.runs.is_empty(),
        "runs": notified.runs.iter().map(run).collect::<Vec<_>>(),
        "why": notified.nothing.map(|nothing| nothing.to_string()),
    })
}

fn run(run: &Run) -> Value {
    let commit = match run.at {
        At::Tip => "tip of ref",
        At::DefaultBranch => "tip of default branch",
        At::PullRequestHead => "PR head",
        At::Merge => "merge commit",
        At::Review => "review.commit_id",
    };
    json!({
        "workflow": run.workflow,
        "event": run.event,
        "ref": run.git_ref,
        "commit": commit,
        "need_approval": run.needs_approval,
    })
}

fn context(context_case: &ContextCase, event: &Event<'_>, dialect: Dialect) -> Context {
    let usual = Context::default();
    let flag = |path: &str| event.payload.pointer(path).and_then(Value::as_bool);
    let named = |path: &str| Some(event.text(path)).filter(|text| !text.is_empty());
    let owned = |text: &str| text.to_owned();
    let off = [
        context_case.actions_unit_enabled.or(flag("/repository/has_actions")).map(|on| !on),
        context_case.actions_enabled.map(|on| !on),
        context_case.repo_empty.or(context_case.empty).or(flag("/repository/empty")),
        context_case.repo_archived.or(context_case.archived).or(flag("/repository/archived")),
    ];
    let id = |path: &str| event.payload.pointer(path).and_then(Value::as_i64);
    let repositories = [id("/pull_request/head/repo_id"), id("/pull_request/base/repo_id")];
    let forked = matches!(repositories, [Some(head), Some(base)] if head != base);
    // 1.26.3 changed which authors are trusted.
    let trusted = if dialect < Dialect::V1_26 {
        context_case.doer_approved_before
    } else {
        context_case.doer_has_merged_pr
    };
    Context {
        default_branch: context_case
            .default_branch
            .clone()
            .or_else(|| named("/repository/default_branch").map(owned))
            .unwrap_or(usual.default_branch),
        tip_message: context_case
            .tip_commit_message
            .clone()
            .or_else(|| named("/head_commit/message").map(owned))
            .unwrap_or_default(),
        title: context_case.pr_title.clone().or_else(|| named("/pull_request/title").map(owned)),
        enabled: !off.contains(&Some(true)),
        by_actions: context_case
            .doer_is_actions
            .unwrap_or_else(|| named("/sender/login") == Some("gitea-actions")),
        ref_exists: context_case.ref_exists.unwrap_or(true),
        disabled: context_case.disabled_workflows.clone().unwrap_or_default(),
        directories: directories(context_case.workflow_dirs.as_deref()),
        skip: context_case.skip_workflow_strings.clone().unwrap_or(usual.skip),
        from_fork: context_case.pr_from_fork.unwrap_or(forked),
        restricted: context_case.doer_restricted.unwrap_or(false),
        can_write: context_case.doer_can_write_actions.unwrap_or(false),
        trusted: trusted.unwrap_or(false),
        chain: context_case.chain_depth.unwrap_or(0),
    }
}
