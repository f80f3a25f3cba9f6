//! The items of a listing, found by the run of their attempt ID.

use std::collections::HashMap;

use crate::model::{AttemptId, RunName};

/// A listing with an index by run. One reconcile of one run may cause a listing of thousands of
/// items, so that a run costs no allocation of its own.
pub(super) struct ByRun<T> {
    items: Vec<T>,
    /// The position of each run's first item.
    first: HashMap<RunName, usize>,
    /// For each item, the position of the next one of the same run.
    next: Vec<Option<usize>>,
}

impl<T> ByRun<T> {
    pub(super) fn new(items: Vec<T>, attempt_id: impl Fn(&T) -> &AttemptId) -> Self {
        let mut first = HashMap::with_capacity(items.len());
        let mut next = vec![None; items.len()];
        // From the end, so that each run's items keep their order.
        for (at, item) in items.iter().enumerate().rev() {
            next[at] = first.insert(attempt_id(item).run.clone(), at);
        }
        Self { items, first, next }
    }

    /// Returns a run's items in the order of the listing.
    pub(super) fn of(&self, run: &RunName) -> impl Iterator<Item = &T> {
        let first = self.first.get(run).copied();
        std::iter::successors(first, |at| self.next[*at]).map(|at| &self.items[at])
    }

    pub(super) fn all(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Uid8;

    #[test]
    fn each_run_has_its_items_in_the_order_of_the_listing() {
        let attempt_id = |job, number| {
            let uid = Uid8("0a1b2c3d".to_owned());
            AttemptId { run: RunName::job(job), uid, number }
        };
        let items = vec![attempt_id(2, 1), attempt_id(1, 3), attempt_id(2, 2), attempt_id(1, 1)];
        let listing = ByRun::new(items.clone(), |attempt_id| attempt_id);
        let numbers = |job| -> Vec<u32> {
            listing.of(&RunName::job(job)).map(|attempt_id| attempt_id.number).collect()
        };
        assert_eq!((numbers(1), numbers(2), numbers(3)), (vec![3, 1], vec![1, 2], vec![]));
        assert_eq!(listing.all(), items);
    }
}
