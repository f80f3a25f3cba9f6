//! The lists of registrations that a reconcile and a sweep read.
//!
//! Where one list shows every registration, it is read each time. Where each repository has a list
//! of its own, a reconcile reads those of its run, and a sweep reads those of repositories that
//! still have records: a few at a time, in turn. This is a cache: losing it costs time, never
//! safety.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::by_run::ByRun;
use super::cache::{Listing, Rows};
use super::{Controller, SweepReport};
use crate::model::{AttemptId, Machine, Registration, Registrations, Run, RunName};
use crate::ports::{PortError, RegistrationLists};

/// The maximum number of repositories whose lists one sweep reads.
const READ_AT_ONCE: usize = 10;
/// The maximum number of cached repositories and lists.
const KEPT: usize = 10_000;
/// A repository that no record names for this long is forgotten. The audit of finished runs names
/// each at least once an hour.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(3);

/// The lists by repository, and the repositories that records name. 0 is the list of the scope.
#[derive(Default)]
pub(super) struct ListedRegistrations {
    listings: Mutex<BTreeMap<i64, Arc<Listing<Rows>>>>,
    repositories: Mutex<BTreeMap<i64, Repository>>,
}

/// A repository that a record names.
#[derive(Default)]
struct Repository {
    /// When a record last named it.
    named: Timestamp,
    /// When a run of it was last reconciled.
    reconciled: Timestamp,
    /// When a sweep last read its list.
    read: Option<Timestamp>,
    /// The runs of the registrations in that list.
    runs: BTreeSet<RunName>,
}

impl ListedRegistrations {
    /// Returns a repository's list.
    fn list(&self, repo_id: i64) -> Arc<Listing<Rows>> {
        let mut listings = self.listings.lock();
        if listings.len() >= KEPT {
            listings.retain(|_, listing| Arc::strong_count(listing) > 1);
        }
        listings.entry(repo_id).or_default().clone()
    }

    /// Records that the record of a run names a repository.
    pub(super) fn named(&self, repo_id: i64, now: Timestamp) {
        let mut repositories = self.repositories.lock();
        if repo_id <= 0 || (repositories.len() >= KEPT && !repositories.contains_key(&repo_id)) {
            return;
        }
        let fresh = || Repository { reconciled: now, ..Repository::default() };
        repositories.entry(repo_id).or_insert_with(fresh).named = now;
    }

    fn reconciled(&self, repo_id: i64, now: Timestamp) {
        self.named(repo_id, now);
        if let Some(repository) = self.repositories.lock().get_mut(&repo_id) {
            repository.reconciled = now;
        }
    }

    /// Returns the repositories in whose lists a sweep found registrations of a run.
    fn found(&self, name: &RunName) -> Vec<i64> {
        let repositories = self.repositories.lock();
        let with = repositories.iter().filter(|(_, repository)| repository.runs.contains(name));
        with.map(|(repo_id, _)| *repo_id).collect()
    }

    /// Returns the repositories whose lists are read next: those read longest ago.
    fn next(&self, now: Timestamp) -> Vec<i64> {
        let mut repositories = self.repositories.lock();
        repositories.retain(|_, repository| {
            !repository.runs.is_empty() || now.duration_since(repository.named) < FORGOTTEN_AFTER
        });
        let mut all: Vec<(Option<Timestamp>, i64)> =
            repositories.iter().map(|(repo_id, known)| (known.read, *repo_id)).collect();
        all.sort_unstable();
        all.into_iter().take(READ_AT_ONCE).map(|(_, repo_id)| repo_id).collect()
    }

    fn read(&self, repo_id: i64, rows: &[Registration], now: Timestamp) {
        if let Some(repository) = self.repositories.lock().get_mut(&repo_id) {
            repository.read = Some(now);
            repository.runs = rows.iter().map(|row| row.attempt_id.run.clone()).collect();
        }
    }

    /// Returns whether each list was read after the last reconcile of its repository, and was empty.
    fn are_empty(&self) -> bool {
        let empty = |known: &Repository| {
            known.runs.is_empty() && known.read.is_some_and(|read| read > known.reconciled)
        };
        self.repositories.lock().values().all(empty)
    }
}

