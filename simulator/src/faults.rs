//! Bad weather: the one source of randomness, and how often what goes wrong.

use jiff::{SignedDuration, Timestamp};

/// A seeded source of randomness (splitmix64). A world draws from one, so that its history is a
/// function of its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A source for a seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring worlds.
        let mut rng = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        rng.next();
        rng
    }

    /// 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "a source of numbers, not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Whether a thing of that probability happens. Draws nothing for 0, so that a profile without
    /// a fault has the same history whether or not the fault exists.
    pub fn chance(&mut self, probability: f64) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let drawn = || (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        probability > 0.0 && { drawn }() < probability
    }

    /// A duration from `least` to `most`, in milliseconds.
    pub fn between(&mut self, least: SignedDuration, most: SignedDuration) -> SignedDuration {
        let span = u64::try_from((most - least).as_millis()).unwrap_or(0);
        let drawn = self.below(span + 1);
        least + SignedDuration::from_millis(i64::try_from(drawn).unwrap_or(0))
    }
}

/// How often what goes wrong. Probabilities are from 0 to 1; the default is fair weather.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A replica dies, at a suspension point: before or after a call's effect.
    pub crash: f64,
    /// A call or its whole replica stands still for up to 15 minutes, at a suspension point.
    pub pause: f64,
    /// A call is refused: it has no effect, and the caller is told that it is unavailable.
    pub refused: f64,
    /// A call has its effect, and the caller is told that it is unavailable.
    pub reply_lost: f64,
    /// The same of the cloud's calls alone.
    pub cloud_reply_lost: f64,
    /// A call takes up to 5 minutes.
    pub slow: f64,
    /// The same of the cloud's calls alone.
    pub cloud_slow: f64,
    /// A write finds that somebody has written in between.
    pub conflict: f64,
    /// A webhook never arrives.
    pub webhook_lost: f64,
    /// A webhook arrives twice.
    pub webhook_doubled: f64,
    /// A webhook arrives up to 10 minutes late.
    pub webhook_late: f64,
    /// A wake-up is lost.
    pub wake_lost: f64,
    /// A wake-up comes twice.
    pub wake_doubled: f64,
    /// A wake-up comes up to 2 minutes late.
    pub wake_late: f64,
    /// How old the machine list is.
    pub list_lag: SignedDuration,
    /// A row is missing from the list of waiting jobs.
    pub job_omitted: f64,
    /// A row is missing from the list of runners, for up to five minutes.
    pub runner_omitted: f64,
    /// A launch finds no capacity for its kind, subnet and market, nor does any in the next 5 minutes.
    pub no_capacity: f64,
    /// A launch finds no capacity, and the next may find some.
    pub launch_refused: f64,
    /// A launch is refused for an account limit.
    pub limit: f64,
    /// A call of the cloud is refused for pace.
    pub throttled: f64,
    /// A launch is answered, and its machine is dead at once: so is every answer to its token.
    pub stillborn: f64,
    /// A machine is taken back by the cloud, within its first 10 minutes.
    pub interrupted: f64,
    /// A machine's runner reports once a minute only: the forge calls it idle in between.
    pub silent: f64,
    /// A machine's runner never starts.
    pub never_online: f64,
    /// The same of every machine of this kind.
    pub broken_kind: Option<&'static str>,
    /// A machine's runner is online and never asks for a job, nor drains.
    pub hangs_idle: f64,
    /// A machine stays after its job.
    pub hangs_after_job: f64,
    /// A machine's own timer does not end it.
    pub ignores_timer: f64,
    /// The cloud does not honour client tokens: whoever asks twice gets twins.
    pub no_tokens: bool,
    /// How far the replicas' clocks are apart, each from the next.
    pub clocks_apart: SignedDuration,
    /// Faults end here; `None`: never.
    pub until: Option<Timestamp>,
}

impl Faults {
    /// The weather at a time.
    pub fn at(&self, now: Timestamp) -> Faults {
        if self.until.is_some_and(|until| now >= until) {
            // A clock that is wrong stays wrong.
            Faults { clocks_apart: self.clocks_apart, ..Faults::default() }
        } else {
            *self
        }
    }

    /// Whether launches are refused for want of capacity, now and then.
    pub fn refuses_capacity(&self) -> bool {
        self.no_capacity > 0.0 || self.launch_refused > 0.0 || self.limit > 0.0
    }
}

/// What is wrong for a while, altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every call of a port is refused.
    Down(Port),
    /// The forge assigns nothing, though runners idle.
    Mute,
    /// No launch finds capacity.
    Drought,
    /// Somebody else writes before every third write.
    Storm,
    /// The cloud calls this image wrong: no launch with it is taken.
    BadImage(&'static str),
    /// The cloud denies every launch: the credentials ran out.
    Denied,
}

/// What may be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The records.
    Store,
    /// The wake-ups.
    Queue,
    /// The cloud. Its machines live on.
    Compute,
    /// The forge. Runners cannot reach it either.
    Forge,
}

impl Port {
    /// Its name in calls.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Forge => "forge",
        }
    }
}

/// A trouble, and when; counted from the start of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// What is wrong.
    pub trouble: Trouble,
    /// From when on.
    pub after: SignedDuration,
    /// For how long.
    pub lasts: SignedDuration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers_and_others_do_not() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..8).map(|_| rng.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn chances_come_about_as_often_as_said() {
        let mut rng = Rng::new(1);
        let hits = (0..10_000).filter(|_| rng.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!rng.chance(0.0) && rng.chance(1.0));
    }

    #[test]
    fn faults_end_when_they_are_said_to() {
        let end = Timestamp::UNIX_EPOCH;
        let faults = Faults { crash: 0.5, until: Some(end), ..Faults::default() };
        assert!(faults.at(end - SignedDuration::from_secs(1)).crash > 0.0);
        assert!(faults.at(end).crash == 0.0);
    }
}
