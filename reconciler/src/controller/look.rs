//! One reconcile: observe, then rounds of plan, free, prepare, put, act, record.

mod free;
mod launch;
mod prepare;

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::breaker::Leave;
use super::{ActionKind, Controller, Effect, Fact, LookResult, Report};
use crate::model::{Observation, Phase, Reason, Run, RunName, Slot, Status};
use crate::mutant::{self, Mutant};
use crate::plan::{self, Action, Plan, Row, record};
use crate::ports::{ErrorKind, Expect, PortError};

/// After this time the rest of a reconcile is dropped, so that no effect lands late.
const LOOK_ENDS_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// The maximum number of rounds, plus two for each machine of the class: a placement is written in
/// one round and launched in the next, and every answer must be written.
const ROUNDS: usize = 6;

/// A reconcile in progress.
struct Look<'a> {
    controller: &'a Controller,
    seen: Observation,
    /// The record in the store.
    stored: Option<Run>,
    report: Report,
    /// Issued effects; each is issued at most once.
    issued: HashSet<String>,
    /// The launch permit, until it is used.
    leave: Option<Leave>,
}

/// Why a reconcile stops early.
enum Stop {
    /// It took too long.
    Late,
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
            result: LookResult::Settled,
            phase_before: None,
            phase: None,
            reason: None,
            class: None,
            repo: String::new(),
            effects: Vec::new(),
            due: None,
            error: None,
            facts: Vec::new(),
        };
        let seen = match self.observe(name).await {
            Ok(seen) => seen,
            Err(error) => {
                fail(&mut report, &error);
                report.due = Some(began_at + SignedDuration::from_secs(10));
                self.memory.remember_due(name, report.due);
                self.memory.line.looked_at(name, None, None, began_at);
                return report;
            }
        };
        report.phase_before = seen.run.as_ref().map(|r| r.status.phase);
        report.class = seen.class.as_ref().map(|observed| observed.class.name.clone());
        report.repo = seen.run.as_ref().map(|r| r.spec.job.repo.clone()).unwrap_or_default();
        let stored = seen.run.clone();
        let issued = HashSet::new();
        let mut look = Look { controller: self, seen, stored, report, issued, leave: None };
        // Boxed, to keep the futures around it small.
        match Box::pin(look.go()).await {
            Ok(()) => {}
            Err(Stop::Late) => {
                look.report.result = LookResult::Error;
                look.report.error =
                    Some("the reconcile took longer than 60 s; the next one continues".to_owned());
            }
            Err(Stop::Port(error)) => fail(&mut look.report, &error),
        }
        if let Some(run) = &look.stored {
            self.call_the_robbed(run).await;
        }
        let report = look.close();
        self.call_the_first(1).await;
        report
    }
}

fn fail(report: &mut Report, error: &PortError) {
    report.result =
        if error.kind == ErrorKind::Conflict { LookResult::Conflict } else { LookResult::Error };
    report.error = Some(error.to_string());
}

