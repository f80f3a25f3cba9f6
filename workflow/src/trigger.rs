//! Evaluates whether one workflow file runs for one event, and why.

use serde_json::Value;

use super::on::{self, Entry, FileInvalid, Filter};
use super::yaml::Node;
use super::{Dialect, jobs, shape, yaml};

mod cache;
mod filter;

pub use cache::WorkflowCache;
pub(super) use filter::{BRANCH, TAG};
pub use filter::{FilterReason, Judgement};

/// An event in the forge.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The event as `X-Gitea-Event-Type` names it (`push`, `pull_request_sync`, …).
    pub name: &'a str,
    /// The webhook's payload, or an equivalent.
    pub payload: &'a Value,
    /// The full name of a pushed ref, if the payload has none.
    pub git_ref: &'a str,
}

impl<'a> Event<'a> {
    /// A text of the payload by its path (`/pull_request/base/ref`); empty if missing.
    pub fn text(&self, path: &str) -> &'a str {
        self.payload.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The full name of the pushed ref.
    pub fn pushed_ref(&self) -> &'a str {
        match self.text("/ref") {
            "" => self.git_ref,
            named => named,
        }
    }
}

/// The files that a push or a pull request changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Their paths, in any order.
    Files(Vec<String>),
    /// Git cannot tell; the reason.
    Unknown(String),
}

/// The evaluation of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Each event that the file names, in order.
    pub entries: Vec<Judged>,
    /// The reason why the file is ignored; then there are no entries.
    pub invalid: Option<FileInvalid>,
    /// Up to 1.25: why no workflow run can be created, whatever matches; newer servers ignore such
    /// a file.
    pub no_jobs: Option<FileInvalid>,
}

/// The evaluation of one event that a file names.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The event as the file has it.
    pub entry: Entry,
    /// Whether it runs.
    pub verdict: Verdict,
    /// The result of each filter, in order; empty if they were not evaluated.
    pub filters: Vec<Judgement>,
}

/// Whether a file runs for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Matched,
    /// The file names another event.
    OtherEvent,
    /// The value is a list: a schedule, started by the clock alone.
    Scheduled,
    /// The server has no rule for this event; nothing runs.
    Unsupported,
    /// The activity type is not among `types`.
    OtherActivity,
    /// A filter is not satisfied.
    FilteredOut,
    /// A pattern of `types` does not compile: the server ignores the event, for all files.
    GivenUp,
}

impl Evaluation {
    /// Returns the evaluation of an ignored file.
    pub fn ignored(why: FileInvalid) -> Self {
        Self { entries: Vec::new(), invalid: Some(why), no_jobs: None }
    }

    /// The entries that match, in order: one workflow run each.
    pub fn matched(&self) -> impl Iterator<Item = &Judged> {
        self.entries.iter().filter(|judged| judged.verdict == Verdict::Matched)
    }

    /// Whether the server ignores the whole event because of this file.
    pub fn gives_up(&self) -> bool {
        self.entries.iter().any(|judged| judged.verdict == Verdict::GivenUp)
    }
}

/// A parsed file, independent of any event.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedWorkflow {
    /// Each event that the file names, in order; or why the file is ignored.
    pub entries: Result<Vec<Entry>, FileInvalid>,
    /// As [`Evaluation::no_jobs`].
    pub no_jobs: Option<FileInvalid>,
    /// The rules by which it was parsed.
    pub dialect: Dialect,
}

impl ParsedWorkflow {
    /// Parses a file's bytes.
    pub fn read(text: &[u8], dialect: Dialect) -> Self {
        match yaml::parse(text) {
            Ok(workflow) => Self::of(&workflow, dialect),
            Err(yaml::YamlError { line, message }) => {
                Self { entries: Err(FileInvalid { line, message }), no_jobs: None, dialect }
            }
        }
    }

    /// Parses a document.
    pub fn of(workflow: &Node, dialect: Dialect) -> Self {
        let entries = entries(workflow, dialect);
        let no_jobs = match dialect {
            Dialect::V1_25 if entries.is_ok() => check_jobs(workflow, dialect).err(),
            _ => None,
        };
        Self { entries, no_jobs, dialect }
    }

    /// Evaluates it for an event.
    pub fn judge(&self, event: &Event<'_>, changed: &Changed) -> Evaluation {
        match &self.entries {
            Ok(entries) => {
                let entries = entries.iter();
                let entries =
                    entries.map(|entry| judge(entry.clone(), event, changed, self.dialect));
                let no_jobs = self.no_jobs.clone();
                Evaluation { entries: entries.collect(), invalid: None, no_jobs }
            }
            Err(why) => Evaluation::ignored(why.clone()),
        }
    }
}

/// Evaluates one file's bytes for one event.
pub fn evaluate_file(
    text: &[u8],
    event: &Event<'_>,
    changed: &Changed,
    dialect: Dialect,
) -> Evaluation {
    ParsedWorkflow::read(text, dialect).judge(event, changed)
}

/// Evaluates one document for one event.
pub fn evaluate(
    workflow: &Node,
    event: &Event<'_>,
    changed: &Changed,
    dialect: Dialect,
) -> Evaluation {
    ParsedWorkflow::of(workflow, dialect).judge(event, changed)
}

