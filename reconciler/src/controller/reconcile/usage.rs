//! Counts what the machines of a run were used for, with the writes of its record.

use jiff::{SignedDuration, Timestamp};

use super::{Reconcile, Stop};
use crate::controller::{ActionKind, Controller, Event};
use crate::model::{Machine, MachineId, MachineState, MicroUsd, Run, Usage};
use crate::plan::{Rule, usage};
use crate::ports::Expect;

/// A finished run is reconciled this often until its machines have ended.
const RECONCILED_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// Returns when a finished run is reconciled again because a machine of it is not counted.
pub(super) fn due(run: Option<&Run>, now: Timestamp) -> Option<Timestamp> {
    run.filter(|run| usage::awaits_end(run)).map(|_| now + RECONCILED_EVERY)
}

/// Returns the machines whose end this run does not wait for: they are gone, or are counted while
/// they end because the cloud dates that.
pub(super) fn settled<'m>(
    run: Option<&'m Run>,
    machines: &'m [Machine],
) -> impl Iterator<Item = &'m Machine> {
    let counted = move |machine: &Machine| {
        let mut used = run.into_iter().flat_map(|run| &run.status.usage.machines);
        used.any(|used| used.id == machine.id && used.counted)
    };
    machines.iter().filter(move |m| m.state == MachineState::Gone || counted(m))
}

/// Returns the event of what was counted.
pub(super) fn event(used: Usage) -> Event {
    Event::Counted { class: used.key.class, amount: used.amount }
}

fn price(controller: &Controller, machine: &Machine) -> Option<MicroUsd> {
    controller.price(&machine.kind, machine.market, &machine.zone)
}

impl Reconcile<'_> {
    /// Returns whether the clock of this process may date the end of a machine: it agrees with the
    /// true time, at the observation and now.
    fn is_dated(&self) -> bool {
        self.seen.clock.agrees() && self.controller.clock.read().check.agrees()
    }

    /// Notes the machines that are seen, and returns what the next write counts.
    pub(super) fn count_usage(&mut self) -> Option<Usage> {
        let class = self.seen.class.as_ref().map(|observed| &observed.class.name);
        let (controller, is_dated) = (self.controller, self.is_dated());
        let run = self.seen.run.as_mut()?;
        let now = controller.ports.clock.now();
        let price = |machine: &Machine| price(controller, machine);
        let sighted = |id: &MachineId| controller.cache.ends.of(id);
        usage::note(run, &self.seen.machines, price, sighted, is_dated.then_some(now));
        usage::count(run, class, now)
    }

    /// Counts what is left before the record is removed.
    pub(super) async fn count_rest(&mut self) -> Result<(), Stop> {
        let class = self.seen.class.as_ref().map(|observed| observed.class.name.clone());
        let Some(mut run) = self.stored.clone() else { return Ok(()) };
        let now = self.controller.ports.clock.now();
        let price = |machine: &Machine| price(self.controller, machine);
        let sighted = |id: &MachineId| self.controller.cache.ends.of(id);
        let at = self.is_dated().then_some(now);
        usage::note(&mut run, &self.seen.machines, price, sighted, at);
        let Some(used) = usage::count_rest(&mut run, class.as_ref(), now) else {
            return Ok(());
        };
        self.now_in_time()?;
        let expect = Expect::At(run.uid, run.version);
        run.format = self.controller.record_format();
        let result = self.controller.ports.store.put_counting(&run, expect, &used).await;
        let target = run.name.to_string();
        self.note(ActionKind::Put, target, None, Rule::Remove, result.as_ref().err());
        let version = result?;
        self.report.events.push(event(used));
        self.stored = Some(Run { version, ..run });
        Ok(())
    }
}
