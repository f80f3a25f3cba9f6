//! Wakes in the process: names that wait, and names that are being reconciled.
//!
//! Nothing survives a restart: `due` in the store and the poll bring every run back.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::{Delivery, ErrorKind, PortError, Queue, QueueDepth};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A delivery that is not done within this time comes again: longer than a reconcile may take (60
/// s).
const AGAIN_AFTER: Duration = Duration::from_mins(2);
/// The time that `next` waits for the first name.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most names; names are small, and more would be a fault elsewhere.
const MOST: usize = 1_000_000;

/// The queue of a process.
#[derive(Debug)]
pub struct MemoryQueue {
    state: Mutex<State>,
    arrived: Notify,
    again_after: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// With the time since when they wait.
    waiting: VecDeque<(RunName, Instant)>,
    /// The same names, for lookups.
    names: HashSet<RunName>,
    /// Names handed out and not done, with the time when they come again.
    out: HashMap<u64, (RunName, Instant)>,
    handles: u64,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryQueue {
    /// Returns an empty queue; a delivery that is not done within 2 minutes comes again.
    pub fn new() -> Self {
        Self::again_after(AGAIN_AFTER)
    }

    /// Returns an empty queue with a shorter time, for tests.
    pub fn again_after(again_after: Duration) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), again_after }
    }

    /// Returns how many names wait; those handed out do not count.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state inconsistent.
        self.state.lock()
    }

    /// Hands out names, and returns when the next one that is out comes again.
    fn take(&self, max: usize) -> (Vec<Delivery>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state();
        state.call_back(now);
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((name, _)) = state.waiting.pop_front() else { break };
            state.names.remove(&name);
            state.handles += 1;
            let handle = state.handles;
            state.out.insert(handle, (name.clone(), now + self.again_after));
            taken.push(Delivery { name, handle: handle.to_string() });
        }
        if !state.waiting.is_empty() {
            self.arrived.notify_one();
        }
        (taken, state.out.values().map(|(_, at)| *at).min())
    }
}

impl State {
    fn push(&mut self, name: RunName) {
        if self.names.insert(name.clone()) {
            self.waiting.push_back((name, Instant::now()));
        }
    }

    /// Puts back names that were handed out and not done in time.
    fn call_back(&mut self, now: Instant) {
        let late: Vec<RunName> =
            self.out.extract_if(|_, (_, at)| *at <= now).map(|(_, (name, _))| name).collect();
        for name in late {
            self.push(name);
        }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    /// A name that already waits is not queued twice; one that is handed out is, because its new
    /// cause may have come after the read.
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        let mut state = self.state();
        if state.waiting.len() >= MOST && !state.names.contains(name) {
            let message =
                format!("the queue is full with {MOST} runs; {name} is reconciled when it is due");
            return Err(PortError::new("queue", "wake", ErrorKind::Throttled, message));
        }
        state.push(name.clone());
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits up to a second for the first name. Dropping the future loses nothing.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let (taken, again) = self.take(max.max(1));
            let now = Instant::now();
            if !taken.is_empty() || now >= until {
                return Ok(taken);
            }
            let wait = again.map_or(until, |at| at.min(until));
            let _ = tokio::time::timeout_at(wait, self.arrived.notified()).await;
        }
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        // An unknown handle came again meanwhile: its later delivery counts.
        if let Ok(handle) = delivery.handle.parse::<u64>() {
            self.state().out.remove(&handle);
        }
        Ok(())
    }

    async fn depth(&self) -> Result<Option<QueueDepth>, PortError> {
        let state = self.state();
        let oldest = state.waiting.front().map(|(_, since)| since.elapsed());
        Ok(Some(QueueDepth {
            visible: state.waiting.len() as u64,
            in_flight: state.out.len() as u64,
            oldest_age: oldest.map(|age| SignedDuration::try_from(age).unwrap_or_default()),
            dead_letters: Some(0),
        }))
    }
}
