//! The profiles by name. Profiles that vary one thing find more than a mixture of everything.

mod chaos;
mod machines;
mod trust;
mod upgrade;

use jiff::SignedDuration;
use tinqs_ci_reconciler::ports::RegistrationLists;

use super::draw::{KEEP, hours, linux, minutes, one_of, seconds};
use super::profile::Profile;
use super::{renames, user_actions};
use crate::faults::{FaultPeriod, FaultProfile, OngoingFault, Port, Rng};
use crate::forge::Line;
use crate::world::Demand;

/// Duration of the faults.
const LASTS: SignedDuration = SignedDuration::from_hours(6);

fn fair(_: &mut Rng) -> FaultProfile {
    FaultProfile::default()
}

fn no_periods(_: &mut Rng) -> Vec<FaultPeriod> {
    Vec::new()
}

fn newest(_: &mut Rng) -> Line {
    Line::V1_27
}

fn any_lists(rng: &mut Rng) -> RegistrationLists {
    one_of(rng, &[RegistrationLists::One, RegistrationLists::PerRepository])
}

fn any_line(rng: &mut Rng) -> Line {
    one_of(rng, &[Line::V1_25, Line::V1_26, Line::V1_27])
}

fn down(port: Port, after: SignedDuration, lasts: SignedDuration) -> FaultPeriod {
    FaultPeriod { trouble: OngoingFault::Down(port), after, lasts }
}

impl Profile {
    /// Jobs far apart, no faults.
    pub fn calm() -> Self {
        Self {
            name: "calm",
            faults: fair,
            periods: no_periods,
            user_actions: user_actions::far_apart,
            lasts: SignedDuration::ZERO,
            classes: vec![linux(hours(48))],
            replicas: (1, 3),
            upgrades: |_| Vec::new(),
            line: newest,
            demand: Demand::Jobs,
            lists: |_| RegistrationLists::One,
            waits_at_most: minutes(2),
            checks_shares: false,
            settled: hours(24),
        }
    }

    /// Bursts of 20, no faults: most jobs run on the machine of another run.
    pub fn steal() -> Self {
        Self {
            name: "steal",
            user_actions: user_actions::bursts,
            lasts: LASTS,
            classes: vec![linux(KEEP)],
            replicas: (3, 3),
            settled: SignedDuration::ZERO,
            ..Self::calm()
        }
    }

    /// Bursts of 20 jobs of one second, and no webhook: many jobs are done before their own machine
    /// is up.
    pub fn short() -> Self {
        Self {
            name: "short",
            faults: |_| FaultProfile { webhook_lost: 1.0, ..FaultProfile::default() },
            user_actions: user_actions::short_bursts,
            replicas: (1, 1),
            waits_at_most: minutes(5),
            ..Self::steal()
        }
    }

    /// Six hours, three replicas and actions of people: the base of most profiles.
    fn mixed(name: &'static str, faults: fn(&mut Rng) -> FaultProfile, waits_at_most: i64) -> Self {
        let waits_at_most = minutes(waits_at_most);
        Self { name, faults, user_actions: user_actions::mixed, waits_at_most, ..Self::steal() }
    }

