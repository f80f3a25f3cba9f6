//! One try to get a job a machine.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::class::ClassName;
use super::friendly::Friendly;
use super::machine::{Machine, Refusal};
use super::names::InstanceId;
use super::secret::Secret;

/// One try to get one machine, with everything that it will be given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// Grows; with gaps.
    pub number: u32,
    /// When it was recorded; the windows for launching rest on it.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// The class it was decided for.
    pub class: ClassName,
    /// Its identity at the forge, for one job.
    pub runner: Runner,
    /// What its boot script is told.
    pub boot: Boot,
    /// Machines asked for, in order; the last is the current one. Never empty.
    pub placements: Vec<Placement>,
    /// Why it is over and since when; set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// Why an attempt is over, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Ended {
    /// Why.
    pub why: End,
    /// Since when.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// Why an attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum End {
    /// Its registration was used: it got a job, this run's or another's.
    Consumed,
    /// Its machine went before it got a job: interrupted, or drained itself idle.
    MachineGone,
    /// The cloud refused it.
    Refused(Refusal),
    /// The launch was answered, and the machine was never seen.
    NeverSeen,
    /// The launch was never answered, and no machine was seen.
    NeverAnswered,
    /// Its machine did not come online in time.
    NeverReady,
    /// Its machine idled longer than it should have without ending itself.
    NotAssigned,
    /// A person deleted the run.
    Deleted,
}

/// An attempt that another one followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastAttempt {
    /// Its number.
    pub number: u32,
    /// When it was recorded.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// Its class.
    pub class: ClassName,
    /// The id of its registration.
    pub registration: i64,
    /// What became of its placements.
    pub placements: Vec<PastPlacement>,
    /// Why it was over.
    pub ended: Ended,
}

/// What became of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastPlacement {
    /// The machine, where the launch was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// The refusal, where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A single-job identity at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Runner {
    /// The registration's id.
    pub id: i64,
    /// The registration's uuid, as the forge writes it.
    pub uuid: String,
    /// Its name: the slot.
    pub name: String,
    /// Labels with their schemas (`linux:host`), as the machine needs them.
    pub labels: Vec<String>,
    /// What the runner proves itself with.
    #[serde(default)]
    pub token: Secret,
}

/// What the boot script is told, frozen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Boot {
    /// When the machine powers off whatever it does.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// How long its runner may idle.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// The forge's address as machines reach it.
    pub instance_url: String,
    /// For cloning over HTTPS, where configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_token: Option<Secret>,
}

/// One machine asked for within an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Placement {
    /// The recipe, frozen.
    pub machine: Machine,
    /// Another look than the recording one has asked too: a refusal is then not definitive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_again: bool,
    /// What the cloud answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// Why the cloud refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A launch that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The machine.
    pub id: InstanceId,
    /// When.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// A launch that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

impl Attempt {
    /// Index of the current placement: the number in its client token.
    pub fn current(&self) -> u32 {
        u32::try_from(self.placements.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The same attempt, as kept once another one follows.
    pub fn into_past(self, ended: Ended) -> PastAttempt {
        let Self { number, decided_at, class, runner, boot: _, placements, ended: recorded } = self;
        PastAttempt {
            number,
            decided_at,
            class,
            registration: runner.id,
            placements: placements
                .into_iter()
                .map(|Placement { machine: _, asked_again: _, answered, refused }| PastPlacement {
                    answered,
                    refused,
                })
                .collect(),
            ended: recorded.unwrap_or(ended),
        }
    }
}
