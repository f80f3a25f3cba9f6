//! Spot prices as EC2 last told them. They change slowly and are estimates, so each is read once an
//! hour.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{InstanceType, SpotPrice};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::MicroUsd;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::calls::Calls;

/// The interval of reading the prices.
const READ_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The interval after a failure.
const TRIED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// The prices that were read.
#[derive(Default)]
pub(super) struct Prices(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By kind and zone.
    prices: BTreeMap<(String, String), MicroUsd>,
    /// The kinds that were asked for, and when they are read again.
    read: Option<(BTreeSet<String>, Timestamp)>,
}

impl Prices {
    /// Returns the price of a kind in a zone; with an empty zone, the highest of all zones.
    pub(super) fn of(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        let inner = self.0.lock();
        if !zone.is_empty() {
            return inner.prices.get(&(kind.to_owned(), zone.to_owned())).copied();
        }
        let of_kind = inner.prices.iter().filter(|((of, _), _)| of == kind);
        of_kind.map(|(_, price)| *price).max()
    }

    /// Reads the prices of these kinds, unless they were read lately. A failure keeps what is known
    /// and is logged: a price is no reason to launch nothing.
    pub(super) async fn read(&self, calls: &Calls, kinds: &[String], now: Timestamp) {
        let wanted: BTreeSet<String> = kinds.iter().cloned().collect();
        let is_known = self.0.lock().read.as_ref().is_some_and(|(read, until)| {
            wanted.is_subset(read) && now < *until && until.duration_since(now) <= READ_EVERY
        });
        if wanted.is_empty() || is_known {
            return;
        }
        let read = calls.spot_prices(&wanted, now).await;
        let mut inner = self.0.lock();
        match read {
            Ok(read) => {
                let prices: BTreeMap<_, _> = read.iter().filter_map(price_of).collect();
                inner.prices = prices;
                inner.read = Some((wanted, now + READ_EVERY));
            }
            Err(error) => {
                inner.read = Some((wanted, now + TRIED_EVERY));
                drop(inner);
                warn(&error);
            }
        }
    }
}

fn warn(error: &PortError) {
    let hint = match error.kind {
        ErrorKind::Denied => "allow ec2:DescribeSpotPriceHistory to this role",
        _ => "they are read again in five minutes",
    };
    tracing::warn!(error = %error, hint, "cannot read spot prices, costs may be unknown");
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
