//! The profile with all faults together.

use super::any_line;
use crate::faults::{FaultPeriod, FaultProfile, OngoingFault, Port, Rng};
use crate::play::draw::{hours, minutes, seconds};
use crate::play::profile::Profile;
use crate::play::user_actions;

impl Profile {
    /// All faults together; each seed has a part of them.
    pub fn chaos() -> Self {
        Self {
            user_actions: user_actions::anything,
            periods: troubles,
            line: any_line,
            ..Self::mixed("chaos", chaos, 5 * 60)
        }
    }
}

fn chaos(rng: &mut Rng) -> FaultProfile {
    // Half of the seeds refuse launches.
    let refuses = rng.chance(0.5);
    let mut sometimes = |probability: f64| if rng.chance(0.4) { probability } else { 0.0 };
    FaultProfile {
        crash: sometimes(0.004),
        pause: sometimes(0.001),
        refused: sometimes(0.05),
        reply_lost: sometimes(0.05),
        slow: sometimes(0.01),
        conflict: sometimes(0.05),
        webhook_lost: sometimes(0.4),
        webhook_doubled: sometimes(0.2),
        webhook_late: sometimes(0.2),
        wake_lost: sometimes(0.2),
        wake_doubled: sometimes(0.2),
        wake_late: sometimes(0.2),
        job_omitted: sometimes(0.3),
        no_capacity: if refuses { sometimes(0.1) } else { 0.0 },
        launch_refused: if refuses { 0.2 } else { 0.0 },
        limit: if refuses { sometimes(0.05) } else { 0.0 },
        throttled: sometimes(0.05),
        stillborn: sometimes(0.02),
        interrupted: sometimes(0.1),
        never_online: sometimes(0.03),
        hangs_idle: sometimes(0.03),
        hangs_after_job: sometimes(0.05),
        ignores_timer: sometimes(0.3),
        silent: sometimes(0.3),
        no_tokens: sometimes(1.0) > 0.0 && sometimes(1.0) > 0.0 && sometimes(1.0) > 0.0,
        clocks_apart: seconds(if sometimes(1.0) > 0.0 { 15 } else { 0 }),
        list_lag: seconds(if sometimes(1.0) > 0.0 { 20 } else { 0 }),
        ..FaultProfile::default()
    }
}

fn troubles(rng: &mut Rng) -> Vec<FaultPeriod> {
    let all = [
        OngoingFault::Down(Port::Store),
        OngoingFault::Down(Port::Queue),
        OngoingFault::Down(Port::Compute),
        OngoingFault::Down(Port::Forge),
        OngoingFault::Mute,
        OngoingFault::Storm,
    ];
    let mut period = |trouble| {
        rng.chance(0.1).then(|| FaultPeriod {
            trouble,
            after: rng.between(seconds(1), hours(4)),
            lasts: rng.between(minutes(5), hours(2)),
        })
    };
    all.into_iter().filter_map(&mut period).collect()
}
