//! The clock of the controller against the true time, as the forge's answers tell it.
//!
//! Two clocks that agree are trusted: nothing is ended, retired or given back after a wait while the
//! own clock is more than two minutes off. Nothing is recorded too early meanwhile, because a clock
//! that is behind is corrected; what one that is ahead records ends a wait too late, never too soon.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::{Controller, Event};
use crate::model::ClockCheck;
use crate::ports::{Clock, Forge, TrueTime};

/// A clock that knows whether it is right.
pub(super) struct CheckedClock {
    own: Arc<dyn Clock>,
    forge: Arc<dyn Forge>,
    /// As of the last reconcile.
    last: Mutex<ClockCheck>,
}

/// A clock and the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Whether waits may be concluded.
    pub check: ClockCheck,
    /// Lead of this process's clock over the true time; negative if it is behind. `None` while no
    /// answer of the forge has told the true time.
    pub ahead: Option<SignedDuration>,
}

/// A reading of the clock, with the knowledge of the true time at that moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) time: Timestamp,
    truth: TrueTime,
}

impl CheckedClock {
    /// Checks a clock by the answers of a forge.
    pub(super) fn new(own: Arc<dyn Clock>, forge: Arc<dyn Forge>) -> Self {
        Self { own, forge, last: Mutex::default() }
    }

    pub(super) fn read(&self) -> ClockReading {
        match self.forge.true_time() {
            TrueTime::Unknown => ClockReading { check: ClockCheck::Unchecked, ahead: None },
            TrueTime::Undated => ClockReading { check: ClockCheck::Agrees, ahead: None },
            TrueTime::About(truth) => {
                let ahead = self.own.now().duration_since(truth);
                ClockReading { check: ClockCheck::of(ahead), ahead: Some(ahead) }
            }
        }
    }

    /// Reads the clock, and the true time at the same moment.
    pub(super) fn show(&self) -> Shown {
        Shown { time: self.now(), truth: self.forge.true_time() }
    }

    /// Checks this clock and what it showed a moment ago: it may have been set since then. Both times
    /// are of one moment, so that a slow observation is not taken for a clock that is behind.
    pub(super) fn check(&self, shown: Shown) -> ClockCheck {
        let check = self.read().check;
        if !check.agrees() {
            return check;
        }
        let ahead_of = |truth| ClockCheck::of(shown.time.duration_since(truth));
        match (shown.truth, self.forge.true_time()) {
            (TrueTime::About(then), _) => ahead_of(then),
            // It took long, or was behind until it was set.
            (TrueTime::Unknown, TrueTime::About(now)) => match ahead_of(now) {
                ClockCheck::Behind => ClockCheck::Unchecked,
                check => check,
            },
            _ => check,
        }
    }

    /// Returns the true time as far as it is known.
    pub(super) fn truth(&self) -> Timestamp {
        match self.forge.true_time() {
            TrueTime::About(truth) => truth,
            TrueTime::Unknown | TrueTime::Undated => self.own.now(),
        }
    }

    /// Notes the check of a reconcile. Returns the former one if it was another.
    fn note(&self, check: ClockCheck) -> Option<ClockCheck> {
        let before = std::mem::replace(&mut *self.last.lock(), check);
        (before != check).then_some(before)
    }
}

impl Clock for CheckedClock {
    fn now(&self) -> Timestamp {
        let own = self.own.now();
        match self.forge.true_time() {
            TrueTime::About(truth)
                if ClockCheck::of(own.duration_since(truth)) == ClockCheck::Behind =>
            {
                truth
            }
            TrueTime::About(_) | TrueTime::Unknown | TrueTime::Undated => own,
        }
    }
}

impl Controller {
    /// Returns whether this process's clock agrees with the true time.
    pub fn clock(&self) -> ClockReading {
        self.clock.read()
    }

    /// Notes whether the clock of a reconcile agrees. Returns what is to be told, once. When it is
    /// right again, everything that was cached with a wrong time is forgotten.
    pub(super) fn note_clock(&self, check: ClockCheck) -> Option<Event> {
        let before = self.clock.note(check)?;
        let was_wrong = matches!(before, ClockCheck::Ahead | ClockCheck::Behind);
        if was_wrong {
            self.steadiness.begin(self.ports.clock.now());
            self.cache.forget_times();
        }
        let seconds = self.clock.read().ahead.map_or(0, |ahead| ahead.as_secs());
        match check {
            ClockCheck::Ahead | ClockCheck::Behind => {
                Some(Event::ClockDiffers { ahead_seconds: seconds })
            }
            ClockCheck::Agrees => was_wrong.then_some(Event::ClockAgrees),
            ClockCheck::Unchecked => None,
        }
    }
}
