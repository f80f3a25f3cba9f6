//! Spot prices and zones as EC2 last told them: one cache, for the costs of machines and for the
//! order of pools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_ec2::types::{InstanceType, SpotPrice};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{MachineSpec, MicroUsd};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::Calls;

/// The interval of reading the prices for costs: they change slowly, and costs are estimates.
pub(super) const FOR_COSTS: SignedDuration = SignedDuration::from_hours(1);
/// The interval of reading the prices to order pools.
const TO_ORDER: SignedDuration = SignedDuration::from_mins(10);
/// The interval after a failure.
const TRIED_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// Older prices order nothing.
const ORDERS_FOR: SignedDuration = SignedDuration::from_hours(1);
/// The longest time for which a decision waits for prices.
const WITHIN: Duration = Duration::from_secs(5);

/// The prices that were read.
#[derive(Default)]
pub(super) struct Prices {
    /// One reads at a time; the others use what it read.
    turn: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By kind and zone.
    prices: BTreeMap<(String, String), MicroUsd>,
    /// The kinds that were last read, and when.
    read: Option<(BTreeSet<String>, Timestamp)>,
    /// The kinds of a reading without an answer, and when it began.
    unanswered: Option<(BTreeSet<String>, Timestamp)>,
    /// By subnet, which never moves.
    zones: BTreeMap<String, String>,
    /// By subnet: when its zone was asked for.
    zones_asked: BTreeMap<String, Timestamp>,
}

/// Returns whether `at` is less than `within` ago; false if the clock went back.
fn is_recent(at: Timestamp, now: Timestamp, within: SignedDuration) -> bool {
    at <= now && now.duration_since(at) < within
}

impl Inner {
    /// Returns whether a reading of these kinds at most `within` old is known, or one failed a moment
    /// ago.
    fn knows(&self, kinds: &BTreeSet<String>, now: Timestamp, within: SignedDuration) -> bool {
        let is_of = |reading: Option<&(BTreeSet<String>, Timestamp)>, within| {
            reading.is_some_and(|(of, at)| kinds.is_subset(of) && is_recent(*at, now, within))
        };
        is_of(self.read.as_ref(), within) || is_of(self.unanswered.as_ref(), TRIED_EVERY)
    }

    /// Returns the price of a machine's pool, unless it is too old.
    fn of_pool(&self, machine: &MachineSpec, now: Timestamp) -> Option<MicroUsd> {
        let (_, at) = self.read.as_ref()?;
        let zone = self.zones.get(&machine.subnet).filter(|_| is_recent(*at, now, ORDERS_FOR))?;
        self.prices.get(&(machine.kind.clone(), zone.clone())).copied()
    }
}

impl Prices {
    /// Returns the price of a kind in a zone; with an empty zone, the highest of all zones.
    pub(super) fn of(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        let inner = self.inner.lock();
        if !zone.is_empty() {
            return inner.prices.get(&(kind.to_owned(), zone.to_owned())).copied();
        }
        let of_kind = inner.prices.iter().filter(|((of, _), _)| of == kind);
        of_kind.map(|(_, price)| *price).max()
    }

    /// Returns the prices of the machines' pools. What EC2 does not tell within 5 s is not known.
    pub(super) async fn of_pools(
        &self,
        calls: &Calls,
        machines: &[MachineSpec],
        now: Timestamp,
    ) -> Vec<Option<MicroUsd>> {
        let kinds: Vec<String> = machines.iter().map(|spec| spec.kind.clone()).collect();
        let reading = async {
            self.read(calls, &kinds, now, TO_ORDER).await;
            self.read_zones(calls, machines, now).await;
        };
        if tokio::time::timeout(WITHIN, reading).await.is_err() {
            tracing::warn!("spot prices not answered within 5 s, asked again in five minutes");
        }
        let inner = self.inner.lock();
        machines.iter().map(|spec| inner.of_pool(spec, now)).collect()
    }

    /// Returns the zones of the machines' subnets. What EC2 does not tell within 5 s is not known.
    pub(super) async fn zones_of(
        &self,
        calls: &Calls,
        machines: &[MachineSpec],
        now: Timestamp,
    ) -> Vec<Option<String>> {
        let reading = self.read_zones(calls, machines, now);
        if tokio::time::timeout(WITHIN, reading).await.is_err() {
            tracing::warn!("zones of subnets not answered within 5 s, asked again in five minutes");
        }
        let inner = self.inner.lock();
        machines.iter().map(|spec| inner.zones.get(&spec.subnet).cloned()).collect()
    }

