//! The waits of the jobs that started lately, by class.

use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{Event, Report};

/// The time after which a start is forgotten.
const LATELY: SignedDuration = SignedDuration::from_hours(1);
/// The maximum number of starts of a class.
const KEPT: usize = 1_000;
/// The maximum number of classes, in case a configuration changes again and again.
const CLASSES: usize = 1_000;

/// The waits of jobs whose start this process saw.
#[derive(Default)]
pub struct Waits(Mutex<HashMap<String, VecDeque<(Timestamp, i64)>>>);

/// The waits of a class, or of all, within the last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentWaits {
    /// The number of jobs.
    pub jobs: usize,
    /// Half of them waited at most this many seconds.
    pub p50_seconds: i64,
    /// 95 of 100 waited at most this many seconds.
    pub p95_seconds: i64,
}

impl Waits {
    /// Notes the start that a report tells.
    pub(super) fn note(&self, report: &Report, now: Timestamp) {
        let Some(class) = &report.class else { return };
        for event in &report.events {
            let Event::Started { waited_seconds } = event else { continue };
            let mut waits = self.0.lock();
            if waits.len() >= CLASSES && !waits.contains_key(&class.0) {
                waits.clear();
            }
            let of_class = waits.entry(class.0.clone()).or_default();
            of_class.push_back((now, *waited_seconds));
            if of_class.len() > KEPT {
                of_class.pop_front();
            }
        }
    }

    /// Returns the waits of a class within the last hour; `None` if no job started.
    pub fn of(&self, class: &str, now: Timestamp) -> Option<RecentWaits> {
        percentiles(self.0.lock().get(class)?.iter(), now)
    }

    /// Returns the waits of all classes within the last hour; `None` if no job started.
    pub fn of_all(&self, now: Timestamp) -> Option<RecentWaits> {
        percentiles(self.0.lock().values().flatten(), now)
    }
}

fn percentiles<'a>(
    waits: impl Iterator<Item = &'a (Timestamp, i64)>,
    now: Timestamp,
) -> Option<RecentWaits> {
    let lately = waits.filter(|(at, _)| now.duration_since(*at) <= LATELY);
    let mut seconds: Vec<i64> = lately.map(|(_, seconds)| *seconds).collect();
    seconds.sort_unstable();
    let rank = |percent: usize| {
        let nearest = (seconds.len() * percent).div_ceil(100).max(1);
        seconds.get(nearest - 1).copied()
    };
    Some(RecentWaits { jobs: seconds.len(), p50_seconds: rank(50)?, p95_seconds: rank(95)? })
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::controller::ReconcileOutcome;
    use tinqs_ci_reconciler::model::{ClassName, RunName};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn started(class: Option<&str>, waited_seconds: i64) -> Report {
        Report {
            name: RunName::job(1),
            began_at: at(0),
            result: ReconcileOutcome::Acted,
            phase_before: None,
            phase: None,
            reason: None,
            class: class.map(|class| ClassName(class.to_owned())),
            repo: String::new(),
            job: String::new(),
            effects: Vec::new(),
            due: None,
            error: None,
            failed: None,
            events: vec![Event::Created, Event::Started { waited_seconds }],
        }
    }

    #[test]
    fn percentiles_are_waits_that_happened() {
        let waits = Waits::default();
        assert_eq!(waits.of("linux", at(0)), None);
        for waited in 1..=100 {
            waits.note(&started(Some("linux"), waited), at(0));
        }
        waits.note(&started(None, 7), at(0));
        let all = RecentWaits { jobs: 100, p50_seconds: 50, p95_seconds: 95 };
        assert_eq!(waits.of("linux", at(0)), Some(all));
        waits.note(&started(Some("arm"), 9), at(0));
        let one = RecentWaits { jobs: 1, p50_seconds: 9, p95_seconds: 9 };
        assert_eq!(waits.of("arm", at(0)), Some(one));
        let both = RecentWaits { jobs: 101, p50_seconds: 50, p95_seconds: 95 };
        assert_eq!(waits.of_all(at(0)), Some(both));
        assert_eq!(waits.of_all(at(3_601)), None);
    }

    #[test]
    fn an_old_start_is_forgotten_and_the_number_is_bounded() {
        let waits = Waits::default();
        waits.note(&started(Some("linux"), 5), at(0));
        assert_eq!(waits.of("linux", at(3_600)).map(|all| all.jobs), Some(1));
        assert_eq!(waits.of("linux", at(3_601)), None);
        for _ in 0..=KEPT {
            waits.note(&started(Some("linux"), 5), at(0));
        }
        assert_eq!(waits.of("linux", at(0)).map(|all| all.jobs), Some(KEPT));
    }
}
