//! The formats of records that replicas announce, and the records that a store could not read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::model::RecordFormats;

/// The maximum number of records that are known as not readable.
const MOST_UNREAD: usize = 1_000;

/// The announcement of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// Its name.
    pub replica: String,
    /// The newest format that it reads.
    pub reads: u32,
    /// It counts as live until then.
    pub until: Timestamp,
}

/// The newest format that every live replica reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadByAll {
    /// The format.
    pub format: u32,
    /// The holder of the sweep's lease, if it has announced nothing: a replica of a release that
    /// reads only the first format.
    pub silent: Option<String>,
}

impl ReadByAll {
    /// Returns what all live replicas read. `leader` holds the sweep's lease.
    pub fn of(announced: &[Announced], leader: Option<&str>, now: Timestamp) -> Self {
        let live = announced.iter().filter(|one| one.until > now);
        let silent = leader.filter(|leader| !live.clone().any(|one| one.replica == *leader));
        let least = live.map(|one| one.reads).min().filter(|_| silent.is_none());
        Self { format: least.unwrap_or(RecordFormats::FIRST), silent: silent.map(str::to_owned) }
    }
}

/// A record of a format that this release does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewerRecord {
    /// Its name, as stored.
    pub name: String,
    /// Its format.
    pub format: u32,
}

/// The records of a store that could not be read when last tried, each once, at most 1,000.
#[derive(Debug, Default)]
pub struct UnreadRecords {
    /// By name: the format, if it is newer than this release reads.
    formats: Mutex<BTreeMap<String, Option<u32>>>,
}

impl UnreadRecords {
    /// Notes that a record was read, or is gone.
    pub fn is_fine(&self, name: &str) {
        self.formats.lock().remove(name);
    }

    /// Notes that a record could not be read, and its format if that is the reason.
    pub fn failed(&self, name: &str, newer: Option<u32>) {
        let mut formats = self.formats.lock();
        if formats.len() < MOST_UNREAD || formats.contains_key(name) {
            formats.insert(name.to_owned(), newer);
        }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.formats.lock().len()
    }

    /// Returns those of newer formats.
    pub fn newer(&self) -> Vec<NewerRecord> {
        let formats = self.formats.lock();
        let newer = formats.iter().filter_map(|(name, format)| {
            Some(NewerRecord { name: name.clone(), format: (*format)? })
        });
        newer.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn announced(replica: &str, reads: u32, until: i64) -> Announced {
        Announced { replica: replica.to_owned(), reads, until: at(until) }
    }

    #[test]
    fn every_live_replica_counts_and_no_other() {
        let all = [announced("a", 3, 100), announced("b", 2, 50)];
        assert_eq!(ReadByAll::of(&all, Some("a"), at(0)).format, 2);
        let later = ReadByAll::of(&all, Some("a"), at(50));
        assert_eq!(later, ReadByAll { format: 3, silent: None });
        assert_eq!(ReadByAll::of(&all, None, at(100)).format, 1, "nobody lives");
    }

    #[test]
    fn a_leader_that_announces_nothing_reads_the_first_format() {
        let all = [announced("a", 3, 100)];
        let expected = ReadByAll { format: 1, silent: Some("old".to_owned()) };
        assert_eq!(ReadByAll::of(&all, Some("old"), at(0)), expected);
    }

    #[test]
    fn each_unread_record_counts_once_until_it_is_read() {
        let unread = UnreadRecords::default();
        unread.failed("job-1", None);
        unread.failed("job-2", Some(9));
        unread.failed("job-2", Some(9));
        assert_eq!(unread.count(), 2);
        assert_eq!(unread.newer(), [NewerRecord { name: "job-2".to_owned(), format: 9 }]);
        unread.is_fine("job-2");
        assert_eq!((unread.count(), unread.newer()), (1, Vec::new()));
    }
}
