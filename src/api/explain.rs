//! What `explain` answers: why a machine came, or did not.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::Phase;

use super::types::Plan;

/// What the forge makes of a commit that is pushed, and what we make of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushExplained {
    /// `owner/name`.
    pub repo: String,
    /// The commit.
    pub sha: String,
    /// The ref that it is taken to be pushed to.
    pub git_ref: String,
    /// Which line's rules decide: `1.25`, `1.26`, `1.27`.
    pub rules: String,
    /// How demand is known here: `jobs` or `push`.
    pub demand: String,
    /// Why no workflow file was looked at.
    pub nothing: Option<String>,
    /// Files that have changed, where a filter asks for them; at most 1,000.
    pub changed_files: Option<Vec<String>>,
    /// How many have changed.
    pub changed_files_total: usize,
    /// What to be aware of.
    pub notes: Vec<String>,
    /// Each workflow file of the commit.
    pub workflows: Vec<WorkflowExplained>,
    /// Jobs that need a machine of ours as soon as the commit is pushed.
    pub machines_at_once: usize,
}

/// One workflow file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowExplained {
    /// Its path in the folder of workflows.
    pub workflow: String,
    /// Why the forge ignores it.
    pub invalid: Option<String>,
    /// Each event that it names.
    pub events: Vec<EventExplained>,
    /// Jobs of the runs that it gives.
    pub jobs: Vec<JobPlanned>,
    /// Why a run of it has no jobs.
    pub problem: Option<String>,
}

/// An event that a workflow file names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventExplained {
    /// As the file names it.
    pub event: String,
    /// The line in the file.
    pub line: usize,
    /// Whether it gives a run.
    pub matched: bool,
    /// In words.
    pub why: String,
    /// Its filters; empty where they were not looked at.
    pub filters: Vec<FilterExplained>,
}

/// A filter of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilterExplained {
    /// `branches`, `paths-ignore`, …
    pub filter: String,
    /// Its patterns, as written.
    pub patterns: Vec<String>,
    /// Whether it lets the event through.
    pub matched: bool,
    /// By which pattern, for which file or ref.
    pub why: String,
}

/// A job that the forge makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPlanned {
    /// Its key in the file.
    pub job: String,
    /// Its name, matrix values included.
    pub name: String,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// Jobs that must be over first.
    pub needs: Vec<String>,
    /// `waiting`: needs a runner at once; `blocked`; `not dispatched`: never needs one.
    pub state: String,
    /// The class that serves it.
    pub class: Option<String>,
    /// Our run for it, where there is one.
    pub run: Option<String>,
    /// How far that is.
    pub phase: Option<Phase>,
    /// Its machine, where one was launched.
    pub machine: Option<String>,
    /// Why it gets no machine, or not at once.
    pub why: Option<String>,
}

/// A job at the forge, and what we do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExplained {
    /// Its id at the forge.
    pub job: i64,
    /// `owner/name`; empty where nobody knows it.
    pub repo: String,
    /// Its name.
    pub name: String,
    /// How demand is known here: `jobs` or `push`.
    pub demand: String,
    /// How it stands at the forge, in a word; `unknown` with a sentence in `why`.
    pub at_forge: String,
    /// The labels it asks for.
    pub runs_on: Vec<String>,
    /// The class that serves it.
    pub class: Option<String>,
    /// Our run for it.
    pub run: Option<String>,
    /// How far that is.
    pub phase: Option<Phase>,
    /// Tries to get a machine, oldest first.
    pub attempts: Vec<AttemptExplained>,
    /// What a look would do now; `null`: there is no run.
    pub next: Option<Plan>,
    /// Why it is so, a sentence each, most important first.
    pub why: Vec<String>,
}

/// One try to get a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptExplained {
    /// Its number.
    pub number: u32,
    /// When it was decided.
    #[schemars(with = "String")]
    pub decided_at: Timestamp,
    /// Of which class.
    pub class: String,
    /// Its machine, where a launch was answered.
    pub machine: Option<String>,
    /// What the cloud refused, each placement in turn.
    pub refusals: Vec<String>,
    /// Why it is over; `null`: it goes on.
    pub ended: Option<String>,
}
