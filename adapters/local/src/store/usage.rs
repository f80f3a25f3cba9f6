//! Usage: sums by day and key, changed in the commit that writes a run.

use jiff::ToSpan as _;
use jiff::civil::Date;
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tinqs_ci_reconciler::model::Usage;
use tinqs_ci_reconciler::ports::USAGE_MONTHS;

use super::index::quarantined;

/// Day, key → sum, as JSON.
pub(super) const USAGE: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("usage");

/// Adds to a sum, and deletes those of days that are kept no longer.
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
    table.insert((day.as_str(), key.as_str()), bytes.as_slice())?;
    if let Ok(oldest) = used.key.day.checked_sub(i32::from(USAGE_MONTHS).months()) {
        let oldest = oldest.to_string();
        table.retain_in(..(oldest.as_str(), ""), |_, _| false)?;
    }
    Ok(())
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

fn read_one(key: &str, bytes: &[u8]) -> Option<Usage> {
    serde_json::from_slice(bytes).inspect_err(|reason| quarantined(key, reason)).ok()
}
