//! Clocks: virtual (moved only by the executor), accelerated (for the demo), and skewed (a
//! replica's).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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

/// The real time, accelerated `speed` times since its creation.
#[derive(Clone, Copy, Debug)]
pub struct AcceleratedClock {
    started: Instant,
    from: Timestamp,
    speed: u32,
}

impl AcceleratedClock {
    /// Creates a clock that shows `from` now and runs `speed` times as fast as the real one.
    pub fn new(from: Timestamp, speed: u32) -> Self {
        Self { started: Instant::now(), from, speed: speed.max(1) }
    }

    /// Returns the real time that `wait` takes on this clock.
    pub fn real(&self, wait: SignedDuration) -> std::time::Duration {
        wait.unsigned_abs() / self.speed
    }
}

impl Clock for AcceleratedClock {
    fn now(&self) -> Timestamp {
        self.from + self.started.elapsed().saturating_mul(self.speed)
    }
}

/// A clock that is wrong by a constant.
#[derive(Clone, Debug)]
pub struct Skewed {
    /// The true time.
    pub right: Virtual,
    /// The lead of this clock.
    pub by: SignedDuration,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.right.now() + self.by
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
        let ahead = Skewed { right: clock, by: SignedDuration::from_secs(2) };
        assert_eq!(ahead.now(), Timestamp::UNIX_EPOCH + SignedDuration::from_secs(7));
    }

    #[test]
    fn accelerated_time_needs_less_real_time() {
        let clock = AcceleratedClock::new(Timestamp::UNIX_EPOCH, 60);
        assert_eq!(clock.real(SignedDuration::from_mins(1)), std::time::Duration::from_secs(1));
        assert!(clock.now() >= Timestamp::UNIX_EPOCH);
    }
}
