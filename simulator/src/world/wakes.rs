//! The queue in memory: delivers at least once, in any order. An unacknowledged delivery returns
//! after the visibility timeout.

use std::collections::BTreeMap;
use std::task::Waker;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::Delivery;

use super::World;

/// An unacknowledged delivery returns after this time.
const VISIBILITY: SignedDuration = SignedDuration::from_secs(90);

/// The wake-ups in the queue.
#[derive(Debug, Default)]
pub struct Wakes {
    /// Ready for delivery from this time on, in order.
    ready: BTreeMap<(Timestamp, u64), RunName>,
    /// Delivered, by handle, with the time of return.
    taken: BTreeMap<String, (RunName, Timestamp)>,
    sequence: u64,
    waiting: Vec<Waker>,
}

impl Wakes {
    /// Returns the number of wake-ups, including delivered ones.
    pub fn len(&self) -> usize {
        self.ready.len() + self.taken.len()
    }

    /// Returns whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, name: RunName, at: Timestamp) {
        self.sequence += 1;
        self.ready.insert((at, self.sequence), name);
        self.rouse();
    }

    fn rouse(&mut self) {
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }

    pub(crate) fn take(&mut self, now: Timestamp, max: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < max
            && let Some(first) = self.ready.first_entry().filter(|e| e.key().0 <= now)
        {
            let name = first.remove();
            self.sequence += 1;
            let handle = format!("{}", self.sequence);
            self.taken.insert(handle.clone(), (name.clone(), now + VISIBILITY));
            deliveries.push(Delivery { name, handle });
        }
        deliveries
    }

    /// Acknowledges a delivery, so it does not return.
    pub(crate) fn done(&mut self, handle: &str) {
        self.taken.remove(handle);
    }

    /// Returns whether a wake-up is ready.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.ready.keys().next().is_some_and(|(at, _)| *at <= now)
    }

    /// Registers a consumer that waits for a wake-up.
    pub(crate) fn wait(&mut self, waker: Waker) {
        self.waiting.push(waker);
    }

    /// Returns when the next wake-up becomes ready or returns.
    pub fn next_event(&self) -> Option<Timestamp> {
        // Without a waiting consumer, a wake-up that becomes ready is no event.
        let ready = self.ready.keys().next().map(|(at, _)| *at);
        let ready = ready.filter(|_| !self.waiting.is_empty());
        ready.into_iter().chain(self.taken.values().map(|(_, until)| *until)).min()
    }

    /// Returns unacknowledged deliveries to the queue and wakes consumers if a wake-up is ready.
    pub fn advance(&mut self, now: Timestamp) {
        let back: Vec<String> = self
            .taken
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(handle, _)| handle.clone())
            .collect();
        for handle in back {
            if let Some((name, _)) = self.taken.remove(&handle) {
                self.push(name, now);
            }
        }
        if self.is_ready(now) {
            self.rouse();
        }
    }
}

impl World {
    /// Puts a wake-up into the queue, subject to the faults.
    pub(crate) fn wake(&mut self, name: &RunName) {
        let now = self.now();
        let faults = self.faults.at(now);
        self.laws.on_wake(name);
        if self.strikes("wake_lost", faults.wake_lost) {
            return;
        }
        let copies = if self.strikes("wake_doubled", faults.wake_doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.strikes("wake_late", faults.wake_late);
            let most = SignedDuration::from_secs(if late { 120 } else { 0 });
            let wait = self.rng.between(SignedDuration::ZERO, most);
            self.wakes.push(name.clone(), now + wait);
        }
    }
}
