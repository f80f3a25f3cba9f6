//! Webhook deliveries since the start of this process.

use jiff::Timestamp;
use parking_lot::Mutex;

/// Webhook deliveries since the start of this process.
#[derive(Default)]
pub struct Deliveries(Mutex<DeliveryCounts>);

/// The numbers of deliveries, and the last ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Accepted deliveries.
    pub accepted: u64,
    /// Deliveries that do not concern demand.
    pub ignored: u64,
    /// Refused deliveries.
    pub refused: u64,
    /// Of these, deliveries whose signature was missing or wrong.
    pub unsigned: u64,
    /// Of these, deliveries that could not be stored.
    pub failed: u64,
    /// The time of the last accepted delivery.
    pub last_accepted: Option<Timestamp>,
    /// The last refused delivery.
    pub last_refused: Option<RefusedDelivery>,
}

/// A refused delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedDelivery {
    /// The time.
    pub at: Timestamp,
    /// The reason, and the remedy.
    pub why: String,
    /// Whether its signature was missing or wrong.
    pub unsigned: bool,
}

/// The outcome of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It was accepted.
    Accepted,
    /// It does not concern demand.
    Ignored,
    /// It was refused.
    Refused {
        /// The reason, and the remedy.
        why: String,
        /// The kind of the reason.
        fault: Fault,
    },
}

/// The reason why a delivery was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its signature was missing or wrong.
    Signature,
    /// The forge does not send such deliveries.
    Content,
    /// This server could not store it.
    Ours,
}

impl Deliveries {
    /// Returns the numbers so far.
    pub fn counts(&self) -> DeliveryCounts {
        self.0.lock().clone()
    }

    /// Notes a delivery.
    pub fn note(&self, handled: Handled, at: Timestamp) {
        let mut counts = self.0.lock();
        match handled {
            Handled::Accepted => {
                counts.accepted += 1;
                counts.last_accepted = Some(at);
            }
            // It was signed, so it shows that deliveries arrive.
            Handled::Ignored => {
                counts.ignored += 1;
                counts.last_accepted = Some(at);
            }
            Handled::Refused { why, fault } => {
                counts.refused += 1;
                counts.unsigned += u64::from(fault == Fault::Signature);
                counts.failed += u64::from(fault == Fault::Ours);
                let unsigned = fault == Fault::Signature;
                counts.last_refused = Some(RefusedDelivery { at, why, unsigned });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_by_what_became_of_them() {
        let deliveries = Deliveries::default();
        let at = |second| Timestamp::from_second(second).expect("a time");
        deliveries.note(Handled::Accepted, at(1));
        deliveries.note(Handled::Refused { why: "no".to_owned(), fault: Fault::Signature }, at(2));
        deliveries.note(Handled::Ignored, at(3));
        let counts = deliveries.counts();
        assert_eq!((counts.accepted, counts.ignored, counts.refused), (1, 1, 1));
        assert_eq!((counts.unsigned, counts.failed), (1, 0));
        assert_eq!(counts.last_accepted, Some(at(3)));
        let refused = counts.last_refused.expect("one was refused");
        assert_eq!((refused.at, refused.why.as_str(), refused.unsigned), (at(2), "no", true));
    }
}