    /// Reads the prices of these kinds, unless a reading is at most `within` old. A failure keeps
    /// what is known and is logged: a price is no reason to launch nothing.
    pub(super) async fn read(
        &self,
        calls: &Calls,
        kinds: &[String],
        now: Timestamp,
        within: SignedDuration,
    ) {
        let mut wanted: BTreeSet<String> = kinds.iter().cloned().collect();
        let _turn = self.turn.lock().await;
        {
            let mut inner = self.inner.lock();
            if wanted.is_empty() || inner.knows(&wanted, now, within) {
                return;
            }
            // Readers want different kinds: one reading is for all of them.
            wanted.extend(inner.read.iter().flat_map(|(kinds, _)| kinds.clone()));
            inner.unanswered = Some((wanted.clone(), now));
        }
        match calls.spot_prices(&wanted, now).await {
            Ok(read) => {
                let mut inner = self.inner.lock();
                inner.prices = read.iter().filter_map(price_of).collect();
                (inner.read, inner.unanswered) = (Some((wanted, now)), None);
            }
            Err(error) => {
                let hint = hint(&error, "ec2:DescribeSpotPriceHistory");
                tracing::warn!(%error, hint, "cannot read spot prices, costs may be unknown");
            }
        }
    }

    /// Reads the zones of the machines' subnets, each once.
    async fn read_zones(&self, calls: &Calls, machines: &[MachineSpec], now: Timestamp) {
        let _turn = self.turn.lock().await;
        let missing: BTreeSet<String> = {
            let mut inner = self.inner.lock();
            inner.zones_asked.retain(|_, at| is_recent(*at, now, TRIED_EVERY));
            let is_missing = |subnet: &&String| {
                !inner.zones.contains_key(*subnet) && !inner.zones_asked.contains_key(*subnet)
            };
            let subnets = machines.iter().map(|spec| &spec.subnet);
            let missing: BTreeSet<String> = subnets.filter(is_missing).cloned().collect();
            if missing.is_empty() {
                return;
            }
            inner.zones_asked.extend(missing.iter().map(|subnet| (subnet.clone(), now)));
            missing
        };
        match calls.zones(&missing).await {
            Ok(zones) => self.inner.lock().zones.extend(zones),
            Err(error) => {
                let hint = hint(&error, "ec2:DescribeSubnets");
                tracing::warn!(
                    %error,
                    hint,
                    "cannot read the zones of subnets, pools that lost machines may be unknown"
                );
            }
        }
    }
}

/// Returns what to do about a failed reading.
fn hint(error: &PortError, right: &str) -> String {
    match error.kind {
        ErrorKind::Denied => format!("allow {right} to this role"),
        _ => "they are read again in five minutes".to_owned(),
    }
}

/// Returns kind, zone and price of an entry; `None` if it is not a price.
fn price_of(read: &SpotPrice) -> Option<((String, String), MicroUsd)> {
    let kind = read.instance_type().map(InstanceType::as_str)?;
    let (zone, price) = (read.availability_zone()?, in_micros(read.spot_price()?)?);
    Some(((kind.to_owned(), zone.to_owned()), price))
}

/// Parses `0.007500`. A price of 0 is none.
fn in_micros(text: &str) -> Option<MicroUsd> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || whole.len() > 9 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    let micros = whole.parse::<u64>().ok()? * 1_000_000 + part.parse::<u64>().ok()?;
    (micros > 0).then_some(MicroUsd(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_in_millionths() {
        for (text, micros) in
            [("0.007500", 7_500), ("1.2", 1_200_000), ("12", 12_000_000), ("0.0075009", 7_500)]
        {
            assert_eq!(in_micros(text), Some(MicroUsd(micros)), "{text}");
        }
        for text in ["", "0", "0.000000", "-1", ".5", "1,5", "NaN", "1e3", "12345678901"] {
            assert_eq!(in_micros(text), None, "{text}");
        }
    }
}
