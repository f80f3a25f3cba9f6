//! Admission of a launch: client token, capacity, quotas, addresses, rate.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{MachineId, Market};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::machine::SimulatedMachine;
use super::{Cloud, Pool, Refused};

/// Capacity belongs to an instance type, zone and market.
pub type Place = (String, String, Market);

/// Virtual processors of an instance type that is not configured.
const USUAL_VCPUS: usize = 2;

/// Capacity in machines as it changes over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock(BTreeMap<Timestamp, usize>);

impl Stock {
    /// Creates a constant stock.
    pub fn of(count: usize) -> Self {
        Self(BTreeMap::from([(Timestamp::MIN, count)]))
    }

    /// Changes the stock from a time on.
    pub fn then(mut self, from: Timestamp, count: usize) -> Self {
        self.0.insert(from, count);
        self
    }

    /// Returns the stock at a time; `None`: unlimited.
    pub fn at(&self, now: Timestamp) -> Option<usize> {
        self.0.range(..=now).next_back().map(|(_, count)| *count)
    }
}

/// A requested launch of several machines.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    /// Client token; without one, each call creates machines.
    pub token: Option<&'a str>,
    /// Digest of everything that determines the machines.
    pub bytes: [u8; 32],
    /// Instance type, subnet, market.
    pub pool: Pool,
    /// Minimum count.
    pub least: usize,
    /// Maximum count.
    pub most: usize,
}

pub(super) enum Admitted {
    /// Machines that the token created before.
    Before(Vec<MachineId>),
    /// Number of machines that may be created.
    Room(usize),
}

fn refused(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Refused {
    Refused { kind, code, message: message.into() }
}

impl Cloud {
    /// Returns the zone of a subnet.
    pub fn zone(&self, subnet: &str) -> &str {
        self.config.zones.get(subnet).map_or("", String::as_str)
    }

    /// Returns the zone of a subnet as lists show it: without configured zones, each subnet is one.
    pub(crate) fn place<'a>(&'a self, subnet: &'a str) -> &'a str {
        self.config.zones.get(subnet).map_or(subnet, String::as_str)
    }

    /// Returns what a token created in the zone of the subnet, if still kept.
    fn of_token(&self, now: Timestamp, ask: &Ask<'_>) -> Option<&([u8; 32], Vec<MachineId>)> {
        if !self.config.tokens {
            return None;
        }
        let key = (ask.token?.to_owned(), self.zone(&ask.pool.1).to_owned());
        let known = self.tokens.get(&key)?;
        let lives = |machine: &SimulatedMachine| {
            machine.gone_at.is_none_or(|at| now <= at + self.config.token_kept)
        };
        let machines = known.1.iter().filter_map(|id| self.machines.get(id));
        machines.into_iter().any(lives).then_some(known)
    }

    pub(super) fn admit(&mut self, now: Timestamp, ask: &Ask<'_>) -> Result<Admitted, Refused> {
        if let Some((before, ids)) = self.of_token(now, ask) {
            if *before != ask.bytes {
                let token = ask.token.unwrap_or_default();
                let message = format!("client token {token} was used with other parameters");
                return Err(refused(ErrorKind::Invalid, "IdempotentParameterMismatch", message));
            }
            return Ok(Admitted::Before(ids.clone()));
        }
        let (kind, subnet, market) = &ask.pool;
        let none = || {
            let message = format!("no {market} {kind} in {subnet}");
            refused(ErrorKind::NoCapacity, "InsufficientInstanceCapacity", message)
        };
        if self.short.get(&ask.pool).is_some_and(|until| now < *until) {
            return Err(none());
        }
        if self.config.account_limit.is_some_and(|limit| self.live().count() >= limit) {
            let message = "the account has as many machines as it may";
            return Err(refused(ErrorKind::Limit, "InstanceLimitExceeded", message));
        }
        if !self.room(now) {
            let message = "too many launches in this minute";
            return Err(refused(ErrorKind::Throttled, "RequestLimitExceeded", message));
        }
        let by_quota = self.by_quota(kind, *market);
        if by_quota < ask.least {
            let code = match market {
                Market::Spot => "MaxSpotInstanceCountExceeded",
                Market::OnDemand => "VcpuLimitExceeded",
            };
            let message = format!("the quota of {market} vCPUs has no room for {kind}");
            return Err(refused(ErrorKind::Limit, code, message));
        }
        let by_addresses = self.by_addresses(subnet);
        if by_addresses < ask.least {
            let message = format!("{subnet} has {by_addresses} free addresses");
            let code = "InsufficientFreeAddressesInSubnet";
            return Err(refused(ErrorKind::NoCapacity, code, message));
        }
        let in_stock = self.in_stock(now, &ask.pool);
        if in_stock < ask.least || in_stock == 0 {
            return Err(none());
        }
        Ok(Admitted::Room(ask.most.min(by_quota).min(by_addresses).min(in_stock)))
    }

    fn vcpus(&self, kind: &str) -> usize {
        self.config.vcpus.get(kind).copied().unwrap_or(USUAL_VCPUS).max(1)
    }

    /// Machines that are not gone yet count against limits.
    fn counted(&self) -> impl Iterator<Item = &SimulatedMachine> {
        self.active.keys().filter_map(|id| self.machines.get(id))
    }

    fn by_quota(&self, kind: &str, market: Market) -> usize {
        let Some(quota) = self.config.vcpu_quota.get(&market) else { return usize::MAX };
        let of_market = self.counted().filter(|m| m.spec.market == market);
        let used: usize = of_market.map(|m| self.vcpus(&m.spec.kind)).sum();
        quota.saturating_sub(used) / self.vcpus(kind)
    }

    /// Returns the free addresses of a subnet; `usize::MAX` if unlimited.
    pub fn by_addresses(&self, subnet: &str) -> usize {
        let Some(all) = self.config.addresses.get(subnet) else { return usize::MAX };
        all.saturating_sub(self.counted().filter(|m| m.spec.subnet == subnet).count())
    }

    fn in_stock(&self, now: Timestamp, (kind, subnet, market): &Pool) -> usize {
        let zone = self.zone(subnet);
        let place = (kind.clone(), zone.to_owned(), *market);
        let Some(stock) = self.config.stock.get(&place).and_then(|s| s.at(now)) else {
            return usize::MAX;
        };
        let here = |m: &&SimulatedMachine| {
            m.spec.kind == *kind && m.spec.market == *market && self.zone(&m.spec.subnet) == zone
        };
        stock.saturating_sub(self.counted().filter(here).count())
    }
}
