//! A run: one job's need for a machine, from the moment the job is seen waiting.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, PastAttempt};
use super::names::{RunName, Slot, Uid};

/// One job's need for a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Run {
    /// The key: in the store, the queue, machine tags and URLs.
    pub name: RunName,
    /// Which incarnation of that name: a run removed and made anew has another.
    pub uid: Uid,
    /// Counts the writes of this incarnation; the store sets it.
    pub version: u64,
    /// When the record was made.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub created_at: Timestamp,
    /// Set by a person: this job gets no machine any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub deleted_at: Option<Timestamp>,
    /// Set by a person: its machine is terminated, busy or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminate_now: bool,
    /// What is wanted.
    pub spec: Spec,
    /// How far that is.
    pub status: Status,
}

/// What is wanted: the job and the labels it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Spec {
    /// The job at the forge.
    pub job: JobRef,
    /// The labels that a runner must carry, every one of them.
    pub runs_on: Vec<String>,
    /// For people; decides nothing.
    #[serde(default)]
    pub about: About,
    /// Push mode: runs that must be over before this one is due. Where the forge tells of its
    /// jobs, it tells this too, and the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<RunName>,
    /// The other direction: runs to look at when this one is over. A hint, decides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<RunName>,
}

/// A job at the forge. The numeric ids decide; names change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct JobRef {
    /// `owner/name` as last heard.
    pub repo: String,
    /// The repository's id at the forge; 0 where it is not known.
    pub repo_id: i64,
    /// The job's id at the forge; 0 in push mode.
    pub job_id: i64,
}

/// What people want to know of a job. Text from outside, never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct About {
    /// `owner/name`.
    pub repo: String,
    /// The workflow file or its name.
    pub workflow: String,
    /// The job's name, matrix values included.
    pub job: String,
    /// The branch or tag.
    pub branch: String,
    /// The commit's hash.
    pub commit: String,
    /// The workflow run's id at the forge; 0 where it is not known.
    pub run_id: i64,
    /// The page of the job at the forge.
    pub url: String,
}

/// How far a run is. Written by compare-and-set only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Status {
    /// The summary.
    pub phase: Phase,
    /// The number that the next attempt takes. A lower one that is recorded nowhere is void.
    pub next: u32,
    /// The newest attempt, going on or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Attempts before that: all decided less than 22 minutes ago, and the last 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastAttempt>,
    /// Since when the job waits.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub waiting_since: Timestamp,
    /// Attempts in a row that ended without getting a job.
    #[serde(default)]
    pub failures: u32,
    /// No attempt before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub retry_at: Option<Timestamp>,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub finished_at: Option<Timestamp>,
    /// How it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The name of the runner that works on the job; it may be another run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What is true now and worth telling, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// When to look again at the latest.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub due: Timestamp,
}

/// A summary of a run, set in `plan` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Phase {
    /// The job waits; no machine is on its way.
    Waiting,
    /// A machine is on its way or idle.
    Starting,
    /// The job runs, here or on another run's machine.
    Running,
    /// Nothing more will be done for it.
    Finished,
}

/// How a run was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The job succeeded.
    Succeeded,
    /// The job failed.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// The job was skipped.
    Skipped,
    /// The job or its repository is no longer at the forge.
    JobGone,
    /// The job waited longer than `give_up_after`.
    GaveUp,
    /// Push mode: the machine that worked on it ended.
    MachineEnded,
}

/// A thing that is true of a run now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Condition {
    /// Its reason, spelt the same in metrics and logs.
    pub reason: Reason,
    /// Since when it is true.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// A sentence for people.
    pub message: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// Why a run is not further on. JSON and text write it in CamelCase, metric labels in
        /// snake_case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Reason {
            $($(#[$doc])* $name),+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];

            /// Its value as a metric label: `no_class`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// Its name in JSON and text: `NoClass`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

reasons! {
    /// A person deleted it.
    Deleted = "deleted",
    /// The job waits for something at the forge: needs, approval, concurrency.
    Blocked = "blocked",
    /// No configured class serves its labels.
    NoClass = "no_class",
    /// Another job took its machine; that job's machine is expected to take this one.
    SpareExpected = "spare_expected",
    /// Waiting after attempts that failed.
    BackingOff = "backing_off",
    /// Every machine of its class is remembered as out of capacity.
    NoCapacity = "no_capacity",
    /// The launch pacer has no token.
    Paced = "paced",
    /// The class or the repository in it has as many machines as it may.
    AtLimit = "at_limit",
    /// The cloud refuses the class's launches for what an operator must mend: they are stopped.
    BreakerOpen = "breaker_open",
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Run {
    /// A run for a job that was just seen waiting.
    pub fn new(installation: &str, name: RunName, spec: Spec, now: Timestamp) -> Self {
        Self {
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
                failures: 0,
                retry_at: None,
                finished_at: None,
                outcome: None,
                runner: None,
                conditions: Vec::new(),
                due: now,
            },
        }
    }

    /// The slot of an attempt of this incarnation.
    pub fn slot(&self, number: u32) -> Slot {
        Slot { run: self.name.clone(), uid: self.uid.short(), number }
    }

    /// Whether something may still have to be done for it.
    pub fn is_open(&self) -> bool {
        self.status.phase != Phase::Finished
    }

    /// A person says: no machine for this job any more. With `now` its machine is ended too.
    /// Voids the number that may just be prepared.
    pub fn delete(&mut self, now: Timestamp, terminate: bool) {
        self.deleted_at.get_or_insert(now);
        self.terminate_now |= terminate;
        self.status.next = self.status.next.saturating_add(1);
        self.status.due = now;
    }

    /// A person says: try now. Clears backing off, giving up and the tombstone.
    pub fn retry(&mut self, now: Timestamp) {
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
        status.waiting_since = now;
        status.due = now;
    }
}

impl Status {
    /// The first condition's reason.
    pub fn reason(&self) -> Option<Reason> {
        self.conditions.first().map(|c| c.reason)
    }
}
