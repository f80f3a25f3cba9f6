//! The use of machines, and its cost.

use std::ops::AddAssign;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::class::ClassName;
use super::money::MicroUsd;
use super::names::{MachineId, hash_hex};
use super::outcome::EndedBy;

/// The longest class, repository or workflow that is part of a key.
const LONGEST_NAME: usize = 80;

/// The whole seconds of machines by their use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Seconds {
    /// From the launch until the runner took a job, or waited for one in vain.
    pub boot: u64,
    /// Up without a job: waiting for one in vain, and powering off after one.
    pub idle: u64,
    /// With a job.
    pub busy: u64,
    /// Of machines that got no job and did not end by themselves, and of jobs whose machine was
    /// lost.
    pub lost: u64,
}

impl Seconds {
    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.boot.saturating_add(self.idle).saturating_add(self.busy).saturating_add(self.lost)
    }
}

impl AddAssign for Seconds {
    fn add_assign(&mut self, other: Self) {
        self.boot = self.boot.saturating_add(other.boot);
        self.idle = self.idle.saturating_add(other.idle);
        self.busy = self.busy.saturating_add(other.busy);
        self.lost = self.lost.saturating_add(other.lost);
    }
}

/// A sum of jobs, machine seconds and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Amount {
    /// Jobs that ran on a machine of ours and are over.
    pub jobs: u64,
    /// The seconds of machines.
    #[serde(flatten)]
    pub seconds: Seconds,
    /// The cost of the seconds whose price was known.
    pub cost: MicroUsd,
    /// The seconds whose price was not known. They are not in the cost.
    pub unpriced: u64,
    /// The most seconds that machines lived beyond those above: nobody saw when they ended. They
    /// are neither in the seconds nor in the cost.
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_end: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Amount {
    /// Returns whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the cost; `None` if there are seconds, and none has a known price.
    pub fn known_cost(&self) -> Option<MicroUsd> {
        let total = self.seconds.total();
        let is_nothing = total == 0 && self.unknown_end == 0;
        (is_nothing || self.unpriced < total).then_some(self.cost)
    }

    /// Returns whether the cost may be higher: a price or an end is not known.
    pub fn may_cost_more(&self) -> bool {
        self.unpriced > 0 || self.unknown_end > 0
    }

    /// Adds the seconds of a machine.
    pub fn add_seconds(&mut self, seconds: Seconds, price: Option<MicroUsd>) {
        self.seconds += seconds;
        match price {
            Some(price) => self.cost += price.for_seconds(seconds.total()),
            None => self.unpriced = self.unpriced.saturating_add(seconds.total()),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.jobs = self.jobs.saturating_add(other.jobs);
        self.seconds += other.seconds;
        self.cost += other.cost;
        self.unpriced = self.unpriced.saturating_add(other.unpriced);
        self.unknown_end = self.unknown_end.saturating_add(other.unknown_end);
    }
}

/// The key of an amount: one item of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct UsageKey {
    /// The day, in UTC, on which the run finished.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub day: Date,
    /// The class.
    pub class: ClassName,
    /// The repository, `owner/name`.
    pub repo: String,
    /// The workflow's file or name; empty if it is not known.
    pub workflow: String,
}

impl UsageKey {
    /// Returns the key's text after the day: names that are not long as they are, others by their
    /// hash. No name of a repository or a class has a line break.
    pub fn text(&self) -> String {
        let names = [self.class.0.as_str(), &self.repo, &self.workflow];
        let plain = |name: &&str| name.len() <= LONGEST_NAME && !name.contains('\n');
        if names.iter().all(plain) { names.join("\n") } else { format!("#{}", hash_hex(&names)) }
    }
}

/// An amount with what it is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Usage {
    /// The key for which it is counted.
    #[serde(flatten)]
    pub key: UsageKey,
    /// The amount.
    #[serde(flatten)]
    pub amount: Amount,
}

/// The machines that a run's record knows: those that are not counted yet, and those that were
/// counted and may still be listed. No decision reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RunUsage {
    /// The machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<UsedMachine>,
    /// Machines that ended long ago and are not counted yet.
    #[serde(skip_serializing_if = "Amount::is_empty")]
    pub earlier: Amount,
    /// Whether the job of this finish is counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub job_counted: bool,
}

impl RunUsage {
    /// Returns whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a machine is not counted.
    pub fn is_pending(&self) -> bool {
        !self.earlier.is_empty() || self.machines.iter().any(|machine| !machine.counted)
    }
}

/// A machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct UsedMachine {
    /// Its ID at its cloud.
    pub id: MachineId,
    /// The number of the attempt that it was launched for.
    pub attempt: u32,
    /// Time at which the cloud accepted the launch.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub launched_at: Timestamp,
    /// Time at which it ended, as the cloud reports it, or as a list showed soon after; `None`
    /// while no end was seen, or if its time is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub ended_at: Option<Timestamp>,
    /// The times between which it ended, if the time of its end is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_within: Option<EndedWithin>,
    /// The party that ended it, if the cloud reports that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// Its price per hour when it was first seen; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<MicroUsd>,
    /// Whether its seconds are counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
}

impl UsedMachine {
    /// Returns when it was over at the latest; `None` while it has not been seen to end.
    pub fn over_by(&self) -> Option<Timestamp> {
        self.ended_at.or(self.ended_within.map(|within| within.by))
    }
}

/// The bounds of a machine's end whose time is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct EndedWithin {
    /// Time at which it was last seen up, or launched.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub after: Timestamp,
    /// Time at which it was first found gone.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub by: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_unknown_if_no_second_has_a_price() {
        let mut amount = Amount::default();
        assert_eq!(amount.known_cost(), Some(MicroUsd(0)), "nothing costs nothing");
        amount.add_seconds(Seconds { busy: 60, ..Seconds::default() }, None);
        assert_eq!((amount.known_cost(), amount.unpriced), (None, 60));
        let hour = Seconds { boot: 600, busy: 3_000, ..Seconds::default() };
        amount.add_seconds(hour, Some(MicroUsd(7_500)));
        assert_eq!((amount.known_cost(), amount.unpriced), (Some(MicroUsd(7_500)), 60));
        assert_eq!(amount.seconds.total(), 3_660);
        let unseen = Amount { unknown_end: 5, ..Amount::default() };
        assert_eq!((unseen.known_cost(), unseen.may_cost_more()), (None, true));
    }

    #[test]
    fn keys_of_different_names_differ() {
        let key = |class: &str, repo: &str, workflow: &str| {
            let class = ClassName(class.to_owned());
            let day = Date::constant(2026, 11, 30);
            UsageKey { day, class, repo: repo.into(), workflow: workflow.into() }.text()
        };
        assert_eq!(key("linux", "acme/web", "test.yml"), "linux\nacme/web\ntest.yml");
        let long = "w".repeat(81);
        let keys = [
            key("a", "b", &long),
            key("a", &long, "b"),
            key("a", "b\nc", "d"),
            key("a", "b", "c\nd"),
            key("a", "b", "c"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(one.len() <= 250, "{one}");
            assert!(keys.iter().skip(at + 1).all(|other| other != one), "{one}");
        }
    }
}
