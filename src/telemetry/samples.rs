//! The machines that each class wanted and had, minute by minute, for the last two hours.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use parking_lot::Mutex;

/// The minutes that are kept.
pub const MINUTES: u32 = 120;

/// The highest counts of each minute, by class. Every listing of the open runs adds to them, so that
/// a minute without one is a gap.
///
/// Minutes are those of the clock, which may be set: a sample of the future is dropped, and a listing
/// of the past counts for its own minute, in whatever order they come.
#[derive(Default)]
pub struct Samples(Mutex<HashMap<String, BTreeMap<i64, Count>>>);

#[derive(Clone, Copy, Default)]
struct Count {
    desired: u32,
    actual: u32,
}

/// The highest counts of a class in a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The age in minutes: below [`MINUTES`].
    pub minutes_ago: u32,
    /// Machines that its open runs wanted.
    pub desired: u32,
    /// Live machines.
    pub actual: u32,
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

impl Samples {
    /// Notes the desired and the actual machines of every class. Other classes are forgotten.
    pub(super) fn note<'a>(
        &self,
        classes: impl Iterator<Item = (&'a str, usize, usize)>,
        now: Timestamp,
    ) {
        let this = minute(now);
        let limited = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut all = self.0.lock();
        let mut before = std::mem::take(&mut *all);
        for (class, desired, actual) in classes {
            let mut minutes = before.remove(class).unwrap_or_default();
            // Another thread may have read the clock just before the minute ended.
            minutes.retain(|minute, _| (this - i64::from(MINUTES) + 1..=this + 1).contains(minute));
            let count = minutes.entry(this).or_default();
            count.desired = count.desired.max(limited(desired));
            count.actual = count.actual.max(limited(actual));
            all.insert(class.to_owned(), minutes);
        }
    }

    /// Returns the samples of a class, oldest first.
    pub fn of(&self, class: &str, now: Timestamp) -> Vec<Sample> {
        let this = minute(now);
        let all = self.0.lock();
        let minutes = all.get(class).into_iter().flatten();
        let kept = minutes.filter_map(|(minute, count)| {
            let minutes_ago = u32::try_from(this.checked_sub(*minute)?).ok()?;
            let Count { desired, actual } = *count;
            (minutes_ago < MINUTES).then_some(Sample { minutes_ago, desired, actual })
        });
        kept.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64, second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute + second).expect("a time")
    }

    fn note(samples: &Samples, counts: (usize, usize), at: Timestamp) {
        samples.note([("linux", counts.0, counts.1)].into_iter(), at);
    }

    fn shown(samples: &Samples, at: Timestamp) -> Vec<(u32, u32, u32)> {
        let all = samples.of("linux", at).into_iter();
        all.map(|sample| (sample.minutes_ago, sample.desired, sample.actual)).collect()
    }

    #[test]
    fn a_minute_has_its_highest_counts() {
        let samples = Samples::default();
        assert_eq!(shown(&samples, at(0, 0)), []);
        note(&samples, (1, 0), at(0, 0));
        note(&samples, (3, 1), at(0, 10));
        note(&samples, (0, 2), at(0, 59));
        note(&samples, (0, 0), at(2, 0));
        assert_eq!(shown(&samples, at(2, 30)), [(2, 3, 2), (0, 0, 0)], "no listing, no sample");
        assert_eq!(shown(&samples, at(4, 0)), [(4, 3, 2), (2, 0, 0)]);
    }

    #[test]
    fn two_hours_are_kept() {
        let samples = Samples::default();
        for minute in 0..500 {
            note(&samples, (usize::try_from(minute).expect("small"), 0), at(minute, 0));
        }
        let all = shown(&samples, at(499, 0));
        assert_eq!(all.len(), 120);
        assert_eq!((all[0], all[119]), ((119, 380, 0), (0, 499, 0)));
        assert_eq!(shown(&samples, at(499 + 120, 0)), [], "they grow old without a listing, too");
    }

    #[test]
    fn a_clock_that_is_set_loses_samples_and_nothing_else() {
        let samples = Samples::default();
        note(&samples, (5, 5), at(600, 0));
        assert_eq!(shown(&samples, at(0, 0)), [], "none is of the future");
        note(&samples, (2, 1), at(0, 0));
        assert_eq!(shown(&samples, at(0, 0)), [(0, 2, 1)]);
        assert_eq!(shown(&samples, at(600, 0)), [], "the sample of the future is gone");
        note(&samples, (4, 4), at(1, 0));
        note(&samples, (3, 1), at(0, 59));
        assert_eq!(shown(&samples, at(1, 1)), [(1, 3, 1), (0, 4, 4)], "late, by a moment");
        for far in [Timestamp::MIN, Timestamp::MAX, at(1, 30)] {
            note(&samples, (1, 1), far);
            assert_eq!(shown(&samples, far).last(), Some(&(0, 1, 1)));
        }
    }

    #[test]
    fn a_class_that_is_gone_is_forgotten_and_a_huge_count_is_limited() {
        let samples = Samples::default();
        note(&samples, (1, 1), at(0, 0));
        samples.note([("arm", usize::MAX, usize::MAX)].into_iter(), at(0, 0));
        assert_eq!(shown(&samples, at(0, 0)), []);
        let all = samples.of("arm", at(0, 0));
        assert_eq!(all, [Sample { minutes_ago: 0, desired: u32::MAX, actual: u32::MAX }]);
    }
}
