//! Profiles in which machines and the cloud fail.

use tinqs_ci_reconciler::model::ClassName;

use super::{any_line, any_lists, down, fair};
use crate::faults::{FaultPeriod, FaultProfile, OngoingFault, Port, Rng};
use crate::play::draw::{KEEP, hours, linux, minutes, one_of, seconds};
use crate::play::profile::Profile;
use crate::play::user_actions;

/// An image that the cloud rejects for a while.
const BAD_IMAGE: &str = "ami-2";
/// An image whose runner never starts for a while.
const DEAF_IMAGE: &str = "ami-3";
/// An instance type whose runner never starts.
const BROKEN: &str = "t3.broken";

impl Profile {
    /// Bursts on machines whose runners do not report while working: they appear idle.
    pub fn silence() -> Self {
        Self {
            name: "silence",
            faults: |_| FaultProfile { silent: 1.0, ..FaultProfile::default() },
            waits_at_most: minutes(10),
            ..Self::steal()
        }
    }

    /// Machines never come online, hang, stay after their job, or outlive their deadline.
    pub fn machines() -> Self {
        let faults = |_: &mut Rng| FaultProfile {
            never_online: 0.09,
            hangs_idle: 0.09,
            hangs_after_job: 0.1,
            ignores_timer: 0.3,
            ..FaultProfile::default()
        };
        Self::mixed("machines", faults, 180)
    }

    /// Machines never come, come late or hang, beside long jobs whose runners often look idle. The
    /// forge is away for 15 s every few minutes, and restarts a few times.
    pub fn hung() -> Self {
        let faults = |_: &mut Rng| FaultProfile {
            never_online: 0.1,
            hangs_idle: 0.07,
            starts_late: 0.15,
            fails_first: 0.15,
            hangs_after_job: 0.05,
            ignores_timer: 0.3,
            silent: 0.5,
            ..FaultProfile::default()
        };
        let periods = |rng: &mut Rng| {
            let mut at = minutes(5);
            let mut all = Vec::new();
            while at < hours(5) {
                at += rng.between(minutes(3), minutes(12));
                let lasts = if rng.chance(0.1) {
                    rng.between(seconds(40), minutes(2))
                } else {
                    seconds(15)
                };
                all.push(down(Port::Forge, at, lasts));
            }
            all
        };
        Self {
            periods,
            line: any_line,
            lists: any_lists,
            user_actions: user_actions::long_jobs,
            ..Self::mixed("hung", faults, 120)
        }
    }

    /// Machines may be held for half an hour after their jobs. Some stay up until they are ended, as
    /// one does whose job asked for it and whose script hangs.
    pub fn held() -> Self {
        let mut class = linux(KEEP);
        class.times.hold = minutes(30);
        let faults = |_: &mut Rng| FaultProfile {
            hangs_after_job: 0.3,
            ignores_timer: 0.3,
            ..FaultProfile::default()
        };
        Self { classes: vec![class], ..Self::mixed("held", faults, 60) }
    }

    /// Jobs outlive `max_age` on machines that do not end themselves, and the cloud cannot be reached
    /// while that time passes.
    pub fn overlong() -> Self {
        let mut class = linux(KEEP);
        class.times.max_age = hours(1);
        let faults = |_: &mut Rng| FaultProfile { ignores_timer: 1.0, ..FaultProfile::default() };
        Self {
            name: "overlong",
            faults,
            periods: |_| vec![down(Port::Compute, minutes(58), minutes(17))],
            user_actions: user_actions::overlong,
            lasts: hours(2),
            classes: vec![class],
            ..Self::steal()
        }
    }

