//! The types of `/v1`, shared by the server and the command line. A run is answered as
//! [`tinqs_ci_reconciler::model::Run`]; its secrets show as `[secret]`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{
    BootStop, Cause, ClassName, ClassSpend, ClockCheck, MachineState, Market, MicroUsd,
    Observation, Pause, Phase, Reason, SpotBreaker,
};

use crate::words::money;

/// A list, or a page of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// An opaque cursor: pass it as `after` to get the next page. `null` on the last page.
    pub next: Option<String>,
}

/// A machine with the installation's tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineView {
    /// The ID in the cloud.
    pub id: String,
    /// The attempt ID: `tq-<run>-<installation><uid8>-<attempt>`.
    pub attempt_id: String,
    /// The run that it was launched for.
    pub run: String,
    /// The class.
    pub class: String,
    /// The instance type, or `process`.
    pub kind: String,
    /// The zone; empty if there are no zones.
    pub zone: String,
    /// The purchase option.
    pub market: Market,
    /// The state.
    pub state: MachineState,
    /// The current activity.
    pub doing: MachineActivity,
    /// The job that it executes; `null` if there is none, or if it is not known.
    pub job: Option<MachineJob>,
    /// The time of the launch.
    #[schemars(with = "String")]
    pub launched_at: Timestamp,
    /// The time when it powers itself off at the latest.
    #[schemars(with = "String")]
    pub deadline: Timestamp,
    /// The price per hour in millionths of a US dollar: the spot price of now, or that of
    /// `[prices]`; `null` if it is not known.
    #[serde(default)]
    pub hourly_micro_usd: Option<u64>,
    /// The cost since the launch at that price, in millionths of a US dollar; `null` if the price,
    /// the launch or the end is not known.
    #[serde(default)]
    pub cost_micro_usd: Option<u64>,
}

/// The current activity of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Doing")]
pub enum MachineActivity {
    /// It boots.
    Booting,
    /// It waits for a job.
    Idle,
    /// It executes a job.
    Job,
    /// It is up, and not known to have a job or to wait for one.
    Up,
    /// It shuts down.
    Ending,
    /// It is terminated.
    Gone,
}

/// The job that a machine executes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineJob {
    /// The job's run, which may be another than the one that the machine was launched for.
    pub run: String,
    /// `owner/name`.
    pub repo: String,
    /// The name of the job, including matrix values.
    pub name: String,
    /// The URL of the job's page at the forge.
    pub url: String,
}

/// A runner's registration at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registration {
    /// The ID at the forge.
    pub id: i64,
    /// The attempt ID, which is the runner's name.
    pub attempt_id: String,
    /// The run that it was created for.
    pub run: String,
    /// Whether the runner contacted the forge within the last minute.
    pub online: bool,
    /// Whether the runner has a job.
    pub busy: bool,
}

/// A configured class and its usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// The name.
    pub name: String,
    /// The labels of its runners.
    pub labels: Vec<String>,
    /// Whether it also serves jobs without labels.
    #[serde(default)]
    pub serves_unlabeled: bool,
    /// Patterns of the repositories whose jobs it serves; empty for every repository.
    #[serde(default)]
    pub repos: Vec<String>,
    /// The security groups of its machines; empty for the default group of the VPC, or where there
    /// are none.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// The instance profile of its machines; `null` for none.
    #[serde(default)]
    pub instance_profile: Option<String>,
    /// The maximum number of machines; `null` for no limit.
    pub limit: Option<u32>,
    /// The maximum number of machines for one repository; `null` for no limit.
    pub repo_limit: Option<u32>,
    /// The maximum number of machines for all repositories of one owner; `null` for no limit.
    #[serde(default)]
    pub owner_limit: Option<u32>,
    /// Its budget per day, and what it has spent today; `null` if it has none.
    #[serde(default)]
    pub budget: Option<BudgetUse>,
    /// The number of seats in use; only counted if the class has a limit.
    pub seats: usize,
    /// The repositories that hold these seats, those with the most first.
    #[serde(default)]
    pub seats_by_repo: Vec<RepoSeats>,
    /// The number of live machines.
    pub machines: usize,
    /// The number of open runs that it serves.
    pub open_runs: usize,
    /// The number of these that wait.
    pub waiting_runs: usize,
    /// The distinct reasons of its waiting runs, most frequent first.
    pub blocked_by: Vec<Reason>,
    /// Its unavailable offerings, as this process knows them.
    #[serde(default)]
    pub unavailable: Vec<Unavailable>,
    /// Its latest machines never came online, so that it launches one at a time; `null` otherwise.
    #[serde(default)]
    pub boot_stop: Option<BootStop>,
    /// The cloud took several of its spot machines, so that its machines on demand come first for a
    /// while; `null` otherwise.
    #[serde(default)]
    pub spot_breaker: Option<SpotBreaker>,
}

