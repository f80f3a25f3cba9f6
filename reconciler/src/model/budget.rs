//! Budgets: what the machines of a class may cost in a day, in UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::class::ClassName;
use super::machine::MachineSpec;
use super::money::MicroUsd;
use crate::text::cut;

/// The maximum length of a name in a message, in columns.
const NAME: usize = 60;

/// The reason that the budget of a class lets it launch nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct BudgetStop {
    /// The budget per day.
    pub budget: MicroUsd,
    /// A kind of machine whose price is not known, like that of the others of the class, so that
    /// the budget cannot be kept; `null`: the budget of the day is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<String>,
    /// Time at which the next day begins, in UTC.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
}

impl BudgetStop {
    /// Says why the class launches nothing. The message stays the same all day, so that the records
    /// of waiting runs are not written again.
    pub fn message(&self, class: &ClassName) -> String {
        let (class, budget) = (cut(&class.0, NAME), self.budget);
        match &self.unpriced {
            None => format!(
                "class {class} has spent its budget of ${budget}/day; it launches again from \
                 midnight UTC"
            ),
            Some(kind) => format!(
                "the budget of class {class} cannot be kept: the price of {} is not known",
                cut(kind, NAME)
            ),
        }
    }
}

/// The spend of a class with a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSpend {
    /// The class.
    pub class: ClassName,
    /// Its budget per day.
    pub budget: MicroUsd,
    /// The cost of its machines today, an estimate; `None`: not known yet.
    pub today: Option<MicroUsd>,
    /// Its machines that it does not launch, because their price is not known; none before the
    /// prices were read.
    pub unpriced: Vec<MachineSpec>,
}

/// The cost of machines today, in UTC, as one process knows it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaySpend {
    /// The classes with a budget.
    pub budgets: Vec<ClassSpend>,
    /// The cost of the machines of all classes, an estimate; `None`: not known yet.
    pub total: Option<MicroUsd>,
    /// Whether the total may be higher: a price or an end is not known.
    pub is_partial: bool,
}

/// Returns the day of a time, in UTC.
pub fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

/// Returns when a day begins, in UTC.
pub fn begin_of(day: Date) -> Timestamp {
    midnight(day).unwrap_or(Timestamp::MIN)
}

/// Returns when the day after that of a time begins, in UTC.
pub fn next_day(at: Timestamp) -> Timestamp {
    day_of(at).tomorrow().and_then(midnight).unwrap_or(Timestamp::MAX)
}

fn midnight(day: Date) -> Result<Timestamp, jiff::Error> {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let evening = at("2026-11-30T23:59:59.5Z");
        assert_eq!(next_day(evening), at("2026-12-01T00:00:00Z"));
        assert_eq!(next_day(at("2026-12-01T00:00:00Z")), at("2026-12-02T00:00:00Z"));
        assert_eq!(begin_of(day_of(evening)), at("2026-11-30T00:00:00Z"));
        assert_eq!(next_day(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn the_message_says_when_launches_go_on_or_what_is_missing() {
        let class = ClassName("linux".to_owned());
        let until = at("2026-12-01T00:00:00Z");
        let stop = BudgetStop { budget: MicroUsd(500_000), unpriced: None, until };
        assert_eq!(
            stop.message(&class),
            "class linux has spent its budget of $0.5/day; it launches again from midnight UTC"
        );
        let unpriced = BudgetStop { unpriced: Some("c7a.medium".to_owned()), ..stop };
        assert_eq!(
            unpriced.message(&class),
            "the budget of class linux cannot be kept: the price of c7a.medium is not known"
        );
    }
}
