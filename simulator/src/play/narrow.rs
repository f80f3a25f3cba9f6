//! Profiles that each cover one mechanism whose loss no other profile would show.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName};

use super::draw::{KEEP, linux, minutes, seconds};
use super::profile::{Profile, UserAction};
use super::user_actions;
use crate::faults::{FaultProfile, Rng};
use crate::forge::{JobSpec, Line};

impl Profile {
    /// Records are removed a minute after their jobs, and jobs are rerun under their IDs later.
    /// Wake-ups and calls are so late that a reconcile read no record where one exists again.
    pub fn forgetful() -> Self {
        let mut class = linux(minutes(1));
        class.limit = Some(6);
        Self {
            name: "forgetful",
            faults: |_| FaultProfile {
                pause: 0.01,
                slow: 0.01,
                wake_doubled: 0.5,
                wake_late: 0.5,
                list_lag: seconds(20),
                ..FaultProfile::default()
            },
            classes: vec![class],
            ..Self::pause()
        }
    }

    /// The machine list is almost five minutes old, and the limits are low.
    pub fn hidden() -> Self {
        Self {
            name: "hidden",
            faults: |_| FaultProfile { list_lag: seconds(290), ..FaultProfile::default() },
            waits_at_most: minutes(6 * 60),
            ..Self::limits()
        }
    }

    /// The cloud's replies are lost while its list is almost five minutes old, so launches are
    /// requested again.
    pub fn hidden_replies() -> Self {
        Self {
            name: "hidden_replies",
            faults: |_| FaultProfile {
                list_lag: seconds(290),
                cloud_reply_lost: 0.3,
                ..FaultProfile::default()
            },
            ..Self::hide()
        }
    }

    /// Half of the cloud's replies are lost while its list is almost five minutes old, and short jobs
    /// are run again within minutes: a run that runs on another machine waits again before its own
    /// launch is answered.
    pub fn rerun() -> Self {
        Self {
            name: "rerun",
            faults: |_| FaultProfile {
                list_lag: seconds(290),
                cloud_reply_lost: 0.5,
                ..FaultProfile::default()
            },
            user_actions: short_reruns,
            // Jobs are rerun under their own IDs.
            line: |_| Line::V1_26,
            waits_at_most: minutes(12 * 60),
            ..Self::hide()
        }
    }

    /// The list of runners omits rows for minutes.
    pub fn omitted_runners() -> Self {
        Self {
            name: "omitted_runners",
            faults: |_| FaultProfile { runner_omitted: 0.3, ..FaultProfile::default() },
            ..Self::lost_reply()
        }
    }

    /// Half of all launches are refused, a tenth of the cloud's calls are minutes late, and bursts
    /// want more machines than the limit.
    pub fn late_launches() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(4);
        Self {
            name: "late_launches",
            faults: |_| FaultProfile {
                launch_refused: 0.5,
                cloud_slow: 0.1,
                wake_doubled: 0.5,
                ..FaultProfile::default()
            },
            classes: vec![class],
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// Every few minutes the class that serves changes, and with it the image; the cloud's replies
    /// are lost and its list is almost five minutes old.
    pub fn restless() -> Self {
        Self {
            name: "restless",
            faults: |_| FaultProfile {
                reply_lost: 0.1,
                list_lag: seconds(290),
                ..FaultProfile::default()
            },
            user_actions: in_turns,
            classes: classes(0),
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// Bursts want four times the limit of machines, without faults: most jobs run on machines of
    /// other runs before their own may be requested.
    pub fn few() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(5);
        Self {
            name: "few",
            classes: vec![class],
            replicas: (1, 1),
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// Bursts want more machines than the limit while calls are refused and replies are lost: a
    /// run's job is displaced while its next attempt is prepared.
    pub fn contended() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(6);
        Self {
            name: "contended",
            faults: |_| FaultProfile {
                refused: 0.05,
                reply_lost: 0.15,
                crash: 0.002,
                ..FaultProfile::default()
            },
            classes: vec![class],
            waits_at_most: minutes(12 * 60),
            ..Self::steal()
        }
    }

    /// One replica that dies repeatedly, and no webhook: only the record says when a run is due.
    pub fn alone() -> Self {
        Self {
            name: "alone",
            faults: |_| FaultProfile { crash: 0.01, webhook_lost: 1.0, ..FaultProfile::default() },
            replicas: (1, 1),
            waits_at_most: minutes(60),
            ..Self::crash()
        }
    }

    /// Push mode, and many machines end right after launch: runs back off after machines that ended
    /// idle, and their registrations are retired. A displaced run is given up soon.
    pub fn push_stillborn() -> Self {
        let mut class = linux(KEEP);
        class.times.give_up_after = minutes(45);
        Self {
            name: "push_stillborn",
            faults: |_| FaultProfile { stillborn: 0.4, ..FaultProfile::default() },
            classes: vec![class],
            waits_at_most: minutes(60),
            ..Self::push()
        }
    }

    /// Without a job list, machines hang and outlive their deadlines: rule 22 does nothing there.
    pub fn push_overdue() -> Self {
        Self {
            name: "push_overdue",
            faults: |_| FaultProfile {
                never_online: 0.1,
                ignores_timer: 1.0,
                ..FaultProfile::default()
            },
            ..Self::push()
        }
    }

    /// Returns the profiles of this module that hold for every seed. `push_stillborn` is excluded:
    /// in push mode, a displaced job waits forever if the displacing job's run was given up.
    pub fn narrow() -> Vec<Self> {
        vec![
            Self::forgetful(),
            Self::hidden(),
            Self::hidden_replies(),
            Self::rerun(),
            Self::omitted_runners(),
            Self::late_launches(),
            Self::restless(),
            Self::contended(),
            Self::alone(),
            Self::interrupt_lost(),
            Self::taken(),
        ]
    }
}

/// Two classes that serve the same labels; each turn reverses their order.
fn classes(turn: usize) -> Vec<Class> {
    let class = |name: &str, image: &str| {
        let mut class = linux(KEEP);
        class.name = ClassName(name.to_owned());
        for machine in &mut class.machines {
            image.clone_into(&mut machine.image);
        }
        class
    };
    let mut both = vec![class("linux", "ami-1"), class("linux-2", "ami-2")];
    both.rotate_left(turn % 2);
    both
}

/// Bursts, and classes that alternate.
fn in_turns(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = user_actions::bursts(rng);
    let mut at = minutes(2);
    for turn in 1..40 {
        user_actions.push((at, UserAction::Configure(classes(turn))));
        at += rng.between(minutes(3), minutes(8));
    }
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}

/// Pushes of six jobs of at most a minute, each of which is run again within minutes.
fn short_reruns(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = Vec::new();
    for turn in 0..24 {
        let at = minutes(15 * turn) + rng.between(seconds(5), minutes(4));
        let short = |n: usize| JobSpec {
            work: rng.between(seconds(5), seconds(60)),
            ..JobSpec::new(format!("build ({n})"), &["linux"])
        };
        let jobs = (0..6).map(short).collect();
        user_actions.push((at, UserAction::Push { repo: "acme/widget".to_owned(), jobs }));
        for ago in 0..6 {
            let wait = rng.between(minutes(2), minutes(8));
            user_actions.push((at + wait, UserAction::Rerun(ago)));
        }
    }
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}
