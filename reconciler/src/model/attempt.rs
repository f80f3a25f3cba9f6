//! Attempts: each is one try to get a machine for a job.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::allocation::Chosen;
use super::class::ClassName;
use super::friendly::Friendly;
use super::machine::{MachineSpec, Refusal};
use super::names::MachineId;
use super::outcome::StateReason;
use super::secret::Secret;

/// One try to get a machine for a job, with everything that the machine is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// Number within the run: grows, with gaps.
    pub number: u32,
    /// Time at which the attempt was decided. The launch windows count from it.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// The class that was chosen for it.
    pub class: ClassName,
    /// Its single-job registration at the forge.
    pub runner: Runner,
    /// The input of its boot script.
    pub boot: Boot,
    /// Requested machines in order; the last one is current. Never empty.
    pub placements: Vec<Placement>,
    /// The reason and the time of its end. Set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Time of the first reading that showed its registration although its boot promise was over
    /// (rule 22).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub hung_since: Option<Timestamp>,
    /// Whether its runner came online, where its end alone does not tell it: set with an end without
    /// a job, and again if the runner comes online after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_result: Option<BootResult>,
    /// The cloud's reason for the end of its machine, if that ended without a job and did not end
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<StateReason>,
    /// The end of what its machine printed before it ended without a job: at most 512 bytes, safe
    /// for terminals, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// The reason and the time of an attempt's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Ended {
    /// The reason.
    pub why: End,
    /// Time at which the end was detected.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// The reason why an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum End {
    /// Its runner got a job, of this run or of another.
    Consumed,
    /// Its machine ended without a job: interrupted, or shut down after idling.
    MachineGone,
    /// The cloud refused the launch.
    Refused(Refusal),
    /// The launch succeeded, but the machine never appeared.
    NeverSeen,
    /// The launch got no answer, and no machine appeared.
    NeverAnswered,
    /// Its machine did not come online in time.
    NeverReady,
    /// Its machine idled past its limit and did not shut itself down.
    NotAssigned,
    /// The job ran or was over before the launch got an answer. Its machine may still appear.
    Superseded,
    /// A person deleted the run.
    Deleted,
}

/// The end in words for people: the only place that words it.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Consumed => "its runner got a job",
            Self::MachineGone => "the machine ended before it got a job",
            Self::Refused(refusal) => return refusal.fmt(f),
            Self::NeverSeen => "the launch succeeded, but the machine never appeared",
            Self::NeverAnswered => "the launch got no answer",
            Self::NeverReady => "the machine did not come online in time",
            Self::NotAssigned => "the forge gave its idle runner no job",
            Self::Superseded => "the job needed no machine before its launch got an answer",
            Self::Deleted => "a person deleted the run",
        })
    }
}

/// Whether the runner of a machine came online, as far as that says something about the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BootResult {
    /// Time at which that was known.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
    /// Whether it came online, or was used.
    pub online: bool,
    /// Whether its launch failed after the cloud had accepted it, so that no image was started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub launch_failed: bool,
}

/// An attempt that is no longer current.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastAttempt {
    /// Number within the run.
    pub number: u32,
    /// Time at which the attempt was decided.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// The class that was chosen for it.
    pub class: ClassName,
    /// The ID of its registration at the forge.
    pub registration: i64,
    /// The ID of the repository that the registration serves; 0: every repository of the scope.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repo_id: i64,
    /// Time at which its machines power themselves off; `None` in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub deadline: Option<Timestamp>,
    /// The promise of the boot script of its machines; `None` in records of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<BootPromise>,
    /// The results of its placements.
    pub placements: Vec<PastPlacement>,
    /// The reason and the time of its end.
    pub ended: Ended,
    /// Time of the first reading that showed its registration although its boot promise was over
    /// (rule 22).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub hung_since: Option<Timestamp>,
    /// Whether its runner came online, where its end alone does not tell it: set with an end without
    /// a job, and again if the runner comes online after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_result: Option<BootResult>,
    /// The cloud's reason for the end of its machine, if that ended without a job and did not end
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<StateReason>,
    /// The end of what its machine printed before it ended without a job: at most 512 bytes, safe
    /// for terminals, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// The result of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastPlacement {
    /// The machine, if the launch succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// The refusal, if the cloud refused the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A registration at the forge that takes one job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Runner {
    /// The registration's ID.
    pub id: i64,
    /// The ID of the repository that it serves; 0: every repository of the scope.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repo_id: i64,
    /// The registration's UUID, as the forge writes it.
    pub uuid: String,
    /// The runner's name: the attempt ID.
    pub name: String,
    /// Labels with their schemas (`linux:host`).
    pub labels: Vec<String>,
    /// The token that authenticates the runner. It leaves the record once the attempt has ended, or
    /// the run runs or is finished.
    #[serde(default, skip_serializing_if = "Secret::is_empty")]
    pub token: Secret,
}

