//! The answers of `/v1/status` and `/v1/why`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::controller::UnservedLabels;
use tinqs_ci_reconciler::model::{MicroUsd, Milestone, Pause, Phase};

use super::drift::DriftView;
use super::explain::AttemptExplained;
use super::types::{BudgetUse, Health};
use crate::words::money;

/// The state of the installation. Replicas over one store report the same, but for what this
/// process reports about itself: `started_at`, `machines_listed_at`, `services`, `webhooks`,
/// `waits`, `unserved_jobs`, `unserved`, `breakers`, `failing_runs`, and what `attention` has of
/// these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// The time of the answer.
    #[schemars(with = "String")]
    pub now: Timestamp,
    /// The time when this process started.
    #[schemars(with = "String")]
    pub started_at: Timestamp,
    /// Everything that is not well, most important first; at most 100.
    pub attention: Vec<Attention>,
    /// The forge, the store, the cloud and the queue.
    pub services: Vec<Service>,
    /// Webhook deliveries since the start; `null` if this process accepts none.
    pub webhooks: Option<Webhooks>,
    /// The classes, in the order of the configuration.
    pub classes: Vec<ClassStatus>,
    /// The waits of the jobs of all classes that started within the last hour, as this process saw
    /// them; `null` if none did.
    #[serde(default)]
    pub waits: Option<ClassWaits>,
    /// The time when this process last listed the machines, as the counts and costs of machines,
    /// lost ones and their drift show them; `null` if it has not yet, so that none of them is
    /// known.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub machines_listed_at: Option<Timestamp>,
    /// The cost of the machines; `null` from a server that does not report it.
    #[serde(default)]
    pub spend: Option<Spend>,
    /// The number of waiting jobs that no class serves; `null` if this process has not read the
    /// forge's list.
    pub unserved_jobs: Option<usize>,
    /// These jobs by the labels they ask for.
    pub unserved: Vec<Unserved>,
    /// Runs whose machine was lost with their job running.
    pub lost_machines: Vec<RunReason>,
    /// The number of open drift; `null` if the open runs cannot be read.
    #[serde(default)]
    pub open_drift: Option<usize>,
    /// The open drift, longest first; at most 100.
    #[serde(default)]
    pub drift: Vec<DriftView>,
    /// The pauses in force, that of every class first.
    #[serde(default)]
    pub pauses: Vec<Pause>,
    /// Open breakers.
    pub breakers: Vec<Breaker>,
    /// Open runs whose last reconcile failed at a service; at most 500.
    pub failing_runs: Vec<RunReason>,
}

impl StatusView {
    /// Returns since when the run waits that has waited longest.
    pub fn oldest_waiting_since(&self) -> Option<Timestamp> {
        self.classes.iter().filter_map(|class| class.oldest_waiting_since).min()
    }

    /// Whether something needs a person.
    pub fn needs_person(&self) -> bool {
        self.attention.iter().any(|attention| attention.needs_person)
    }
}

/// The cost of the machines, as far as their prices are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// The cost per hour of the live machines, as last listed, in millionths of a US dollar; `null`
    /// if none of their prices is known, or if this process has not listed them.
    pub per_hour_micro_usd: Option<u64>,
    /// The number of live machines whose price is not known. They are in no amount.
    pub unpriced_machines: usize,
    /// The cost of this day, in UTC, in millionths of a US dollar: of the runs that finished today,
    /// once they are counted, and of the machines that this process saw, since midnight and at the
    /// price when it was first known. The budgets of the classes are compared with the same sums.
    /// `null` if nothing of it is known.
    pub today_micro_usd: Option<u64>,
    /// Whether the cost of this day is at least that: a price or an end is not known.
    pub today_may_be_higher: bool,
}

impl Spend {
    /// Returns the cost per hour for people: `$0.41`, `≥ $0.41`, `–`.
    pub fn per_hour(&self) -> String {
        money::at_least(self.per_hour_micro_usd.map(MicroUsd), self.unpriced_machines > 0)
    }

    /// Returns the cost of this day for people: `$3.10`, `≥ $3.10`, `–`.
    pub fn today(&self) -> String {
        money::at_least(self.today_micro_usd.map(MicroUsd), self.today_may_be_higher)
    }
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attention {
    /// The reason: `ForgeDenied`, `NoClass`, `BreakerOpen`, ….
    pub reason: String,
    /// The affected object: `forge`, `class linux`, `labels [gpu]`, `job-7`.
    pub subject: String,
    /// The time at which it began.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// The problem.
    pub message: String,
    /// The remedy; empty if there is nothing to do.
    pub fix: String,
    /// Whether a person must act. Otherwise it may pass by itself.
    pub needs_person: bool,
}

/// The state of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// `forge`, `store`, `cloud` or `queue`.
    pub name: String,
    /// The state according to ordinary calls.
    pub state: Health,
    /// The time of the last successful call.
    #[schemars(with = "Option<String>")]
    pub last_contact: Option<Timestamp>,
    /// The failure; `null` unless it fails.
    pub failure: Option<ServiceFailure>,
}

/// The failure of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceFailure {
    /// `ForgeDenied`, `ForgeUnreachable`, `CloudDenied`, `CloudUnreachable`, `StoreFailing` or
    /// `QueueFailing`.
    pub reason: String,
    /// The time at which it began.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// The call that fails.
    pub operation: String,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
}

