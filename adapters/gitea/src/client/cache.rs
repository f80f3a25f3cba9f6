//! Cache of immutable content: trees and files by hash, bounded in bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// Values by hash; the least recently used go first.
pub(super) struct Cache<T> {
    most_bytes: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    /// Counts uses: the order of last use.
    uses: u64,
    bytes: usize,
    entries: HashMap<String, CacheEntry<T>>,
}

struct CacheEntry<T> {
    value: Arc<T>,
    bytes: usize,
    used: u64,
}

impl<T> Cache<T> {
    /// Returns an empty cache for about so many bytes.
    pub(super) fn new(most_bytes: usize) -> Self {
        let inner = Inner { uses: 0, bytes: 0, entries: HashMap::new() };
        Self { most_bytes, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock()
    }

    /// Returns the value of a hash, if cached.
    pub(super) fn get(&self, key: &str) -> Option<Arc<T>> {
        let mut inner = self.inner();
        inner.uses += 1;
        let uses = inner.uses;
        let entry = inner.entries.get_mut(key)?;
        entry.used = uses;
        Some(entry.value.clone())
    }

    /// Caches a value of about so many bytes. A value that would fill half of the cache is not
    /// cached.
    pub(super) fn put(&self, key: &str, value: Arc<T>, bytes: usize) {
        let bytes = bytes + key.len() + 64;
        if bytes > self.most_bytes / 2 {
            return;
        }
        let mut inner = self.inner();
        inner.uses += 1;
        let entry = CacheEntry { value, bytes, used: inner.uses };
        if let Some(before) = inner.entries.insert(key.to_owned(), entry) {
            inner.bytes -= before.bytes;
        }
        inner.bytes += bytes;
        while inner.bytes > self.most_bytes {
            let oldest = inner.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(evicted) = inner.entries.remove(&key) {
                inner.bytes -= evicted.bytes;
            }
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.inner().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_value_is_evicted() {
        let cache = Cache::new(1_000);
        for name in ["a", "b", "c"] {
            cache.put(name, Arc::new(name), 235);
        }
        assert!(cache.get("a").is_some());
        cache.put("d", Arc::new("d"), 235);
        assert_eq!(cache.get("b"), None);
        assert_eq!(["a", "c", "d"].map(|name| cache.get(name).is_some()), [true; 3]);
    }

    #[test]
    fn the_cache_never_exceeds_its_limit() {
        let cache = Cache::new(10_000);
        for n in 0..500_usize {
            cache.put(&(n % 90).to_string(), Arc::new(n), n * 7 % 1_300);
            assert!(cache.bytes() <= 10_000);
        }
        cache.put("big", Arc::new(0), 5_000);
        assert_eq!(cache.get("big"), None);
    }
}
