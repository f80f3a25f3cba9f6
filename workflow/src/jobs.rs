//! Plans the jobs of a workflow as the server does when it creates a workflow run: one per matrix
//! combination, with its labels, its needs and whether it waits for a runner at once.
//!
//! `if` is ignored: a job without needs is queued whatever its `if` says, and the runner skips it.
//! So are `concurrency`, which depends on other workflow runs, and `max-parallel`, which no server
//! enforces.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Dialect;
use super::expression::Fault;
use super::fields::{BadField, Fields};
use super::shape::{self, Misfit};
use super::yaml::{Core, Kind, Node};

mod aliases;
mod matrix;
mod planner;
mod runs_on;
mod stored;

pub use matrix::MOST as MOST_JOBS;
use planner::{Plan, Planner, Source};

/// The contexts of expressions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Context {
    /// Variables of repository, owner and server; the closest takes precedence.
    pub vars: BTreeMap<String, String>,
    /// Inputs of a dispatch.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// The `github` context: texts, and the `event`.
    pub github: serde_json::Map<String, serde_json::Value>,
}

/// One job as the server creates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedJob {
    /// Its key in the file.
    pub job_id: String,
    /// Its name, with the values of its combination.
    pub name: String,
    /// The index of its combination, in the order of their names, from 0.
    pub matrix_index: usize,
    /// The labels that a runner must have, all of them. Empty: any runner will do. An empty label:
    /// no runner has it.
    pub runs_on: Vec<String>,
    /// The jobs it needs, as written.
    pub needs: Vec<String>,
    /// Its state when the workflow run is created, if no approval is needed.
    pub initial: Initial,
    /// Whether a runner will ever get it. `false` from 1.27 on for the caller of a reusable
    /// workflow, of which only the children are dispatched, and in 1.26 for a job with a text that
    /// the server stores so that it cannot read it back.
    pub dispatched: bool,
    /// The reusable workflow it calls.
    pub uses: Option<String>,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// The state of a job when its workflow run is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// It waits for a runner; `queued` in the server's interface.
    Waiting,
    /// It waits for other jobs.
    Blocked,
}

impl Initial {
    /// Returns the server's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
        }
    }
}

/// The reason why a workflow has no jobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct JobsError {
    /// The line, from 1.
    pub line: usize,
    /// The problem there.
    pub why: JobsProblem,
}

/// The problem with a workflow or a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobsProblem {
    /// The server's decoder rejects the file.
    #[error("{0}")]
    Decode(String),
    /// `jobs` is missing or not a mapping.
    #[error("`jobs` is not a mapping")]
    NoJobs,
    /// A job's key is not a text.
    #[error("a job's key must be a text")]
    Key,
    /// A job without anything in it.
    #[error("the job `{0}` is empty")]
    Empty(String),
    /// An include that is not a mapping.
    #[error("an `include` of the matrix is not a mapping")]
    Include,
    /// An exclude that is not a mapping.
    #[error("an `exclude` of the matrix is not a mapping")]
    Exclude,
    /// An exclude with a key that the matrix does not have.
    #[error("the matrix has no key `{0}` to exclude by")]
    ExcludeKey(String),
    /// An expression that makes the server panic.
    #[error("{0}")]
    Expression(String),
    /// An alias in a part that the server stores without the anchor.
    #[error("an alias in `{0}` has its anchor in another job")]
    Alias(&'static str),
    /// A text that the server cannot read back from the stored job.
    #[error("a text of several lines begins with {0}, which the server cannot read back")]
    Stored(&'static str),
    /// More than [`MOST_JOBS`] jobs; our own limit.
    #[error("more than {MOST_JOBS} combinations or jobs")]
    TooMany,
    /// Values, names or labels of many megabytes; our own limit.
    #[error("values, names or labels are too large")]
    TooLarge,
}

impl From<BadField> for JobsError {
    fn from(bad: BadField) -> Self {
        Self { line: bad.line, why: JobsProblem::Decode(bad.why) }
    }
}

impl From<Misfit> for JobsError {
    fn from(misfit: Misfit) -> Self {
        Self { line: misfit.line, why: JobsProblem::Decode(misfit.message) }
    }
}

impl From<Fault> for JobsProblem {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Expression(why) | Fault::Halt(why) => Self::Expression(why),
        }
    }
}

impl JobsProblem {
    fn at(self, node: &Node) -> JobsError {
        JobsError { line: node.line, why: self }
    }
}

/// Returns the jobs of a workflow, in the order of the file and of their names.
///
/// # Errors
/// [`JobsError`] if the server would create none of them: the file does not decode, or a matrix or
/// an expression makes the server panic.
pub fn jobs(
    workflow: &Node,
    context: &Context,
    dialect: Dialect,
) -> Result<Vec<PlannedJob>, JobsError> {
    // Older servers check it only here, and panic.
    shape::check_workflow(workflow, dialect.max(Dialect::V1_26))?;
    let top = Fields::read(workflow)?;
    let Some((node, entries)) = top.get("jobs").and_then(|node| match &node.kind {
        Kind::Mapping(entries) => Some((node, entries)),
        _ => None,
    }) else {
        return Err(JobsProblem::NoJobs.at(top.get("jobs").unwrap_or(workflow)));
    };
    if let Some(key) = node.duplicate_key() {
        return Err(JobsProblem::Decode("duplicate key of a job".to_owned()).at(key));
    }
    let mut sources = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let (Some(id), Some(core)) = (key.as_str(), key.core()) else {
            return Err(JobsProblem::Key.at(key));
        };
        // The server reads the keys twice, and finds these only once.
        if matches!(core, Core::Null | Core::Merge) {
            return Err(JobsProblem::Key.at(key));
        }
        if value.resolved().is_null() {
            let id = id.chars().take(100).collect();
            return Err(JobsProblem::Empty(id).at(key));
        }
        let fields = Fields::read(value)?;
        let needs = runs_on::texts(fields.get("needs"));
        sources.push(Source { id, line: key.line, node: value, fields, needs });
    }
    let planner = Planner::new(context, &sources, dialect);
    if let Some(name) = top.get("run-name") {
        let text = name.resolved().as_str().unwrap_or_default();
        planner.outside().interpolate(text).map_err(|fault| JobsProblem::from(fault).at(name))?;
    }
    let mut plan = Plan::default();
    for source in &sources {
        aliases::none_strands(&source.fields, dialect)?;
        planner.plan(source, &mut plan)?;
    }
    Ok(plan.jobs)
}

/// Returns how many runners the jobs of a new workflow run need at once.
pub fn runners_needed_at_once(jobs: &[PlannedJob]) -> usize {
    jobs.iter().filter(|job| job.initial == Initial::Waiting && job.dispatched).count()
}

/// Whether a runner with these labels may take a job: it must have every label of the job. Exact,
/// case-sensitive, nothing is implied.
pub fn labels_match<S: AsRef<str>, T: AsRef<str>>(runner: &[S], runs_on: &[T]) -> bool {
    runs_on.iter().all(|required| runner.iter().any(|label| label.as_ref() == required.as_ref()))
}