    /// Machines are interrupted before or during their jobs, or are dead on launch.
    pub fn spot() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            interrupted: one_of(rng, &[0.1, 0.4]),
            stillborn: one_of(rng, &[0.0, 0.2]),
            reply_lost: one_of(rng, &[0.0, 0.1]),
            ..FaultProfile::default()
        };
        Self::mixed("spot", faults, 120)
    }

    /// Most launches find no capacity, for six hours.
    pub fn cap() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            no_capacity: one_of(rng, &[0.5, 0.8, 0.95]),
            limit: one_of(rng, &[0.0, 0.1]),
            ..FaultProfile::default()
        };
        Self::mixed("cap", faults, 9 * 60)
    }

    /// The cloud is repeatedly down for 5 to 11 minutes; a third of its replies are lost, and its
    /// lists are always 20 s old.
    pub fn cloud() -> Self {
        let periods = |rng: &mut Rng| {
            let mut at = minutes(5);
            (0..16)
                .map(|_| {
                    at += rng.between(minutes(14), minutes(28));
                    down(Port::Compute, at, rng.between(minutes(5), minutes(11)))
                })
                .collect()
        };
        let faults = |_: &mut Rng| FaultProfile {
            cloud_reply_lost: 0.33,
            list_lag: seconds(20),
            ..FaultProfile::default()
        };
        Self { periods, ..Self::mixed("cloud", faults, 90) }
    }

    /// Jobs that no machine can run, given up early.
    pub fn giveup() -> Self {
        let mut broken = linux(KEEP);
        broken.name = ClassName("broken".to_owned());
        broken.labels = vec!["broken".to_owned()];
        for machine in &mut broken.machines {
            BROKEN.clone_into(&mut machine.kind);
        }
        let mut classes = vec![linux(KEEP), broken];
        for class in &mut classes {
            class.times.give_up_after = minutes(30);
        }
        let faults = |rng: &mut Rng| FaultProfile {
            broken_kind: Some(BROKEN),
            crash: one_of(rng, &[0.0, 0.002]),
            ignores_timer: one_of(rng, &[0.0, 0.3]),
            ..FaultProfile::default()
        };
        Self { classes, user_actions: user_actions::hopeless, ..Self::mixed("giveup", faults, 60) }
    }

    /// The machine list is almost five minutes old.
    pub fn hide() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            list_lag: seconds(290),
            reply_lost: one_of(rng, &[0.0, 0.1]),
            interrupted: one_of(rng, &[0.0, 0.1]),
            ..FaultProfile::default()
        };
        Self::mixed("hide", faults, 90)
    }

    /// Half of all launches are refused, and a tenth of the cloud's calls are up to 5 minutes late.
    pub fn flap() -> Self {
        let faults = |_: &mut Rng| FaultProfile {
            launch_refused: 0.5,
            cloud_slow: 0.1,
            ..FaultProfile::default()
        };
        Self::mixed("flap", faults, 120)
    }

    /// No capacity at all for six hours.
    pub fn drought() -> Self {
        let periods = |_: &mut Rng| {
            vec![FaultPeriod { trouble: OngoingFault::Drought, after: seconds(1), lasts: hours(6) }]
        };
        Self { periods, ..Self::mixed("drought", fair, 60) }
    }

    /// The image of one class is invalid for an hour, and its jobs come in bursts; then it is
    /// valid. Jobs of the other class are served throughout.
    pub fn broken() -> Self {
        let mut second = linux(KEEP);
        second.name = ClassName("second".to_owned());
        second.labels = vec!["second".to_owned()];
        for machine in &mut second.machines {
            BAD_IMAGE.clone_into(&mut machine.image);
        }
        let periods = |rng: &mut Rng| {
            let after = rng.between(seconds(1), hours(4));
            vec![FaultPeriod { trouble: OngoingFault::BadImage(BAD_IMAGE), after, lasts: hours(1) }]
        };
        let faults = |rng: &mut Rng| FaultProfile {
            reply_lost: one_of(rng, &[0.0, 0.05]),
            crash: one_of(rng, &[0.0, 0.001]),
            wake_doubled: 0.2,
            ..FaultProfile::default()
        };
        let classes = vec![linux(KEEP), second];
        Self {
            periods,
            classes,
            user_actions: user_actions::two_classes,
            ..Self::mixed("broken", faults, 25)
        }
    }

    /// The machines of one class never start their runner for two hours, and its jobs come in bursts;
    /// then its image is repaired. Jobs of the other class are served throughout.
    pub fn deaf() -> Self {
        let mut second = linux(KEEP);
        second.name = ClassName("second".to_owned());
        second.labels = vec!["second".to_owned()];
        second.limit = Some(6);
        for machine in &mut second.machines {
            DEAF_IMAGE.clone_into(&mut machine.image);
        }
        let periods = |rng: &mut Rng| {
            let after = rng.between(seconds(1), hours(2));
            let lasts = hours(2);
            vec![FaultPeriod { trouble: OngoingFault::DeafImage(DEAF_IMAGE), after, lasts }]
        };
        let faults = |rng: &mut Rng| FaultProfile {
            reply_lost: one_of(rng, &[0.0, 0.02]),
            crash: one_of(rng, &[0.0, 0.001]),
            ignores_timer: 0.3,
            wake_doubled: 0.2,
            ..FaultProfile::default()
        };
        // Only six machines at a time serve what has come in two hours.
        Self {
            periods,
            classes: vec![linux(KEEP), second],
            user_actions: user_actions::two_classes,
            ..Self::mixed("deaf", faults, 3 * 60)
        }
    }

    /// The cloud denies every launch for an hour, twice.
    pub fn denied() -> Self {
        let periods = |rng: &mut Rng| {
            let mut period = |hour| FaultPeriod {
                trouble: OngoingFault::Denied,
                after: hours(hour) + rng.between(seconds(1), hours(1)),
                lasts: hours(1),
            };
            vec![period(0), period(3)]
        };
        Self { periods, ..Self::mixed("denied", fair, 25) }
    }

    /// The cloud ignores client tokens.
    pub fn twins() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            no_tokens: true,
            reply_lost: one_of(rng, &[0.05, 0.25]),
            crash: one_of(rng, &[0.0, 0.004]),
            wake_doubled: 0.3,
            ..FaultProfile::default()
        };
        Self::mixed("twins", faults, 60)
    }
}
