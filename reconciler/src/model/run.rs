//! A run: one job's need for a machine, from the moment the job is seen waiting.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, PastAttempt};
use super::job::JobRef;
use super::job_times::JobWait;
use super::names::{AttemptId, RunName, Uid};
use super::outcome::Outcome;
use super::record_formats::{self, RecordFormats};
use super::rerun::Interruption;
use super::timeline::{Happened, Milestone, SeenBy};
use super::unknown_fields::UnknownFields;
use super::usage::RunUsage;

/// Milestones kept from the beginning of the timeline.
const FIRST: usize = 4;
/// Milestones kept from its end.
const LATEST: usize = 20;

/// One job's need for a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Run {
    /// The format in which the record was last written.
    #[serde(default = "record_formats::first", skip_serializing_if = "record_formats::is_first")]
    pub format: u32,
    /// The key, used in the store, the queue, machine tags and URLs.
    pub name: RunName,
    /// The incarnation: a run that is removed and created again has another UID.
    pub uid: Uid,
    /// Counts the writes of this incarnation. Set by the store.
    pub version: u64,
    /// Time at which the record was created.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub created_at: Timestamp,
    /// Set when a person deletes the run: its job gets no machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub deleted_at: Option<Timestamp>,
    /// Set when a person deletes the run at once: its machine is terminated, busy or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminate_now: bool,
    /// The desired state.
    pub spec: Spec,
    /// The recorded progress.
    pub status: Status,
    /// The fields that a later release recorded, for the next write. Neither shown nor decided by.
    #[serde(skip)]
    pub unknown: UnknownFields,
}

/// The desired state: the job and the labels it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Spec {
    /// The job at the forge.
    pub job: JobRef,
    /// The labels that a runner must have, all of them.
    pub runs_on: Vec<String>,
    /// Informational: affects no decision.
    #[serde(default)]
    pub about: About,
    /// Push mode: runs that must finish before this one gets a machine. Empty where the forge
    /// reports its jobs, because it then reports blocked ones too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<RunName>,
    /// Runs that need this one and are woken when it finishes. A hint: affects no decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<RunName>,
}

/// Text about a job, for people. It comes from outside and is never trusted. Only the job's name and
/// the ID of its workflow run are used otherwise: they find the job that is run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct About {
    /// `owner/name`.
    pub repo: String,
    /// The workflow's file or name.
    pub workflow: String,
    /// The job's name, including matrix values.
    pub job: String,
    /// The branch or tag.
    pub branch: String,
    /// The commit's hash.
    pub commit: String,
    /// The workflow run's ID at the forge; 0 if unknown.
    pub run_id: i64,
    /// The URL of the job's page at the forge.
    pub url: String,
}

/// The progress of a run. Written by compare-and-set only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Status {
    /// The summary.
    pub phase: Phase,
    /// The number of the next attempt. A lower number that is not recorded is void.
    pub next: u32,
    /// The latest attempt, active or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Earlier attempts: all decided less than 22 minutes ago or with a live machine, and the last 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastAttempt>,
    /// Time since which the job was seen waiting, or at which a person retried the run.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub waiting_since: Timestamp,
    /// The times at which the job was queued and started, by the forge's clock. Affects no
    /// decision.
    #[serde(default, skip_serializing_if = "JobWait::is_unknown")]
    pub wait: JobWait,
    /// Consecutive attempts that ended without a job.
    #[serde(default)]
    pub failures: u32,
    /// No attempt starts before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub retry_at: Option<Timestamp>,
    /// Time at which the run finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub finished_at: Option<Timestamp>,
    /// The outcome, if it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The name of the runner that executes the job. It may belong to another run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// That the cloud took the machine on which the job runs, or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Interruption>,
    /// The conditions that hold now, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The milestones of the run: the first four and the latest twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timeline: Vec<Milestone>,
    /// The machines of the run, for its usage. Affects no decision.
    #[serde(default, skip_serializing_if = "RunUsage::is_empty")]
    pub usage: RunUsage,
    /// Latest time of the run's next reconcile.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub due: Timestamp,
}

