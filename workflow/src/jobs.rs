//! From a workflow to its jobs, as the server makes them when it creates a run: one for each
//! combination of a matrix, with its labels, its needs and whether it waits for a runner at once.
//!
//! `if` is not looked at: a job without needs is queued whatever its `if` says, and the runner
//! skips it. Nor is `concurrency`, which depends on other runs, nor `max-parallel`, which no
//! server enforces.

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

/// What expressions are evaluated with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Context {
    /// Variables of repository, owner and server, the nearest first.
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
    /// Which of the job's combinations it is, in the order of their names, from 0.
    pub matrix_index: usize,
    /// The labels a runner must have, all of them. None: any runner will do. An empty one: none.
    pub runs_on: Vec<String>,
    /// The jobs it needs, as written.
    pub needs: Vec<String>,
    /// What it is when the run is created, if nobody has to approve it.
    pub initial: Initial,
    /// Whether a runner will ever get it; the caller of a reusable workflow is expanded by newer
    /// servers, and then only its children are.
    pub dispatched: bool,
    /// The reusable workflow it calls.
    pub uses: Option<String>,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// What a job is when its run is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// It waits for a runner; `queued` in the server's interface.
    Waiting,
    /// It waits for other jobs.
    Blocked,
}

impl Initial {
    /// The server's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
        }
    }
}

/// Why a workflow has no jobs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct JobsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What is wrong with a workflow or a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The server's decoder refuses the file.
    #[error("{0}")]
    Decode(String),
    /// No mapping of jobs.
    #[error("`jobs` is no mapping")]
    NoJobs,
    /// A job's key is no text.
    #[error("a job's key must be a text")]
    Key,
    /// A job without anything in it.
    #[error("the job `{0}` is empty")]
    Empty(String),
    /// An include that is no mapping.
    #[error("an include of the matrix is no mapping")]
    Include,
    /// An exclude that is no mapping.
    #[error("an exclude of the matrix is no mapping")]
    Exclude,
    /// An exclude's key that the matrix has not.
    #[error("the matrix has no key `{0}` to exclude by")]
    ExcludeKey(String),
    /// An expression that the server falls over.
    #[error("{0}")]
    Expression(String),
    /// An alias in a part that the server stores without the anchor.
    #[error("an alias in `{0}` whose anchor stands in another job")]
    Alias(&'static str),
    /// A text that the server cannot read again from the job that it stores.
    #[error("a text of several lines that begins with {0}")]
    Stored(&'static str),
    /// More than [`MOST_JOBS`] jobs; a bound of ours.
    #[error("more than {MOST_JOBS} combinations or jobs")]
    TooMany,
    /// Values, names or labels of many megabytes; a bound of ours.
    #[error("values, names or labels are too large")]
    TooLarge,
}

impl From<BadField> for JobsError {
    fn from(bad: BadField) -> Self {
        Self { line: bad.line, why: Why::Decode(bad.why) }
    }
}

impl From<Misfit> for JobsError {
    fn from(misfit: Misfit) -> Self {
        Self { line: misfit.line, why: Why::Decode(misfit.message) }
    }
}

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Expression(why) | Fault::Halt(why) => Self::Expression(why),
        }
    }
}

impl Why {
    fn at(self, node: &Node) -> JobsError {
        JobsError { line: node.line, why: self }
    }
}

/// The jobs of a workflow, in the order of the file and of their names.
///
/// # Errors
/// Where the server would make none of them: a file that does not decode, a matrix or an
/// expression that it falls over.
pub fn jobs(
    workflow: &Node,
    context: &Context,
    dialect: Dialect,
) -> Result<Vec<PlannedJob>, JobsError> {
    // Where older servers do not look at it before, they fall over it here.
    shape::check_workflow(workflow, dialect.max(Dialect::V1_26))?;
    let top = Fields::read(workflow)?;
    let Some((node, entries)) = top.get("jobs").and_then(|node| match &node.kind {
        Kind::Mapping(entries) => Some((node, entries)),
        _ => None,
    }) else {
        return Err(Why::NoJobs.at(top.get("jobs").unwrap_or(workflow)));
    };
    if let Some(key) = node.duplicate_key() {
        return Err(Why::Decode("a job with this key stands there already".to_owned()).at(key));
    }
    let mut sources = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let (Some(id), Some(core)) = (key.as_str(), key.core()) else {
            return Err(Why::Key.at(key));
        };
        // The server reads the keys twice, and finds these only once.
        if matches!(core, Core::Null | Core::Merge) {
            return Err(Why::Key.at(key));
        }
        if value.resolved().is_null() {
            let id = id.chars().take(100).collect();
            return Err(Why::Empty(id).at(key));
        }
        let fields = Fields::read(value)?;
        let needs = runs_on::texts(fields.get("needs"));
        sources.push(Source { id, line: key.line, node: value, fields, needs });
    }
    let planner = Planner::new(context, &sources, dialect);
    if let Some(name) = top.get("run-name") {
        let text = name.resolved().as_str().unwrap_or_default();
        planner.outside().interpolate(text).map_err(|fault| Why::from(fault).at(name))?;
    }
    let mut plan = Plan::default();
    for source in &sources {
        aliases::none_strands(&source.fields, dialect)?;
        planner.plan(source, &mut plan)?;
    }
    Ok(plan.jobs)
}

/// How many runners the jobs of a new run need at once.
pub fn runners_needed_at_once(jobs: &[PlannedJob]) -> usize {
    jobs.iter().filter(|job| job.initial == Initial::Waiting && job.dispatched).count()
}

/// Whether a runner with these labels may take a job: it has every one the job asks for. Exact,
/// with case, and nothing is implied.
pub fn labels_match<S: AsRef<str>, T: AsRef<str>>(runner: &[S], runs_on: &[T]) -> bool {
    runs_on.iter().all(|asked| runner.iter().any(|label| label.as_ref() == asked.as_ref()))
}
