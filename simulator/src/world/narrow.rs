//! Worlds narrower still: each is there for one mechanism, whose loss nothing else would show.

use jiff::SignedDuration;

use super::profile::{Profile, linux};
use crate::faults::Faults;

/// How long finished runs are kept, where that is not what a world is about.
const KEEP: SignedDuration = SignedDuration::from_hours(1);

impl Profile {
    /// Records go a minute after their jobs, jobs are run again later, and wake-ups and calls come so
    /// late that a look knows of no record where there is one again.
    pub fn forgetful() -> Self {
        let mut class = linux(SignedDuration::from_mins(1));
        class.limit = Some(6);
        Self {
            name: "forgetful",
            weather: |_| Faults {
                pause: 0.01,
                slow: 0.01,
                wake_doubled: 0.5,
                wake_late: 0.5,
                list_lag: SignedDuration::from_secs(20),
                ..Faults::default()
            },
            classes: vec![class],
            waits_at_most: SignedDuration::from_hours(5),
            ..Self::chaos()
        }
    }

    /// The machine list is almost five minutes old, and there may be few machines.
    pub fn hidden() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(5);
        Self {
            name: "hidden",
            weather: |_| Faults { list_lag: SignedDuration::from_secs(290), ..Faults::default() },
            classes: vec![class],
            waits_at_most: SignedDuration::from_hours(6),
            ..Self::limits()
        }
    }

    /// The list of runners leaves rows out, for minutes.
    pub fn omitted_runners() -> Self {
        Self {
            name: "omitted_runners",
            weather: |_| Faults { runner_omitted: 0.3, ..Faults::default() },
            waits_at_most: SignedDuration::from_mins(30),
            ..Self::webhooks_lost()
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
            waits_at_most: SignedDuration::from_hours(6),
            ..Self::steal()
        }
    }

    /// The cloud's replies are lost while its list is almost five minutes old: what was launched is
    /// asked for again.
    pub fn hidden_replies() -> Self {
        Self {
            name: "hidden_replies",
            weather: |_| Faults {
                list_lag: SignedDuration::from_secs(290),
                cloud_reply_lost: 0.3,
                ..Faults::default()
            },
            waits_at_most: SignedDuration::from_hours(2),
            ..Self::lost_reply()
        }
    }

    /// All worlds of this kind.
    pub fn narrow() -> Vec<Self> {
        vec![
            Self::forgetful(),
            Self::hidden(),
            Self::omitted_runners(),
            Self::late_launches(),
            Self::hidden_replies(),
        ]
    }
}
