//! The lists of registrations by repository, and the repositories that records name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::super::by_run::ByRun;
use super::{Listing, Rows};
use crate::model::{InstallationId, Registration, RunName};

/// The maximum number of repositories whose lists one sweep reads.
const READ_AT_ONCE: usize = 10;
/// The maximum number of cached repositories and lists.
const KEPT: usize = 10_000;
/// A repository that no record names for this long is forgotten. The audit of finished runs names
/// each at least once an hour.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(3);

/// The lists by repository, and the repositories that records name. 0 is the list of the scope.
#[derive(Default)]
pub(in crate::controller) struct ListedRegistrations {
    listings: Mutex<BTreeMap<i64, Arc<Listing<Rows>>>>,
    repositories: Mutex<BTreeMap<i64, Repository>>,
}

/// A repository that a record names.
#[derive(Default)]
struct Repository {
    /// Time at which a record last named it.
    named: Timestamp,
    /// Time at which a run of it was last reconciled, or else at which it was first named.
    reconciled: Timestamp,
    /// Time at which a sweep last read its list.
    read: Option<Timestamp>,
    /// The runs of the registrations in that list, without those of other installations.
    runs: BTreeSet<RunName>,
}

impl ListedRegistrations {
    /// Returns a repository's list.
    pub(in crate::controller) fn list(&self, repo_id: i64) -> Arc<Listing<Rows>> {
        let mut listings = self.listings.lock();
        if listings.len() >= KEPT {
            listings.retain(|_, listing| Arc::strong_count(listing) > 1);
        }
        listings.entry(repo_id).or_default().clone()
    }

    /// Records that the record of a run names a repository.
    pub(in crate::controller) fn named(&self, repo_id: i64, now: Timestamp) {
        let mut repositories = self.repositories.lock();
        if repo_id <= 0 || (repositories.len() >= KEPT && !repositories.contains_key(&repo_id)) {
            return;
        }
        let fresh = || Repository { reconciled: now, ..Repository::default() };
        repositories.entry(repo_id).or_insert_with(fresh).named = now;
    }

    /// Forgets when repositories were named, reconciled and read. Each may have registrations.
    pub(in crate::controller) fn forget_times(&self) {
        for repository in self.repositories.lock().values_mut() {
            *repository =
                Repository { runs: std::mem::take(&mut repository.runs), ..Repository::default() };
        }
    }

    pub(in crate::controller) fn reconciled(&self, repo_id: i64, now: Timestamp) {
        self.named(repo_id, now);
        if let Some(repository) = self.repositories.lock().get_mut(&repo_id) {
            repository.reconciled = now;
        }
    }

    /// Returns the repositories in whose lists a sweep found registrations of a run, and 0 if it
    /// found one in the list of the scope.
    pub(in crate::controller) fn found(&self, name: &RunName) -> Vec<i64> {
        let scope = self.list(0).known();
        let is_in_scope = scope.is_some_and(|(rows, _)| {
            rows.as_ref().as_ref().is_some_and(|rows| rows.of(name).next().is_some())
        });
        let repositories = self.repositories.lock();
        let with = repositories.iter().filter(|(_, repository)| repository.runs.contains(name));
        let with = with.map(|(repo_id, _)| *repo_id);
        with.chain(is_in_scope.then_some(0)).collect()
    }

    /// Returns the repositories whose lists are read next: those read longest ago.
    pub(in crate::controller) fn next(&self, now: Timestamp) -> Vec<i64> {
        let mut repositories = self.repositories.lock();
        let mut forgotten = Vec::new();
        repositories.retain(|repo_id, repository| {
            let known = !repository.runs.is_empty()
                || now.duration_since(repository.named) < FORGOTTEN_AFTER;
            if !known {
                forgotten.push(*repo_id);
            }
            known
        });
        // The oldest list says how old what is known is.
        self.listings.lock().retain(|repo_id, _| !forgotten.contains(repo_id));
        let mut all: Vec<(Option<Timestamp>, i64)> =
            repositories.iter().map(|(repo_id, known)| (known.read, *repo_id)).collect();
        all.sort_unstable();
        all.into_iter().take(READ_AT_ONCE).map(|(_, repo_id)| repo_id).collect()
    }

    pub(in crate::controller) fn read(
        &self,
        repo_id: i64,
        runs: BTreeSet<RunName>,
        now: Timestamp,
    ) {
        if let Some(repository) = self.repositories.lock().get_mut(&repo_id) {
            repository.read = Some(now);
            repository.runs = runs;
        }
    }

    /// Returns the registrations of all lists as last read, without those of other installations,
    /// and when the first of them was read; `None` before the first one, or if the forge does not
    /// show one of them.
    pub(in crate::controller) fn known(
        &self,
        own: &InstallationId,
    ) -> Option<(ByRun<Registration>, Timestamp)> {
        let listings: Vec<Arc<Listing<Rows>>> = self.listings.lock().values().cloned().collect();
        let mut all = Vec::new();
        let mut first: Option<Timestamp> = None;
        for (rows, at) in listings.iter().filter_map(|listing| listing.known()) {
            let rows = (*rows).as_ref()?.all().iter();
            all.extend(rows.filter(|row| !row.attempt_id.is_of_another(own)).cloned());
            first = Some(first.map_or(at, |first| first.min(at)));
        }
        Some((ByRun::new(all, |row: &Registration| &row.attempt_id), first?))
    }

    /// Returns whether each list was read after the last reconcile of its repository, and was empty.
    pub(in crate::controller) fn are_empty(&self) -> bool {
        let empty = |known: &Repository| {
            known.runs.is_empty() && known.read.is_some_and(|read| read > known.reconciled)
        };
        self.repositories.lock().values().all(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("a time")
    }

    #[test]
    fn sweeps_read_every_list_in_turn_and_a_few_at_a_time() {
        let lists = ListedRegistrations::default();
        for repo_id in 1..=25 {
            lists.named(repo_id, at(0));
        }
        let mut read = BTreeSet::new();
        for sweep in 1..=3 {
            let next = lists.next(at(sweep));
            assert!(next.len() <= READ_AT_ONCE);
            for repo_id in next {
                lists.read(repo_id, BTreeSet::new(), at(sweep));
                read.insert(repo_id);
            }
        }
        assert_eq!(read.len(), 25);
    }

    #[test]
    fn nothing_is_left_once_each_list_was_read_empty_after_the_last_reconcile() {
        let lists = ListedRegistrations::default();
        assert!(lists.are_empty(), "no repository is known");
        lists.reconciled(7, at(0));
        assert!(!lists.are_empty(), "not read yet");
        lists.read(7, BTreeSet::from([RunName::job(1)]), at(1));
        assert!(!lists.are_empty());
        assert_eq!(lists.found(&RunName::job(1)), [7]);
        lists.read(7, BTreeSet::new(), at(2));
        assert!(lists.are_empty());
        lists.reconciled(7, at(3));
        assert!(!lists.are_empty(), "a run may have registered since");
    }

    #[test]
    fn a_repository_without_records_is_forgotten_unless_registrations_are_left() {
        let lists = ListedRegistrations::default();
        lists.named(1, at(0));
        lists.named(2, at(0));
        lists.read(2, BTreeSet::from([RunName::job(1)]), at(1));
        for repo_id in [0, 1, 2] {
            lists.list(repo_id);
        }
        assert_eq!(lists.next(at(4 * 3600)), [2]);
        let listings = lists.listings.lock();
        assert_eq!(listings.keys().copied().collect::<Vec<i64>>(), [0, 2], "its list, too");
    }
}