impl Look<'_> {
    async fn go(&mut self) -> Result<(), Stop> {
        let machines = self.seen.class.as_ref().map_or(0, |observed| observed.class.machines.len());
        for _ in 0..ROUNDS + 2 * machines {
            let plan = plan::plan(&self.seen);
            if !self.round(plan).await? {
                break;
            }
        }
        Ok(())
    }

    /// Runs one round. Returns whether another one may find more to do.
    async fn round(&mut self, plan: Plan) -> Result<bool, Stop> {
        let Plan { row, status, prepare, actions } = plan;
        let (free, act): (Vec<Action>, Vec<Action>) =
            actions.into_iter().partition(|a| !matches!(a, Action::Launch { .. } | Action::Remove));
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
        let Some(run) = &mut self.seen.run else { return Ok(false) };
        let used = |status: &Status| status.attempt.as_ref().map(|attempt| attempt.ended);
        // In push mode the machine that got a job may be gone already: then the run is finished.
        let newly_used = row == Row::PushConsumed && used(&run.status) != used(&status);
        let before = std::mem::replace(&mut run.status, status);
        let mut more = newly_used || matches!(row, Row::Reopen | Row::NextPlacement);
        if let Some(prepare) = prepare {
            if !self.admitted(&prepare.class, &prepare.slot).await {
                // The breaker opened meanwhile: decide again, and write nothing.
                if let Some(run) = &mut self.seen.run {
                    run.status = before;
                }
                return Ok(true);
            }
            let slot = prepare.slot.clone();
            more = self.prepare(prepare).await?;
            if more && mutant::on(Mutant::LaunchBeforeRecord) {
                self.launch(slot, 0).await?;
            }
        }
        self.put(row).await?;
        if row == Row::NextPlacement {
            self.recorded();
        }
        for action in act {
            if let Action::Launch { slot, placement } = action {
                more |= self.launch(slot, placement).await?;
            }
        }
        Ok(more)
    }

    fn now_in_time(&self) -> Result<Timestamp, Stop> {
        let now = self.controller.ports.clock.now();
        let late = now > self.seen.now + LOOK_ENDS_AFTER && !mutant::on(Mutant::LateEffects);
        if late { Err(Stop::Late) } else { Ok(now) }
    }

    fn note(
        &mut self,
        action: ActionKind,
        target: String,
        slot: Option<&Slot>,
        row: Row,
        error: Option<&PortError>,
    ) {
        self.report.effects.push(Effect {
            action,
            target,
            slot: slot.map(Slot::to_string),
            row,
            error: error.map(|e| (e.kind, e.to_string())),
        });
        match error {
            None if self.report.result == LookResult::Settled => {
                self.report.result = LookResult::Acted;
            }
            Some(error) if !matches!(error.kind, ErrorKind::NoCapacity) => {
                self.report.result = LookResult::Error;
                self.report.error.get_or_insert_with(|| error.to_string());
            }
            None | Some(_) => {}
        }
    }

    async fn remove(&mut self) -> Result<(), Stop> {
        let Some(stored) = &self.stored else { return Ok(()) };
        self.now_in_time()?;
        let (name, uid, version) = (stored.name.clone(), stored.uid, stored.version);
        let result = self.controller.ports.store.remove(&name, uid, version).await;
        self.note(ActionKind::Remove, name.to_string(), None, Row::Remove, result.as_ref().err());
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
    async fn put(&mut self, row: Row) -> Result<(), Stop> {
        let (Some(run), Some(stored)) = (&self.seen.run, &self.stored) else { return Ok(()) };
        if !record::worth_writing(stored, &run.status, self.seen.now) {
            return Ok(());
        }
        self.now_in_time()?;
        let run = run.clone();
        let result =
            self.controller.ports.store.put(&run, Expect::At(stored.uid, stored.version)).await;
        self.note(ActionKind::Put, run.name.to_string(), None, row, result.as_ref().err());
        let version = result?;
        let before = stored_phase(self.stored.as_ref());
        self.facts(before, &run);
        if before != Some(Phase::Finished) && !run.is_open() {
            self.call_dependents(&run).await;
        }
        let run = Run { version, ..run };
        self.seen.run = Some(run.clone());
        self.stored = Some(run);
        Ok(())
    }

    /// Wakes the runs that need this finished one.
    async fn call_dependents(&self, run: &Run) {
        for name in &run.spec.needed_by {
            // After a lost wake-up they continue at their due, within a minute.
            let _ = self.controller.ports.queue.wake(name).await;
        }
    }

    fn facts(&mut self, before: Option<Phase>, run: &Run) {
        let after = run.status.phase;
        if before == Some(after) {
            return;
        }
        match (after, run.status.outcome) {
            (Phase::Running, _) => {
                let waited = self.seen.now.duration_since(run.status.waiting_since);
                self.report.facts.push(Fact::Started { waited_seconds: waited.as_secs() });
            }
            (Phase::Finished, Some(outcome)) => self.report.facts.push(Fact::Finished { outcome }),
            (Phase::Finished, None) | (Phase::Waiting | Phase::Starting, _) => {}
        }
    }

    /// Completes the report, and caches the due of the run.
    fn close(self) -> Report {
        let Self { controller, seen, stored, mut report, issued: _, leave } = self;
        if let Some(leave) = leave {
            controller.memory.breakers.unused(&leave, controller.ports.clock.now());
        }
        let run = seen.run.as_ref();
        report.phase = stored_phase(stored.as_ref());
        report.reason = run.and_then(|r| r.status.reason());
        report.due = match report.result {
            LookResult::Conflict => Some(seen.now),
            LookResult::Error => {
                let soon = seen.now + SignedDuration::from_secs(15);
                run.map(|r| if r.is_open() { r.status.due.min(soon) } else { soon })
            }
            LookResult::Settled | LookResult::Acted => {
                run.filter(|r| record::is_due_soon(r, &r.status)).map(|r| r.status.due)
            }
        };
        controller.memory.remember_due(&report.name, report.due);
        controller.memory.line.looked_at(&report.name, run, report.reason, seen.now);
        if let (Some(Reason::BreakerOpen), Some(class)) = (report.reason, &report.class) {
            controller.memory.breakers.holds(class, &report.name);
        }
        report
    }
}

fn stored_phase(run: Option<&Run>) -> Option<Phase> {
    run.map(|r| r.status.phase)
}
