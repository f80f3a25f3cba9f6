//! The answers of `explain`: why a job got a machine, or did not.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{Market, MicroUsd, Phase};

use super::types::Plan;
use crate::words::money;

/// The evaluation of a pushed commit by the forge and tinqs-ci.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PushExplained {
    /// `owner/name`.
    pub repo: String,
    /// The commit.
    pub sha: String,
    /// The ref that the commit is assumed to be pushed to.
    pub git_ref: String,
    /// The Gitea version whose rules apply: `1.25`, `1.26` or `1.27`.
    pub rules: String,
    /// The demand mode: `jobs` or `push`.
    pub demand: String,
    /// The reason why no workflow file was evaluated.
    pub nothing: Option<String>,
    /// Changed files, at most 1,000; `null` if no filter needs them.
    pub changed_files: Option<Vec<String>>,
    /// The number of changed files.
    pub changed_files_total: usize,
    /// Notes about the evaluation.
    pub notes: Vec<String>,
    /// The workflow files of the commit.
    pub workflows: Vec<WorkflowExplained>,
    /// The number of jobs that need a machine as soon as the commit is pushed.
    pub machines_at_once: usize,
}

/// A workflow file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowExplained {
    /// The path in the folder of workflows.
    pub workflow: String,
    /// The reason why the forge ignores the file.
    pub invalid: Option<String>,
    /// The events that the file names.
    pub events: Vec<EventExplained>,
    /// The jobs of the workflow runs that it starts.
    pub jobs: Vec<JobPlanned>,
    /// The reason why a workflow run of it has no jobs.
    pub problem: Option<String>,
}

/// An event that a workflow file names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventExplained {
    /// The name of the event in the file.
    pub event: String,
    /// The line in the file.
    pub line: usize,
    /// Whether the event starts a workflow run.
    pub matched: bool,
    /// The reason.
    pub why: String,
    /// The filters; empty if they were not evaluated.
    pub filters: Vec<FilterExplained>,
}

/// A filter of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilterExplained {
    /// `branches`, `paths-ignore`, …
    pub filter: String,
    /// The patterns, as written.
    pub patterns: Vec<String>,
    /// Whether the filter accepts the event.
    pub matched: bool,
    /// The deciding pattern, and the file or ref.
    pub why: String,
}

/// A job that the forge creates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobPlanned {
    /// The key of the job in the file.
    pub job: String,
    /// The name, including matrix values.
    pub name: String,
    /// The requested labels.
    pub runs_on: Vec<String>,
    /// Jobs that must end first.
    pub needs: Vec<String>,
    /// `waiting` (needs a runner at once), `blocked`, or `not dispatched` (no runner gets it).
    pub state: String,
    /// The class that serves the job.
    pub class: Option<String>,
    /// The run for the job.
    pub run: Option<String>,
    /// The phase of the run.
    pub phase: Option<Phase>,
    /// The machine of the run, if one was launched.
    pub machine: Option<String>,
    /// The reason why the job gets no machine, or not at once.
    pub why: Option<String>,
}

/// A job at the forge, and its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExplained {
    /// The ID at the forge.
    pub job: i64,
    /// `owner/name`; empty if unknown.
    pub repo: String,
    /// The name of the job.
    pub name: String,
    /// The demand mode: `jobs` or `push`.
    pub demand: String,
    /// The status at the forge; `unknown` is explained in `why`.
    pub at_forge: String,
    /// The requested labels.
    pub runs_on: Vec<String>,
    /// The class that serves the job.
    pub class: Option<String>,
    /// The run for the job.
    pub run: Option<String>,
    /// The phase of the run.
    pub phase: Option<Phase>,
    /// Attempts to get a machine, oldest first.
    pub attempts: Vec<AttemptExplained>,
    /// The plan of the next reconcile; `null` if there is no run, or if the forge or the cloud does
    /// not answer.
    pub next: Option<Plan>,
    /// The reasons that `/v1/why` gives, one sentence each, most important first.
    pub why: Vec<String>,
}

/// An attempt to get a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptExplained {
    /// The number, counted from 1.
    pub number: u32,
    /// The time of the decision.
    #[schemars(with = "String")]
    pub decided_at: Timestamp,
    /// The class.
    pub class: String,
    /// The machine, if a launch was confirmed.
    pub machine: Option<String>,
    /// The instance type, or `process`: of the machine as it is listed, else as it was asked for;
    /// `null` if neither is known any more.
    #[serde(default)]
    pub kind: Option<String>,
    /// The purchase option, known as the kind is.
    #[serde(default)]
    pub market: Option<Market>,
    /// The zone of the machine; `null` if there are no zones, or if it is not listed any more.
    #[serde(default)]
    pub zone: Option<String>,
    /// The price per hour when the machine was first seen, in millionths of a US dollar; `null` if
    /// it is not known.
    #[serde(default)]
    pub hourly_micro_usd: Option<u64>,
    /// The refusals of the cloud, by placement.
    pub refusals: Vec<String>,
    /// The reason why the attempt ended, with what the cloud said about the end of its machine;
    /// `null` if it continues.
    pub ended: Option<String>,
    /// The end of what its machine printed before it ended without a job.
    #[serde(default)]
    pub log: Option<String>,
}

impl AttemptExplained {
    /// Returns the price per hour for people, with all its decimals: `$0.0205`.
    pub fn hourly(&self) -> Option<String> {
        self.hourly_micro_usd.map(|price| format!("${}", money::exact(MicroUsd(price))))
    }

    /// Returns the machine with what is known of it: `i-0f3c21, c7a.medium, spot, eu-west-1b,
    /// $0.0205/h`. Parts come from outside. `None` without a confirmed launch.
    pub fn about_machine(&self) -> Option<String> {
        let market = self.market.map(|market| market.to_string());
        let price = self.hourly().map(|price| format!("{price}/h"));
        let known = [self.machine.clone(), self.kind.clone(), market, self.zone.clone(), price];
        self.machine.is_some().then(|| known.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
