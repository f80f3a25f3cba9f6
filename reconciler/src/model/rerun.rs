//! Jobs that are run again because the cloud took their machines: the policy of a class, what a run
//! knows of its interruption, and what the store keeps of each request to the forge.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job::{Conclusion, Job};
use super::names::{MachineId, hash_hex};

/// Whether the jobs of a class are run again whose machines the cloud took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RerunPolicy {
    /// The jobs that are run again.
    pub jobs: RerunJobs,
    /// The maximum number of times that a job of a workflow run is run again.
    pub limit: u32,
}

/// The jobs that are run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RerunJobs {
    /// Those whose machines the cloud took.
    Lost,
    /// None: a job with side effects may have done half of its work.
    Never,
}

impl Default for RerunPolicy {
    fn default() -> Self {
        Self { jobs: RerunJobs::Lost, limit: 2 }
    }
}

impl RerunPolicy {
    /// Returns whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The cloud took the machine on which a job runs, or ran.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Interruption {
    /// The name of the runner: an attempt ID of this run or another.
    pub runner: String,
    /// The machine's ID.
    pub machine: MachineId,
    /// Time at which the machine's end began, as the cloud reports it, or at which it was seen.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
    /// Time at which the job ended because of that, by the forge's clock. Identifies this attempt
    /// of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub failed_at: Option<Timestamp>,
    /// The forge's message when it last denied a request to run the job again. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
}

/// The name of a job of a workflow run over all its attempts. The ID of the job names only one:
/// since Gitea 1.27 each attempt has another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RerunKey {
    /// The repository's ID.
    pub repo_id: i64,
    /// The workflow run's ID.
    pub run_id: i64,
    /// The job's full name, with matrix values.
    pub job: String,
}

impl RerunKey {
    /// Returns the key in stores: short, and without text from outside.
    pub fn text(&self) -> String {
        let Self { repo_id, run_id, job } = self;
        format!("{repo_id}/{run_id}/{}", &hash_hex(&[job])[..32])
    }
}

/// The requests of this installation to run a job again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Reruns {
    /// The job.
    pub key: RerunKey,
    /// Counts the writes. Set by the store.
    pub version: u64,
    /// The number of attempts of the job for which a re-run was requested.
    pub count: u32,
    /// Time at which the last request was recorded: before the call.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub asked_at: Timestamp,
    /// Time at which the attempt of the job that it is for ended, by the forge's clock.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub failed_at: Timestamp,
}

impl Reruns {
    /// Returns what stands for stored requests that cannot be read: none, at their version, so that
    /// the next one replaces them. The forge limits re-runs too.
    pub fn unreadable(key: RerunKey, version: u64) -> Self {
        let never = Timestamp::UNIX_EPOCH;
        Self { key, version, count: 0, asked_at: never, failed_at: never }
    }
}

/// A workflow run at the forge, in its latest attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct WorkflowRun {
    /// Whether it is over.
    pub is_done: bool,
    /// The number of its attempt, from 1; `None` if the forge does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Whether the server can run jobs again by its API: since Gitea 1.26.
    pub can_rerun: bool,
    /// Its jobs.
    pub jobs: Vec<WorkflowJob>,
}

/// A job of a workflow run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct WorkflowJob {
    /// Its ID.
    pub id: i64,
    /// Its full name, with matrix values.
    pub name: String,
    /// Its state; `None` if the forge's word for it is not known.
    pub state: Option<Job>,
    /// Time at which it ended; `None` if it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub completed_at: Option<Timestamp>,
}

impl WorkflowJob {
    /// Returns whether it ended with this conclusion.
    pub fn ended(&self, conclusion: Conclusion) -> bool {
        self.state == Some(Job::Done { conclusion })
    }

    /// Returns when it failed, if it did.
    pub fn failed_at(&self) -> Option<Timestamp> {
        self.completed_at.filter(|_| self.ended(Conclusion::Failure))
    }
}

impl WorkflowRun {
    /// Returns a job by its ID, or else the only one of that name.
    pub fn job(&self, id: i64, name: &str) -> Option<&WorkflowJob> {
        let by_id = self.jobs.iter().find(|job| job.id == id);
        by_id.or_else(|| {
            let mut named = self.jobs.iter().filter(|job| job.name == name);
            named.next().filter(|_| named.next().is_none())
        })
    }

    /// Returns the jobs that failed.
    pub fn failed(&self) -> impl DoubleEndedIterator<Item = &WorkflowJob> {
        self.jobs.iter().filter(|job| job.ended(Conclusion::Failure))
    }
}

