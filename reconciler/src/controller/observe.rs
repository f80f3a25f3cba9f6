//! Observes a run: the record first, then machines, registrations, job and seats.

mod pools;
mod unlisted;

use std::collections::BTreeSet;

use super::Controller;
use super::by_run::ByRun;
use super::cache::{Machines, Seats};
use super::ends::ListRead;
use super::true_time::Shown;
use crate::model::{
    AtWork, AttemptId, Cause, Class, ClassName, Conclusion, Job, Machine, Observation,
    ObservedClass, Outcome, Phase, Refusal, Registration, Registrations, Run, RunName, nearest,
    serving,
};
use crate::plan::hung::suspects;
use crate::ports::{ErrorKind, PortError, SeenJob};
use unlisted::unlisted;

/// The number of tries to read a record that changes meanwhile.
const READINGS: usize = 3;

impl Controller {
    /// Observes a run as a reconcile would. Changes nothing.
    ///
    /// # Errors
    /// Returns the error of any read that failed, and `Conflict` if the record keeps changing.
    pub async fn observe(&self, name: &RunName) -> Result<Observation, PortError> {
        let shown = self.clock.show();
        for _ in 0..READINGS {
            let run = self.ports.store.get(name).await?;
            let seen = self.read(name, run, shown).await?;
            if !seen.needs_second_reading() {
                return Ok(seen);
            }
            let second = self.ports.store.get(name).await?;
            if second.as_ref().map(|r| (r.uid, r.version))
                == seen.run.as_ref().map(|r| (r.uid, r.version))
            {
                return Ok(seen);
            }
        }
        Err(PortError::new(
            "store",
            "get",
            ErrorKind::Conflict,
            format!("{name} changed while it was read"),
        ))
    }

    async fn read(
        &self,
        name: &RunName,
        mut run: Option<Run>,
        shown: Shown,
    ) -> Result<Observation, PortError> {
        let settings = self.settings();
        let ticket = self.cache.ticket();
        let listed = self.cache.machines.after(&self.cache, ticket, self.list_machines()).await?;
        let as_recorded = |machine: Machine| match &run {
            Some(run) => run.as_recorded(machine),
            None => machine,
        };
        let machines: Vec<Machine> = listed.of(name).cloned().map(as_recorded).collect();
        let registrations = self.registrations_of(name, run.as_ref(), &machines, ticket).await?;
        let SeenJob { state: job, times, runner_id, .. } = self.read_job(run.as_mut()).await?;
        let seats = self.cache.seats.after(&self.cache, ticket, self.list_seats()).await?;
        let mut seats: Vec<_> = seats.of(name).cloned().collect();
        seats.extend(self.seats_of_old_classes(run.as_ref()).await?);
        let job_of = run.as_ref().map(|run| (run.spec.job.repo.as_str(), &run.spec.runs_on[..]));
        let class = job_of.and_then(|(repo, labels)| serving(&settings.classes, repo, labels));
        let class = class.cloned();
        let nearest = job_of.and_then(|(repo, labels)| nearest(&settings.classes, repo, labels));
        let mut seen = Observation {
            now: shown.time,
            clock: self.clock.check(shown),
            installation: settings.installation_id(),
            name: name.clone(),
            job,
            times,
            recorded_here: None,
            machines,
            registrations,
            seats,
            turn_of: Vec::new(),
            room: self.ports.compute.room(),
            forge_read: None,
            at_work: Vec::new(),
            canceled: Vec::new(),
            elsewhere: None,
            rerun: None,
            no_replacement: false,
            class: None,
            nearest,
            run,
        };
        self.cache_ends(&seen);
        if let Some(class) = class {
            let class = self.with_images(class, &seen).await?;
            let pools = self.pools_of(&class, &seen).await;
            let paused = self.pause_of(&class.name, ticket).await?;
            if class.budget.is_some() && may_get_machine(&seen) {
                // A failure keeps the reconcile from a launch only, and is an error there. A run
                // with a machine does not even wait for it.
                let _ = self.read_spend().await;
            }
            let budget_stop = self.budget_stop(&class, seen.now);
            let cached = self.with_cached(class, &seen);
            seen.class = Some(ObservedClass { pools, paused, budget_stop, ..cached });
        }
        self.ask_for_registrations(&mut seen).await?;
        seen.forge_read = Some(self.steadiness.read(self.ports.clock.now()));
        self.ask_for_machines(&mut seen).await?;
        self.ask_for_jobs(&mut seen).await;
        self.note_canceled(&mut seen, runner_id, listed.all());
        seen.no_replacement = self.has_no_replacement(&seen);
        seen.elsewhere = self.taken_elsewhere(&seen, &listed).await?;
        seen.rerun = self.rerun_view(&seen).await;
        Ok(seen)
    }

