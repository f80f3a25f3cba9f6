//! EC2 as a state machine: launches by client token, lists that lag, capacity, interruptions.
//! [`machine`] models a live machine, [`admission`] what a launch requires.

pub mod admission;
pub mod machine;
mod outcome;
mod prices;
mod taken;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, EndedBy, Machine, MachineId, MachineSpec, MachineState, Market,
};
use tinqs_ci_reconciler::ports::ErrorKind;

use crate::forge::Forge;
use admission::{Admitted, Ask, Place, Stock};
use machine::{Doing, MachineOutcome, SimulatedMachine};

pub use prices::{UNPRICED, price};

/// The time for which an ended machine is still listed.
pub const LISTED_AFTER_END: SignedDuration = SignedDuration::from_hours(1);
/// The time for which a machine's client token is kept after its end.
pub const TOKEN_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Configuration of the cloud. May change while it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Age of the machine list, and of a lookup by ID.
    pub list_lag: SignedDuration,
    /// The account's limit of live machines.
    pub account_limit: Option<usize>,
    /// Whether client tokens are honored. If not, asking twice creates two machines.
    pub tokens: bool,
    /// Time from power-off to gone.
    pub ends_within: SignedDuration,
    /// Launches per minute; `None`: unlimited. Further ones are `Throttled`.
    pub launches_per_minute: Option<usize>,
    /// The time for which an ended machine is still listed.
    pub listed_after_end: SignedDuration,
    /// Whether it tells when a machine ended.
    pub dates_ends: bool,
    /// The time for which a machine's client token is kept after its end.
    pub token_kept: SignedDuration,
    /// The zone of each subnet; client tokens and capacity belong to a zone. Subnets not listed
    /// here share one nameless zone.
    pub zones: BTreeMap<String, String>,
    /// Capacity of each place, in machines; unlimited if absent.
    pub stock: BTreeMap<Place, Stock>,
    /// Virtual processors of each instance type; 2 if absent.
    pub vcpus: BTreeMap<String, usize>,
    /// Quota of virtual processors by market; unlimited if absent.
    pub vcpu_quota: BTreeMap<Market, usize>,
    /// Whether guests start no runner after `start_by`.
    pub keeps_start_by: bool,
    /// Whether guests start none again after it, and drain counts from the first start.
    pub keeps_restarts: bool,
    /// Addresses of each subnet, in machines; unlimited if absent.
    pub addresses: BTreeMap<String, usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            list_lag: SignedDuration::ZERO,
            account_limit: None,
            tokens: true,
            ends_within: SignedDuration::from_secs(25),
            launches_per_minute: None,
            listed_after_end: LISTED_AFTER_END,
            dates_ends: true,
            token_kept: TOKEN_KEPT,
            zones: BTreeMap::new(),
            stock: BTreeMap::new(),
            vcpus: BTreeMap::new(),
            vcpu_quota: BTreeMap::new(),
            keeps_start_by: true,
            keeps_restarts: true,
            addresses: BTreeMap::new(),
        }
    }
}

/// Capacity is tracked by instance type, subnet and market.
pub type Pool = (String, String, Market);

/// The cloud.
#[derive(Clone, Debug, Default)]
pub struct Cloud {
    /// The configuration.
    pub config: Config,
    machines: BTreeMap<MachineId, SimulatedMachine>,
    /// The machines that are not gone, and when the next event of each is due.
    active: BTreeMap<MachineId, Option<Timestamp>>,
    /// By token and zone: digest of the request, and the machines it created.
    tokens: BTreeMap<(String, String), ([u8; 32], Vec<MachineId>)>,
    /// Pools without capacity, and until when.
    short: BTreeMap<Pool, Timestamp>,
    launches: Vec<Timestamp>,
    foreign: BTreeSet<MachineId>,
    made: u64,
    /// The first of these events; cached because every step of the world asks for it.
    next_event: Option<(Timestamp, MachineId)>,
}

/// A refused call, which had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Error code on the wire.
    pub code: &'static str,
    /// Error message.
    pub message: String,
}

/// A requested launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// Attempt ID of the machine.
    pub attempt_id: &'a AttemptId,
    /// Index of the placement.
    pub placement: u32,
    /// The recorded attempt.
    pub attempt: &'a Attempt,
}

