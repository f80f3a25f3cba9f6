//! The lists of registrations that a reconcile and a sweep read.
//!
//! Where one list shows every registration, it is read each time. Where each repository has a list
//! of its own, a reconcile reads those of its run, and a sweep reads that of the scope and those of
//! repositories that still have records: a few at a time, in turn. A reconcile also reads the lists
//! in which a sweep found registrations of its run. What is cached about them costs time if it is
//! lost, never safety.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::by_run::ByRun;
use super::cache::Rows;
use super::{Controller, SweepReport};
use crate::model::{AttemptId, Machine, Registrations, Run, RunName};
use crate::ports::{PortError, RegistrationLists};

impl Controller {
    /// Returns the repositories whose lists show what belongs to a run.
    fn lists_of(&self, name: &RunName, run: Option<&Run>, machines: &[Machine]) -> BTreeSet<i64> {
        if self.ports.forge.registration_lists() == RegistrationLists::One {
            return BTreeSet::from([0]);
        }
        let mut lists: BTreeSet<i64> = machines.iter().map(|machine| machine.repo_id).collect();
        lists.extend(self.cache.rows.found(name));
        if let Some(run) = run {
            lists.insert(run.spec.job.repo_id);
            lists.extend(run.status.attempt.iter().map(|attempt| attempt.runner.repo_id));
            lists.extend(run.status.past.iter().map(|past| past.repo_id));
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

    /// Lists the registrations of the scope, and of the repositories that a sweep would read next,
    /// without those of other installations. Where each repository has a list, those of the others
    /// are as this process last read them.
    ///
    /// # Errors
    /// Returns the error of any list that cannot be read.
    pub async fn list_registrations(&self) -> Result<Registrations, PortError> {
        let lists = self.lists_to_sweep(self.ports.clock.now());
        let own = self.settings().installation_id();
        let mut all = Vec::new();
        for repo_id in &lists {
            match self.ports.forge.registrations(*repo_id).await? {
                Registrations::Unknown => return Ok(Registrations::Unknown),
                Registrations::Seen(rows) => {
                    all.extend(rows.into_iter().filter(|row| !row.attempt_id.is_of_another(&own)));
                }
            }
        }
        if self.ports.forge.registration_lists() == RegistrationLists::PerRepository {
            let known = self.cache.rows.known(&own);
            let known = known.iter().flat_map(|(rows, _)| rows.all());
            all.extend(known.filter(|row| !lists.contains(&row.repo_id)).cloned());
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
        let began_at = self.ports.clock.now();
        let listed = self.ports.forge.registrations(repo_id).await?;
        self.cache.rows.list(repo_id).reads_at(began_at);
        let Registrations::Seen(rows) = listed else { return Ok(None) };
        let rows = ByRun::new(rows, |r| &r.attempt_id);
        if let Some((machines, _)) = self.cache.machines.known() {
            let all = self.ports.forge.registration_lists() == RegistrationLists::One;
            let shown = machines.all().iter().filter(|m| all || m.repo_id == repo_id);
            let read_at = self.ports.clock.now();
            self.cache.unclaimed.listed_rows(&rows, shown, (began_at, read_at));
        }
        Ok(Some(rows))
    }

    /// Reads the lists of a sweep, and returns the attempt IDs of their registrations. Those of
    /// other installations are left out: they wake no run.
    pub(super) async fn sweep_registrations(
        &self,
        ticket: u64,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> Vec<AttemptId> {
        let own = self.settings().installation_id();
        let mut attempt_ids: Vec<AttemptId> = Vec::new();
        for repo_id in self.lists_to_sweep(now) {
            let list = self.cache.rows.list(repo_id);
            match list.after(&self.cache, ticket, self.list_rows(repo_id)).await {
                Ok(rows) => {
                    let rows = (*rows).as_ref().map_or(&[][..], ByRun::all).iter();
                    let rows = rows.map(|row| &row.attempt_id);
                    let rows: Vec<&AttemptId> = rows.filter(|it| !it.is_of_another(&own)).collect();
                    let runs = rows.iter().map(|attempt_id| attempt_id.run.clone()).collect();
                    self.cache.rows.read(repo_id, runs, now);
                    report.registrations += rows.len();
                    attempt_ids.extend(rows.into_iter().cloned());
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