/// Returns the events that a file names.
///
/// # Errors
/// The reason why the forge ignores the file: types that do not fit, an invalid `on`, and from 1.26
/// invalid jobs.
pub fn entries(workflow: &Node, dialect: Dialect) -> Result<Vec<Entry>, FileInvalid> {
    if dialect < Dialect::V1_26 {
        shape::check_workflow(workflow, dialect)?;
        return on::parse(workflow, dialect);
    }
    // Jobs are planned only for files whose types fit.
    let entries = on::parse(workflow, dialect)?;
    check_jobs(workflow, dialect)?;
    Ok(entries)
}

/// Whether jobs can be planned of a file, with empty contexts.
fn check_jobs(workflow: &Node, dialect: Dialect) -> Result<(), FileInvalid> {
    jobs::jobs(workflow, &jobs::Context::default(), dialect)
        .map(drop)
        .map_err(|error| FileInvalid::new(error.line, error.why.to_string()))
}

/// The forge's families of events.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// Events without filters.
    Plain,
    Push,
    PullRequest,
    Issues,
    /// Other events whose only filter is `types`.
    Activity,
    WorkflowRun,
    Unsupported,
}

fn family(event: &str) -> Family {
    match event {
        "create" | "delete" | "fork" | "wiki" | "schedule" => Family::Plain,
        "push" => Family::Push,
        "issues" | "issue_assign" | "issue_label" | "issue_milestone" => Family::Issues,
        _ if is_pull_request(event) => Family::PullRequest,
        "issue_comment"
        | "pull_request_comment"
        | "pull_request_review_approved"
        | "pull_request_review_rejected"
        | "pull_request_review_comment"
        | "release"
        | "package" => Family::Activity,
        "workflow_run" => Family::WorkflowRun,
        _ => Family::Unsupported,
    }
}

/// Whether an event concerns a pull request itself, so that `pull_request` and
/// `pull_request_target` match it.
pub fn is_pull_request(event: &str) -> bool {
    matches!(
        event,
        "pull_request"
            | "pull_request_sync"
            | "pull_request_assign"
            | "pull_request_label"
            | "pull_request_review_request"
            | "pull_request_milestone"
    )
}

/// Whether the event that a file names matches the event that happened.
fn names(on: &str, event: &str) -> bool {
    match on {
        "registry_package" => event == "package",
        "gollum" => event == "wiki",
        "issues" => family(event) == Family::Issues,
        "pull_request" | "pull_request_target" => is_pull_request(event),
        "pull_request_review" => matches!(
            event,
            "pull_request_review_approved"
                | "pull_request_review_rejected"
                | "pull_request_review_comment"
        ),
        "issue_comment" => matches!(event, "issue_comment" | "pull_request_comment"),
        _ => on == event,
    }
}

fn judge(entry: Entry, event: &Event<'_>, changed: &Changed, dialect: Dialect) -> Judged {
    let with = |entry, verdict| Judged { entry, verdict, filters: Vec::new() };
    if entry.schedule.is_some() {
        return with(entry, Verdict::Scheduled);
    }
    if !names(&entry.event, event.name) {
        return with(entry, Verdict::OtherEvent);
    }
    let family = family(event.name);
    match family {
        Family::Plain => return with(entry, Verdict::Matched),
        Family::Unsupported => return with(entry, Verdict::Unsupported),
        // Other actions of a pull request need `types`.
        Family::PullRequest if types(&entry).is_none() && !is_common(event.text("/action")) => {
            return with(entry, Verdict::OtherActivity);
        }
        _ => {}
    }
    let judgement = |filter: &Filter| match family {
        _ if family != Family::Push && filter.key == "types" => filter::types(filter, event),
        Family::Push => filter::push(filter, event, changed, dialect),
        Family::PullRequest => filter::pull_request(filter, event, changed, dialect),
        Family::WorkflowRun => filter::workflow_run(filter, event, dialect),
        _ => Judgement::unknown(filter),
    };
    let filters: Vec<Judgement> = entry.filters.iter().map(judgement).collect();
    let verdict = verdict(family, &filters);
    Judged { entry, verdict, filters }
}

fn types(entry: &Entry) -> Option<&Filter> {
    entry.filters.iter().find(|filter| filter.key == "types")
}

/// Actions of a pull request that run without `types`.
fn is_common(action: &str) -> bool {
    matches!(action, "opened" | "reopened" | "synchronized")
}

fn verdict(family: Family, filters: &[Judgement]) -> Verdict {
    if filters.iter().any(|filter| matches!(filter.why, FilterReason::NoTypesPattern(_))) {
        return Verdict::GivenUp;
    }
    if family != Family::Push
        && filters.iter().any(|filter| filter.key == "types" && !filter.satisfied)
    {
        return Verdict::OtherActivity;
    }
    let has = |names: [&str; 2]| filters.iter().any(|filter| names.contains(&filter.key.as_str()));
    // Of branches and tags one is enough: a push is never both, so the other counts as satisfied.
    let excused = family == Family::Push
        && has(["branches", "branches-ignore"])
        && has(["tags", "tags-ignore"]);
    let satisfied = filters.iter().filter(|filter| filter.satisfied).count() + usize::from(excused);
    if satisfied == filters.len() { Verdict::Matched } else { Verdict::FilteredOut }
}
