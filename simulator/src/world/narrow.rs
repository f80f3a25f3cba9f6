//! Worlds narrower still: each is there for one mechanism, whose loss nothing else would show.

use jiff::SignedDuration;
use tinqs_ci_reconciler::class::{Class, ClassName};

use super::deeds;
use super::profile::{Deed, Profile};
use super::profiles::{KEEP, linux, minutes, seconds};
use crate::faults::{Faults, Rng};

impl Profile {
    /// Records go a minute after their jobs, jobs are run again under their ids later, and wake-ups
    /// and calls come so late that a look knows of no record where there is one again.
    pub fn forgetful() -> Self {
        let mut class = linux(minutes(1));
        class.limit = Some(6);
        Self {
            name: "forgetful",
            weather: |_| Faults {
                pause: 0.01,
                slow: 0.01,
                wake_doubled: 0.5,
                wake_late: 0.5,
                list_lag: seconds(20),
                ..Faults::default()
            },
            classes: vec![class],
            ..Self::pause()
        }
    }

    /// The machine list is almost five minutes old, and there may be few machines.
    pub fn hidden() -> Self {
        Self {
            name: "hidden",
            weather: |_| Faults { list_lag: seconds(290), ..Faults::default() },
            waits_at_most: minutes(6 * 60),
            ..Self::limits()
        }
    }

    /// The cloud's replies are lost while its list is almost five minutes old: what was launched is
    /// asked for again.
    pub fn hidden_replies() -> Self {
        Self {
            name: "hidden_replies",
            weather: |_| Faults {
                list_lag: seconds(290),
                cloud_reply_lost: 0.3,
                ..Faults::default()
            },
            ..Self::hide()
        }
    }

    /// The list of runners leaves rows out, for minutes.
    pub fn omitted_runners() -> Self {
        Self {
            name: "omitted_runners",
            weather: |_| Faults { runner_omitted: 0.3, ..Faults::default() },
            ..Self::lost_reply()
        }
    }

    /// Half of all launches are refused, a tenth of the cloud's calls comes minutes late, and bursts
    /// want more machines than there may be.
    pub fn late_launches() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(4);
        Self {
            name: "late_launches",
            weather: |_| Faults {
                launch_refused: 0.5,
                cloud_slow: 0.1,
                wake_doubled: 0.5,
                ..Faults::default()
            },
            classes: vec![class],
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// Every few minutes the class has another name and another image, while calls are refused and
    /// replies are lost, and bursts want more machines than there may be.
    pub fn restless() -> Self {
        Self {
            name: "restless",
            weather: |_| Faults {
                refused: 0.1,
                reply_lost: 0.1,
                list_lag: seconds(290),
                ..Faults::default()
            },
            deeds: renamed,
            classes: vec![class_called("linux", "ami-1")],
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// All worlds of this kind.
    pub fn narrow() -> Vec<Self> {
        vec![
            Self::forgetful(),
            Self::hidden(),
            Self::hidden_replies(),
            Self::omitted_runners(),
            Self::late_launches(),
            Self::restless(),
        ]
    }
}

fn class_called(name: &str, image: &str) -> Class {
    let mut class = linux(KEEP);
    class.name = ClassName(name.to_owned());
    class.limit = Some(4);
    for machine in &mut class.machines {
        image.clone_into(&mut machine.image);
    }
    class
}

/// Bursts, and a class that takes turns with another one.
fn renamed(rng: &mut Rng) -> Vec<(SignedDuration, Deed)> {
    let mut deeds = deeds::bursts(rng);
    let mut at = minutes(2);
    for turn in 0..40 {
        let (name, image) = [("linux", "ami-1"), ("linux-2", "ami-2")][(turn + 1) % 2];
        deeds.push((at, Deed::Configure(vec![class_called(name, image)])));
        at += rng.between(minutes(3), minutes(8));
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}
