//! Poll and sweep: the store, the forge and the cloud name runs to wake. Nothing is decided here.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Controller, SweepReport, unserved};
use crate::model::{
    Attempt, AttemptId, ClockCheck, Machine, MachineState, Outcome, Phase, Run, RunName, SeenBy,
    Times, serving,
};
use crate::plan::times::after;
use crate::plan::usage::{awaits_end, lacks_end};
use crate::plan::{LONGEST_BACKOFF_PUSH, LONGEST_DUE};
use crate::ports::{Filter, OpenRun, PortError, WaitingJob};

/// The maximum number of finished runs that a sweep audits.
const AUDITED_AT_ONCE: usize = 50;
/// The maximum number of queued runs that are woken at once; their reconciles wake more.
const CALLED_AT_ONCE: usize = 4;

impl Controller {
    /// Creates runs for the forge's waiting jobs, and wakes due runs. Called every `poll_every`.
    pub async fn poll(&self) -> SweepReport {
        let mut report = SweepReport::default();
        let now = self.ports.clock.now();
        self.announce_formats(now).await;
        // When idle, only the forge's list is read: reads of the store cost money.
        let mut asked_at = now;
        let mut waiting = None;
        if self.cache.nothing_open(now) {
            let jobs = self.ports.forge.waiting().await;
            if let Ok(jobs) = &jobs
                && self.asks_for_nothing(jobs.as_deref(), &mut report)
            {
                self.cache.queued.listed(jobs.as_deref().unwrap_or_default(), now);
                self.note_boots(&[], now);
                report.leader = true;
                return report;
            }
            waiting = Some(jobs);
        }
        // Shown to people, and known before the next launch. A failure shows at the lease, too.
        let _ = self.read_pauses().await;
        let Some(open) = self.open_if_leading(&mut report, now).await else { return report };
        let mut idle = open.is_empty();
        for run in open.iter().filter(|run| self.is_due(run, now)) {
            self.wake(&run.name, now, &mut report).await;
        }
        let waiting = if let Some(waiting) = waiting {
            waiting
        } else {
            asked_at = self.ports.clock.now();
            self.ports.forge.waiting().await
        };
        match waiting {
            Ok(Some(jobs)) => {
                self.note_waiting(&jobs, &open, asked_at).await;
                self.demand(&jobs, &open, now, &mut report).await;
                self.cache.queued.listed(&jobs, now);
            }
            // Push mode has no list.
            Ok(None) => {}
            Err(error) => {
                idle = false;
                report.errors.push(error.to_string());
            }
        }
        if idle && report.created == 0 && report.errors.is_empty() {
            self.cache.found_nothing_open(now);
        }
        report
    }

    /// Returns whether no class serves any of these jobs, and then counts them.
    fn asks_for_nothing(&self, jobs: Option<&[WaitingJob]>, report: &mut SweepReport) -> bool {
        // Push mode has no list.
        let Some(jobs) = jobs else { return true };
        let settings = self.settings();
        let none_served = jobs
            .iter()
            .all(|job| serving(&settings.classes, &job.job.repo, &job.runs_on).is_none());
        if none_served {
            (report.waiting_jobs, report.unserved_jobs) = (jobs.len(), jobs.len());
            report.unserved = Some(unserved::by_labels(&settings.classes, jobs));
        }
        none_served
    }

