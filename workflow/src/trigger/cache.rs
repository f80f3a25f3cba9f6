//! Cache of parsed files by content: a push rarely changes a workflow, and parsing takes most of
//! the time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest as _, Sha256};

use super::{Dialect, ParsedWorkflow};

/// Most bytes of cached files; a parsed file is rarely longer than its text.
const BYTES: usize = 8 * 1024 * 1024;

/// Cache of parsed files. Losing it costs time, never a result.
#[derive(Debug, Default)]
pub struct WorkflowCache(Mutex<CachedFiles>);

#[derive(Debug, Default)]
struct CachedFiles {
    files: HashMap<(Dialect, [u8; 32]), Arc<ParsedWorkflow>>,
    /// The total length of those files.
    bytes: usize,
}

impl WorkflowCache {
    /// Returns a parsed file, from the cache or parsed now.
    pub fn read(&self, text: &[u8], dialect: Dialect) -> Arc<ParsedWorkflow> {
        let key = (dialect, Sha256::digest(text).into());
        if let Some(parsed) = self.cached().files.get(&key) {
            return parsed.clone();
        }
        // Not under the lock: others need not wait, and parsing twice gives the same result.
        let parsed = Arc::new(ParsedWorkflow::read(text, dialect));
        let mut cached = self.cached();
        if cached.bytes + text.len() > BYTES {
            *cached = CachedFiles::default();
        }
        if cached.files.insert(key, parsed.clone()).is_none() {
            cached.bytes += text.len();
        }
        parsed
    }

    /// Returns the number of cached files.
    pub fn len(&self) -> usize {
        self.cached().files.len()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cached(&self) -> MutexGuard<'_, CachedFiles> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_parsed_once_per_release_line() {
        let cache = WorkflowCache::default();
        let text = b"on: push\njobs: {a: {runs-on: linux}}\n";
        let first = cache.read(text, Dialect::V1_26);
        assert!(Arc::ptr_eq(&first, &cache.read(text, Dialect::V1_26)), "cached");
        let other = cache.read(text, Dialect::V1_27);
        assert_eq!((other.dialect, cache.len()), (Dialect::V1_27, 2));
        assert_eq!(*first, ParsedWorkflow::read(text, Dialect::V1_26));
        cache.read(b"on: pull_request\n", Dialect::V1_26);
        assert_eq!(cache.len(), 3);
    }

    #[test]
    fn the_cache_does_not_grow_without_limit() {
        let cache = WorkflowCache::default();
        let jobs = "jobs: {a: {runs-on: linux}}";
        for n in 0..4 {
            let half = format!("# {n}\non: push\n{jobs}\n#{}", " ".repeat(BYTES / 2));
            assert!(cache.read(half.as_bytes(), Dialect::V1_26).entries.is_ok());
            assert!(cache.len() <= 2, "{}", cache.len());
        }
        assert!(!cache.is_empty());
    }

    #[test]
    fn at_most_eight_mebibytes_are_cached() {
        let cache = WorkflowCache::default();
        assert!(cache.is_empty());
        for n in 0..8 {
            // No UTF-8, so that no more of it is parsed.
            let mut text = format!("\u{b5}{n}").into_bytes().split_off(1);
            text.resize(1024 * 1024, b'x');
            cache.read(&text, Dialect::V1_25);
            assert_eq!(cache.len(), n + 1);
        }
        cache.read(b"on: push", Dialect::V1_25);
        assert_eq!(cache.len(), 1);
    }
}