/// The input of the boot script. Fixed once recorded, except that its credential leaves the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Boot {
    /// Time at which the machine powers itself off, busy or not.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// The maximum time for which the runner may idle, counted from its first start.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// No runner is started after this time; `None` in records of earlier releases, whose machines
    /// promise only their deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub start_by: Option<Timestamp>,
    /// The time that the machine stays after a job that asked for it, before its deadline.
    #[serde(default, with = "Friendly", skip_serializing_if = "SignedDuration::is_zero")]
    pub hold: SignedDuration,
    /// The forge's URL as machines reach it.
    pub instance_url: String,
    /// The token for cloning over HTTPS, if configured. It leaves the record with the runner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_token: Option<Secret>,
}

/// The promise of a boot script: after these times the machine asks for no job, whatever happened
/// to it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BootPromise {
    /// No runner is started after this time.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub start_by: Timestamp,
    /// An idle runner is drained this long after its first start.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// The machine may stay this long after its job.
    #[serde(default, with = "Friendly", skip_serializing_if = "SignedDuration::is_zero")]
    pub hold: SignedDuration,
}

impl BootPromise {
    /// Returns the time after which no runner of the machine waits for a job.
    pub fn idle_until(&self) -> Timestamp {
        self.start_by.saturating_add(self.idle_within).unwrap_or(Timestamp::MAX)
    }
}

impl Boot {
    /// Returns the promise of the boot script, if the record has it.
    pub fn promise(&self) -> Option<BootPromise> {
        let (idle_within, hold) = (self.idle_within, self.hold);
        self.start_by.map(|start_by| BootPromise { start_by, idle_within, hold })
    }
}

/// One machine that an attempt requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Placement {
    /// The machine spec. Fixed once recorded.
    pub machine: MachineSpec,
    /// The reason for the choice, where its class orders machines by price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// A later reconcile requested it as well: a refusal is then not definitive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_again: bool,
    /// The machine, if the launch succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// The refusal, if the cloud refused the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

impl Placement {
    /// Returns the placement of a machine that was not asked for yet.
    pub fn new(machine: MachineSpec) -> Self {
        Self { machine, chosen: None, asked_again: false, answered: None, refused: None }
    }
}

/// A successful launch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The machine's ID.
    pub id: MachineId,
    /// Time at which the answer came.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// A refused launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Refused {
    /// The reason.
    pub why: Refusal,
    /// Time at which the refusal came.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// Records of earlier releases have no repository's ID, and keep their form.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) fn is_zero(id: &i64) -> bool {
    *id == 0
}

impl Attempt {
    /// Returns the index of the current placement, which is part of its client token.
    pub fn current(&self) -> u32 {
        u32::try_from(self.placements.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Returns until when a launch leaves the machine `boot_within` to start its runner: that was
    /// half of the time from the decision to `start_by`. `None` in records of earlier releases.
    pub fn launch_by(&self) -> Option<Timestamp> {
        let half = self.boot.start_by?.duration_since(self.decided_at) / 2;
        Some(self.decided_at.saturating_add(half).unwrap_or(self.decided_at))
    }

    /// Returns whether a machine can be launched for it: it has not ended, and its credentials are
    /// still recorded.
    pub fn can_launch(&self) -> bool {
        self.ended.is_none() && !self.runner.token.is_empty()
    }

    /// Returns whether credentials are recorded.
    pub fn has_credentials(&self) -> bool {
        !self.runner.token.is_empty() || self.boot.git_token.is_some()
    }

    /// Removes the credentials. It cannot be launched any more.
    pub fn forget_credentials(&mut self) {
        self.runner.token.forget();
        self.boot.git_token = None;
    }

    /// Removes every credential, also those that its class gives to the runner: for a copy that
    /// leaves the store. It cannot be launched any more.
    pub fn forget_secrets(&mut self) {
        self.forget_credentials();
        let setups = self.placements.iter_mut().filter_map(|it| it.machine.runner.as_mut());
        for config in setups.filter_map(|setup| setup.config.as_mut()) {
            config.envs.clear();
            config.cache.external_secret = None;
        }
    }

    /// Returns the credentials that its machine has; of forgotten ones the digest.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = vec![self.runner.token.clone(), Secret::new(self.runner.uuid.as_str())];
        secrets.extend(self.boot.git_token.clone());
        let setups = self.placements.iter().filter_map(|asked| asked.machine.runner.as_ref());
        secrets.extend(setups.flat_map(|setup| setup.secrets()));
        secrets
    }

    /// Converts the attempt into a past one. An end that is already recorded stays.
    pub fn into_past(self, ended: Ended) -> PastAttempt {
        let Self {
            number,
            decided_at,
            class,
            runner,
            boot,
            placements,
            ended: recorded,
            hung_since,
            boot_result,
            state_reason,
            log,
        } = self;
        PastAttempt {
            number,
            decided_at,
            class,
            registration: runner.id,
            repo_id: runner.repo_id,
            deadline: Some(boot.deadline),
            promise: boot.promise(),
            placements: placements
                .into_iter()
                .map(|Placement { answered, refused, .. }| PastPlacement { answered, refused })
                .collect(),
            ended: recorded.unwrap_or(ended),
            hung_since,
            boot_result,
            state_reason,
            log,
        }
    }
}