impl Controller {
    /// Returns the repositories whose lists show what belongs to a run.
    fn lists_of(&self, name: &RunName, run: Option<&Run>, machines: &[Machine]) -> BTreeSet<i64> {
        if self.ports.forge.registration_lists() == RegistrationLists::One {
            return BTreeSet::from([0]);
        }
        let mut lists: BTreeSet<i64> = machines.iter().map(|machine| machine.repo_id).collect();
        match run {
            Some(run) => {
                lists.insert(run.spec.job.repo_id);
                lists.extend(run.status.attempt.iter().map(|attempt| attempt.runner.repo_id));
                lists.extend(run.status.past.iter().map(|past| past.repo_id));
            }
            None => lists.extend(self.cache.rows.found(name)),
        }
        lists
    }

    /// Returns the listed registrations of a run.
    pub(super) async fn registrations_of(
        &self,
        name: &RunName,
        run: Option<&Run>,
        machines: &[Machine],
        ticket: u64,
    ) -> Result<Registrations, PortError> {
        let now = self.ports.clock.now();
        let mut own = Vec::new();
        for repo_id in self.lists_of(name, run, machines) {
            if run.is_some() {
                self.cache.rows.reconciled(repo_id, now);
            }
            let list = self.cache.rows.list(repo_id);
            match &*list.after(&self.cache, ticket, self.list_rows(repo_id)).await? {
                None => return Ok(Registrations::Unknown),
                Some(rows) => own.extend(rows.of(name).cloned()),
            }
        }
        Ok(Registrations::Seen(own))
    }

    /// Lists the registrations of the scope, and of the repositories that a sweep would read next.
    ///
    /// # Errors
    /// Returns the error of any list that cannot be read.
    pub async fn list_registrations(&self) -> Result<Registrations, PortError> {
        let mut all = Vec::new();
        for repo_id in self.lists_to_sweep(self.ports.clock.now()) {
            match self.ports.forge.registrations(repo_id).await? {
                Registrations::Unknown => return Ok(Registrations::Unknown),
                Registrations::Seen(rows) => all.extend(rows),
            }
        }
        Ok(Registrations::Seen(all))
    }

    fn lists_to_sweep(&self, now: Timestamp) -> Vec<i64> {
        let mut lists = vec![0];
        if self.ports.forge.registration_lists() == RegistrationLists::PerRepository {
            lists.extend(self.cache.rows.next(now));
        }
        lists
    }

    async fn list_rows(&self, repo_id: i64) -> Result<Rows, PortError> {
        Ok(match self.ports.forge.registrations(repo_id).await? {
            Registrations::Unknown => None,
            Registrations::Seen(rows) => Some(ByRun::new(rows, |r| &r.attempt_id)),
        })
    }

    /// Reads the lists of a sweep, and returns the attempt IDs of their registrations.
    pub(super) async fn sweep_registrations(
        &self,
        ticket: u64,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> Vec<AttemptId> {
        let mut attempt_ids = Vec::new();
        for repo_id in self.lists_to_sweep(now) {
            let list = self.cache.rows.list(repo_id);
            match list.after(&self.cache, ticket, self.list_rows(repo_id)).await {
                Ok(rows) => {
                    let rows = (*rows).as_ref().map_or(&[][..], ByRun::all);
                    self.cache.rows.read(repo_id, rows, now);
                    report.registrations += rows.len();
                    attempt_ids.extend(rows.iter().map(|row| row.attempt_id.clone()));
                }
                Err(error) => report.errors.push(error.to_string()),
            }
        }
        attempt_ids
    }

    /// Returns whether no list of a repository can show a registration that is left.
    pub(super) fn no_registration_is_left(&self) -> bool {
        self.ports.forge.registration_lists() == RegistrationLists::One
            || self.cache.rows.are_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Uid8;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("a time")
    }

    fn row(job: i64, repo_id: i64) -> Registration {
        let attempt_id =
            AttemptId { run: RunName::job(job), uid: Uid8("0a1b2c3d".to_owned()), number: 1 };
        let (online, busy, missing_since) = (false, false, None);
        Registration { id: job, repo_id, attempt_id, uuid: None, online, busy, missing_since }
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
                lists.read(repo_id, &[], at(sweep));
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
        lists.read(7, &[row(1, 7)], at(1));
        assert!(!lists.are_empty());
        assert_eq!(lists.found(&RunName::job(1)), [7]);
        lists.read(7, &[], at(2));
        assert!(lists.are_empty());
        lists.reconciled(7, at(3));
        assert!(!lists.are_empty(), "a run may have registered since");
    }

    #[test]
    fn a_repository_without_records_is_forgotten_unless_registrations_are_left() {
        let lists = ListedRegistrations::default();
        lists.named(1, at(0));
        lists.named(2, at(0));
        lists.read(2, &[row(1, 2)], at(1));
        assert_eq!(lists.next(at(4 * 3600)), [2]);
    }
}
