//! Launches: the permit, the call, and what its result means for others.

use jiff::Timestamp;

use super::{Reconcile, Stop};
use crate::controller::boots::BootPermit;
use crate::controller::{ActionKind, Event};
use crate::model::{Attempt, AttemptId, Cause, ClassName, Machine, MachineSpec, Refusal, Run};
use crate::plan::{Rule, record};
use crate::ports::{ErrorKind, PortError};

impl Reconcile<'_> {
    /// Returns whether this reconcile may launch for an attempt. If its class is paused, has spent
    /// its budget, its machines never come online, or its breaker is open, the observation shows it
    /// from now on.
    pub(super) async fn admitted(
        &mut self,
        class: &ClassName,
        attempt_id: &AttemptId,
    ) -> Result<bool, Stop> {
        if !self.asked_for_pauses {
            let ticket = self.controller.cache.ticket();
            let pause = self.controller.pause_before_launch(class, ticket).await?;
            self.asked_for_pauses = true;
            let own = self.seen.class.as_mut().filter(|own| own.class.name == *class);
            if let (Some(own), Some(pause)) = (own, pause) {
                own.paused = Some(pause);
                return Ok(false);
            }
            if !self.in_budget(class).await? || !self.may_boot(class, attempt_id).await? {
                return Ok(false);
            }
        }
        Ok(self.permitted(class, attempt_id).await)
    }

    /// Returns whether the budget of the run's class allows a launch.
    async fn in_budget(&mut self, class: &ClassName) -> Result<bool, Stop> {
        let controller = self.controller;
        let own = self.seen.class.as_mut().filter(|own| own.class.name == *class);
        let Some(own) = own.filter(|own| own.class.budget.is_some()) else { return Ok(true) };
        controller.read_spend().await?;
        own.budget_stop = controller.budget_stop(&own.class, controller.ports.clock.now());
        Ok(own.budget_stop.is_none())
    }

    /// Returns whether the latest machines of the run's class allow a launch.
    async fn may_boot(&mut self, class: &ClassName, attempt_id: &AttemptId) -> Result<bool, Stop> {
        let controller = self.controller;
        let own = self.seen.class.as_mut().filter(|own| own.class.name == *class);
        let Some(own) = own else { return Ok(true) };
        // The end of its last attempt may be decided and not written yet.
        let run = self.seen.run.as_ref();
        match controller.may_boot(&own.class, attempt_id, run).await? {
            BootPermit::Free => own.boot_stop = None,
            BootPermit::Probe => {
                own.boot_stop = None;
                self.probe = Some((class.clone(), attempt_id.clone()));
            }
            BootPermit::Wait(stop) => {
                own.boot_stop = Some(stop);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets another attempt try, because the attempt of this run found no seat. If a call failed,
    /// the attempt keeps the lease, because another replica may launch for it.
    pub(super) async fn release_probe(&mut self, run: &mut Run) {
        let Some((class, attempt_id)) = self.probe.take() else { return };
        let again = self.controller.probe_unused(&class, &attempt_id).await;
        run.status.due = run.status.due.min(again);
    }

    async fn permitted(&mut self, class: &ClassName, attempt_id: &AttemptId) -> bool {
        if self.permit.as_ref().is_some_and(|permit| permit.holds_for(class, attempt_id)) {
            return true;
        }
        let Self { controller, seen, permit, .. } = self;
        let clock = &*controller.ports.clock;
        // Never wait for one class while others wait for this reconcile in another.
        if let Some(unused) = permit.take() {
            controller.cache.breakers.unused(&unused, clock.now());
        }
        match controller.cache.breakers.admit(class, attempt_id, clock).await {
            Ok(permit) => {
                self.permit = Some(permit);
                true
            }
            Err(breaker) => {
                let observed = seen.class.as_mut();
                if let Some(own) = observed.filter(|own| own.class.name == *class) {
                    own.breaker = Some(breaker);
                }
                false
            }
        }
    }

    /// Launches a recorded machine. Returns whether there is a result to record.
    pub(super) async fn launch(
        &mut self,
        attempt_id: AttemptId,
        placement: u32,
    ) -> Result<bool, Stop> {
        let Some(attempt) = self.seen.run.as_ref().and_then(|r| r.status.attempt.clone()) else {
            return Ok(false);
        };
        if !self.issued.insert(attempt_id.token(placement)) {
            return Ok(false);
        }
        if !self.admitted(&attempt.class, &attempt_id).await? {
            self.held(&attempt, placement);
            return Ok(true);
        }
        self.now_in_time()?;
        let result = self.controller.ports.compute.launch(&attempt_id, placement, &attempt).await;
        let target = result.as_ref().map_or_else(|_| String::new(), |i| i.id.to_string());
        self.note(
            ActionKind::Launch,
            target,
            Some(&attempt_id),
            Rule::Launch,
            result.as_ref().err(),
        );
        // Those that wait for this answer continue, even if it is too late for this reconcile.
        self.learn(&attempt, placement, result.as_ref().err());
        self.permit = None;
        let now = self.now_in_time()?;
        let Some(run) = &mut self.seen.run else { return Ok(false) };
        match result {
            Ok(machine) => {
                record::launched(&mut run.status, placement, &machine, now);
                self.record_seen(machine);
            }
            Err(error) => record::not_launched(&mut run.status, placement, error.kind, now),
        }
        Ok(true)
    }

    /// Handles a placement without a launch permit. If this reconcile recorded it, nobody has
    /// requested it, and it ends like a refusal. Otherwise somebody may have, and it waits.
    fn held(&mut self, attempt: &Attempt, placement: u32) {
        let now = self.controller.ports.clock.now();
        let breaker = self.controller.cache.breakers.open_breaker(&attempt.class, None, now);
        let recorded_here = self.seen.recorded_here == Some((attempt.number, placement));
        if let (Some(breaker), true, Some(run)) = (breaker, recorded_here, &mut self.seen.run) {
            record::refused(&mut run.status, placement, breaker.why, now);
        }
    }

    fn record_seen(&mut self, machine: Machine) {
        self.seen.machines.retain(|m| m.id != machine.id);
        self.seen.machines.push(machine);
    }

    /// Caches what the result of a launch means for others.
    fn learn(&mut self, attempt: &Attempt, placement: u32, error: Option<&PortError>) {
        let now = self.controller.ports.clock.now();
        let index = usize::try_from(placement).unwrap_or(usize::MAX);
        let Some(spec) = attempt.placements.get(index).map(|placement| &placement.machine) else {
            return;
        };
        let cache = &self.controller.cache;
        let cause = error.and_then(|error| error.cause);
        match (error, cause) {
            (None, _) => self.goes_on(&attempt.class, now),
            (Some(PortError { kind: ErrorKind::NoCapacity, .. }), cause) => {
                cache.skip(spec, cause.unwrap_or_default(), now);
                self.goes_on(&attempt.class, now);
            }
            (Some(PortError { kind: ErrorKind::Limit, .. }), _) => {
                cache.skip(spec, Cause::Quota, now);
                let class = self.seen.class.as_ref().map(|observed| &observed.class);
                let class = class.filter(|class| class.name == attempt.class);
                let beside = |m: &&MachineSpec| m.market == spec.market && !m.same_capacity(spec);
                for machine in class.into_iter().flat_map(|c| &c.machines).filter(beside) {
                    cache.skip(machine, Cause::Quota, now);
                }
                self.goes_on(&attempt.class, now);
            }
            (Some(PortError { kind: ErrorKind::Denied | ErrorKind::Invalid, .. }), Some(cause)) => {
                if cause != Cause::Attempt {
                    cache.skip(spec, cause, now);
                }
            }
            (Some(error @ PortError { kind: ErrorKind::Denied, .. }), None) => {
                self.stops(&attempt.class, Refusal::Denied, error, now);
            }
            (Some(error @ PortError { kind: ErrorKind::Invalid, .. }), None) => {
                self.stops(&attempt.class, Refusal::Invalid, error, now);
            }
            // Ambiguous or not sent: this says nothing about others.
            (Some(_), _) => return,
        }
        let Self { controller, seen, .. } = self;
        if let Some(observed) = &mut seen.class {
            let name = &observed.class.name;
            observed.breaker = controller.cache.breakers.open_breaker(name, None, now);
            observed.unavailable = controller.unavailable_to(&observed.class, now);
        }
    }

    /// Closes the class's breaker after an accepted launch.
    fn goes_on(&mut self, class: &ClassName, now: Timestamp) {
        let cache = &self.controller.cache;
        let Some(closed) = cache.breakers.accepted(class) else { return };
        cache.bring_forward(&closed.held, now);
        let seconds = now.duration_since(closed.since).as_secs();
        self.report
            .events
            .push(Event::BreakerClosed { class: class.clone(), open_seconds: seconds });
    }

    /// Opens the class's breaker after a refusal that an operator must fix.
    fn stops(&mut self, class: &ClassName, why: Refusal, error: &PortError, now: Timestamp) {
        let breakers = &self.controller.cache.breakers;
        let message = error.message.clone();
        let Some(breaker) = breakers.refused(class, why, message, now) else { return };
        self.report.events.push(Event::BreakerOpened { class: class.clone(), breaker });
    }
}
