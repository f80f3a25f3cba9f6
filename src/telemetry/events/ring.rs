//! The ring: the newest events, in the order of their sequence.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{ClassName, Run, RunName};

use crate::words::events::EventData;

/// An event that is repeated within this time is counted, and not told as another one.
const REPEATED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// The object of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A run.
    Run(Arc<Subject>),
    /// A class.
    Class(ClassName),
    /// Every class.
    Everything,
    /// A service, as people call it.
    Service(&'static str),
    /// A set of labels, sorted.
    Labels(Vec<String>),
}

/// A run, as its events show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: RunName,
    /// `owner/name`; empty if it is not known.
    pub repo: String,
    /// The job's name; empty if it is not known. It comes from outside and is never trusted.
    pub job: String,
    /// The URL of the job's page; empty if it is not known.
    pub url: String,
}

impl Subject {
    /// Returns the subject of a record.
    pub fn of(run: &Run) -> Arc<Self> {
        let about = &run.spec.about;
        let repo = if about.repo.is_empty() { &run.spec.job.repo } else { &about.repo };
        Arc::new(Self {
            name: run.name.clone(),
            repo: repo.clone(),
            job: about.job.clone(),
            url: about.url.clone(),
        })
    }

    /// Returns the subject of a run whose record is not at hand.
    pub(super) fn nameless(name: &RunName) -> Arc<Self> {
        let name = name.clone();
        Arc::new(Self { name, repo: String::new(), job: String::new(), url: String::new() })
    }
}

/// An event in the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub sequence: u64,
    /// The object of the event.
    pub object: Object,
    /// The event.
    pub what: EventData,
    /// The time of the first occurrence.
    pub first: Timestamp,
    /// The time of the last occurrence.
    pub last: Timestamp,
    /// The number of occurrences.
    pub count: u64,
}

/// The events after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsAfter {
    /// The position is not one of this ring, or older than what it keeps.
    Lost,
    /// The events, oldest first, and the position after them.
    Events(Vec<Entry>, u64),
}

/// The newest events. A repeated event moves to the end; its old place stays empty.
pub(super) struct Ring {
    kept: usize,
    /// The sequence of the first place.
    first: u64,
    places: VecDeque<Option<Entry>>,
    /// The sequence of the last event of each kind and object.
    last: HashMap<u64, u64>,
}

impl Ring {
    pub(super) fn new(first: u64, kept: usize) -> Self {
        // The position before the first one is a number, too.
        let first = first.max(1);
        Self { kept, first, places: VecDeque::new(), last: HashMap::new() }
    }

    /// Returns the sequence of the newest event; one before the first if there is none.
    pub(super) fn newest(&self) -> u64 {
        let count = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        self.first.saturating_add(count).saturating_sub(1)
    }

    pub(super) fn push(&mut self, object: Object, what: EventData, at: Timestamp) {
        let sequence = self.newest() + 1;
        let key = key(&object, &what);
        let before = self.last.insert(key, sequence);
        let before = before.and_then(|before| self.take(before, &object, at));
        let (first, count) = before.map_or((at, 1), |entry| (entry.first, entry.count + 1));
        let last = at.max(first);
        self.places.push_back(Some(Entry { sequence, object, what, first, last, count }));
        while self.places.len() > self.kept {
            if let Some(entry) = self.places.pop_front().flatten() {
                let key = self::key(&entry.object, &entry.what);
                if self.last.get(&key) == Some(&entry.sequence) {
                    self.last.remove(&key);
                }
            }
            self.first += 1;
        }
    }

