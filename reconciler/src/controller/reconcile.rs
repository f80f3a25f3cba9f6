//! One reconcile: observe, then rounds of plan, free, prepare, put, act, record.

mod events;
mod free;
mod last_lines;
mod launch;
mod prepare;
mod rerun;
mod usage;

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use events::events;

use super::breaker::LaunchPermit;
use super::{ActionKind, Controller, Effect, FailedCall, ReconcileOutcome, Report};
use crate::model::{AttemptId, ClassName, Observation, Phase, Reason, Run, RunName, Spec, Status};
use crate::plan::hung::second_reading;
use crate::plan::{Action, Plan, Rule, record};
use crate::ports::{ErrorKind, Expect, PortError};

/// After this time the rest of a reconcile is dropped, so that no effect lands late.
const RECONCILE_ENDS_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// The maximum number of rounds, plus two for each machine of the class: a placement is written in
/// one round and launched in the next, and every answer must be written.
const ROUNDS: usize = 6;

/// A reconcile in progress.
struct Reconcile<'a> {
    controller: &'a Controller,
    seen: Observation,
    /// The record in the store.
    stored: Option<Run>,
    report: Report,
    /// Issued effects; each is issued at most once.
    issued: HashSet<String>,
    /// The launch permit, until it is used.
    permit: Option<LaunchPermit>,
    /// Whether pauses, spend and boots were read before a launch of this reconcile.
    asked_for_pauses: bool,
    /// The attempt of this reconcile that tries whether machines of its class come online.
    probe: Option<(ClassName, AttemptId)>,
    /// Whether it is known whose turn the free seats of the class are.
    asked_whose_turn: bool,
}

/// The reason why a reconcile stops early.
enum Stop {
    /// It took too long.
    Late,
    /// The clock agreed with the true time when it was read, and does not any more.
    Clock,
    /// A port failed.
    Port(PortError),
}

impl From<PortError> for Stop {
    fn from(error: PortError) -> Self {
        Self::Port(error)
    }
}

impl Controller {
    /// Reconciles a run. The caller ensures that at most one task of this process reconciles a run
    /// at a time.
    pub async fn reconcile(&self, name: &RunName) -> Report {
        let began_at = self.ports.clock.now();
        let mut report = Report {
            name: name.clone(),
            began_at,
            result: ReconcileOutcome::Settled,
            phase_before: None,
            phase: None,
            reason: None,
            class: None,
            repo: String::new(),
            job: String::new(),
            effects: Vec::new(),
            due: None,
            error: None,
            failed: None,
            events: Vec::new(),
        };
        // Boxed, to keep the futures around it small.
        let seen = match Box::pin(self.observe(name)).await {
            Ok(seen) => seen,
            Err(error) => {
                fail(&mut report, &error);
                report.due = Some(began_at + SignedDuration::from_secs(10));
                self.cache.set_due(name, report.due);
                self.cache.launch_queue.reconciled(name, None, None, began_at);
                return report;
            }
        };
        if let Some(run) = seen.run.as_ref().filter(|_| seen.no_replacement) {
            // Others must not count it among those that wait while it makes its next attempt.
            self.cache.unclaimed.leaves(run);
        }
        report.events.extend(self.note_clock(seen.clock));
        report.phase_before = seen.run.as_ref().map(|r| r.status.phase);
        report.class = seen.class.as_ref().map(|observed| observed.class.name.clone());
        if let Some(Spec { job, about, .. }) = seen.run.as_ref().map(|run| &run.spec) {
            (report.repo, report.job) = (job.repo.clone(), about.job.clone());
        }
        let stored = seen.run.clone();
        let issued = HashSet::new();
        let mut reconcile = Reconcile {
            controller: self,
            seen,
            stored,
            report,
            issued,
            permit: None,
            asked_for_pauses: false,
            probe: None,
            asked_whose_turn: false,
        };
        // Boxed, to keep the futures around it small.
        match Box::pin(reconcile.go()).await {
            Ok(()) => {}
            Err(Stop::Late) => {
                let what = "the reconcile took longer than 60 s; the next one continues";
                reconcile.report.result = ReconcileOutcome::Error;
                reconcile.report.error = Some(what.to_owned());
            }
            Err(Stop::Clock) => {
                let what = "the clock was set during the reconcile; the next one continues";
                reconcile.report.result = ReconcileOutcome::Error;
                reconcile.report.error = Some(what.to_owned());
            }
            Err(Stop::Port(error)) => fail(&mut reconcile.report, &error),
        }
        self.note_displaced(&reconcile.seen, reconcile.stored.as_ref()).await;
        self.wake_canceled(name).await;
        self.wake_others(&reconcile.seen).await;
        let report = reconcile.close();
        self.wake_first(1).await;
        report
    }
}