/// The data that is read to decide whether a job is run again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct RerunView {
    /// The workflow run; `None` if it no longer exists.
    pub run: Option<WorkflowRun>,
    /// The job of this run.
    pub own: FailedJob,
    /// The other jobs that failed, once the workflow run is over: up to one that is not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<FailedJob>,
    /// The forge's reason for refusing the reading, or the request of this reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The error if it could not be read. It is read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// The forge's message when it denied the request of this reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Time at which it was read; `None`: with this observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub read_at: Option<Timestamp>,
}

/// A failed job of a workflow run, as this installation knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct FailedJob {
    /// Its full name, with matrix values.
    pub name: String,
    /// Its ID.
    pub id: i64,
    /// The cause of its failure, by the record of its run.
    pub cause: FailureCause,
    /// The number of times that its class lets it run again.
    pub limit: u32,
    /// The requests so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reruns: Option<Reruns>,
}

/// The cause of a failed job, by the record of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The cloud took its machine, and its class allows to run it again.
    Lost,
    /// Its run was not reconciled since it failed.
    NotKnownYet,
    /// Another cause, or a job that is not ours.
    Other,
}

/// The jobs of a workflow run that the forge is asked to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RerunScope {
    /// All that failed, in one call.
    Failed,
    /// The job with this ID.
    Job(i64),
}

macro_rules! ends {
    ($($(#[$doc:meta])* $name:ident = $label:literal, $words:literal),+ $(,)?) => {
        /// The reason that a job is not run again although the cloud took its machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum RerunEnd {
            $($(#[$doc])* $name),+
        }

        impl RerunEnd {
            /// Every reason.
            pub const ALL: &[RerunEnd] = &[$(RerunEnd::$name),+];

            /// Returns its metric label: `limit`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// Returns it in words, as the end of a sentence.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words),+ }
            }
        }
    };
}

ends! {
    /// The server has no API for it: before Gitea 1.26.
    Unsupported = "unsupported", "this version of Gitea cannot do that by its API (1.26 can)",
    /// Its class forbids it.
    Never = "never", "its class has `rerun = \"never\"`, the default with an instance profile",
    /// It was run again as often as its class allows.
    Limit = "limit", "it was run again as often as `rerun_limit` of its class allows",
    /// Jobs of the workflow run were canceled: a person decides.
    Cancelled = "cancelled", "its workflow run was canceled",
    /// Somebody else ran it again, or deleted its workflow run.
    Changed = "changed", "its workflow run changed meanwhile",
    /// It failed before its machine was taken.
    FailedBefore = "failed_before", "it failed before its machine was taken",
    /// The forge refuses it.
    Refused = "refused", "the forge refuses it: its workflow may be disabled, or was run too often",
    /// Its workflow run did not end in time.
    Expired = "expired", "its workflow run was not over within `give_up_after`",
    /// The forge denied it until it was too late.
    NotAllowed = "not_allowed", "the forge denied it for `give_up_after`: `forge.token` needs \
        `write:repository`, of a user who may write to Actions of the repository",
    /// Its workflow run could not be read until it was too late.
    Unread = "unread", "its workflow run could not be read when `give_up_after` was over",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64, name: &str) -> WorkflowJob {
        WorkflowJob { id, name: name.to_owned(), state: None, completed_at: None }
    }

    #[test]
    fn a_job_is_found_by_its_id_or_its_only_name() {
        let jobs = vec![job(1, "test (a)"), job(2, "test (b)"), job(3, "twice"), job(4, "twice")];
        let run = WorkflowRun { jobs, ..WorkflowRun::default() };
        let found = |id, name| run.job(id, name).map(|job| job.id);
        assert_eq!(found(2, "test (a)"), Some(2), "by its ID");
        assert_eq!(found(9, "test (a)"), Some(1), "of another attempt");
        assert_eq!(found(9, "twice"), None, "which of them is not known");
        assert_eq!(found(4, "twice"), Some(4));
        assert_eq!(found(9, "other"), None);
    }

    #[test]
    fn keys_in_stores_are_short_and_apart() {
        let key = |run_id, job: &str| RerunKey { repo_id: 7, run_id, job: job.to_owned() };
        let long = key(3, &"x".repeat(10_000)).text();
        assert!(long.len() < 80 && long.is_ascii(), "{long}");
        let all = [key(3, "a"), key(3, "b"), key(4, "a")].map(|key| key.text());
        assert!(all[0] != all[1] && all[0] != all[2]);
    }
}