    /// Takes an earlier event of the same kind out of its place, unless it is too old.
    fn take(&mut self, sequence: u64, object: &Object, at: Timestamp) -> Option<Entry> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        let place = self.places.get_mut(index)?;
        let entry = place.as_ref()?;
        let is_recent = at.duration_since(entry.last) <= REPEATED_WITHIN;
        // Two kinds may have the same hash.
        if !is_recent || !is_same(&entry.object, object) {
            return None;
        }
        place.take()
    }

    pub(super) fn after(&self, sequence: u64, most: usize) -> EventsAfter {
        let newest = self.newest();
        let Some(skipped) = sequence.saturating_add(1).checked_sub(self.first) else {
            return EventsAfter::Lost;
        };
        if sequence > newest {
            return EventsAfter::Lost;
        }
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let found = self.places.iter().skip(skipped).flatten().take(most);
        let found: Vec<Entry> = found.cloned().collect();
        let is_all = found.len() < most;
        let end = if is_all { newest } else { found.last().map_or(newest, |last| last.sequence) };
        EventsAfter::Events(found, end)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten()
    }
}

fn is_same(one: &Object, other: &Object) -> bool {
    match (one, other) {
        (Object::Run(one), Object::Run(other)) => one.name == other.name,
        (one, other) => one == other,
    }
}

fn key(object: &Object, what: &EventData) -> u64 {
    let mut state = DefaultHasher::new();
    match object {
        Object::Run(subject) => (0_u8, &subject.name).hash(&mut state),
        Object::Class(class) => (1_u8, class).hash(&mut state),
        Object::Service(service) => (2_u8, service).hash(&mut state),
        Object::Labels(labels) => (3_u8, labels).hash(&mut state),
        Object::Everything => state.write_u8(4),
    }
    what.hash_kind(&mut state);
    state.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn works(seconds: i64) -> EventData {
        EventData::ServiceWorks { after: SignedDuration::from_secs(seconds) }
    }

    fn class(name: &str) -> Object {
        Object::Class(ClassName(name.to_owned()))
    }

    fn after(ring: &Ring, sequence: u64) -> Vec<(u64, u64)> {
        let EventsAfter::Events(found, _) = ring.after(sequence, 100) else { panic!("lost") };
        found.iter().map(|entry| (entry.sequence, entry.count)).collect()
    }

    #[test]
    fn the_oldest_events_go_first() {
        let mut ring = Ring::new(100, 3);
        assert_eq!((ring.newest(), after(&ring, 99)), (99, Vec::new()));
        for number in 0..5 {
            ring.push(class(&format!("c{number}")), works(1), at(number));
        }
        assert_eq!(after(&ring, 101), [(102, 1), (103, 1), (104, 1)]);
        assert_eq!(after(&ring, 104), []);
        assert_eq!(ring.after(100, 100), EventsAfter::Lost, "101 is gone");
        assert_eq!(ring.after(105, 100), EventsAfter::Lost, "of another process");
        assert_eq!(ring.last.len(), 3);
    }

    #[test]
    fn a_repeated_event_is_counted_and_moves_to_the_end() {
        let mut ring = Ring::new(1, 10);
        ring.push(class("linux"), works(1), at(0));
        ring.push(class("gpu"), works(1), at(1));
        ring.push(class("linux"), works(9), at(2));
        assert_eq!(after(&ring, 0), [(2, 1), (3, 2)]);
        let entry = ring.entries().last().expect("an event");
        assert_eq!((entry.first, entry.last, &entry.what), (at(0), at(2), &works(9)));
        ring.push(class("linux"), works(1), at(2 + 3_601));
        assert_eq!(after(&ring, 2), [(3, 2), (4, 1)], "after an hour it is another one");
    }

    #[test]
    fn a_part_of_the_events_ends_at_its_last_one() {
        let mut ring = Ring::new(1, 10);
        for number in 0..5 {
            ring.push(class(&format!("c{number}")), works(1), at(number));
        }
        let EventsAfter::Events(found, end) = ring.after(0, 2) else { panic!("lost") };
        assert_eq!((found.len(), end), (2, 2));
        let EventsAfter::Events(found, end) = ring.after(end, 9) else { panic!("lost") };
        assert_eq!((found.len(), end), (3, 5));
    }
}
