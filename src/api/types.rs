//! What `/v1` answers and the command line reads: one definition for both.
//! A run is answered as [`tinqs_ci_reconciler::model::Run`] itself; its secrets show as `[secret]`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{InstanceState, Market, Observation, Phase, Reason};

/// A list, or a page of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// The things.
    pub items: Vec<T>,
    /// Opaque; gives the next page as `after`. `null`: there is none.
    pub next: Option<String>,
}

/// A machine with our tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Its id in its cloud.
    pub id: String,
    /// `tq-<run>-<uid8>-<attempt>`.
    pub slot: String,
    /// The run it was started for.
    pub run: String,
    /// Its class.
    pub class: String,
    /// Its kind: an instance type, or `process`.
    pub kind: String,
    /// Where it is; empty where there are no zones.
    pub zone: String,
    /// How it is paid.
    pub market: Market,
    /// What it is doing.
    pub state: InstanceState,
    /// When it was launched.
    #[schemars(with = "String")]
    pub launched_at: Timestamp,
    /// When it powers itself off at the latest.
    #[schemars(with = "String")]
    pub deadline: Timestamp,
}

/// A runner row at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// Its id at the forge.
    pub id: i64,
    /// Its name: a slot.
    pub slot: String,
    /// The run it was made for.
    pub run: String,
    /// In contact within the last minute.
    pub online: bool,
    /// At work.
    pub busy: bool,
}

/// A configured class and how full it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What its runners carry.
    pub labels: Vec<String>,
    /// Most machines at once; `null`: no limit.
    pub limit: Option<u32>,
    /// Most machines at once for one repository.
    pub repo_limit: Option<u32>,
    /// Seats taken; only counted where there is a limit.
    pub seats: usize,
    /// Live machines.
    pub machines: usize,
    /// Open runs that it serves.
    pub open_runs: usize,
    /// Of those, not yet starting.
    pub waiting_runs: usize,
    /// Why its waiting runs are not further on, most frequent first, without doubles.
    pub blocked_by: Vec<Reason>,
}

/// What a look at a run would see and do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The run.
    pub name: String,
    /// Nothing would be done or written.
    pub settled: bool,
    /// The phase before; `null`: there is no record.
    pub phase: Option<Phase>,
    /// The phase after; `null`: the record would go.
    pub next_phase: Option<Phase>,
    /// The row of the heart that decides the next state.
    pub row: String,
    /// What would be done, in order.
    pub changes: Vec<Change>,
    /// What is seen.
    pub observation: Option<Observation>,
}

/// One thing that would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `+` comes, `-` goes, `~` changes.
    pub sign: String,
    /// On what: `attempt 2`, `registration 4711`, `machine i-0aa`, `seat linux`, `run`.
    pub what: String,
    /// What: `launch`, `register`, `retire`, `terminate`, `seat`, `unseat`, `write`, `remove`.
    pub verb: String,
    /// Why, with the row.
    pub why: String,
}

/// An error answer (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what helps.
    pub detail: String,
}

/// What `/readyz` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// The store can be written: webhooks are taken.
    pub ready: bool,
    /// Each service by its name: `store`, `queue`, `forge`, `compute`.
    pub parts: BTreeMap<String, Part>,
}

/// What is told of one service. Why a call failed stands in the log: this is open to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// What its last call says.
    pub state: Health,
    /// When it last answered an ordinary call.
    #[schemars(with = "Option<String>")]
    pub last_contact: Option<Timestamp>,
    /// How long ago that was.
    pub age_seconds: Option<i64>,
    /// By what helps: `unavailable`, `denied`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a contact says about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It was not called yet.
    Unknown,
    /// The last call was answered.
    Ok,
    /// The last call failed.
    Failing,
}