fn fail(report: &mut Report, error: &PortError) {
    report.result = if error.kind == ErrorKind::Conflict {
        ReconcileOutcome::Conflict
    } else {
        ReconcileOutcome::Error
    };
    report.error = Some(error.to_string());
    report.failed = Some(FailedCall::of(error));
}

impl Reconcile<'_> {
    async fn go(&mut self) -> Result<(), Stop> {
        let machines = self.seen.class.as_ref().map_or(0, |observed| observed.class.machines.len());
        for _ in 0..ROUNDS + 2 * machines {
            let plan = (self.controller.plan)(&self.seen);
            if !self.round(plan).await? {
                break;
            }
        }
        Ok(())
    }

    /// Runs one round. Returns whether another one may find more to do.
    async fn round(&mut self, plan: Plan) -> Result<bool, Stop> {
        let Plan { rule, status, prepare, actions } = plan;
        let is_act = |action: &Action| {
            matches!(action, Action::Launch { .. } | Action::Rerun { .. } | Action::Remove)
        };
        let (act, free): (Vec<Action>, Vec<Action>) = actions.into_iter().partition(is_act);
        let is_new = |a: &Action| {
            matches!(a, Action::Disable { .. }) && !self.issued.contains(&format!("{a:?}"))
        };
        let disables = free.iter().any(is_new);
        for action in free {
            self.free(action).await?;
        }
        let Some(status) = status else {
            for action in act {
                if action == Action::Remove {
                    self.remove().await?;
                }
            }
            return Ok(false);
        };
        if prepare.as_ref().is_some_and(|prepare| prepare.seat.is_some())
            && self.is_turn_of_others().await
        {
            // Decide again, and write nothing.
            return Ok(true);
        }
        let Some(run) = &mut self.seen.run else { return Ok(false) };
        let used = |status: &Status| status.attempt.as_ref().map(|attempt| attempt.ended);
        // In push mode the machine that got a job may be gone already: then the run is finished.
        let newly_used = rule == Rule::PushConsumed && used(&run.status) != used(&status);
        let before = std::mem::replace(&mut run.status, status);
        self.keep_last_lines(&before).await;
        let mut more = newly_used || disables || matches!(rule, Rule::Reopen | Rule::NextPlacement);
        if let Some(prepare) = prepare {
            if !self.admitted(&prepare.class, &prepare.attempt_id).await? {
                // The class is stopped, as the observation shows now: decide again, and write nothing.
                if let Some(run) = &mut self.seen.run {
                    let decided = std::mem::replace(&mut run.status, before);
                    record::keep_boot_result(&mut run.status, &decided);
                }
                return Ok(true);
            }
            more = self.prepare(prepare).await?;
        }
        self.keep_late_lines().await;
        self.put(rule).await?;
        if rule == Rule::NextPlacement {
            self.recorded();
        }
        for action in act {
            match action {
                Action::Launch { attempt_id, placement } => {
                    more |= self.launch(attempt_id, placement).await?;
                }
                Action::Rerun { scope, requests, .. } => {
                    more |= self.rerun(scope, requests).await?;
                }
                _ => {}
            }
        }
        Ok(more)
    }

    fn now_in_time(&self) -> Result<Timestamp, Stop> {
        let now = self.controller.ports.clock.now();
        if now > self.seen.now + RECONCILE_ENDS_AFTER {
            return Err(Stop::Late);
        }
        // What was concluded from a wait must still be true at the moment of the effect.
        let agrees = self.controller.clock.read().check.agrees();
        if self.seen.clock.agrees() && !agrees { Err(Stop::Clock) } else { Ok(now) }
    }

    fn note(
        &mut self,
        action: ActionKind,
        target: String,
        attempt_id: Option<&AttemptId>,
        rule: Rule,
        error: Option<&PortError>,
    ) {
        self.report.effects.push(Effect {
            action,
            target,
            attempt_id: attempt_id.map(AttemptId::to_string),
            rule,
            error: error.map(|e| (e.kind, e.to_string())),
        });
        match error {
            None if self.report.result == ReconcileOutcome::Settled => {
                self.report.result = ReconcileOutcome::Acted;
            }
            Some(error) if !matches!(error.kind, ErrorKind::NoCapacity) => {
                self.report.result = ReconcileOutcome::Error;
                self.report.error.get_or_insert_with(|| error.to_string());
                self.report.failed.get_or_insert_with(|| FailedCall::of(error));
            }
            None | Some(_) => {}
        }
    }

    async fn remove(&mut self) -> Result<(), Stop> {
        self.count_rest().await?;
        let Some(stored) = &self.stored else { return Ok(()) };
        self.now_in_time()?;
        let (name, uid, version) = (stored.name.clone(), stored.uid, stored.version);
        let result = self.controller.ports.store.remove(&name, uid, version).await;
        self.note(ActionKind::Remove, name.to_string(), None, Rule::Remove, result.as_ref().err());
        result?;
        self.seen.run = None;
        self.stored = None;
        Ok(())
    }

    /// Records that this reconcile has written the current placement.
    fn recorded(&mut self) {
        let attempt = self.seen.run.as_ref().and_then(|r| r.status.attempt.as_ref());
        self.seen.recorded_here = attempt.map(|a| (a.number, a.current()));
    }

    /// Writes the record if more than its due changed.
    async fn put(&mut self, rule: Rule) -> Result<(), Stop> {
        let used = self.count_usage();
        let (Some(run), Some(stored)) = (&self.seen.run, &self.stored) else { return Ok(()) };
        if used.is_none() && !record::worth_writing(stored, &run.status, self.seen.now) {
            return Ok(());
        }
        self.now_in_time()?;
        let run = Run { format: self.controller.record_format(), ..run.clone() };
        let (store, expect) =
            (&self.controller.ports.store, Expect::At(stored.uid, stored.version));
        let result = match &used {
            Some(used) => store.put_counting(&run, expect, used).await,
            None => store.put(&run, expect).await,
        };
        self.note(ActionKind::Put, run.name.to_string(), None, rule, result.as_ref().err());
        let version = result?;
        let before = stored_phase(self.stored.as_ref());
        if let Some(stored) = &self.stored {
            self.report.events.extend(events(stored, &run, self.seen.now));
        }
        self.report.events.extend(used.map(usage::event));
        if before != Some(Phase::Finished) && !run.is_open() {
            self.wake_dependents(&run).await;
        }
        let run = Run { version, ..run };
        self.seen.run = Some(run.clone());
        // Others count its machine from now on.
        self.controller.cache.unclaimed.recorded(&run);
        self.stored = Some(run);
        Ok(())
    }

    /// Wakes the runs that need this finished one.
    async fn wake_dependents(&self, run: &Run) {
        for name in &run.spec.needed_by {
            // After a lost wake-up they continue at their due, within a minute.
            let _ = self.controller.ports.queue.wake(name).await;
        }
    }

    /// Completes the report, and caches the due of the run.
    fn close(self) -> Report {
        let Self { controller, seen, stored, mut report, permit, .. } = self;
        if let Some(permit) = permit {
            controller.cache.breakers.unused(&permit, controller.ports.clock.now());
        }
        let run = seen.run.as_ref();
        report.phase = stored_phase(stored.as_ref());
        report.reason = run.and_then(|r| r.status.reason());
        report.due = match report.result {
            ReconcileOutcome::Conflict => Some(seen.now),
            ReconcileOutcome::Error => {
                let soon = seen.now + SignedDuration::from_secs(15);
                run.map(|r| if r.is_open() { r.status.due.min(soon) } else { soon })
            }
            ReconcileOutcome::Settled | ReconcileOutcome::Acted => {
                run.filter(|r| record::is_due_soon(r, &r.status)).map(|r| r.status.due)
            }
        };
        for due in usage::due(run, seen.now).into_iter().chain(second_reading(&seen)) {
            report.due = Some(report.due.map_or(due, |at| at.min(due)));
        }
        if !matches!(report.result, ReconcileOutcome::Conflict | ReconcileOutcome::Error) {
            controller.cache.ends.told(usage::settled(run, &seen.machines));
        }
        let is_held = report.reason == Some(Reason::Budget);
        controller.cache.spend.holds(&report.name, is_held);
        if report.result != ReconcileOutcome::Conflict {
            let at = controller.cache.ticket();
            controller.cache.turns.reconciled(&report.name, stored.as_ref(), at);
        }
        controller.cache.set_due(&report.name, report.due);
        controller.cache.launch_queue.reconciled(&report.name, run, report.reason, seen.now);
        if let (Some(Reason::BreakerOpen), Some(class)) = (report.reason, &report.class) {
            controller.cache.breakers.holds(class, &report.name);
            if seen.class.as_ref().is_some_and(|own| own.boot_stop.is_some()) {
                controller.cache.boots.holds(class, &report.name);
            }
        }
        if let Some(run) = &stored {
            controller.note_boots_of(run);
        }
        report
    }
}

fn stored_phase(run: Option<&Run>) -> Option<Phase> {
    run.map(|r| r.status.phase)
}
