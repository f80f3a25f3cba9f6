//! The true time, as the dates of the forge's answers tell it.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::ports::TrueTime;

/// The date of the last answer that has one, whatever the answer says.
#[derive(Default)]
pub(super) struct Dates(Mutex<Heard>);

#[derive(Clone, Copy, Default)]
enum Heard {
    #[default]
    Nothing,
    Undated,
    Dated {
        date: Timestamp,
        /// By a clock that cannot be set.
        at: Instant,
    },
}

impl Dates {
    /// Notes an answer whose headers have just arrived.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let mut heard = self.0.lock();
        match (date(headers), *heard) {
            (Some(date), _) => *heard = Heard::Dated { date, at: Instant::now() },
            (None, Heard::Nothing) => *heard = Heard::Undated,
            (None, Heard::Undated | Heard::Dated { .. }) => {}
        }
    }

    /// Returns the true time now.
    pub(super) fn true_time(&self) -> TrueTime {
        match *self.0.lock() {
            Heard::Nothing => TrueTime::Unknown,
            Heard::Undated => TrueTime::Undated,
            Heard::Dated { date, at } => later(date, at.elapsed()),
        }
    }
}

fn later(date: Timestamp, by: Duration) -> TrueTime {
    date.checked_add(by).map_or(TrueTime::Undated, TrueTime::About)
}

/// Returns the date of an answer, to the second. That of a cache is as old as its copy, and none.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(header::DATE).filter(|_| !headers.contains_key(header::AGE))?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(date: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::DATE, HeaderValue::from_static(date))])
    }

    const DATE: &str = "Mon, 30 Nov 2026 12:00:00 GMT";

    #[test]
    fn the_last_dated_answer_tells_the_time() {
        let dates = Dates::default();
        assert_eq!(dates.true_time(), TrueTime::Unknown);
        dates.note(&headers("yesterday"));
        dates.note(&HeaderMap::new());
        assert_eq!(dates.true_time(), TrueTime::Undated);
        dates.note(&headers(DATE));
        dates.note(&HeaderMap::new());
        let noon: Timestamp = "2026-11-30T12:00:00Z".parse().expect("a time");
        let TrueTime::About(now) = dates.true_time() else { panic!("it has a date") };
        assert!(now >= noon && now < noon + Duration::from_hours(1), "{now}");
    }

    #[test]
    fn a_copy_in_a_cache_tells_no_time() {
        let mut old = headers(DATE);
        old.insert(header::AGE, HeaderValue::from_static("900"));
        assert_eq!(date(&old), None);
        assert!(date(&headers(DATE)).is_some());
    }
}