    /// Wakes the runs that machines, registrations and seats name. Called every `sweep_every`.
    pub async fn sweep(&self) -> SweepReport {
        let mut report = SweepReport::default();
        let now = self.ports.clock.now();
        self.read_prices().await;
        // For people; a launch reads it itself, and reports the error.
        let _ = self.read_spend().await;
        if self.cache.nothing_left(now) {
            report.leader = true;
            return report;
        }
        let Some(open) = self.open_if_leading(&mut report, now).await else { return report };
        let going_on: HashSet<&AttemptId> = open
            .iter()
            .filter(|r| r.phase != Phase::Finished)
            .filter_map(|r| r.attempt.as_ref())
            .collect();
        let ticket = self.cache.ticket();
        let mut attempt_ids: Vec<AttemptId> = Vec::new();
        let mut overdue: HashSet<AttemptId> = HashSet::new();
        let mut ended: Vec<RunName> = Vec::new();
        match self.cache.machines.after(&self.cache, ticket, self.list_machines()).await {
            Ok(machines) => {
                report.machines = machines.all().len();
                let existing = machines.all().iter().filter(|m| m.state != MachineState::Gone);
                // One whose promise is over may be hung, whatever its run waits for.
                let over = |m: &&Machine| m.promise.is_some_and(|it| it.idle_until() < now);
                overdue = existing.clone().filter(over).map(|m| m.attempt_id.clone()).collect();
                attempt_ids.extend(existing.map(|m| m.attempt_id.clone()));
                ended = self.runs_without_end(machines.all(), &going_on, now).await;
            }
            Err(error) => report.errors.push(error.to_string()),
        }
        attempt_ids.extend(self.sweep_registrations(ticket, now, &mut report).await);
        match self.cache.seats.after(&self.cache, ticket, self.list_seats()).await {
            Ok(seats) => {
                report.seats = seats.all().len();
                attempt_ids.extend(seats.all().iter().map(|(_, attempt_id)| attempt_id.clone()));
            }
            Err(error) => report.errors.push(error.to_string()),
        }
        let nothing_left = open.is_empty()
            && attempt_ids.is_empty()
            && self.no_registration_is_left()
            && report.errors.is_empty();
        let mut names: Vec<RunName> = attempt_ids
            .into_iter()
            .filter(|attempt_id| !going_on.contains(attempt_id) || overdue.contains(attempt_id))
            .map(|attempt_id| attempt_id.run)
            .chain(ended)
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            self.wake(&name, now, &mut report).await;
        }
        self.audit(now, &mut report).await;
        if nothing_left && report.errors.is_empty() && !self.cache.audits(now) {
            self.cache.found_nothing_left(now);
        }
        report
    }

    /// Returns the runs whose records lack the end of one of these machines, or cannot be read. A new
    /// process reads the record of each machine that is still listed as ended; most are counted.
    async fn runs_without_end(
        &self,
        machines: &[Machine],
        going_on: &HashSet<&AttemptId>,
        now: Timestamp,
    ) -> Vec<RunName> {
        let mut ended: BTreeMap<&RunName, Vec<&Machine>> = BTreeMap::new();
        let untold = self.cache.ends.untold(machines).into_iter();
        for machine in untold.filter(|machine| !going_on.contains(&machine.attempt_id)) {
            ended.entry(&machine.attempt_id.run).or_default().push(machine);
        }
        let mut names = Vec::new();
        for (name, machines) in ended {
            let is_left = match self.ports.store.get(name).await {
                Ok(Some(run)) => {
                    self.cache.rows.named(run.spec.job.repo_id, now);
                    machines.iter().any(|machine| lacks_end(&run, machine))
                }
                Ok(None) => false,
                // A reconcile tries again, and tells the error.
                Err(_) => true,
            };
            if is_left {
                names.push(name.clone());
            }
            self.cache.ends.told(machines.into_iter());
        }
        names
    }

    /// Lists machines and registrations as a sweep does, for a replica that does not hold the
    /// lease: what it shows is then as current as elsewhere. Once the lists show nothing, they are
    /// read every five minutes only, unless this process has something to do or knows of
    /// `open_runs`. Wakes nothing and writes nothing. The ports note failures.
    pub async fn list_sides(&self, open_runs: bool) {
        let (ticket, now) = (self.cache.ticket(), self.ports.clock.now());
        if !open_runs && self.cache.nothing_listed(now) {
            return;
        }
        let mut report = SweepReport::default();
        let machines = self.cache.machines.after(&self.cache, ticket, self.list_machines()).await;
        let registrations = self.sweep_registrations(ticket, now, &mut report).await;
        let are_gone =
            machines.is_ok_and(|listed| listed.all().iter().all(|m| m.state == MachineState::Gone));
        let is_left = !registrations.is_empty() || !self.no_registration_is_left();
        if are_gone && !is_left && report.errors.is_empty() {
            self.cache.found_nothing_listed(now);
        }
        let machines = self.cache.machines.known();
        let own = self.settings().installation_id();
        if let Some((rows, rows_at)) = self.cache.rows.known(&own) {
            self.cache.polled.note(rows.all(), rows_at, machines.as_ref().map(|known| &*known.0));
        }
    }

    /// Audits the finished runs once an hour, one page per sweep: nothing else would ever wake one
    /// whose due is wrong, whose machine ended while nobody looked, or whose credentials an earlier
    /// release kept.
    async fn audit(&self, now: Timestamp, report: &mut SweepReport) {
        if !self.cache.audits(now) {
            return;
        }
        let cursor = self.cache.audit_from();
        let finished = Some(Phase::Finished);
        let filter = Filter { phase: finished, class: None, repo: None, limit: AUDITED_AT_ONCE };
        match self.ports.store.page(&filter, cursor.as_deref()).await {
            Ok(page) => {
                let has_credentials =
                    |run: &Run| run.status.attempt.as_ref().is_some_and(Attempt::has_credentials);
                for run in &page.items {
                    self.cache.rows.named(run.spec.job.repo_id, now);
                }
                let is_left = |run: &&Run| {
                    self.is_misfiled(run, now) || awaits_end(run) || has_credentials(run)
                };
                for run in page.items.iter().filter(is_left) {
                    self.wake(&run.name, now, report).await;
                }
                self.cache.audited(page.next, now);
            }
            Err(error) => {
                report.errors.push(error.to_string());
                self.cache.audited(None, now);
            }
        }
    }

    /// Returns whether a finished run would be kept too long.
    fn is_misfiled(&self, run: &Run, now: Timestamp) -> bool {
        let settings = self.settings();
        let class = serving(&settings.classes, &run.spec.job.repo, &run.spec.runs_on);
        let keep = class.map_or_else(|| Times::default().keep, |class| class.times.keep);
        let finished_at = run.status.finished_at.map_or(now, |at| at.min(now));
        run.status.due > after(finished_at, keep)
    }

    /// Wakes the runs whose cached due has passed, and returns how many. Reads nothing.
    pub async fn wake_due(&self) -> usize {
        let now = self.ports.clock.now();
        let mut due = self.cache.take_due(now);
        due.retain(|name| !self.cache.launch_queue.holds(name, now));
        let mut woken = self.wake_first(CALLED_AT_ONCE).await;
        for name in due {
            // A run that could not be woken is due again in half a minute.
            woken += usize::from(self.ports.queue.wake(&name).await.is_ok());
        }
        woken
    }

    /// Returns the earliest cached due; `None` if there is none.
    pub fn earliest_due(&self) -> Option<Timestamp> {
        self.cache.earliest_due()
    }

    /// Returns the cached due of a run; `None` if it is only reconciled after an event.
    pub fn due(&self, name: &RunName) -> Option<Timestamp> {
        self.cache.due(name)
    }

    async fn leads(&self, report: &mut SweepReport, now: Timestamp) -> bool {
        let settings = self.settings();
        let beats = settings.poll_every * 3;
        // When idle, the lease is extended only once a minute.
        let ttl = beats.max(SignedDuration::from_secs(if self.cache.was_idle() { 90 } else { 30 }));
        // A clock that is ahead must not keep the lease from others. Only an answer of the forge
        // tells, and a failed one shows at the next call.
        if self.clock.read().check == ClockCheck::Unchecked {
            let _ = self.ports.forge.waiting().await;
        }
        let now = now.min(self.clock.truth());
        match self.ports.store.lease("sweep", &settings.replica, now, ttl).await {
            Ok(leads) => report.leader = leads,
            Err(error) => report.errors.push(error.to_string()),
        }
        report.leader
    }

    /// Returns the open runs if this replica holds the lease.
    async fn open_if_leading(
        &self,
        report: &mut SweepReport,
        now: Timestamp,
    ) -> Option<Arc<Vec<OpenRun>>> {
        if !self.leads(report, now).await {
            self.cache.polled.set(None);
            return None;
        }
        let open = self.list_open(now).await;
        if let Ok(open) = &open {
            self.cache.polled.set(Some(open));
        }
        open.inspect_err(|error| report.errors.push(error.to_string())).ok()
    }

    /// Returns whether a run is due. The cached due wins: one that merely moves is not written.
    fn is_due(&self, run: &OpenRun, now: Timestamp) -> bool {
        if self.cache.launch_queue.holds(&run.name, now) {
            return false;
        }
        let due = self.cache.due(&run.name).unwrap_or(run.due);
        // In push mode a run may wait an hour for its next machine.
        let longest = if run.name.is_push() { LONGEST_BACKOFF_PUSH } else { LONGEST_DUE };
        // One further ahead is of a clock that was wrong. A finished run is only read when it is due.
        due <= now || due > now + longest
    }

    /// Creates a run for each waiting job without one, and wakes finished runs that wait again.
    async fn demand(
        &self,
        jobs: &[WaitingJob],
        open: &[OpenRun],
        now: Timestamp,
        report: &mut SweepReport,
    ) {
        let settings = self.settings();
        let open: HashSet<&RunName> =
            open.iter().filter(|r| r.phase != Phase::Finished).map(|r| &r.name).collect();
        report.waiting_jobs = jobs.len();
        let (served, unserved): (Vec<&WaitingJob>, Vec<&WaitingJob>) = jobs
            .iter()
            .partition(|job| serving(&settings.classes, &job.job.repo, &job.runs_on).is_some());
        report.unserved_jobs = unserved.len();
        report.unserved = Some(unserved::by_labels(&settings.classes, unserved));
        for job in served {
            let name = RunName::job(job.job.job_id);
            if open.contains(&name) {
                continue;
            }
            if let Err(error) = self.demanded(job, &name, now, report).await
                && !self.is_newer(&name)
            {
                report.errors.push(error.to_string());
            }
        }
    }

    /// Returns whether the record is of a newer format than this release reads: then its job is
    /// another replica's, and the poll has not failed.
    fn is_newer(&self, name: &RunName) -> bool {
        self.ports.store.newer().iter().any(|record| record.name == name.as_str())
    }

    async fn demanded(
        &self,
        job: &WaitingJob,
        name: &RunName,
        now: Timestamp,
        report: &mut SweepReport,
    ) -> Result<(), PortError> {
        match self.ports.store.get(name).await? {
            None => {
                if self.ensure_run(job, SeenBy::Poll).await? {
                    report.created += 1;
                    report.woken += 1;
                }
            }
            Some(run) => {
                let given_up = run.status.outcome == Some(Outcome::GaveUp);
                let again = !run.is_open() && !given_up && run.deleted_at.is_none();
                if again {
                    self.wake(name, now, report).await;
                }
            }
        }
        Ok(())
    }

    async fn wake(&self, name: &RunName, now: Timestamp, report: &mut SweepReport) {
        if !self.cache.may_wake(name, now) {
            return;
        }
        match self.ports.queue.wake(name).await {
            Ok(()) => report.woken += 1,
            Err(error) => report.errors.push(error.to_string()),
        }
    }
}