    /// Webhooks are lost, late or duplicated.
    pub fn webhooks_lost() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            webhook_lost: one_of(rng, &[0.2, 0.5, 1.0]),
            webhook_doubled: 0.1,
            webhook_late: 0.2,
            ..FaultProfile::default()
        };
        Self::mixed("webhooks_lost", faults, 10)
    }

    /// Wake-ups are lost, late or duplicated.
    pub fn wakes_lost() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            wake_lost: one_of(rng, &[0.2, 0.5, 0.8]),
            wake_doubled: 0.2,
            wake_late: 0.3,
            ..FaultProfile::default()
        };
        Self::mixed("wakes_lost", faults, 60)
    }

    /// Replicas die at any call, before or after its effect.
    pub fn crash() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.001, 0.004, 0.02]),
            ..FaultProfile::default()
        };
        Self::mixed("crash", faults, 60)
    }

    /// Calls take effect but their replies are lost; others are refused.
    pub fn lost_reply() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            reply_lost: one_of(rng, &[0.02, 0.1, 0.25]),
            refused: one_of(rng, &[0.0, 0.05]),
            ..FaultProfile::default()
        };
        Self::mixed("lost_reply", faults, 60)
    }

    /// Store, queue, cloud or forge are down for two hours, one at a time or all together.
    pub fn down() -> Self {
        let periods = |rng: &mut Rng| {
            let ports = [Port::Store, Port::Queue, Port::Compute, Port::Forge];
            let all = rng.chance(0.2);
            let one = one_of(rng, &ports);
            let mut period = |port| {
                let there = rng.chance(0.2) || all || port == one;
                there.then(|| down(port, rng.between(seconds(1), hours(4)), hours(2)))
            };
            ports.into_iter().filter_map(&mut period).collect()
        };
        Self { periods, ..Self::mixed("down", fair, 60) }
    }

    /// Another writer intervenes, all the time or in storms.
    pub fn storm() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            conflict: one_of(rng, &[0.0, 0.1, 0.3]),
            wake_doubled: 0.5,
            ..FaultProfile::default()
        };
        let periods = |rng: &mut Rng| {
            (0..3)
                .map(|n| FaultPeriod {
                    trouble: OngoingFault::Storm,
                    after: hours(2 * n) + rng.between(seconds(0), hours(1)),
                    lasts: rng.between(minutes(5), minutes(60)),
                })
                .collect()
        };
        Self { periods, ..Self::mixed("storm", faults, 60) }
    }

    /// Calls and replicas pause and continue with old plans; jobs are rerun under their IDs.
    pub fn pause() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            pause: one_of(rng, &[0.003, 0.03]),
            wake_doubled: 0.5,
            list_lag: one_of(rng, &[SignedDuration::ZERO, seconds(20)]),
            ..FaultProfile::default()
        };
        let line = |_: &mut Rng| Line::V1_26;
        // Most reconciles pause, so only the bound after the faults holds.
        Self { line, ..Self::mixed("pause", faults, 9 * 60) }
    }

    /// The forge assigns nothing for two hours; runners that ask at the same time conflict.
    pub fn mute() -> Self {
        let periods = |rng: &mut Rng| {
            vec![FaultPeriod {
                trouble: OngoingFault::Mute,
                after: rng.between(seconds(1), hours(4)),
                lasts: hours(2),
            }]
        };
        let line = |rng: &mut Rng| one_of(rng, &[Line::V1_25, Line::V1_26]);
        Self { periods, line, ..Self::mixed("mute", fair, 60) }
    }

    /// No job list: demand is derived from the use of registrations.
    pub fn push() -> Self {
        let mut class = linux(KEEP);
        class.times.give_up_after = hours(4);
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            interrupted: one_of(rng, &[0.0, 0.1]),
            never_online: one_of(rng, &[0.0, 0.05]),
            wake_lost: one_of(rng, &[0.0, 0.2]),
            webhook_doubled: 0.2,
            webhook_late: 0.1,
            ..FaultProfile::default()
        };
        Self {
            demand: Demand::Push,
            classes: vec![class],
            user_actions: user_actions::first_waves,
            ..Self::mixed("push", faults, 4 * 60)
        }
    }

    /// The same, and runners cannot be listed either: a machine that is up counts as busy. This
    /// mode accepts that a job loses a machine that fails after it was up, and that a hanging
    /// machine lives until its deadline; neither occurs here.
    pub fn push_unknown() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            wake_lost: one_of(rng, &[0.0, 0.2]),
            webhook_doubled: 0.2,
            webhook_late: 0.1,
            ..FaultProfile::default()
        };
        let demand = Demand::PushWithoutRows;
        Self { name: "push_unknown", demand, faults, ..Self::push() }
    }

    /// Both limits are low. Repositories that have reached theirs are renamed and transferred.
    pub fn limits() -> Self {
        let mut class = linux(KEEP);
        class.limit = Some(5);
        class.repo_limit = Some(2);
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            list_lag: one_of(rng, &[SignedDuration::ZERO, seconds(20)]),
            ..FaultProfile::default()
        };
        Self {
            user_actions: renames::at_the_limit,
            classes: vec![class],
            ..Self::mixed("limits", faults, 3 * 60)
        }
    }

    /// All records are lost once, and in half of the histories rebuilt.
    pub fn lost() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            list_lag: one_of(rng, &[SignedDuration::ZERO, seconds(20)]),
            crash: one_of(rng, &[0.0, 0.001]),
            ..FaultProfile::default()
        };
        Self { user_actions: user_actions::lost, ..Self::mixed("lost", faults, 60) }
    }

    /// Classes, labels, limits and machine specs change during the run.
    pub fn config() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            ..FaultProfile::default()
        };
        Self { user_actions: user_actions::changing, ..Self::mixed("config", faults, 3 * 60) }
    }

    /// Clocks differ by up to 30 s, and some calls are slow.
    pub fn clocks() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            clocks_apart: seconds(one_of(rng, &[15, -15])),
            slow: one_of(rng, &[0.0, 0.02]),
            crash: one_of(rng, &[0.0, 0.002]),
            ..FaultProfile::default()
        };
        Self::mixed("clocks", faults, 90)
    }

    /// People cancel, rerun, delete, retry, terminate and remove what is needed; matrices of 50.
    pub fn people() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            job_omitted: one_of(rng, &[0.0, 0.3]),
            ..FaultProfile::default()
        };
        Self {
            user_actions: user_actions::people,
            line: any_line,
            ..Self::mixed("people", faults, 60)
        }
    }

    /// Records are rewritten at random, within their types; everything is repaired.
    pub fn scrambled() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            ..FaultProfile::default()
        };
        Self { user_actions: user_actions::scrambled, ..Self::mixed("scrambled", faults, 3 * 60) }
    }

    /// All profiles, by name.
    pub fn all() -> Vec<Self> {
        vec![
            Self::calm(),
            Self::steal(),
            Self::webhooks_lost(),
            Self::wakes_lost(),
            Self::crash(),
            Self::lost_reply(),
            Self::silence(),
            Self::machines(),
            Self::held(),
            Self::spot(),
            Self::cap(),
            Self::cloud(),
            Self::down(),
            Self::storm(),
            Self::giveup(),
            Self::pause(),
            Self::mute(),
            Self::push(),
            Self::push_unknown(),
            Self::limits(),
            Self::lost(),
            Self::config(),
            Self::hide(),
            Self::flap(),
            Self::drought(),
            Self::broken(),
            Self::deaf(),
            Self::denied(),
            Self::twins(),
            Self::clocks(),
            Self::people(),
            Self::scrambled(),
            Self::chaos(),
            Self::few(),
            Self::short(),
            Self::hijack(),
            Self::rogue(),
            Self::flood(),
            Self::shares(),
            Self::hung(),
            Self::skew(),
            Self::upgrade(),
            Self::interrupt(),
        ]
    }
}
