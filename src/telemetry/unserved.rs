//! Waiting jobs that no class serves, as last polled by this process.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{SweepReport, UnservedLabels};

/// Waiting jobs that no class serves.
#[derive(Default)]
pub struct Unserved(Mutex<Option<Polled>>);

/// The jobs of the last poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// The number of jobs, also of sets of labels that are not listed.
    pub jobs: usize,
    /// The sets of labels, most jobs first, with the time when this process saw each first.
    pub sets: Vec<(UnservedLabels, Timestamp)>,
}

/// The changes since the poll before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// New sets of labels.
    pub(super) new: Vec<UnservedLabels>,
    /// Sets of labels that no job asks for any more, or that a class serves now.
    pub(super) gone: Vec<(Vec<String>, SignedDuration)>,
}

impl Unserved {
    /// Returns the jobs of the last poll; `None` if this process does not poll.
    pub fn last(&self) -> Option<Polled> {
        self.0.lock().clone()
    }

    /// Notes a poll. If it could not read the list, the jobs of the poll before stay.
    pub(super) fn note(&self, report: &SweepReport, now: Timestamp) -> Changes {
        let mut last = self.0.lock();
        if !report.leader {
            *last = None;
            return Changes::default();
        }
        let Some(sets) = &report.unserved else { return Changes::default() };
        let before = last.take().unwrap_or_default().sets;
        let mut changes = Changes::default();
        let sets = sets.iter().map(|set| {
            let known = before.iter().find(|(old, _)| old.runs_on == set.runs_on);
            if known.is_none() {
                changes.new.push(set.clone());
            }
            (set.clone(), known.map_or(now, |(_, since)| *since))
        });
        let sets: Vec<(UnservedLabels, Timestamp)> = sets.collect();
        changes.gone = before
            .into_iter()
            .filter(|(old, _)| !sets.iter().any(|(set, _)| set.runs_on == old.runs_on))
            .map(|(old, since)| (old.runs_on, now.duration_since(since)))
            .collect();
        *last = Some(Polled { jobs: report.unserved_jobs, sets });
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn polled(labels: &[&str]) -> SweepReport {
        let set = |label: &&str| UnservedLabels {
            runs_on: vec![(*label).to_owned()],
            jobs: 1,
            ..UnservedLabels::default()
        };
        SweepReport {
            leader: true,
            unserved_jobs: labels.len(),
            unserved: Some(labels.iter().map(set).collect()),
            ..SweepReport::default()
        }
    }

    #[test]
    fn each_set_is_new_once_and_gone_once() {
        let unserved = Unserved::default();
        let changes = unserved.note(&polled(&["gpu", "arm"]), at(0));
        assert_eq!((changes.new.len(), changes.gone.len()), (2, 0));
        assert_eq!(unserved.note(&polled(&["gpu", "arm"]), at(10)), Changes::default());
        let changes = unserved.note(&polled(&["gpu"]), at(20));
        assert!(changes.new.is_empty());
        assert_eq!(changes.gone, [(vec!["arm".to_owned()], SignedDuration::from_secs(20))]);
        let last = unserved.last().expect("polled");
        assert_eq!((last.jobs, last.sets[0].1), (1, at(0)), "since it was seen first");
    }

    #[test]
    fn a_failed_poll_keeps_the_last_list_and_a_follower_has_none() {
        let unserved = Unserved::default();
        unserved.note(&polled(&["gpu"]), at(0));
        let failed = SweepReport { leader: true, ..SweepReport::default() };
        assert_eq!(unserved.note(&failed, at(10)), Changes::default());
        assert_eq!(unserved.last().map(|last| last.jobs), Some(1));
        unserved.note(&SweepReport::default(), at(20));
        assert_eq!(unserved.last(), None);
    }
}
