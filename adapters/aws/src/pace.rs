//! Local token buckets, slightly below EC2's, so that EC2 refuses no call for its rate.
//!
//! EC2's buckets are per account and region, and others draw on them too: ours are an estimate. A
//! throttled response empties the bucket and halves its rate; success restores it step by step. A
//! call waits for its turn at most [`PATIENCE`]; if it would take longer, it fails at once. `room`
//! reports it before anything is recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind};

/// Longest wait of one call for its turn: a part of the time within which a launch is signed.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// Lower bound of a throttled bucket's rate, as a fraction of the nominal rate.
const SLOWEST: f64 = 1.0 / 16.0;
/// Fraction of the nominal rate that each success restores.
const GROWS: f64 = 1.0 / 20.0;

/// Capacity and fill rate of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Size of a burst, in calls.
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
    /// `DescribeInstances` with a filter, IDs or pages.
    pub describe: Rate,
}

impl Default for Rates {
    /// Slightly below the quotas of every account: 5 launches and 2/s, 100 terminates and 5/s, 100
    /// describes and 20/s. (EC2's bucket of machines, 1,000 and 2/s, is never the tighter one: each
    /// launch requests one machine.) The capacity is one call lower, because calls that are sent
    /// half a second apart may arrive together.
    fn default() -> Self {
        Self {
            launch: Rate { capacity: 4.0, per_second: 1.9 },
            terminate: Rate { capacity: 90.0, per_second: 4.5 },
            describe: Rate { capacity: 90.0, per_second: 18.0 },
        }
    }
}

/// A token bucket; pure, the time is an argument.
#[derive(Clone, Debug)]
pub struct Bucket {
    nominal: Rate,
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// Returns a full bucket.
    pub fn new(rate: Rate, now: Timestamp) -> Self {
        Self { nominal: rate, per_second: rate.per_second, tokens: rate.capacity, at: now }
    }

    /// Returns the tokens at this time. A clock that goes back adds none.
    pub fn tokens(&mut self, now: Timestamp) -> f64 {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.nominal.capacity);
        self.tokens
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The wait until the next token.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        if self.tokens(now) >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.away(1.0))
    }

    /// The wait until it holds this many tokens.
    fn away(&self, tokens: f64) -> Duration {
        let seconds = ((tokens - self.tokens) / self.per_second).clamp(0.0, 3_600.0);
        // Rounded up: after this wait there is a token.
        Duration::from_secs_f64(seconds) + Duration::from_millis(1)
    }

    /// Records a throttled call: empties the bucket and halves its rate.
    pub fn throttled(&mut self, now: Timestamp) {
        self.tokens(now);
        self.tokens = 0.0;
        self.per_second = (self.per_second / 2.0).max(self.nominal.per_second * SLOWEST);
    }

    /// Records a successful call: restores part of the rate.
    pub fn taken(&mut self) {
        let grown = self.per_second + self.nominal.per_second * GROWS;
        self.per_second = grown.min(self.nominal.per_second);
    }

    /// The current rate, in calls per second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

/// A bucket and the calls that wait for it, in order.
pub struct Lane {
    clock: Arc<dyn Clock>,
    bucket: Mutex<Bucket>,
    /// Fair: first come, first served.
    line: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    patience: Duration,
}

/// Counts one waiting call until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lane {
    /// Returns a lane with a full bucket. `patience`: longest wait of one call.
    pub fn new(rate: Rate, patience: Duration, clock: Arc<dyn Clock>) -> Self {
        let bucket = Mutex::new(Bucket::new(rate, clock.now()));
        let (line, waiting) = (tokio::sync::Mutex::new(()), AtomicUsize::new(0));
        Self { clock, bucket, line, waiting, patience }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock()
    }

    /// Waits for a token and takes it.
    ///
    /// # Errors
    /// The wait that would be needed, if it exceeds the patience; no token is taken then.
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
            // It may have been throttled in between.
            if tokio::time::Instant::now() + wait > until {
                return Err(wait);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether there is a token that no call waits for.
    pub fn room(&self) -> bool {
        let waiting = count(self.waiting.load(Ordering::Acquire));
        self.bucket().tokens(self.clock.now()) - waiting >= 1.0
    }

    /// Records a failed call.
    pub fn corrected(&self, kind: ErrorKind) {
        if kind == ErrorKind::Throttled {
            self.bucket().throttled(self.clock.now());
        }
    }

    /// Records a successful call.
    pub fn taken(&self) {
        self.bucket().taken();
    }

    /// The current rate, in calls per second.
    pub fn per_second(&self) -> f64 {
        self.bucket().per_second()
    }
}

#[expect(clippy::cast_precision_loss, reason = "never more than a few thousand")]
fn count(waiting: usize) -> f64 {
    waiting as f64
}

/// One lane per kind of call.
pub struct Pace {
    /// `RunInstances`.
    pub launch: Lane,
    /// `TerminateInstances`.
    pub terminate: Lane,
    /// `DescribeInstances`.
    pub describe: Lane,
}

impl Pace {
    /// Returns lanes with full buckets.
    pub fn new(rates: Rates, clock: &Arc<dyn Clock>) -> Self {
        let lane = |rate| Lane::new(rate, PATIENCE, clock.clone());
        Self {
            launch: lane(rates.launch),
            terminate: lane(rates.terminate),
            describe: lane(rates.describe),
        }
    }
}

/// Formats a duration for messages.
pub(super) fn seconds(wait: Duration) -> String {
    format!(
        "{:#}",
        SignedDuration::from_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    )
}

#[cfg(test)]
mod tests;
