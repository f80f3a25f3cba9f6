//! Lists that concurrent reconciles share.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use super::Cache;
use crate::ports::PortError;

/// The last list that was read.
struct Last<T> {
    /// Its position in the order of reads.
    begun: u64,
    listing: Arc<T>,
    read_at: Option<Timestamp>,
}

/// A listing that concurrent reconciles share.
pub(in crate::controller) struct Listing<T> {
    /// One reads at a time. Not `async_lock::Mutex`: its order depends on the wall clock.
    turn: async_lock::Semaphore,
    last: Mutex<Option<Last<T>>>,
    /// Time at which the list that is being read began.
    reading: Mutex<Option<Timestamp>>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        let turn = async_lock::Semaphore::new(1);
        Self { turn, last: Mutex::new(None), reading: Mutex::new(None) }
    }
}

impl<T> Listing<T> {
    /// Returns a listing that began after `ticket`: the last one, or a new one that all share.
    pub(in crate::controller) async fn after<F>(
        &self,
        cache: &Cache,
        ticket: u64,
        read: F,
    ) -> Result<Arc<T>, PortError>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let _turn = self.turn.acquire().await;
        if let Some(last) = &*self.last()
            && last.begun > ticket
        {
            return Ok(last.listing.clone());
        }
        let begun = cache.ticket();
        let listing = Arc::new(read.await?);
        let read_at = self.reading.lock().take();
        *self.last() = Some(Last { begun, listing: listing.clone(), read_at });
        Ok(listing)
    }
    fn last(&self) -> MutexGuard<'_, Option<Last<T>>> {
        self.last.lock()
    }

    /// Notes when a list is read: before its call, because what changes during it may be left out.
    pub(in crate::controller) fn reads_at(&self, now: Timestamp) {
        *self.reading.lock() = Some(now);
    }

    /// Returns the last list and when it was read; `None` before the first one.
    pub(in crate::controller) fn known(&self) -> Option<(Arc<T>, Timestamp)> {
        self.last().as_ref().and_then(|last| Some((last.listing.clone(), last.read_at?)))
    }
}
