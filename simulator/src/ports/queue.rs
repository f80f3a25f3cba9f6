//! The queue: at least once, in no order. What is not done comes again after a while.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::{Delivery, PortError, Queue};

use super::{Call, Mouth, Pace};
use crate::world::{World, lock};

/// A delivery that is not done by then comes again.
pub const VISIBILITY: SignedDuration = SignedDuration::from_secs(90);
/// How long `next` waits where there is nothing.
const WAITS: SignedDuration = SignedDuration::from_secs(20);

/// The wake-ups in the queue.
#[derive(Debug, Default)]
pub struct Wakes {
    /// To be delivered from then on, in that order.
    ready: BTreeMap<(Timestamp, u64), RunName>,
    /// Delivered, by handle; they come again then.
    taken: BTreeMap<String, (RunName, Timestamp)>,
    sequence: u64,
    waiting: Vec<Waker>,
}

impl Wakes {
    /// How many are in it, delivered ones included.
    pub fn len(&self) -> usize {
        self.ready.len() + self.taken.len()
    }

    /// Whether nothing is in it.
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

    fn take(&mut self, now: Timestamp, max: usize) -> Vec<Delivery> {
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

    /// When something comes that was not there.
    pub fn next_event(&self) -> Option<Timestamp> {
        // Without somebody who waits, nothing happens when a wake-up becomes ready.
        let ready = self.ready.keys().next().map(|(at, _)| *at);
        let ready = ready.filter(|_| !self.waiting.is_empty());
        ready.into_iter().chain(self.taken.values().map(|(_, until)| *until)).min()
    }

    /// Brings back what was not done, and rouses those who wait if there is something for them.
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
        if self.ready.keys().next().is_some_and(|(at, _)| *at <= now) {
            self.rouse();
        }
    }
}

impl World {
    /// Puts a wake-up into the queue, as the weather lets it come.
    pub(crate) fn wake(&mut self, name: &RunName) {
        let now = self.now();
        let weather = self.faults.at(now);
        self.laws.on_wake(name);
        if self.strikes("wake_lost", weather.wake_lost) {
            return;
        }
        let copies = if self.strikes("wake_doubled", weather.wake_doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.strikes("wake_late", weather.wake_late);
            let most = SignedDuration::from_secs(if late { 120 } else { 0 });
            let wait = self.rng.between(SignedDuration::ZERO, most);
            self.wakes.push(name.clone(), now + wait);
        }
    }
}

impl Mouth {
    /// Waits until the queue may have something, or for a while.
    async fn wait_for_wakes(&self) {
        let woken = {
            let world = self.world.clone();
            let mut asked = false;
            std::future::poll_fn(move |context| {
                if asked {
                    return Poll::Ready(());
                }
                asked = true;
                let mut world = lock(&world);
                let now = world.now();
                if world.wakes.ready.keys().next().is_some_and(|(at, _)| *at <= now) {
                    return Poll::Ready(());
                }
                world.wakes.waiting.push(context.waker().clone());
                Poll::Pending
            })
        };
        match &self.pace {
            Pace::Simulated { scheduler, .. } => {
                let mut sleep = scheduler.sleep(WAITS);
                let mut woken = Box::pin(woken);
                std::future::poll_fn(|context| {
                    let rung = std::pin::Pin::new(&mut sleep).poll(context).is_ready();
                    let roused = woken.as_mut().poll(context).is_ready();
                    if rung || roused { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            Pace::Live => {
                // Wake-ups that are late by the world's clock are looked for now and then.
                let wait = std::time::Duration::from_millis(200);
                let _ = tokio::time::timeout(wait, woken).await;
            }
        }
    }
}

#[async_trait]
impl Queue for Mouth {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.call(Call::new("queue.wake", name), |world, _| {
            world.wake(name);
            Ok(())
        })
        .await
    }

    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        self.wait_for_wakes().await;
        self.call(Call::new("queue.next", ""), |world, _| {
            let now = world.now();
            Ok(world.wakes.take(now, max))
        })
        .await
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.call(Call::new("queue.done", &delivery.name), |world, _| {
            world.wakes.taken.remove(&delivery.handle);
            Ok(())
        })
        .await
    }
}