impl Launch<'_> {
    /// Returns the client token.
    pub fn token(&self) -> String {
        self.attempt_id.token(self.placement)
    }

    /// Returns the machine spec.
    fn spec(&self) -> Result<&MachineSpec, Refused> {
        let placement = usize::try_from(self.placement).ok();
        let placement = placement.and_then(|p| self.attempt.placements.get(p));
        placement.map(|placement| &placement.machine).ok_or_else(|| Refused {
            kind: ErrorKind::Invalid,
            code: "InvalidParameterValue",
            message: format!("{}: no such placement", self.token()),
        })
    }

    /// Returns a digest of everything that determines the machine: the same token must come with
    /// the same digest.
    pub fn bytes(&self) -> [u8; 32] {
        let Attempt { runner, boot, placements, class, .. } = self.attempt;
        let spec = usize::try_from(self.placement).ok().and_then(|p| placements.get(p));
        let text = format!(
            "{}\n{:?}\n{class}\n{} {} {} {:?} {}\n{} {} {:?} {} {}",
            self.token(),
            spec.map(|p| &p.machine),
            runner.id,
            runner.uuid,
            runner.name,
            runner.labels,
            runner.token.expose(),
            boot.deadline,
            boot.idle_within,
            boot.start_by,
            boot.instance_url,
            boot.git_token.as_ref().map_or("", |t| t.expose()),
        );
        Sha256::digest(text).into()
    }
}

impl Cloud {
    /// Creates an empty cloud.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Launches a machine, or returns the one that this token created before, dead or alive.
    ///
    /// # Errors
    /// `Invalid`: the token was used with a different request. `NoCapacity`, `Limit`, `Throttled`:
    /// nothing was created.
    pub fn launch(
        &mut self,
        now: Timestamp,
        ask: Launch<'_>,
        outcome: MachineOutcome,
    ) -> Result<Machine, Refused> {
        let spec = ask.spec()?.clone();
        let token = ask.token();
        let wanted = Ask {
            token: Some(&token),
            bytes: ask.bytes(),
            pool: (spec.kind, spec.subnet, spec.market),
            least: 1,
            most: 1,
        };
        let (ids, made) = self.run(now, &wanted, ask, &outcome)?;
        // Exactly one is requested and returned; one of a known token in its current state.
        let machine = ids.first().and_then(|id| self.machines.get(id));
        let machine =
            machine.map(|m| self.seen(m, if made { MachineState::Booting } else { m.state() }));
        machine.ok_or_else(|| Refused {
            kind: ErrorKind::Unavailable,
            code: "InternalError",
            message: format!("{token}: nothing was made"),
        })
    }

    /// Launches as many machines as there is capacity for, all for one attempt, or returns those
    /// that this token created before, dead or alive. The flag says whether this call created them.
    pub fn run(
        &mut self,
        now: Timestamp,
        wanted: &Ask<'_>,
        ask: Launch<'_>,
        outcome: &MachineOutcome,
    ) -> Result<(Vec<MachineId>, bool), Refused> {
        let spec = ask.spec()?;
        let count = match self.admit(now, wanted)? {
            Admitted::Before(ids) => return Ok((ids, false)),
            Admitted::Room(count) => count,
        };
        self.launches.push(now);
        let mut ids = Vec::new();
        for _ in 0..count {
            self.made += 1;
            let id = MachineId(format!("i-{:017x}", self.made));
            let mut machine =
                SimulatedMachine::new(id.clone(), ask, spec.clone(), now, outcome.clone());
            if outcome.stillborn {
                machine.end(now, now + self.config.ends_within, EndedBy::Cloud);
            }
            self.active.insert(id.clone(), machine.next_event());
            self.machines.insert(id.clone(), machine);
            ids.push(id);
        }
        if let Some(token) = wanted.token {
            let key = (token.to_owned(), self.zone(&wanted.pool.1).to_owned());
            self.tokens.insert(key, (wanted.bytes, ids.clone()));
        }
        self.look_ahead();
        Ok((ids, true))
    }

    /// Returns whether the launch rate permits another launch.
    pub fn room(&mut self, now: Timestamp) -> bool {
        let Some(limit) = self.config.launches_per_minute else { return true };
        self.launches.retain(|at| now.duration_since(*at) < SignedDuration::from_mins(1));
        self.launches.len() < limit
    }

    /// Removes all capacity of a pool until a time.
    pub fn run_short(&mut self, pool: Pool, until: Timestamp) {
        self.short.insert(pool, until);
    }

    /// Adds a machine that is not ours: it carries no tag of ours and is never listed.
    pub fn add_foreign(&mut self) -> MachineId {
        self.made += 1;
        let id = MachineId(format!("i-{:017x}", self.made));
        self.foreign.insert(id.clone());
        id
    }

    /// Returns the machines that are not ours.
    pub fn foreign(&self) -> impl Iterator<Item = &MachineId> {
        self.foreign.iter()
    }