    /// Reads the job of a run. The labels that the forge shows and the repository in which it finds
    /// the job count, not those that a delivery told: labels and name select the class, and the
    /// repository's ID tells where runners are registered. They are written with the record.
    async fn read_job(&self, run: Option<&mut Run>) -> Result<SeenJob, PortError> {
        let Some(run) = run else { return Ok(Job::Unobservable.into()) };
        let seen = self.ports.forge.job(&run.spec.job).await?;
        if seen.state == Job::Unobservable {
            return Ok(self.needs_of(run).await?.into());
        }
        if let Some(repo) = &seen.repo {
            run.spec.job.repo.clone_from(repo);
        }
        if let Some(repo_id) = seen.repo_id {
            run.spec.job.repo_id = repo_id;
        }
        if let Some(runs_on) = &seen.runs_on {
            run.spec.runs_on.clone_from(runs_on);
        }
        Ok(seen)
    }

    /// Replaces the names of a class's images by the images that they stand for now, if the run may
    /// get a machine. A name that stands for none stays: its launch is refused with the reason.
    async fn with_images(&self, mut class: Class, seen: &Observation) -> Result<Class, PortError> {
        let needs_one = may_get_machine(seen);
        if !needs_one && seen.job != Job::Waiting {
            return Ok(class);
        }
        for machine in &mut class.machines {
            match self.ports.compute.image(&machine.image).await {
                Ok(image) => machine.image = image,
                // The machine that it has may still take the job.
                Err(_) if !needs_one => {}
                Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(class)
    }

    /// Adds what is cached about a class.
    fn with_cached(&self, class: Class, seen: &Observation) -> ObservedClass {
        let run = seen.run.as_ref();
        if let Some(run) = run {
            self.note_boots_of(run);
        }
        let attempt = run.and_then(|run| Some(run.attempt_id(run.status.attempt.as_ref()?.number)));
        let breaker = self.cache.breakers.open_breaker(&class.name, attempt.as_ref(), seen.now);
        let boot_stop = self.boot_stop_of(&class, run, seen.now);
        let spot_breaker = self.cache.interruptions.breaker(&class, seen.now);
        let unavailable = self.unavailable_to(&class, seen.now);
        ObservedClass { unavailable, breaker, boot_stop, spot_breaker, ..class.into() }
    }

    /// Caches limits of the account that ended machines.
    fn cache_ends(&self, seen: &Observation) {
        let Some(run) = &seen.run else { return };
        let Some(attempt) = &run.status.attempt else { return };
        let attempt_id = run.attempt_id(attempt.number);
        let ended = |m: &&Machine| m.attempt_id == attempt_id && !m.is_live();
        for machine in seen.machines.iter().filter(ended) {
            let refusal = machine.state_reason.as_ref().and_then(|reason| reason.refusal);
            if refusal == Some(Refusal::Limit) {
                // A limit of the account, whatever the machine is.
                let settings = self.settings();
                let class = settings.classes.iter().find(|class| class.name == attempt.class);
                let all = class.map(|class| class.machines.as_slice()).unwrap_or_default();
                self.cache.ended(&machine.id, all, Cause::Quota, seen.now);
            }
        }
    }

    /// Derives the job's state from the runs that it needs, if the forge does not report it: it is
    /// blocked until they finish, and skipped if one of them never got a machine. A run that does
    /// not exist or was deleted is not waited for: it is served elsewhere or long gone.
    async fn needs_of(&self, run: &Run) -> Result<Job, PortError> {
        if !run.is_open() {
            return Ok(Job::Unobservable);
        }
        for name in &run.spec.needs {
            match self.ports.store.get(name).await? {
                None => {}
                Some(needed) if needed.deleted_at.is_some() => {}
                Some(needed) if needed.is_open() => return Ok(Job::Blocked),
                Some(needed) if needed.status.outcome == Some(Outcome::MachineEnded) => {}
                Some(_) => return Ok(Job::Done { conclusion: Conclusion::Skipped }),
            }
        }
        Ok(Job::Unobservable)
    }

    /// Lists the machines, as a reconcile does.
    ///
    /// # Errors
    /// The cloud cannot be read.
    pub async fn machines(&self) -> Result<Vec<Machine>, PortError> {
        let ticket = self.cache.ticket();
        let listed = self.cache.machines.after(&self.cache, ticket, self.list_machines()).await?;
        Ok(listed.all().to_vec())
    }

    pub(super) async fn list_machines(&self) -> Result<Machines, PortError> {
        let began_at = self.ports.clock.now();
        let machines = self.ports.compute.list().await?;
        self.cache.machines.reads_at(began_at);
        self.cache.saw_classes(machines.iter().map(|m| &m.class));
        let read_at = self.ports.clock.now();
        let is_dated = self.clock.read().check.agrees();
        let list = ListRead { began_at, read_at, is_dated };
        self.note_spend(&machines, &list);
        self.cache.ends.listed(&machines, &list);
        self.cache.interruptions.listed(&machines, &self.cache.ends, &list);
        Ok(ByRun::new(machines, |m| &m.attempt_id))
    }

    /// Returns the classes whose seats are listed: configured ones, and those of listed machines. A
    /// class that is no longer configured has seats until its machines are gone.
    fn seated_classes(&self) -> BTreeSet<ClassName> {
        let configured = self.settings().classes.iter().map(|c| c.name.clone()).collect();
        let mut all: BTreeSet<ClassName> = configured;
        all.extend(self.cache.seen_classes());
        all
    }

    /// Returns the run's seats in recorded classes that are no longer listed.
    async fn seats_of_old_classes(
        &self,
        run: Option<&Run>,
    ) -> Result<Vec<(ClassName, AttemptId)>, PortError> {
        let Some(run) = run else { return Ok(Vec::new()) };
        let listed = self.seated_classes();
        let recorded = run.status.attempt.iter().map(|a| &a.class);
        let recorded = recorded.chain(run.status.past.iter().map(|p| &p.class));
        let old: BTreeSet<&ClassName> = recorded.filter(|class| !listed.contains(*class)).collect();
        let mut held = Vec::new();
        for class in old {
            let seats =
                self.ports.store.seats(class).await?.into_iter().map(|seat| seat.attempt_id);
            let own = seats.filter(|attempt_id| attempt_id.run == run.name);
            held.extend(own.map(|attempt_id| (class.clone(), attempt_id)));
        }
        Ok(held)
    }

    pub(super) async fn list_seats(&self) -> Result<Seats, PortError> {
        let settings = self.settings();
        let mut all = Vec::new();
        for class in self.seated_classes() {
            let seats = self.ports.store.seats(&class).await?;
            let (seen, now) = (self.cache.ticket(), self.ports.clock.now());
            let limit = settings.classes.iter().find(|c| c.name == class).and_then(|c| c.limit);
            self.cache.turns.seated(&class, limit, &seats, seen, now);
            all.extend(seats.into_iter().map(|seat| (class.clone(), seat.attempt_id)));
        }
        Ok(ByRun::new(all, |(_, attempt_id)| attempt_id))
    }

    /// Reads registrations that matter and are not listed by their ID: absence proves nothing.
    async fn ask_for_registrations(&self, seen: &mut Observation) -> Result<(), PortError> {
        let Registrations::Seen(rows) = &seen.registrations else { return Ok(()) };
        let open = seen.run.as_ref().filter(|run| run.status.phase != Phase::Finished);
        let attempt = open.and_then(|run| run.status.attempt.as_ref().map(|a| (run, a)));
        let mut wanted: Vec<(i64, i64, AttemptId)> = attempt
            .filter(|(_, a)| a.ended.is_none() || seen.job == Job::Unobservable)
            .map(|(run, a)| (a.runner.id, a.runner.repo_id, run.attempt_id(a.number)))
            .into_iter()
            .chain(
                seen.machines
                    .iter()
                    .filter(|m| m.is_live())
                    .map(|m| (m.registration, m.repo_id, m.attempt_id.clone())),
            )
            .filter(|(id, ..)| !rows.iter().any(|r| r.id == *id))
            .collect();
        for row in rows {
            self.cache.there(row.id);
        }
        wanted.sort();
        wanted.dedup_by_key(|(id, ..)| *id);
        let mut found = Vec::new();
        for (id, repo_id, attempt_id) in wanted {
            let row = self.ports.forge.registration(id, repo_id).await?;
            // Another run's registration with that ID (a forge restored from a backup reuses IDs)
            // says nothing about this attempt, and must not be retired.
            found.push(match row.filter(|row| row.attempt_id == attempt_id) {
                Some(row) => {
                    self.cache.there(id);
                    row
                }
                None => Registration {
                    id,
                    repo_id,
                    attempt_id,
                    uuid: None,
                    online: false,
                    busy: false,
                    // The reconcile may have begun long before, but the wait counts from now.
                    disabled: None,
                    disabled_since: None,
                    missing_since: Some(self.cache.missing(id, self.ports.clock.now())),
                },
            });
        }
        if let Registrations::Seen(rows) = &mut seen.registrations {
            rows.extend(found);
        }
        Ok(())
    }

    /// Reads which runners have jobs, where that matters for a machine that may hang. A reading that
    /// fails is no evidence, and keeps the reconcile from nothing else.
    async fn ask_for_jobs(&self, seen: &mut Observation) {
        let hung = suspects(seen);
        let counting = hung.iter().filter(|suspect| suspect.counts(seen.now));
        let repositories: BTreeSet<i64> = counting.map(|suspect| suspect.repo_id).collect();
        drop(hung);
        for repo_id in repositories {
            if let Ok(Some(runners)) = self.ports.forge.at_work(repo_id).await {
                seen.at_work.push(AtWork { repo_id, runners });
            }
        }
    }

    /// Reads launched machines that are not listed by their ID, once they must be visible.
    async fn ask_for_machines(&self, seen: &mut Observation) -> Result<(), PortError> {
        for gone in unlisted(seen) {
            let found = self.ports.compute.find(&gone.id).await?.unwrap_or(gone);
            let found = match &seen.run {
                Some(run) => run.as_recorded(found),
                None => found,
            };
            seen.machines.push(found);
        }
        Ok(())
    }
}

/// Whether the run may get a machine now: it is open, or its job waits again, and the machine of its
/// attempt is not live, or the attempt has ended. A machine that is held for a person serves no
/// re-run of its job.
fn may_get_machine(seen: &Observation) -> bool {
    let may_wait = |run: &&Run| run.is_open() || seen.job == Job::Waiting;
    let Some(run) = seen.run.as_ref().filter(may_wait) else { return false };
    let attempt = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none());
    let Some(attempt_id) = attempt.map(|attempt| run.attempt_id(attempt.number)) else {
        return true;
    };
    !seen.machines.iter().any(|machine| machine.is_live() && machine.attempt_id == attempt_id)
}

impl Observation {
    /// Returns whether the record must be read again after the rest: if there is none, or if
    /// something belongs to another incarnation of this installation's.
    fn needs_second_reading(&self) -> bool {
        let Some(run) = &self.run else { return true };
        let uid = run.uid.short();
        let machines = self.machines.iter().map(|m| &m.attempt_id);
        let rows = self.registrations.seen().iter().map(|r| &r.attempt_id);
        let rows = rows.filter(|attempt_id| !attempt_id.is_of_another(&self.installation));
        let seats = self.seats.iter().map(|(_, attempt_id)| attempt_id);
        machines.chain(rows).chain(seats).any(|attempt_id| attempt_id.uid != uid)
    }
}
