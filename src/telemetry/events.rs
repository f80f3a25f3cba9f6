//! Events: what this process did, and what it sees of the records that others write.
//!
//! An event is typed data in a bounded ring in memory; words and JSON are made when somebody reads
//! it. Readers have a position in the ring and nothing else, so that a slow one costs nothing and
//! cannot delay a reconcile. The bounded history of a run is its timeline, in its record.

use std::sync::OnceLock;

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{ClassName, Run, RunName};
use tinqs_ci_reconciler::ports::OpenRun;
use tokio::sync::watch;

use crate::words::events::EventData;
use known::{SeenRecords, Sight};
use ring::Ring;

mod known;
mod ring;
mod view;

pub use ring::{Entry, EventsAfter, Object, Subject};
pub use view::{of_timeline, view};

/// The number of events that are kept.
pub const KEPT: usize = 2_000;

/// The events of this process.
pub struct Events {
    state: Mutex<State>,
    /// The sequence of the newest event, for those who wait for the next one.
    newest: watch::Sender<u64>,
    /// The name of this process in event IDs.
    replica: OnceLock<String>,
    /// Whether streams must end, and none may begin.
    ended: watch::Sender<bool>,
    /// Whether nobody can read events here, so that none are kept.
    off: OnceLock<()>,
}

struct State {
    ring: Ring,
    known: SeenRecords,
}

impl Events {
    /// Begins without events. Sequences continue those of an earlier process of the same name,
    /// because they begin with the time.
    pub(super) fn new(started_at: Timestamp, kept: usize) -> Self {
        let first = u64::try_from(started_at.as_millisecond()).unwrap_or_default();
        let ring = Ring::new(first, kept);
        Self {
            newest: watch::Sender::new(ring.newest()),
            state: Mutex::new(State { ring, known: SeenRecords::new(started_at) }),
            replica: OnceLock::new(),
            ended: watch::Sender::new(false),
            off: OnceLock::new(),
        }
    }

    /// Keeps no events from now on. A replica without an API, where nobody can read them, does not
    /// pay for them with every delivery.
    pub fn keep_none(&self) {
        let _ = self.off.set(());
    }

    /// Names this process, once.
    pub fn name(&self, replica: &str) {
        let _ = self.replica.set(replica.to_owned());
    }

    /// Returns the name of this process.
    pub fn replica(&self) -> &str {
        self.replica.get().map_or("", String::as_str)
    }

    /// Adds an event of a class, a service or a set of labels.
    pub(super) fn tell(&self, object: Object, what: EventData, at: Timestamp) {
        self.change(|state| state.ring.push(object, what, at));
    }

    /// Adds an event of a run that its record does not tell.
    pub fn tell_run(&self, name: &RunName, what: EventData, at: Timestamp) {
        let subject = Subject::nameless(name);
        self.tell(Object::Run(subject), what, at);
    }

    /// Adds an event of a class.
    pub(super) fn tell_class(&self, class: &ClassName, what: EventData, at: Timestamp) {
        self.tell(Object::Class(class.clone()), what, at);
    }

    /// Notes a record as it is stored in this version, and adds what changed since it was last seen.
    /// Returns how many milestones are new: the last ones of its timeline.
    pub(super) fn seen(&self, run: &Run, version: u64, now: Timestamp) -> usize {
        let mut milestones = 0;
        self.change(|state| {
            let State { ring, known } = state;
            let Sight { subject, news } = known.see(run, version, now);
            for (at, what) in news {
                milestones += usize::from(matches!(what, EventData::Milestone(_)));
                ring.push(Object::Run(subject.clone()), what, at);
            }
        });
        milestones
    }

    /// Notes that a record was removed.
    pub fn removed(&self, name: &RunName, now: Timestamp) {
        self.change(|state| {
            if state.known.forget(name) {
                state.ring.push(Object::Run(Subject::nameless(name)), EventData::Removed, now);
            }
        });
    }

    /// Notes a listing of the open runs. Returns the names of at most `most` records that were
    /// written by others and should be read.
    pub fn listed(&self, open: &[OpenRun], most: usize) -> Vec<RunName> {
        self.state.lock().known.stale(open, most)
    }

    /// Returns the events after this sequence, oldest first, at most `most`.
    pub fn after(&self, sequence: u64, most: usize) -> EventsAfter {
        self.state.lock().ring.after(sequence, most)
    }

    /// Returns all events for which `wanted` holds, oldest first.
    pub fn all(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.state.lock().ring.entries().filter(|entry| wanted(entry)).cloned().collect()
    }

    /// Returns the sequence of the newest event.
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// Returns a receiver that is told of each new event.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Ends every stream, and lets none begin: the server stops, or cannot keep connections.
    pub fn end_streams(&self) {
        self.ended.send_replace(true);
    }

    /// Returns a receiver that is told when streams must end.
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if self.off.get().is_some() {
            return;
        }
        let newest = {
            let mut state = self.state.lock();
            change(&mut state);
            state.ring.newest()
        };
        self.newest.send_if_modified(|before| {
            let is_newer = *before < newest;
            *before = newest.max(*before);
            is_newer
        });
    }
}