    /// Returns whether a machine is not ours.
    pub fn is_foreign(&self, id: &MachineId) -> bool {
        self.foreign.contains(id)
    }

    /// Returns the machine list as of `list_lag` ago, with ended machines for an hour after their
    /// end.
    pub fn list(&self, now: Timestamp) -> Vec<Machine> {
        let seen = |machine: &SimulatedMachine| self.as_listed(machine, now);
        self.machines.values().filter_map(seen).collect()
    }

    /// Returns the machine list without lag.
    pub(crate) fn truly(&self, now: Timestamp) -> Vec<Machine> {
        let listed = self.machines.values().filter(|machine| {
            machine.gone_at.is_none_or(|at| now <= at + self.config.listed_after_end)
        });
        listed.map(|machine| self.seen(machine, machine.state())).collect()
    }

    /// Returns a machine by its ID, as the list shows it.
    pub fn find(&self, now: Timestamp, id: &MachineId) -> Option<Machine> {
        self.as_listed(self.machines.get(id)?, now)
    }

    fn as_listed(&self, machine: &SimulatedMachine, now: Timestamp) -> Option<Machine> {
        if machine.gone_at.is_some_and(|at| now > at + self.config.listed_after_end) {
            return None;
        }
        Some(self.seen(machine, machine.state_at(now - self.config.list_lag)?))
    }

    fn seen(&self, machine: &SimulatedMachine, state: MachineState) -> Machine {
        let seen = machine.seen_machine(state);
        let zone = self.place(&machine.spec.subnet).to_owned();
        Machine { zone, ended_at: seen.ended_at.filter(|_| self.config.dates_ends), ..seen }
    }

    /// Terminates a machine; no effect if it is gone already.
    pub fn terminate(&mut self, now: Timestamp, id: &MachineId) {
        let ends = now + self.config.ends_within;
        if let Some(machine) = self.machines.get_mut(id) {
            machine.end(now, ends, EndedBy::Request);
            self.changed(id);
        }
    }

    /// Interrupts a spot machine.
    pub fn interrupt(&mut self, now: Timestamp, id: &MachineId) {
        let ends = now + self.config.ends_within;
        if let Some(machine) = self.machines.get_mut(id) {
            machine.end(now, ends, EndedBy::Cloud);
            self.changed(id);
        }
    }

    /// Powers a machine off from within.
    pub fn power_off(&mut self, now: Timestamp, id: &MachineId) {
        let ends = now + self.config.ends_within;
        if let Some(machine) = self.machines.get_mut(id) {
            machine.end(now, ends, EndedBy::Itself);
            self.changed(id);
        }
    }

    /// Returns all machines that were ever created.
    pub fn machines(&self) -> impl Iterator<Item = &SimulatedMachine> {
        self.machines.values()
    }

    /// Returns the current state of a machine, independent of the lag.
    pub fn machine(&self, id: &MachineId) -> Option<&SimulatedMachine> {
        self.machines.get(id)
    }

    /// Returns machines that boot or are up.
    pub fn live(&self) -> impl Iterator<Item = &SimulatedMachine> {
        self.active.keys().filter_map(|id| self.machines.get(id)).filter(|m| m.is_live())
    }

    /// Returns when the next event is due.
    pub fn next_event(&self) -> Option<Timestamp> {
        self.next_event.as_ref().map(|(at, _)| *at)
    }

    /// Updates what is cached of a machine.
    fn changed(&mut self, id: &MachineId) {
        let Some(machine) = self.machines.get(id) else { return };
        if matches!(machine.doing, Doing::Gone) {
            self.active.remove(id);
        } else if let Some(next) = self.active.get_mut(id) {
            *next = machine.next_event();
        }
        self.look_ahead();
    }

    fn look_ahead(&mut self) {
        let events = self.active.iter().filter_map(|(id, at)| Some(((*at)?, id)));
        self.next_event = events.min().map(|(at, id)| (at, id.clone()));
    }

    /// Processes all events due by now, in order of time. Returns descriptions of them.
    pub fn tick(&mut self, now: Timestamp, forge: &mut Forge) -> Vec<String> {
        let mut told = Vec::new();
        while let Some((at, id)) = self.next_event.take_if(|(at, _)| *at <= now) {
            let ends = at + self.config.ends_within;
            if let Some(machine) = self.machines.get_mut(&id)
                && let Some(what) = machine.step(at, ends, forge, &self.config)
            {
                told.push(format!("{} {id}: {what}", machine.attempt_id));
            }
            self.changed(&id);
        }
        told
    }
}