/// The seats that a repository holds in a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoSeats {
    /// `owner/name`.
    pub repo: String,
    /// Their number.
    pub seats: usize,
}

/// An offering that is skipped for a while because the cloud refused it, or because its price is
/// not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unavailable {
    /// The instance type.
    pub kind: String,
    /// The subnet; empty if there is none.
    pub subnet: String,
    /// The purchase option.
    pub market: Market,
    /// The time until which it is skipped.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// The cause.
    pub why: Cause,
}

/// The budget of a class, and what is spent of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetUse {
    /// The budget per day, in millionths of a US dollar.
    pub per_day_micro_usd: u64,
    /// The estimated cost of its machines since midnight UTC, in millionths of a US dollar; `null`
    /// if it is not known yet.
    pub spent_today_micro_usd: Option<u64>,
}

impl BudgetUse {
    /// Returns that of a class among those with a budget.
    pub fn of(spend: &[ClassSpend], class: &ClassName) -> Option<Self> {
        let own = spend.iter().find(|own| own.class == *class)?;
        Some(Self {
            per_day_micro_usd: own.budget.0,
            spent_today_micro_usd: own.today.map(|today| today.0),
        })
    }
}

/// For people: `$1.20 of $5.00`.
impl std::fmt::Display for BudgetUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let spent = self.spent_today_micro_usd.map(|today| money::dollars(MicroUsd(today)));
        let spent = spent.unwrap_or_else(|| money::UNKNOWN.to_owned());
        write!(f, "{spent} of {}", money::dollars(MicroUsd(self.per_day_micro_usd)))
    }
}

/// The pauses in force after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pauses {
    /// The time of the answer.
    #[schemars(with = "String")]
    pub now: Timestamp,
    /// Whether the request changed something: it was not paused, or resumed, already.
    pub changed: bool,
    /// The pauses that hold now, that of every class first.
    pub pauses: Vec<Pause>,
}

/// A one-time address that signs a browser in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignIn {
    /// The path and the query of the address, at the address of the request.
    pub path: String,
    /// The time when it ends, if nobody has used it before.
    #[schemars(with = "String")]
    pub expires_at: Timestamp,
    /// As whom it signs in: the name of a token, or `uid` and the number.
    pub who: String,
    /// The right that it gives: `read` or `operate`.
    pub may: String,
}

/// The observation of a run, and what a reconcile would do now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The name of the run.
    pub name: String,
    /// Whether there is nothing to do or write.
    pub settled: bool,
    /// The current phase; `null` if there is no record.
    pub phase: Option<Phase>,
    /// The next phase; `null` if the record would be removed.
    pub next_phase: Option<Phase>,
    /// The rule of the decision table that decides the next state.
    pub rule: String,
    /// The planned changes, in order.
    pub changes: Vec<Change>,
    /// The observation that the plan is made from.
    pub observation: Option<Observation>,
}

/// A planned change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `+` adds, `-` removes, `~` changes.
    pub sign: String,
    /// The object: `attempt 2`, `registration 4711`, `machine i-0aa`, `seat linux`, `run`.
    pub what: String,
    /// The action: `launch`, `register`, `retire`, `terminate`, `seat`, `unseat`, `write`,
    /// `remove`.
    pub verb: String,
    /// The reason.
    pub why: String,
    /// The rule of the decision table: `overdue (rule 20)`.
    pub rule: String,
}

/// An error answer (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason phrase of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The failure, and the remedy.
    pub detail: String,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Whether the store can be written, so that webhooks are accepted.
    pub ready: bool,
    /// The services by name: `store`, `queue`, `forge`, `compute`.
    pub parts: BTreeMap<String, Part>,
    /// Whether the clock of this process agrees with the true time, as the forge's answers tell it.
    /// If not, the process is ready, and concludes nothing from a wait.
    #[serde(default)]
    pub clock: ClockCheck,
    /// Seconds by which it is ahead, negative if behind; `null` if the forge has not told its time.
    pub clock_ahead_seconds: Option<i64>,
}

/// The state of a service. Error messages stay in the log, because this answer is public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// The health according to the last call.
    pub state: Health,
    /// The time of the last successful call.
    #[schemars(with = "Option<String>")]
    pub last_contact: Option<Timestamp>,
    /// The seconds since then.
    pub age_seconds: Option<i64>,
    /// The kind of the last error: `unavailable`, `denied`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The health of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The service was not called yet.
    Unknown,
    /// The last call succeeded.
    Ok,
    /// The last call failed.
    Failing,
}

/// The answer of a reload: what changed, and what takes effect at the next start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// The changes now in force: keys such as `forge.token`, and `class linux: changed limit`.
    pub changed: Vec<String>,
    /// Changed keys that need a restart, such as `server.api`.
    pub restart: Vec<String>,
    /// Values that are allowed but probably unintended.
    pub warnings: Vec<String>,
}
