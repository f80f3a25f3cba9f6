//! A map of bounded size, for what is cached of repositories.

use std::collections::HashMap;
use std::hash::Hash;

/// The most entries: more than the repositories whose jobs wait at once, so that a poll of all of
/// them finds each again.
const MOST: usize = 10_000;

/// A map in which a new key evicts the oldest entry once the map is full.
pub(super) struct BoundedMap<K, V> {
    most: usize,
    /// Counts insertions: the order of age.
    insertions: u64,
    entries: HashMap<K, Entry<V>>,
}

struct Entry<V> {
    value: V,
    inserted: u64,
}

impl<K, V> Default for BoundedMap<K, V> {
    fn default() -> Self {
        Self::new(MOST)
    }
}

impl<K, V> BoundedMap<K, V> {
    /// Returns an empty map for so many entries.
    fn new(most: usize) -> Self {
        Self { most, insertions: 0, entries: HashMap::new() }
    }

    /// Removes every entry.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Removes the entries whose values are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&V) -> bool) {
        self.entries.retain(|_, entry| is_kept(&entry.value));
    }
}

impl<K: Clone + Eq + Hash, V> BoundedMap<K, V> {
    /// Returns the value of a key.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Sets the value of a key, which is the newest entry then.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.inserted);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.insertions += 1;
        self.entries.insert(key, Entry { value, inserted: self.insertions });
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_of_a_full_map_evicts_the_oldest_entry_only() {
        let mut map = BoundedMap::new(3);
        for key in [1, 2, 3] {
            map.insert(key, key * 10);
        }
        // Set again, it is the newest, and nothing is evicted.
        map.insert(1, 11);
        map.insert(4, 40);
        let kept = [1, 2, 3, 4].map(|key| map.get(&key).copied());
        assert_eq!(kept, [Some(11), None, Some(30), Some(40)]);
        map.remove(&3);
        map.insert(5, 50);
        let kept = [1, 3, 4, 5].map(|key| map.get(&key).copied());
        assert_eq!(kept, [Some(11), None, Some(40), Some(50)]);
    }

    #[test]
    fn a_map_is_never_larger_than_its_limit() {
        let mut map = BoundedMap::default();
        for key in 0..=MOST {
            map.insert(key, ());
        }
        assert_eq!(map.entries.len(), MOST);
        assert_eq!((map.get(&0), map.get(&1), map.get(&MOST)), (None, Some(&()), Some(&())));
        map.retain(|()| false);
        assert_eq!(map.entries.len(), 0);
    }
}
