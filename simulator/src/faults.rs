//! Fault probabilities, and the only source of randomness.

use jiff::{SignedDuration, Timestamp};

/// A seeded source of randomness (splitmix64). A world draws from one, so that its history is a
/// function of its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Creates a source for a seed.
    pub fn new(seed: u64) -> Self {
        // Neighboring seeds must not give similar worlds.
        let mut rng = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        rng.next();
        rng
    }

    /// Returns 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "a source of numbers, not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Returns whether an event of this probability happens. Draws nothing for 0, so that a profile
    /// without a fault has the same history whether or not the fault exists.
    pub fn chance(&mut self, probability: f64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let drawn = || (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        probability > 0.0 && { drawn }() < probability
    }

    /// Returns a duration from `least` to `most`, in milliseconds.
    pub fn between(&mut self, least: SignedDuration, most: SignedDuration) -> SignedDuration {
        let span = u64::try_from((most - least).as_millis()).unwrap_or(0);
        let drawn = self.below(span + 1);
        least + SignedDuration::from_millis(i64::try_from(drawn).unwrap_or(0))
    }
}

/// Fault probabilities, from 0 to 1. The default has no faults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultProfile {
    /// A replica dies at a suspension point, before or after a call's effect.
    pub crash: f64,
    /// A call or its whole replica pauses for up to 15 minutes at a suspension point.
    pub pause: f64,
    /// A call is refused: it has no effect and returns `Unavailable`.
    pub refused: f64,
    /// A call takes effect but returns `Unavailable`.
    pub reply_lost: f64,
    /// The same for calls of the cloud only.
    pub cloud_reply_lost: f64,
    /// A call takes up to 5 minutes.
    pub slow: f64,
    /// The same for calls of the cloud only.
    pub cloud_slow: f64,
    /// Another writer writes before a write.
    pub conflict: f64,
    /// A webhook never arrives.
    pub webhook_lost: f64,
    /// A webhook arrives twice.
    pub webhook_doubled: f64,
    /// A webhook arrives up to 10 minutes late.
    pub webhook_late: f64,
    /// A wake-up is lost.
    pub wake_lost: f64,
    /// A wake-up is delivered twice.
    pub wake_doubled: f64,
    /// A wake-up is up to 2 minutes late.
    pub wake_late: f64,
    /// Age of the machine list.
    pub list_lag: SignedDuration,
    /// The list of waiting jobs omits a job.
    pub job_omitted: f64,
    /// The list of runners omits a runner, for up to five minutes.
    pub runner_omitted: f64,
    /// A launch finds no capacity for its instance type, subnet and market, nor do others for 5
    /// minutes.
    pub no_capacity: f64,
    /// A launch finds no capacity; the next may.
    pub launch_refused: f64,
    /// A launch is refused by an account limit.
    pub limit: f64,
    /// A call of the cloud is throttled.
    pub throttled: f64,
    /// A launch succeeds, but its machine is dead at once; every reply to its token says so.
    pub stillborn: f64,
    /// The cloud interrupts a machine within its first 10 minutes.
    pub interrupted: f64,
    /// The boot script of such a machine gets the notice, and ends its job before.
    pub noticed: f64,
    /// The additional time that a machine takes to boot.
    pub slow_boot: SignedDuration,
    /// A machine's runner reports only once a minute: the forge shows it idle in between.
    pub silent: f64,
    /// A machine's runner never starts.
    pub never_online: f64,
    /// The same for every machine of this instance type.
    pub broken_kind: Option<&'static str>,
    /// A machine's runner is online but never asks for a job, nor drains.
    pub hangs_idle: f64,
    /// A machine hangs for up to 40 minutes before it starts its runner.
    pub starts_late: f64,
    /// A machine's runner fails at first, and starts again every three seconds, for up to 40 minutes.
    pub fails_first: f64,
    /// A machine stays up after its job.
    pub hangs_after_job: f64,
    /// A machine's own timer does not end it.
    pub ignores_timer: f64,
    /// The cloud ignores client tokens: asking twice creates duplicates.
    pub no_tokens: bool,
    /// Difference between the clocks of consecutive replicas.
    pub clocks_apart: SignedDuration,
    /// The clock of each replica is set at random while it runs, by up to hours. It is right at the
    /// end of the faults.
    pub clocks_set: bool,
    /// End of the faults; `None`: never.
    pub until: Option<Timestamp>,
}

impl FaultProfile {
    /// Returns the faults at a time.
    pub fn at(&self, now: Timestamp) -> FaultProfile {
        if self.until.is_some_and(|until| now >= until) {
            // A clock that is wrong stays wrong.
            FaultProfile { clocks_apart: self.clocks_apart, ..FaultProfile::default() }
        } else {
            *self
        }
    }

    /// Returns whether every call is answered, and each run that is woken is reconciled soon.
    pub fn keeps_order(&self) -> bool {
        let list_lag = SignedDuration::ZERO;
        let others = FaultProfile { wake_doubled: 0.0, list_lag, until: None, ..*self };
        others == FaultProfile::default()
    }

    /// Returns whether every call is answered at once, by a list that is current and complete, and
    /// every replica goes on.
    pub fn answers_all(&self) -> bool {
        let faults = [
            self.crash,
            self.pause,
            self.refused,
            self.reply_lost,
            self.cloud_reply_lost,
            self.slow,
            self.cloud_slow,
            self.conflict,
            self.throttled,
            self.wake_lost,
            self.wake_late,
            self.runner_omitted,
        ];
        faults.into_iter().all(|probability| probability <= 0.0)
            && self.list_lag == SignedDuration::ZERO
            && self.clocks_apart == SignedDuration::ZERO
            && !self.clocks_set
    }

    /// Returns whether some launches are refused for lack of capacity.
    pub fn refuses_capacity(&self) -> bool {
        self.no_capacity > 0.0 || self.launch_refused > 0.0 || self.limit > 0.0
    }
}

/// A complete failure for a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OngoingFault {
    /// Every call of a port is refused.
    Down(Port),
    /// The forge assigns nothing although runners are idle.
    Mute,
    /// No launch finds capacity.
    Drought,
    /// Another writer writes before every third write.
    Storm,
    /// The cloud rejects every launch with this image.
    BadImage(&'static str),
    /// Machines with this image never start their runner.
    DeafImage(&'static str),
    /// The cloud denies every launch: the credentials expired.
    Denied,
}

/// A port that may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The store.
    Store,
    /// The queue.
    Queue,
    /// The cloud. Its machines live on.
    Compute,
    /// The forge. Runners cannot reach it either.
    Forge,
}

impl Port {
    /// Returns its name in calls.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Forge => "forge",
        }
    }
}

/// A period of trouble, counted from the start of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPeriod {
    /// The failure.
    pub trouble: OngoingFault,
    /// Start.
    pub after: SignedDuration,
    /// Duration.
    pub lasts: SignedDuration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_numbers_and_others_differ() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_chance_occurs_as_often_as_its_probability() {
        let mut rng = Rng::new(1);
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!rng.chance(0.0) && rng.chance(1.0));
    }

    #[test]
    fn faults_end_at_their_end_time() {
        let end = Timestamp::UNIX_EPOCH;
        let faults = FaultProfile { crash: 0.5, until: Some(end), ..FaultProfile::default() };
        assert!(faults.at(end - SignedDuration::from_secs(1)).crash > 0.0);
        assert!(faults.at(end).crash == 0.0);
    }
}
