//! The whole way from an event to workflow runs: which files, of which commit, for which ref.

use std::collections::BTreeMap;

use serde_json::Value;

use super::on::Entry;
use super::trigger::{self, BRANCH, Changed, Evaluation, Event, TAG, Verdict, WorkflowCache};
use super::{Dialect, changes, files};

/// Texts in a commit's message or a pull request's title that skip workflows, unless the server is
/// configured otherwise (`SKIP_WORKFLOW_STRINGS`).
pub const SKIP: [&str; 5] =
    ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"];
/// The maximum number of events of successive workflow runs that the server follows.
const CHAIN: usize = 5;

/// A commit's files by path: at least those in the workflow directories.
pub type Files = BTreeMap<String, String>;

/// The state of the server beside the event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the server's own")]
pub struct Context {
    /// The repository's default branch, without `refs/heads/`.
    pub default_branch: String,
    /// The full message of the commit that the ref points to (for a tag: its target commit).
    pub tip_message: String,
    /// The pull request's title, if any.
    pub title: Option<String>,
    /// Whether the repository has commits, is not archived, and has Actions enabled, as has the
    /// server.
    pub enabled: bool,
    /// Whether a job caused the event.
    pub by_actions: bool,
    /// Whether the ref still exists.
    pub ref_exists: bool,
    /// IDs of disabled workflows.
    pub disabled: Vec<String>,
    /// The workflow directories; before 1.26 always [`files::DIRECTORIES`].
    pub directories: Vec<String>,
    /// Texts that skip workflows.
    pub skip: Vec<String>,
    /// Whether the pull request comes from a fork (or was pushed as one, by `refs/for/`).
    pub from_fork: bool,
    /// Whether the event's user is a restricted user.
    pub restricted: bool,
    /// Whether the event's user may write Actions.
    pub can_write: bool,
    /// Whether the event's user was trusted before: by an approved workflow run (up to 1.26.2), or
    /// a merged pull request (from 1.26.3).
    pub trusted: bool,
    /// The number of events of successive workflow runs that led here.
    pub chain: usize,
}

impl Default for Context {
    fn default() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            default_branch: "main".to_owned(),
            tip_message: String::new(),
            title: None,
            enabled: true,
            by_actions: false,
            ref_exists: true,
            disabled: Vec::new(),
            directories: owned(&files::DIRECTORIES),
            skip: owned(&SKIP),
            from_fork: false,
            restricted: false,
            can_write: false,
            trusted: false,
            chain: 0,
        }
    }
}

/// The commit of a workflow run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The tip of the ref when the server handles the event, not the payload's `after`.
    Tip,
    /// The tip of the default branch.
    DefaultBranch,
    /// The head of the pull request.
    PullRequestHead,
    /// The merge commit.
    Merge,
    /// The commit that was reviewed.
    Review,
}

/// A workflow run that the server creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The workflow's ID: its path within the directory.
    pub workflow: String,
    /// The event as the file names it.
    pub event: String,
    /// The ref; for a merged or reviewed pull request the bare ID of a commit.
    pub git_ref: String,
    /// Its commit.
    pub at: At,
    /// Whether every job stays blocked until somebody approves.
    pub needs_approval: bool,
}

/// The reason why no file is evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nothing {
    /// The ref was deleted.
    #[error("the push deletes the ref")]
    Deleted,
    /// Only branches and tags cause push events.
    #[error("`{0}` is neither a branch nor a tag")]
    NoRef(String),
    /// Events that jobs cause trigger nothing.
    #[error("the event was caused by a job")]
    ByActions,
    /// The repository is empty or archived, or Actions are disabled.
    #[error("the repository is empty or archived, or Actions are disabled")]
    Disabled,
    /// The ref no longer exists.
    #[error("`{0}` no longer exists")]
    RefGone(String),
    /// The commit's message or the title holds a skip text.
    #[error("`{0}` in the commit's message or the title")]
    Skipped(String),
    /// Too many events of successive workflow runs.
    #[error("more than {CHAIN} events of successive workflow runs")]
    Chain,
    /// A pattern of `types` in this workflow makes the server ignore the event.
    #[error("`{0}` has a pattern of `types` that does not compile")]
    GivenUp(String),
}

/// The result of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notified {
    /// The workflow runs, in the order of their creation.
    pub runs: Vec<Run>,
    /// The reason why nothing was evaluated.
    pub nothing: Option<Nothing>,
    /// Each workflow of the ref's commit with its evaluation.
    pub workflows: Vec<(String, Evaluation)>,
    /// Each workflow at the base branch's tip, for `pull_request_target`.
    pub base_workflows: Vec<(String, Evaluation)>,
    /// Schedules that replace the repository's stored ones; `None`: they stay.
    pub schedules: Option<Vec<(String, Entry)>>,
}

