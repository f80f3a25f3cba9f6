//! The simulated wake-ups as the controller's `Queue` port.

use std::task::Poll;

use async_trait::async_trait;
use jiff::SignedDuration;
use tinqs_ci_reconciler::model::RunName;
use tinqs_ci_reconciler::ports::{Delivery, PortError, Queue};

use super::{Call, Pace, SimulatedPorts};

/// The time that `next` waits if the queue is empty.
const WAITS: SignedDuration = SignedDuration::from_secs(20);

impl SimulatedPorts {
    /// Waits until the queue may have a wake-up, or for a limited time.
    async fn wait_for_wakes(&self) {
        let woken = {
            let world = self.world.clone();
            let mut asked = false;
            std::future::poll_fn(move |context| {
                if asked {
                    return Poll::Ready(());
                }
                asked = true;
                let mut world = world.lock();
                let now = world.now();
                if world.wakes.is_ready(now) {
                    return Poll::Ready(());
                }
                world.wakes.wait(context.waker().clone());
                Poll::Pending
            })
        };
        match &self.pace {
            Pace::Simulated { scheduler, .. } => {
                let mut sleep = scheduler.sleep(WAITS);
                let mut woken = Box::pin(woken);
                std::future::poll_fn(|context| {
                    let rang = std::pin::Pin::new(&mut sleep).poll(context).is_ready();
                    let roused = woken.as_mut().poll(context).is_ready();
                    if rang || roused { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            Pace::Live => {
                // Polls for wake-ups that become ready on the world's clock.
                let wait = std::time::Duration::from_millis(200);
                let _ = tokio::time::timeout(wait, woken).await;
            }
        }
    }
}

#[async_trait]
impl Queue for SimulatedPorts {
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
            world.wakes.done(&delivery.handle);
            Ok(())
        })
        .await
    }
}
