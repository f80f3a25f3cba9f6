//! Events between calls: warnings, interruptions, guests, notifications.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{MachineId, MachineState};

use super::credits::{Throttle, Turn};
use super::guest::Booted;
use super::state::{Shared, State};
use super::{Ec2Options, events};

/// Time between SIGTERM and SIGKILL of a guest.
const GRACE: SignedDuration = SignedDuration::from_secs(3);
/// Maximum size of a guest's stored output.
const CONSOLE: usize = 64 << 10;

impl State {
    pub(super) fn attend(&mut self, options: &Ec2Options, now: Timestamp) {
        let ids: Vec<MachineId> = self.unsettled().collect();
        for id in ids {
            self.interrupt_in_time(options, now, &id);
            self.watch_guest(now, &id);
            self.slow_guest(now, &id);
            self.tell_history(options, now, &id);
        }
    }

    /// Returns machines with pending notifications or waits.
    fn unsettled(&self) -> impl Iterator<Item = MachineId> {
        let told = |id: &MachineId| self.cloud.machine(id).map_or(0, |m| m.history().len());
        let open = self.records.iter().filter(move |(id, record)| {
            record.guest.is_some()
                || record.told < told(id)
                || (record.taken_at.is_some() && record.reason.is_none())
        });
        open.map(|(id, _)| id.clone())
    }

    fn interrupt_in_time(&mut self, options: &Ec2Options, now: Timestamp, id: &MachineId) {
        let live =
            self.cloud.machine(id).is_some_and(crate::cloud::machine::SimulatedMachine::is_live);
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(taken_at) = record.taken_at.filter(|_| live) else { return };
        if !record.warned && now >= taken_at - options.quick(options.warning) {
            record.warned = true;
            if let Some(guest) = &mut record.guest {
                guest.announce(taken_at);
            }
            let zone = self.cloud.zone(&record.recipe.subnet).to_owned();
            self.events.tell(options, &events::interruption(options, id, &zone));
        }
        if now >= taken_at {
            self.end_by_cloud(now, id, "Server.SpotInstanceTermination");
        }
    }

    pub(super) fn end_by_cloud(&mut self, now: Timestamp, id: &MachineId, reason: &str) {
        let live =
            self.cloud.machine(id).is_some_and(crate::cloud::machine::SimulatedMachine::is_live);
        if let Some(record) = self.records.get_mut(id).filter(|_| live) {
            record.reason = Some(reason.to_owned());
            self.cloud.interrupt(now, id);
        }
    }

    fn watch_guest(&mut self, now: Timestamp, id: &MachineId) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(guest) = &mut record.guest else { return };
        let late = record.guest_until.is_some_and(|until| now >= until);
        if late {
            guest.kill();
        }
        if late || guest.ended() {
            record.console = tail(guest.output());
            record.guest = None;
            self.cloud.power_off(now, id);
        }
    }

    /// Stops a guest without CPU credits, or lets it go on; not one that was asked to end.
    fn slow_guest(&mut self, now: Timestamp, id: &MachineId) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(guest) = record.guest.as_mut().filter(|_| record.guest_until.is_none()) else {
            return;
        };
        match record.throttle.as_mut().and_then(|throttle| throttle.turn(now)) {
            Some(Turn::Stop) => guest.stop(),
            Some(Turn::Resume) => guest.resume(),
            None => {}
        }
    }

    fn tell_history(&mut self, options: &Ec2Options, now: Timestamp, id: &MachineId) {
        loop {
            let Some(machine) = self.cloud.machine(id) else { return };
            let Some(record) = self.records.get_mut(id) else { return };
            let Some((_, state)) = machine.history().get(record.told).copied() else { return };
            record.told += 1;
            match state {
                MachineState::Booting => {}
                MachineState::Up => {
                    let up = machine.state() == MachineState::Up && !self.stopped;
                    if let Some(guest) = options.guest.as_ref().filter(|_| up) {
                        let recipe = &record.recipe;
                        let booted = Booted { id: id.0.clone(), user_data: &recipe.user_data };
                        record.guest = Some(guest.start(&booted));
                        record.throttle = Throttle::of(options, recipe, now);
                    }
                }
                MachineState::Ending | MachineState::Gone => {
                    if let Some(guest) =
                        record.guest.as_mut().filter(|_| record.guest_until.is_none())
                    {
                        guest.terminate();
                        record.guest_until = Some(now + GRACE);
                    }
                }
            }
            self.events.tell(options, &events::state_change(options, id, state));
        }
    }

    /// Returns when to process events again at the latest.
    fn pause(&self, now: Timestamp) -> Duration {
        let live = |id: &MachineId| {
            self.cloud.machine(id).is_some_and(crate::cloud::machine::SimulatedMachine::is_live)
        };
        let soon = |(id, record): (&MachineId, &super::state::Record)| {
            record.guest.is_some() || (record.taken_at.is_some() && live(id))
        };
        if self.records.iter().any(soon) {
            return Duration::from_millis(10);
        }
        let next = self.cloud.next_event().map(|at| at.duration_since(now));
        let next = next.unwrap_or(SignedDuration::from_millis(250)).as_millis();
        Duration::from_millis(u64::try_from(next).unwrap_or_default().clamp(1, 250))
    }
}

/// Returns the end of a guest's output.
pub(super) fn tail(text: String) -> String {
    let from = text.len().saturating_sub(CONSOLE);
    text.char_indices()
        .find(|(at, _)| *at >= from)
        .map_or(String::new(), |(at, _)| text[at..].to_owned())
}

/// Processes events between calls.
pub(super) async fn pump(shared: std::sync::Arc<Shared>) {
    loop {
        let pause = shared.state().pause(shared.options.now());
        // Both are a reason to process events.
        let _ = tokio::time::timeout(pause, shared.changed.notified()).await;
    }
}