/// An event with the files that it concerns.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// The event.
    pub event: Event<'a>,
    /// The files at the ref's commit.
    pub files: &'a Files,
    /// The files at the tip of a pull request's base branch.
    pub base_files: &'a Files,
    /// The changed files.
    pub changed: &'a Changed,
}

/// Returns the workflow runs that an event starts, and why no others.
pub fn notify(notification: &Notification<'_>, context: &Context, dialect: Dialect) -> Notified {
    notify_cached(notification, context, dialect, &WorkflowCache::default())
}

/// The same, with a cache of parsed files.
pub fn notify_cached(
    notification: &Notification<'_>,
    context: &Context,
    dialect: Dialect,
    cache: &WorkflowCache,
) -> Notified {
    let event = &notification.event;
    if event.name == "workflow_dispatch" {
        return dispatch(notification, context, dialect, cache);
    }
    let (git_ref, at) = choose_ref(event, context);
    if let Some(nothing) = nothing(event, &git_ref, context) {
        return Notified { nothing: Some(nothing), ..Notified::default() };
    }
    let evaluated = |files| evaluated(files, notification, context, dialect, cache);
    let mut notified = Notified { workflows: evaluated(notification.files), ..Notified::default() };
    if trigger::is_pull_request(event.name) {
        notified.base_workflows = evaluated(notification.base_files);
    }
    let all = || notified.workflows.iter().chain(&notified.base_workflows);
    if let Some((id, _)) = all().find(|(_, evaluation)| evaluation.gives_up()) {
        notified.nothing = Some(Nothing::GivenUp(id.clone()));
        return notified;
    }
    let disabled = |id: &str| context.disabled.iter().any(|other| other == id);
    let mut runs = Vec::new();
    for (from_base, workflows) in [(false, &notified.workflows), (true, &notified.base_workflows)] {
        for (id, evaluation) in workflows {
            // Before 1.27 a disabled workflow still ran from the base branch.
            if disabled(id) && !(from_base && dialect < Dialect::V1_27) {
                continue;
            }
            if evaluation.no_jobs.is_some() {
                continue;
            }
            for judged in evaluation.matched() {
                let target = judged.entry.event == "pull_request_target";
                if target == from_base {
                    runs.push(Run {
                        workflow: id.clone(),
                        event: judged.entry.event.clone(),
                        git_ref: git_ref.clone(),
                        at,
                        needs_approval: needs_approval(event, target, context),
                    });
                }
            }
        }
    }
    notified.runs = runs;
    if stores_schedules(event, context) {
        notified.schedules = Some(schedules(&notified.workflows));
    }
    notified
}

/// Whether a push replaces the repository's stored schedules.
fn stores_schedules(event: &Event<'_>, context: &Context) -> bool {
    event.name == "push"
        && event.pushed_ref().strip_prefix(BRANCH) == Some(context.default_branch.as_str())
}

fn schedules(workflows: &[(String, Evaluation)]) -> Vec<(String, Entry)> {
    let entries = workflows.iter().flat_map(|(id, evaluation)| {
        let scheduled =
            evaluation.entries.iter().filter(|judged| judged.verdict == Verdict::Scheduled);
        scheduled.map(move |judged| (id.clone(), judged.entry.clone()))
    });
    // A list under another name counts as a schedule but holds no times.
    entries.filter(|(_, entry)| entry.event == "schedule").collect()
}

/// Evaluates each workflow file of a commit, in git's order.
fn evaluated(
    files: &Files,
    notification: &Notification<'_>,
    context: &Context,
    dialect: Dialect,
    cache: &WorkflowCache,
) -> Vec<(String, Evaluation)> {
    workflows(files, context, dialect)
        .map(|(id, text)| {
            let parsed = cache.read(text.as_bytes(), dialect);
            (id.to_owned(), parsed.judge(&notification.event, notification.changed))
        })
        .collect()
}

/// Returns the workflow files of a commit with their IDs, in git's order.
pub fn workflows<'f>(
    files: &'f Files,
    context: &Context,
    dialect: Dialect,
) -> impl Iterator<Item = (&'f str, &'f str)> {
    let fixed: Vec<String>;
    let directories = if dialect < Dialect::V1_26 {
        fixed = files::DIRECTORIES.map(str::to_owned).to_vec();
        &fixed
    } else {
        &context.directories
    };
    let directory = files::directory(directories, files.keys()).map(str::to_owned);
    files.iter().filter_map(move |(path, text)| {
        let id = files::workflow_id(directory.as_deref()?, path)?;
        Some((id, text.as_str()))
    })
}

