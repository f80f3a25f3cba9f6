//! Bundles calls of the same kind: items that arrive during a call go with the next.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The results of a batch, item by item, in order.
pub(super) type Answers<V> = Vec<Result<V, PortError>>;

type Item<K, V> = (K, oneshot::Sender<Result<V, PortError>>);

/// The limits of one kind of bundled call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    pub(super) port: &'static str,
    pub(super) operation: &'static str,
    /// Most items in a call.
    pub(super) most: usize,
    /// Most concurrent calls.
    pub(super) at_once: usize,
    /// The time that the first item waits for others; zero: it only joins those already queued.
    pub(super) linger: Duration,
}

/// One kind of bundled call. Its worker ends when this is dropped.
pub(super) struct Batches<K, V> {
    bundle: Bundle,
    items: mpsc::UnboundedSender<Item<K, V>>,
}

impl<K: Send + 'static, V: Send + 'static> Batches<K, V> {
    /// `call` returns one result per item, in order.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new<C, F>(bundle: Bundle, call: C) -> Self
    where
        C: Fn(Vec<K>) -> F + Send + Sync + 'static,
        F: Future<Output = Answers<V>> + Send + 'static,
    {
        // Bounded by the callers that wait for their results.
        let (items, waiting) = mpsc::unbounded_channel();
        tokio::spawn(work(bundle, waiting, Arc::new(call)));
        Self { bundle, items }
    }

    /// Queues an item; the returned future yields its result. Dropping the future cancels nothing.
    pub(super) fn ask(
        &self,
        item: K,
    ) -> impl Future<Output = Result<V, PortError>> + Send + use<K, V> {
        let (answer, answered) = oneshot::channel();
        // If the worker is gone, the result never comes, which is reported below.
        let _ = self.items.send((item, answer));
        let Bundle { port, operation, .. } = self.bundle;
        async move {
            answered.await.unwrap_or_else(|_| {
                let message = "the call was abandoned: the process is ending, or this is a bug";
                Err(PortError::new(port, operation, ErrorKind::Unavailable, message))
            })
        }
    }
}

async fn work<K, V, C, F>(
    bundle: Bundle,
    mut items: mpsc::UnboundedReceiver<Item<K, V>>,
    call: Arc<C>,
) where
    K: Send + 'static,
    V: Send + 'static,
    C: Fn(Vec<K>) -> F + Send + Sync + 'static,
    F: Future<Output = Answers<V>> + Send + 'static,
{
    let flights = Arc::new(Semaphore::new(bundle.at_once.max(1)));
    while let Some(first) = items.recv().await {
        let Ok(flight) = flights.clone().acquire_owned().await else { return };
        if bundle.linger.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(bundle.linger).await;
        }
        let mut keys = vec![first.0];
        let mut answers = vec![first.1];
        while keys.len() < bundle.most
            && let Ok((key, answer)) = items.try_recv()
        {
            keys.push(key);
            answers.push(answer);
        }
        let call = call.clone();
        tokio::spawn(async move {
            let results = call(keys).await;
            for (answer, result) in answers.into_iter().zip(results) {
                // The caller may have stopped waiting.
                let _ = answer.send(result);
            }
            drop(flight);
        });
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    fn bundle(most: usize, at_once: usize) -> Bundle {
        Bundle { port: "queue", operation: "wake", most, at_once, linger: Duration::ZERO }
    }

    #[tokio::test]
    async fn items_that_arrive_during_a_call_go_with_the_next() {
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let gate = Arc::new(Semaphore::new(0));
        let (seen, open) = (sizes.clone(), gate.clone());
        let batches = Batches::new(bundle(10, 1), move |keys: Vec<u32>| {
            seen.lock().push(keys.len());
            let open = open.clone();
            async move {
                open.acquire().await.unwrap().forget();
                keys.into_iter().map(|key| Ok(key * 2)).collect()
            }
        });
        let first = batches.ask(0);
        while sizes.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (1..=24).map(|key| batches.ask(key)).collect();
        gate.add_permits(4);
        assert_eq!(first.await.unwrap(), 0);
        for (key, answer) in (1..).zip(rest) {
            assert_eq!(answer.await.unwrap(), key * 2);
        }
        assert_eq!(*sizes.lock(), [1, 10, 10, 4]);
    }

    #[tokio::test]
    async fn a_panicking_call_fails_alone() {
        let batches = Batches::new(bundle(1, 1), |keys: Vec<bool>| async move {
            assert!(keys[0], "as the test wants");
            vec![Ok(())]
        });
        let error = batches.ask(false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        batches.ask(true).await.unwrap();
    }
}
