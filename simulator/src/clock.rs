//! Clocks: virtual (moved only by the executor), accelerated (for the demo), and skewed (a
//! replica's).

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::Clock;

/// A clock that moves only when set. Clones share the time.
#[derive(Clone, Debug)]
pub struct Virtual(Arc<AtomicI64>);

impl Virtual {
    /// Creates a clock at `at`.
    pub fn starting_at(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    /// Moves the time to `at`, never backwards.
    pub fn set(&self, at: Timestamp) {
        self.0.fetch_max(at.as_microsecond(), Ordering::Relaxed);
    }
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        // Only timestamps are ever stored.
        Timestamp::from_microsecond(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

/// The real time, accelerated `speed` times since its creation. Clones share the time.
#[derive(Clone, Debug)]
pub struct AcceleratedClock {
    started: Instant,
    from: Timestamp,
    speed: u32,
    /// Time by which `from` was behind the real time.
    behind: SignedDuration,
    /// The moment at which it settled, and what it showed then.
    settled: Arc<OnceLock<(Instant, Timestamp)>>,
}

impl AcceleratedClock {
    /// Creates a clock that shows `from` now and runs `speed` times as fast as the real one.
    pub fn new(from: Timestamp, speed: u32) -> Self {
        let (started, settled) = (Instant::now(), Arc::default());
        Self { started, from, speed: speed.max(1), behind: SignedDuration::ZERO, settled }
    }

    /// Creates the same clock so far behind `from`.
    pub fn behind(from: Timestamp, speed: u32, by: SignedDuration) -> Self {
        Self { behind: by, ..Self::new(from - by, speed) }
    }

    /// Lets the clock run as the real one does, as soon as it has caught up with it.
    pub fn settle(&self) {
        self.settled.get_or_init(|| (Instant::now(), self.accelerated()));
    }

    /// Returns whether it runs as the real clock does.
    pub fn is_settled(&self) -> bool {
        self.settled.get().is_some_and(|settled| self.accelerated() >= self.paced(*settled))
    }

    /// Returns the real time that `wait` takes on this clock.
    pub fn real(&self, wait: SignedDuration) -> std::time::Duration {
        wait.unsigned_abs() / if self.is_settled() { 1 } else { self.speed }
    }

    fn accelerated(&self) -> Timestamp {
        self.from + self.started.elapsed().saturating_mul(self.speed)
    }

    /// Returns the real time; if the clock was ahead of it when it settled, what it showed then and
    /// the time since.
    fn paced(&self, (at, showed): (Instant, Timestamp)) -> Timestamp {
        let real = self.from + self.behind + self.started.elapsed();
        real.max(showed + at.elapsed())
    }
}

impl Clock for AcceleratedClock {
    fn now(&self) -> Timestamp {
        let accelerated = self.accelerated();
        self.settled.get().map_or(accelerated, |settled| accelerated.min(self.paced(*settled)))
    }
}

/// A clock that is wrong, and may be set while it runs.
#[derive(Clone, Debug)]
pub struct Skewed {
    /// The true time.
    pub right: Virtual,
    /// The times at which it is set, each with its lead from then on; in order. Before the first,
    /// it is right.
    pub leads: Vec<(Timestamp, SignedDuration)>,
}

impl Skewed {
    /// Returns its lead now.
    pub fn lead(&self) -> SignedDuration {
        let now = self.right.now();
        let set = self.leads.iter().rev().find(|(at, _)| *at <= now);
        set.map_or(SignedDuration::ZERO, |(_, lead)| *lead)
    }
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.right.now() + self.lead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_is_shared_and_never_goes_back() {
        let clock = Virtual::starting_at(Timestamp::UNIX_EPOCH);
        let copy = clock.clone();
        clock.set(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5));
        copy.set(Timestamp::UNIX_EPOCH);
        assert_eq!(copy.now(), Timestamp::UNIX_EPOCH + SignedDuration::from_secs(5));
        let second = |at| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(at);
        let leads = vec![
            (second(0), SignedDuration::from_secs(2)),
            (second(6), SignedDuration::from_secs(-3)),
        ];
        let skewed = Skewed { right: clock.clone(), leads };
        assert_eq!(skewed.now(), second(7));
        clock.set(second(6));
        assert_eq!(skewed.now(), second(3));
    }

    #[test]
    fn accelerated_time_needs_less_real_time() {
        let clock = AcceleratedClock::new(Timestamp::UNIX_EPOCH, 60);
        assert_eq!(clock.real(SignedDuration::from_mins(1)), std::time::Duration::from_secs(1));
        assert!(clock.now() >= Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_settled_clock_is_never_ahead_of_the_real_one_and_keeps_its_pace() {
        let from = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        // It would need a minute to catch up.
        let clock = AcceleratedClock::behind(from, 60, SignedDuration::from_mins(59));
        clock.settle();
        assert!(!clock.is_settled() && clock.now() < from);
        assert_eq!(clock.real(SignedDuration::from_mins(1)), std::time::Duration::from_secs(1));
        let clock = AcceleratedClock::behind(from, u32::MAX, SignedDuration::from_nanos(1));
        while clock.now() < from {
            std::thread::yield_now();
        }
        clock.settle();
        assert!(clock.is_settled(), "it is ahead, and goes on from there");
        assert_eq!(clock.real(SignedDuration::from_secs(1)), std::time::Duration::from_secs(1));
        let first = clock.now();
        assert!(clock.now().duration_since(first) < SignedDuration::from_secs(60));
    }
}