/// Returns the ref that the workflows are taken from, and the commit.
fn choose_ref(event: &Event<'_>, context: &Context) -> (String, At) {
    let default = || (format!("{BRANCH}{}", context.default_branch), At::DefaultBranch);
    let or = |id: &str, unknown: &str| if id.is_empty() { unknown } else { id }.to_owned();
    match event.name {
        "push" => (event.pushed_ref().to_owned(), At::Tip),
        // The webhook sends the short name.
        "create" => {
            let prefix = if event.text("/ref_type") == "tag" { TAG } else { BRANCH };
            let name = event.pushed_ref();
            let full = if name.starts_with("refs/") { String::new() } else { prefix.to_owned() };
            (full + name, At::Tip)
        }
        "release" => (format!("{TAG}{}", event.text("/release/tag_name")), At::Tip),
        "pull_request_review_approved"
        | "pull_request_review_rejected"
        | "pull_request_review_comment" => {
            let ids = ["/review/commit_id", "/commit_id"].map(|path| event.text(path));
            let id = ids.into_iter().find(|id| !id.is_empty()).unwrap_or_default();
            (or(id, "<review.commit_id>"), At::Review)
        }
        name if trigger::is_pull_request(name) => {
            let merged = event.payload.pointer("/pull_request/merged").and_then(Value::as_bool);
            if event.text("/action") == "closed" && merged == Some(true) {
                let id = event.text("/pull_request/merge_commit_sha");
                return (or(id, "<merge_commit_sha>"), At::Merge);
            }
            let number = ["/number", "/pull_request/number"]
                .iter()
                .find_map(|path| event.payload.pointer(path)?.as_u64())
                .unwrap_or_default();
            (format!("refs/pull/{number}/head"), At::PullRequestHead)
        }
        _ => default(),
    }
}

/// Returns why no workflow is evaluated, if none is.
fn nothing(event: &Event<'_>, git_ref: &str, context: &Context) -> Option<Nothing> {
    if event.name == "push" {
        if changes::is_zero(event.text("/after")) {
            return Some(Nothing::Deleted);
        }
        if ![BRANCH, TAG].iter().any(|prefix| git_ref.starts_with(prefix)) {
            return Some(Nothing::NoRef(git_ref.to_owned()));
        }
    }
    if context.by_actions {
        return Some(Nothing::ByActions);
    }
    if !context.enabled {
        return Some(Nothing::Disabled);
    }
    if !context.ref_exists {
        return Some(Nothing::RefGone(git_ref.to_owned()));
    }
    if matches!(event.name, "push" | "pull_request" | "pull_request_sync") {
        let title = context.title.as_deref().filter(|_| event.name != "push").unwrap_or_default();
        let is_contained = |text: &&String| {
            title.contains(text.as_str()) || context.tip_message.contains(text.as_str())
        };
        if let Some(text) = context.skip.iter().find(is_contained) {
            return Some(Nothing::Skipped(text.clone()));
        }
    }
    (event.name == "workflow_run" && context.chain >= CHAIN).then_some(Nothing::Chain)
}

/// Whether a workflow run needs approval: that of a fork's pull request by an untrusted user,
/// unless the workflow is the base branch's own.
fn needs_approval(event: &Event<'_>, target: bool, context: &Context) -> bool {
    trigger::is_pull_request(event.name)
        && context.from_fork
        && !target
        && (context.restricted || !(context.can_write || context.trusted))
}

/// Starts a workflow by hand: filters and skip texts do not count.
fn dispatch(
    notification: &Notification<'_>,
    context: &Context,
    dialect: Dialect,
    cache: &WorkflowCache,
) -> Notified {
    let event = &notification.event;
    let name = event.text("/ref");
    let full = [BRANCH, TAG].iter().any(|prefix| name.starts_with(prefix));
    let git_ref = if full { name.to_owned() } else { format!("{BRANCH}{name}") };
    let mut notified = Notified::default();
    if !context.enabled {
        notified.nothing = Some(Nothing::Disabled);
    } else if !context.ref_exists || name.is_empty() {
        notified.nothing = Some(Nothing::RefGone(git_ref.clone()));
    }
    let workflow_id = event.text("/workflow");
    if notified.nothing.is_some() || context.disabled.iter().any(|id| id == workflow_id) {
        return notified;
    }
    notified.workflows = evaluated(notification.files, notification, context, dialect, cache);
    notified.workflows.retain(|(id, _)| id == workflow_id);
    // Up to 1.26.2 the trigger was not required.
    let startable = |evaluation: &Evaluation| {
        let named =
            |event: &str| evaluation.entries.iter().any(|judged| judged.entry.event == event);
        evaluation.invalid.is_none() && (dialect < Dialect::V1_26 || named("workflow_dispatch"))
    };
    let started = notified.workflows.iter().filter(|(_, evaluation)| startable(evaluation));
    notified.runs = started
        .map(|(id, _)| Run {
            workflow: id.clone(),
            event: event.name.to_owned(),
            git_ref: git_ref.clone(),
            at: At::Tip,
            needs_approval: false,
        })
        .collect();
    notified
}
