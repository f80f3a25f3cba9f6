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
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A replica dies, at a suspension point: before or after a call's effect.
    pub crash: f64,
    /// A replica stands still for up to 15 minutes, at a suspension point.
    pub pause: f64,
    /// A call is refused: it has no effect, and the caller is told that it is unavailable.
    pub refused: f64,
    /// A call has its effect, and the caller is told that it is unavailable.
    pub reply_lost: f64,
    /// A call takes up to 5 minutes.
    pub slow: f64,
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
    /// A machine is taken back by the cloud, within its first 10 minutes.
    pub interrupted: f64,
    /// A machine's runner reports once a minute only: the forge calls it idle in between.
    pub silent: f64,
    /// A machine's runner never starts.
    pub never_online: f64,
    /// A machine's runner is online and never asks for a job, nor drains.
    pub hangs_idle: f64,
    /// A machine stays after its job.
    pub hangs_after_job: f64,
    /// A machine's own timer does not end it.
    pub ignores_timer: f64,
    /// How far the replicas' clocks are apart.
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
            self.clone()
        }
    }
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