/// The phase of a run. Set by `plan` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Phase {
    /// The job waits, and no machine is starting.
    Waiting,
    /// A machine is starting or idle.
    Starting,
    /// The job runs, on this run's machine or on another's.
    Running,
    /// The job needs nothing more.
    Finished,
}

/// A condition that holds for a run now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Condition {
    /// The reason.
    pub reason: Reason,
    /// Time since which it holds.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// The message for people.
    pub message: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// The reason why a run makes no progress, or what is wrong with it. Written in `CamelCase`
        /// in JSON and text, and in `snake_case` in metric labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Reason {
            $($(#[$doc])* $name,)+
            /// A reason that a later release wrote.
            #[serde(other)]
            Other,
        }

        impl Reason {
            /// Every reason that this release knows.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];

            /// Returns its metric label: `no_class`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ Self::Other => "other" }
            }

            /// Returns its name in JSON and text: `NoClass`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ Self::Other => "Other" }
            }
        }
    };
}

reasons! {
    /// A person deleted the run.
    Deleted = "deleted",
    /// The forge blocks the job: it waits for needs, approval or concurrency.
    Blocked = "blocked",
    /// No configured class serves its labels.
    NoClass = "no_class",
    /// Another job took its machine; it waits for the machine of that job.
    MachineReassigned = "machine_reassigned",
    /// It waits after failed attempts.
    BackingOff = "backing_off",
    /// All offerings of its class are unavailable.
    NoCapacity = "no_capacity",
    /// A person paused the launches of its class.
    Paused = "paused",
    /// The budget of its class is spent for today, or cannot be kept.
    Budget = "budget",
    /// The launch pacer has no token.
    Paced = "paced",
    /// The class, or the repository or the owner in it, is at its limit.
    AtLimit = "at_limit",
    /// The breaker of its class is open: the cloud refused a launch, and an operator must act.
    BreakerOpen = "breaker_open",
    /// The job runs, but its machine is gone: the forge will fail it.
    MachineLost = "machine_lost",
    /// The same, and the machine had reached `max_age`.
    MaxAge = "max_age",
    /// The cloud took the machine of the job, which is run again once its workflow run is over.
    AwaitsRerun = "awaits_rerun",
    /// Never stored: the job was canceled, and its machine is not ended yet.
    Cancelled = "cancelled",
}

