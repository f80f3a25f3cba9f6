//! Usage: sums by day and key, changed in the commit that writes a run.

use jiff::ToSpan as _;
use jiff::civil::Date;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tinqs_ci_reconciler::model::Usage;
use tinqs_ci_reconciler::ports::USAGE_MONTHS;

use super::index::quarantined;

/// Day, key → sum, as JSON.
pub(super) const USAGE: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("usage");

/// Adds to a sum. The first one of a day also deletes the oldest month of those that are kept no
/// longer, and no more: a clock that is wrong by years must not delete everything.
pub(super) fn add(write: &WriteTransaction, used: &Usage) -> Result<(), redb::Error> {
    let mut table = write.open_table(USAGE)?;
    let (day, key) = (used.key.day.to_string(), used.key.text());
    let mut sum = used.clone();
    if let Some(found) = table.get((day.as_str(), key.as_str()))?
        && let Some(earlier) = read_one(&key, found.value())
    {
        sum.amount += earlier.amount;
    }
    // Its serialization cannot fail; an empty result would be skipped as unreadable.
    let bytes = serde_json::to_vec(&sum).unwrap_or_default();
    let is_first = match table.range((day.as_str(), "")..)?.next().transpose()? {
        Some((found, _)) => found.value().0 != day,
        None => true,
    };
    table.insert((day.as_str(), key.as_str()), bytes.as_slice())?;
    if is_first && let Some(end) = outdated(&table, used.key.day)? {
        let end = end.to_string();
        table.retain_in(..(end.as_str(), ""), |_, _| false)?;
    }
    Ok(())
}

/// Returns the end of what may be deleted on a day: at most a month after the oldest sum.
fn outdated(
    table: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    day: Date,
) -> Result<Option<Date>, redb::Error> {
    let Some((oldest, _)) = table.first()? else { return Ok(None) };
    let oldest = oldest.value().0.parse::<Date>().ok();
    let month = oldest.and_then(|oldest| oldest.checked_add(1.month()).ok());
    let kept_from = day.checked_sub(i32::from(USAGE_MONTHS).months()).ok();
    Ok(month.zip(kept_from).map(|(month, kept_from)| month.min(kept_from)))
}

pub(super) fn read(
    read: &ReadTransaction,
    first: Date,
    last: Date,
) -> Result<Vec<Usage>, redb::Error> {
    let (first, last) = (first.to_string(), last.to_string());
    let mut found = Vec::new();
    for entry in read.open_table(USAGE)?.range((first.as_str(), "")..)? {
        let (key, sum) = entry?;
        let (day, key) = key.value();
        if day > last.as_str() {
            break;
        }
        found.extend(read_one(key, sum.value()));
    }
    Ok(found)
}

pub(super) fn read_one(key: &str, bytes: &[u8]) -> Option<Usage> {
    serde_json::from_slice(bytes).inspect_err(|reason| quarantined(key, reason)).ok()
}
