//! The executor of a seeded world: one thread, virtual time. A crash drops a group's futures; a
//! pause leaves them unpolled.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::ports::Clock;

use crate::clock::Virtual;

/// Tasks that live and die together: one incarnation of a replica. Group 0 is the world itself.
pub type Group = usize;
/// A future that the executor runs.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks' handle to the executor: sleep, spawn, crash, pause.
#[derive(Clone)]
pub struct Scheduler {
    clock: Virtual,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    timers: BTreeMap<(Timestamp, u64), Waker>,
    sequence: u64,
    spawned: Vec<(Group, Task)>,
    crashed: Vec<Group>,
    paused: BTreeMap<Group, Timestamp>,
}

impl Scheduler {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Returns the current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until a time.
    pub fn sleep_until(&self, until: Timestamp) -> Sleep {
        Sleep { scheduler: self.clone(), until, key: None }
    }

    /// Waits for a duration.
    pub fn sleep(&self, wait: SignedDuration) -> Sleep {
        self.sleep_until(self.now() + wait)
    }

    /// Runs a task in a group from the next step on.
    pub fn spawn(&self, group: Group, task: impl Future<Output = ()> + Send + 'static) {
        self.inner().spawned.push((group, Box::pin(task)));
    }

    /// Ends a group as soon as the calling task suspends.
    pub fn crash(&self, group: Group) {
        self.inner().crashed.push(group);
    }

    /// Leaves a group unpolled until a time.
    pub fn pause(&self, group: Group, until: Timestamp) {
        self.inner().paused.insert(group, until);
    }
}

/// Waits until a time. Dropping it removes its timer.
pub struct Sleep {
    scheduler: Scheduler,
    until: Timestamp,
    key: Option<(Timestamp, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.scheduler.now() >= self.until {
            // The timer is gone: it was due.
            self.key = None;
            return Poll::Ready(());
        }
        let mut inner = self.scheduler.inner();
        if let Some(key) = self.key {
            inner.timers.remove(&key);
        }
        inner.sequence += 1;
        let key = (self.until, inner.sequence);
        inner.timers.insert(key, context.waker().clone());
        drop(inner);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.scheduler.inner().timers.remove(&key);
        }
    }
}

struct TaskWaker {
    id: u64,
    ready: Arc<Mutex<VecDeque<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock();
        if !ready.contains(&self.id) {
            ready.push_back(self.id);
        }
    }
}

struct Running {
    group: Group,
    task: Task,
    waker: Waker,
}

/// Runs tasks in an order that depends only on what they do.
pub struct Executor {
    scheduler: Scheduler,
    tasks: BTreeMap<u64, Running>,
    next: u64,
    ready: Arc<Mutex<VecDeque<u64>>>,
}

impl Executor {
    /// Creates an executor that moves this clock.
    pub fn new(clock: Virtual) -> Self {
        Self {
            scheduler: Scheduler { clock, inner: Arc::default() },
            tasks: BTreeMap::new(),
            next: 0,
            ready: Arc::default(),
        }
    }

    /// Returns the tasks' handle.
    pub fn scheduler(&self) -> Scheduler {
        self.scheduler.clone()
    }