impl Reason {
    /// Returns whether the machine of a running job is gone, and the job is not run again by us.
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::MachineLost | Self::MaxAge)
    }

    /// Returns whether a person must do something about it.
    pub const fn needs_person(self) -> bool {
        matches!(self, Self::NoClass | Self::BreakerOpen) || self.is_lost()
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Run {
    /// Creates the run of a job that was just seen waiting.
    pub fn new(installation: &str, name: RunName, spec: Spec, by: SeenBy, now: Timestamp) -> Self {
        Self {
            format: RecordFormats::FIRST,
            uid: Uid::new(installation, &name, now),
            name,
            version: 0,
            created_at: now,
            deleted_at: None,
            terminate_now: false,
            spec,
            status: Status {
                phase: Phase::Waiting,
                next: 1,
                attempt: None,
                past: Vec::new(),
                waiting_since: now,
                wait: JobWait::default(),
                failures: 0,
                retry_at: None,
                finished_at: None,
                outcome: None,
                runner: None,
                interrupted: None,
                conditions: Vec::new(),
                timeline: vec![Milestone::new(now, Happened::Seen { by })],
                usage: RunUsage::default(),
                due: now,
            },
            unknown: UnknownFields::default(),
        }
    }

    /// Returns the ID of an attempt of this incarnation.
    pub fn attempt_id(&self, number: u32) -> AttemptId {
        AttemptId { run: self.name.clone(), uid: self.uid.short(), number }
    }

    /// Returns the attempt whose runner has this name, of this run or another one; `None` if it is
    /// no runner of this run's installation.
    pub fn attempt_of(&self, runner: &str) -> Option<AttemptId> {
        let attempt_id: AttemptId = runner.parse().ok()?;
        let own = self.attempt_id(0).installation();
        (!own.is_some_and(|own| attempt_id.is_of_another(&own))).then_some(attempt_id)
    }

    /// Returns whether the run is not finished.
    pub fn is_open(&self) -> bool {
        self.status.phase != Phase::Finished
    }

    /// Deletes the run for the person `by`: its job gets no machine. With `terminate` its machine is
    /// terminated too. Voids the attempt number that may be in preparation.
    pub fn delete(&mut self, now: Timestamp, terminate: bool, by: Option<&str>) {
        let requested = (self.deleted_at.is_some(), self.terminate_now);
        self.deleted_at.get_or_insert(now);
        self.terminate_now |= terminate;
        if requested != (true, self.terminate_now) {
            self.status.happened(now, Happened::Deleted { by: by.map(str::to_owned) });
        }
        self.status.next = self.status.next.saturating_add(1);
        self.status.due = now;
    }

    /// Returns whether a retry changes something: a job that is over is re-run at the forge.
    pub fn can_retry(&self) -> bool {
        let gave_up = self.status.outcome == Some(Outcome::GaveUp);
        self.is_open() || self.deleted_at.is_some() || gave_up
    }

    /// Retries the run now for the person `by`. Clears backoff, giving up and deletion. Its machines
    /// that never came online no longer stop its class.
    pub fn retry(&mut self, now: Timestamp, by: Option<&str>) {
        self.deleted_at = None;
        self.terminate_now = false;
        let status = &mut self.status;
        if status.outcome == Some(Outcome::GaveUp) {
            status.phase = Phase::Waiting;
            status.outcome = None;
            status.finished_at = None;
        }
        status.failures = 0;
        status.retry_at = None;
        let past = status.past.iter_mut().map(|past| &mut past.boot_result);
        let results = status.attempt.iter_mut().map(|it| &mut it.boot_result).chain(past);
        results.for_each(|result| *result = result.filter(|result| result.online));
        status.waiting_since = now;
        status.due = now;
        status.happened(now, Happened::Retried { by: by.map(str::to_owned) });
    }
}

impl Status {
    /// Adds a milestone. The timeline keeps its first four and its latest twenty.
    pub(crate) fn happened(&mut self, at: Timestamp, what: Happened) {
        self.timeline.push(Milestone::new(at, what));
        let many = self.timeline.len().saturating_sub(FIRST + LATEST);
        if many > 0 {
            self.timeline.drain(FIRST..FIRST + many);
        }
    }

    /// Returns when the job was last seen to start.
    pub fn started_at(&self) -> Option<Timestamp> {
        let started = |m: &&Milestone| matches!(m.what, Happened::Started { .. });
        self.timeline.iter().rev().find(started).map(|m| m.at)
    }

    /// Returns since when the job waits, or waited, for a runner.
    pub fn queued_at(&self) -> Timestamp {
        self.wait.queued_at.unwrap_or(self.waiting_since)
    }

    /// Returns how long the job has waited for a runner at `now`, or did wait if it has started.
    /// `None` if it started and its wait is not known.
    pub fn waited(&self, now: Timestamp) -> Option<SignedDuration> {
        let waited = match (self.wait.started_at, self.wait.queued_at) {
            (Some(started), queued) => started.duration_since(queued?),
            (None, _) => now.duration_since(self.queued_at()),
        };
        Some(waited.max(SignedDuration::ZERO))
    }

    /// Returns the reason of the first condition.
    pub fn reason(&self) -> Option<Reason> {
        self.conditions.first().map(|c| c.reason)
    }
}
