//! Local token buckets below EC2's, so that no call is sent that must be refused.
//!
//! Buckets are per account and region, and others draw on them too: ours are a guess that a
//! throttled answer corrects (empty, and half as fast) and success takes back. A launch in calm
//! weather waits for its turn at most [`PATIENCE`]; whoever would wait longer is told so at once,
//! and `room` says it before anything is recorded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind};

/// Longest wait of one call for its turn. A look lasts 60 s, and what it issues may land 6 minutes
/// after its beginning at the latest: this wait is taken from the seconds that a call really needs.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// A throttled bucket is never slower than this part of its rate.
const SLOWEST: f64 = 1.0 / 16.0;
/// What each success gives back of the rate.
const GROWS: f64 = 1.0 / 20.0;

/// What a bucket holds, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Calls at once.
    pub capacity: f64,
    /// Calls per second after that.
    pub per_second: f64,
}

/// One rate per kind of call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// `RunInstances`, one machine each.
    pub launch: Rate,
    /// `TerminateInstances`.
    pub terminate: Rate,
    /// `DescribeInstances` with a filter, ids or pages.
    pub describe: Rate,
}

impl Default for Rates {
    /// A little below what every account has: 5 launches and 2/s, 100 terminates and 5/s, 100
    /// describes and 20/s. (The bucket of machines, 1,000 and 2/s, is never the narrower one: a
    /// launch asks for one.) A call less than the capacity, because calls that leave here half a
    /// second apart may arrive together.
    fn default() -> Self {
        Self {
            launch: Rate { capacity: 4.0, per_second: 1.9 },
            terminate: Rate { capacity: 90.0, per_second: 4.5 },
            describe: Rate { capacity: 90.0, per_second: 18.0 },
        }
    }
}

/// A token bucket: pure, the time is passed in.
#[derive(Clone, Debug)]
pub struct Bucket {
    nominal: Rate,
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        Self { nominal: rate, per_second: rate.per_second, tokens: rate.capacity, at: now }
    }

    /// What it holds now. A clock that goes back fills nothing.
    pub fn tokens(&mut self, now: Timestamp) -> f64 {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.nominal.capacity);
        self.tokens
    }

    /// Takes a token, or says how long the next is away.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        if self.tokens(now) >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.away(1.0))
    }

    /// How long until it holds so many, as it is now.
    fn away(&self, tokens: f64) -> Duration {
        let seconds = ((tokens - self.tokens) / self.per_second).clamp(0.0, 3_600.0);
        // Rounded up: who has waited so long finds a token.
        Duration::from_secs_f64(seconds) + Duration::from_millis(1)
    }

    /// A call was refused for pace: theirs is empty, and ours was too fast.
    pub fn throttled(&mut self, now: Timestamp) {
        self.tokens(now);
        self.tokens = 0.0;
        self.per_second = (self.per_second / 2.0).max(self.nominal.per_second * SLOWEST);
    }

    /// A call was taken.
    pub fn taken(&mut self) {
        let grown = self.per_second + self.nominal.per_second * GROWS;
        self.per_second = grown.min(self.nominal.per_second);
    }

    /// Calls per second as it stands.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

/// A bucket and those who wait for it, in order.
pub struct Lane {
    clock: Arc<dyn Clock>,
    bucket: Mutex<Bucket>,
    /// Fair: first come, first served.
    line: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    patience: Duration,
}

/// Counts one who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lane {
    /// With a full bucket. `patience`: longest wait of one call.
    pub fn new(rate: Rate, patience: Duration, clock: Arc<dyn Clock>) -> Self {
        let bucket = Mutex::new(Bucket::new(rate, clock.now()));
        let (line, waiting) = (tokio::sync::Mutex::new(()), AtomicUsize::new(0));
        Self { clock, bucket, line, waiting, patience }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a token and takes it.
    ///
    /// # Errors
    /// How long it would have taken, where that is longer than it is patient; nothing is taken then.
    pub async fn turn(&self) -> Result<(), Duration> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        let wait = {
            let mut bucket = self.bucket();
            bucket.tokens(self.clock.now());
            bucket.away(count(before) + 1.0)
        };
        if wait > self.patience + Duration::from_millis(1) {
            return Err(wait);
        }
        let until = tokio::time::Instant::now() + self.patience + Duration::from_millis(1);
        let Ok(_first) = tokio::time::timeout_at(until, self.line.lock()).await else {
            return Err(self.patience);
        };
        loop {
            let taken = self.bucket().take(self.clock.now());
            let Err(wait) = taken else { return Ok(()) };
            // It may have been throttled meanwhile.
            if tokio::time::Instant::now() + wait > until {
                return Err(wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether there is a token that nobody waits for.
    pub fn room(&self) -> bool {
        let waiting = count(self.waiting.load(Ordering::Acquire));
        self.bucket().tokens(self.clock.now()) - waiting >= 1.0
    }

    /// What a call that failed says of the pace.
    pub fn corrected(&self, kind: ErrorKind) {
        if kind == ErrorKind::Throttled {
            self.bucket().throttled(self.clock.now());
        }
    }

    /// A call was taken.
    pub fn taken(&self) {
        self.bucket().taken();
    }

    /// Calls per second as it stands.
    pub fn per_second(&self) -> f64 {
        self.bucket().per_second()
    }
}

#[expect(clippy::cast_precision_loss, reason = "never more than a few thousand")]
fn count(waiting: usize) -> f64 {
    waiting as f64
}

/// A pace for each kind of call.
pub struct Pace {
    /// `RunInstances`.
    pub launch: Lane,
    /// `TerminateInstances`.
    pub terminate: Lane,
    /// `DescribeInstances`.
    pub describe: Lane,
}

impl Pace {
    /// With full buckets.
    pub fn new(rates: Rates, clock: &Arc<dyn Clock>) -> Self {
        let lane = |rate| Lane::new(rate, PATIENCE, clock.clone());
        Self {
            launch: lane(rates.launch),
            terminate: lane(rates.terminate),
            describe: lane(rates.describe),
        }
    }
}

/// A duration as people read it in messages.
pub(super) fn seconds(wait: Duration) -> String {
    format!(
        "{:#}",
        SignedDuration::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    )
}

#[cfg(test)]
mod tests;