    /// Runs all ready tasks. Returns the groups that crashed; their tasks are dropped.
    pub fn run_ready(&mut self) -> Vec<Group> {
        let mut crashed = Vec::new();
        self.absorb(&mut crashed);
        loop {
            let id = self.ready.lock().pop_front();
            let Some(id) = id else { return crashed };
            let Some(running) = self.tasks.get_mut(&id) else { continue };
            let paused = self.scheduler.inner().paused.get(&running.group).copied();
            if let Some(until) = paused.filter(|until| *until > self.scheduler.now()) {
                let mut inner = self.scheduler.inner();
                inner.sequence += 1;
                let key = (until, inner.sequence);
                inner.timers.insert(key, running.waker.clone());
                continue;
            }
            let Running { task, waker, .. } = running;
            if task.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                self.tasks.remove(&id);
            }
            self.absorb(&mut crashed);
        }
    }

    /// Applies the spawns and crashes that tasks requested.
    fn absorb(&mut self, crashed: &mut Vec<Group>) {
        let (dead, spawned) = {
            let mut inner = self.scheduler.inner();
            // Most polls request nothing.
            if inner.crashed.is_empty() && inner.spawned.is_empty() {
                return;
            }
            (std::mem::take(&mut inner.crashed), std::mem::take(&mut inner.spawned))
        };
        for (group, task) in spawned {
            self.next += 1;
            let waker =
                Waker::from(Arc::new(TaskWaker { id: self.next, ready: self.ready.clone() }));
            self.tasks.insert(self.next, Running { group, task, waker: waker.clone() });
            waker.wake();
        }
        for group in dead {
            // Dropping a future may wake others, so all tasks of the group are removed first.
            let ids: Vec<u64> =
                self.tasks.iter().filter(|(_, t)| t.group == group).map(|(id, _)| *id).collect();
            let futures: Vec<Running> = ids.iter().filter_map(|id| self.tasks.remove(id)).collect();
            drop(futures);
            if !crashed.contains(&group) {
                crashed.push(group);
            }
        }
    }

    /// Returns the time of the next timer.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.scheduler.inner().timers.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock and wakes the tasks whose timers are due.
    pub fn advance(&mut self, to: Timestamp) {
        self.scheduler.clock.set(to);
        loop {
            let first = {
                let mut inner = self.scheduler.inner();
                match inner.timers.first_key_value() {
                    Some(((at, _), _)) if *at <= to => inner.timers.pop_first(),
                    _ => None,
                }
            };
            let Some((_, waker)) = first else { return };
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn run_to(executor: &mut Executor, end: Timestamp) -> Vec<Group> {
        let mut crashed = executor.run_ready();
        while let Some(next) = executor.next_timer().filter(|t| *t <= end) {
            executor.advance(next);
            crashed.extend(executor.run_ready());
        }
        crashed
    }

    #[test]
    fn sleepers_wake_in_order_of_time() {
        let mut executor = Executor::new(Virtual::starting_at(at(0)));
        let scheduler = executor.scheduler();
        let said: Arc<Mutex<Vec<i64>>> = Arc::default();
        for seconds in [3, 1, 2] {
            let (own, said) = (scheduler.clone(), said.clone());
            scheduler.spawn(1, async move {
                own.sleep(SignedDuration::from_secs(seconds)).await;
                said.lock().push(own.now().as_second());
            });
        }
        assert!(run_to(&mut executor, at(10)).is_empty());
        assert_eq!(*said.lock(), [1, 2, 3]);
        assert_eq!(executor.next_timer(), None);
    }

    #[test]
    fn a_crash_ends_its_group_and_no_other_and_leaves_no_timer() {
        let mut executor = Executor::new(Virtual::starting_at(at(0)));
        let scheduler = executor.scheduler();
        let said: Arc<Mutex<Vec<Group>>> = Arc::default();
        for group in [1, 2] {
            let (own, said) = (scheduler.clone(), said.clone());
            scheduler.spawn(group, async move {
                own.sleep(SignedDuration::from_secs(5)).await;
                said.lock().push(group);
            });
        }
        let own = scheduler.clone();
        scheduler.spawn(1, async move {
            own.sleep(SignedDuration::from_secs(1)).await;
            own.crash(1);
            std::future::pending::<()>().await;
        });
        assert_eq!(run_to(&mut executor, at(10)), [1]);
        assert_eq!(*said.lock(), [2]);
        assert_eq!(executor.next_timer(), None);
    }

    #[test]
    fn a_paused_group_continues_after_the_pause() {
        let mut executor = Executor::new(Virtual::starting_at(at(0)));
        let scheduler = executor.scheduler();
        let said: Arc<Mutex<Vec<i64>>> = Arc::default();
        let (own, told) = (scheduler.clone(), said.clone());
        scheduler.spawn(1, async move {
            own.sleep(SignedDuration::from_secs(1)).await;
            told.lock().push(own.now().as_second());
        });
        scheduler.pause(1, at(60));
        run_to(&mut executor, at(100));
        // The task had not started before the pause.
        assert_eq!(*said.lock(), [61]);
    }
}