/// Webhook deliveries since the start of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhooks {
    /// Accepted deliveries.
    pub accepted: u64,
    /// Deliveries that do not concern demand.
    pub ignored: u64,
    /// Refused deliveries.
    pub refused: u64,
    /// Of these, deliveries whose signature was missing or wrong.
    #[serde(default)]
    pub unsigned: u64,
    /// Of these, deliveries that could not be stored.
    #[serde(default)]
    pub failed: u64,
    /// Jobs that only a poll found, not a delivery.
    #[serde(default)]
    pub found_by_polling: u64,
    /// The time of the last accepted or ignored delivery.
    #[schemars(with = "Option<String>")]
    pub last_accepted: Option<Timestamp>,
    /// The time of the last refused delivery.
    #[schemars(with = "Option<String>")]
    pub last_refused: Option<Timestamp>,
    /// The reason of the refusal.
    pub refused_because: Option<String>,
}

impl Webhooks {
    /// Returns the number of all deliveries.
    pub fn count(&self) -> u64 {
        self.accepted + self.ignored + self.refused
    }
}

/// A class and its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassStatus {
    /// The name.
    pub name: String,
    /// The maximum number of machines; `null` for no limit.
    pub limit: Option<u32>,
    /// Its budget per day, and what it has spent today; `null` if it has none.
    #[serde(default)]
    pub budget: Option<BudgetUse>,
    /// The number of live machines, as last listed.
    pub machines: usize,
    /// The number of machines that it should have: one for each open run that was not deleted.
    #[serde(default)]
    pub desired: usize,
    /// The number of open runs.
    pub open: usize,
    /// The number of these that wait.
    pub waiting: usize,
    /// The time since which the one waits that has waited longest, of those that were not deleted;
    /// `null` if none waits.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub oldest_waiting_since: Option<Timestamp>,
    /// The number of these whose machine starts.
    pub starting: usize,
    /// The number of these whose job runs.
    pub running: usize,
    /// The reasons of its waiting runs, most frequent first, counted over the 500 newest.
    pub reasons: Vec<ReasonCount>,
    /// The waits of its jobs that started within the last hour, as this process saw them; `null` if
    /// none did.
    pub waits: Option<ClassWaits>,
}

/// The waits of jobs for a runner, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClassWaits {
    /// The number of jobs, at most 1,000 of a class.
    pub jobs: usize,
    /// Half of them waited at most so long.
    pub p50_seconds: i64,
    /// 95 of 100 waited at most so long.
    pub p95_seconds: i64,
}

/// A reason and the number of runs that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// The reason.
    pub reason: String,
    /// The number of runs.
    pub runs: usize,
}

/// Waiting jobs that no class serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unserved {
    /// The labels, the number of jobs, some of them, and the nearest class.
    #[serde(flatten)]
    pub set: UnservedLabels,
    /// The time when this process saw the first of them.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// An open breaker: the class launches nothing but one attempt per five minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// The class.
    pub class: String,
    /// The time at which it began.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// The time from which an attempt may try again.
    #[schemars(with = "String")]
    pub until: Timestamp,
    /// The refusal, and the remedy.
    pub message: String,
}

/// A run with the reason why it makes no progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReason {
    /// The name of the run, or `job-<ID>` of a job without one.
    pub run: String,
    /// `owner/name`.
    pub repo: String,
    /// The name of the job.
    pub job: String,
    /// The URL of the job's page at the forge.
    pub url: String,
    /// The phase; `null` if it is not known.
    pub phase: Option<Phase>,
    /// The reason; empty if there is none.
    pub reason: String,
    /// The time at which it began.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// The reason as a sentence.
    pub message: String,
}

/// The reasons why jobs wait: of one job, or of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Why")]
pub struct WaitReasons {
    /// Everything that is not well, most important first.
    pub attention: Vec<Attention>,
    /// The runs that wait, or those of the workflow run that was asked for, most important first;
    /// at most 200.
    pub runs: Vec<RunReason>,
    /// The job that was asked for.
    pub job: Option<JobWhy>,
}

/// One job: what it is, what it waits for, and what happens next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobWhy {
    /// The name of the run; `null` if the job has none.
    pub run: Option<String>,
    /// The job's ID at the forge; `null` in push mode.
    pub id: Option<i64>,
    /// `owner/name`.
    pub repo: String,
    /// The name of the job.
    pub name: String,
    /// The URL of the job's page at the forge.
    pub url: String,
    /// The requested labels.
    pub runs_on: Vec<String>,
    /// The class that serves the job.
    pub class: Option<String>,
    /// The phase of the run.
    pub phase: Option<Phase>,
    /// The status at the forge in one word; `null` if the forge was not asked or did not answer.
    pub at_forge: Option<String>,
    /// The number of this attempt of the job at the forge, from 1; `null` if it is not known.
    #[serde(default)]
    pub job_attempt: Option<u32>,
    /// The state in one sentence.
    pub state: String,
    /// The reason why it makes no progress.
    pub reason: Option<String>,
    /// The time at which it began.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// The event or the resource that it waits for.
    pub waits_for: Option<String>,
    /// The next step, and its time.
    pub next: Vec<String>,
    /// The change that would unblock it.
    pub fix: Option<String>,
    /// Attempts to get a machine, oldest first.
    pub attempts: Vec<AttemptExplained>,
    /// The milestones of the run: the first four and the latest twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Milestone>,
    /// Further information, and what could not be found out.
    pub notes: Vec<String>,
}

impl JobWhy {
    /// Returns why the job is where it is, one sentence each, most important first.
    pub fn sentences(&self) -> Vec<String> {
        let reason = self.reason.as_ref().map(|reason| format!("{reason}: ")).unwrap_or_default();
        let mut all = vec![format!("{reason}{}", self.state)];
        all.extend(self.waits_for.iter().map(|text| format!("waits for: {text}")));
        all.extend(self.next.iter().map(|text| format!("next: {text}")));
        all.extend(self.fix.iter().map(|text| format!("to unblock: {text}")));
        all.extend(self.notes.iter().cloned());
        all
    }
}
