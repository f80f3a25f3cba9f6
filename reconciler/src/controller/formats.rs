//! The format in which records are written: the newest one that every live replica reads.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use crate::model::{RecordFormats, RunName};
use crate::ports::ReadByAll;

/// A replica announces what it reads this often.
const ANNOUNCED_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// A replica that announces nothing for this long is not live any more.
const LIVE_FOR: SignedDuration = SignedDuration::from_mins(30);

/// The formats of this replica, and what it knows of the others.
pub(super) struct Formats {
    own: RecordFormats,
    /// Time at which it last announced the formats that it reads, and the answer to that.
    last: Mutex<Option<(Timestamp, ReadByAll)>>,
}

impl Formats {
    pub(super) fn of(own: RecordFormats) -> Self {
        Self { own, last: Mutex::default() }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let last = self.last.lock().as_ref().map(|(at, _)| *at);
        // A clock that was set back announces again.
        last.is_none_or(|at| now < at || now.duration_since(at) >= ANNOUNCED_EVERY)
    }

    fn announced(&self, read_by_all: ReadByAll, now: Timestamp) {
        *self.last.lock() = Some((now, read_by_all));
    }

    /// Returns the format to write. Until the others are known, that of the earlier release.
    fn to_write(&self) -> u32 {
        let writes = self.own.writes;
        let read = self.last.lock().as_ref().map(|(_, read_by_all)| read_by_all.format);
        read.unwrap_or(writes.saturating_sub(1)).min(writes).max(RecordFormats::FIRST)
    }
}

impl Controller {
    /// Replaces the formats of this release, as if it were another one. For tests.
    #[doc(hidden)]
    pub fn of_formats(self, own: RecordFormats) -> Self {
        Self { formats: Formats::of(own), ..self }
    }

    /// Returns the format in which every record is written now: `run.format` of each write.
    pub fn record_format(&self) -> u32 {
        self.formats.to_write()
    }

    /// Announces which formats this replica reads, from time to time, and learns what all others
    /// read. After a failure the next poll tries again.
    pub(super) async fn announce_formats(&self, now: Timestamp) {
        if !self.formats.is_due(now) {
            return;
        }
        let (replica, reads) = (self.settings().replica.clone(), self.formats.own.reads);
        // A clock that is ahead must not make others wait.
        let at = now.min(self.clock.truth());
        let asked = self.ports.store.announce(&replica, reads, at, LIVE_FOR).await;
        if let Ok(read_by_all) = asked {
            self.formats.announced(read_by_all, now);
            self.read_newer_again().await;
        }
    }

    /// Reads the records of newer formats again, as nothing else here does once the replicas that
    /// read them have removed them. The store notes what it finds.
    async fn read_newer_again(&self) {
        let newer = self.ports.store.newer();
        for name in newer.iter().filter_map(|record| record.name.parse::<RunName>().ok()) {
            let _ = self.ports.store.get(&name).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_written_once_all_read_it() {
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let formats = Formats::of(RecordFormats { reads: 3, writes: 2 });
        assert!(formats.is_due(at(0)));
        assert_eq!(formats.to_write(), 1, "the others are not known");
        for (read, written) in [(1, 1), (2, 2), (3, 2), (1, 1)] {
            formats.announced(ReadByAll { format: read, silent: None }, at(0));
            assert_eq!(formats.to_write(), written, "all read {read}");
        }
        assert!(!formats.is_due(at(9)) && formats.is_due(at(10)) && formats.is_due(at(-1)));
        assert_eq!(Formats::of(RecordFormats::OWN).to_write(), 1);
    }
}
