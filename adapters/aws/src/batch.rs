//! Many calls of the same kind become one: what comes while a call is under way goes with the next.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// What a batch answers, item by item, in order.
pub(super) type Answers<V> = Vec<Result<V, PortError>>;

type Item<K, V> = (K, oneshot::Sender<Result<V, PortError>>);

/// How a kind of call is bundled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle {
    /// For errors.
    pub(super) port: &'static str,
    /// For errors.
    pub(super) operation: &'static str,
    /// Items in a call.
    pub(super) most: usize,
    /// Calls under way at once.
    pub(super) at_once: usize,
    /// How long the first waits for company; zero: what is there already goes with it.
    pub(super) linger: Duration,
}

/// A kind of call that is bundled. Its worker ends with it.
pub(super) struct Batches<K, V> {
    bundle: Bundle,
    items: mpsc::UnboundedSender<Item<K, V>>,
}

impl<K: Send + 'static, V: Send + 'static> Batches<K, V> {
    /// `call` answers as many as it is given, in order. Must be made inside a tokio runtime.
    pub(super) fn new<C, F>(bundle: Bundle, call: C) -> Self
    where
        C: Fn(Vec<K>) -> F + Send + Sync + 'static,
        F: Future<Output = Answers<V>> + Send + 'static,
    {
        // Bounded by those who wait for their answers.
        let (items, waiting) = mpsc::unbounded_channel();
        tokio::spawn(work(bundle, waiting, Arc::new(call)));
        Self { bundle, items }
    }

    /// Hands an item in; the answer is for the caller to await. Dropping that takes nothing back.
    pub(super) fn ask(
        &self,
        item: K,
    ) -> impl Future<Output = Result<V, PortError>> + Send + use<K, V> {
        let (answer, answered) = oneshot::channel();
        // Where the worker is gone the answer never comes, which is told below.
        let _ = self.items.send((item, answer));
        let Bundle { port, operation, .. } = self.bundle;
        async move {
            answered.await.unwrap_or_else(|_| {
                let message = "the call was given up: a defect, or the process is ending";
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
                // Whoever asked may have stopped waiting.
                let _ = answer.send(result);
            }
            drop(flight);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn bundle(most: usize, at_once: usize) -> Bundle {
        Bundle { port: "queue", operation: "wake", most, at_once, linger: Duration::ZERO }
    }

    #[tokio::test]
    async fn what_comes_meanwhile_goes_with_the_next() {
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let gate = Arc::new(Semaphore::new(0));
        let (seen, open) = (sizes.clone(), gate.clone());
        let batches = Batches::new(bundle(10, 1), move |keys: Vec<u32>| {
            seen.lock().unwrap().push(keys.len());
            let open = open.clone();
            async move {
                open.acquire().await.unwrap().forget();
                keys.into_iter().map(|key| Ok(key * 2)).collect()
            }
        });
        let first = batches.ask(0);
        while sizes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (1..=24).map(|key| batches.ask(key)).collect();
        gate.add_permits(4);
        assert_eq!(first.await.unwrap(), 0);
        for (key, answer) in (1..).zip(rest) {
            assert_eq!(answer.await.unwrap(), key * 2);
        }
        assert_eq!(*sizes.lock().unwrap(), [1, 10, 10, 4]);
    }

    #[tokio::test]
    async fn a_call_that_panics_is_told_and_harms_no_other() {
        let batches = Batches::new(bundle(1, 1), |keys: Vec<bool>| async move {
            assert!(keys[0], "as the test wants");
            vec![Ok(())]
        });
        let error = batches.ask(false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        batches.ask(true).await.unwrap();
    }
}
