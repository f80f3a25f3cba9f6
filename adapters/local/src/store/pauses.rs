//! The pauses: one row for each class, and one for all.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tinqs_ci_reconciler::model::{ClassName, Pause};

use super::index::quarantined;

/// The class, or nothing for every class → the pause as JSON. So that of every class is the first.
pub(super) const PAUSES: TableDefinition<&str, &[u8]> = TableDefinition::new("pauses");

fn key(class: Option<&ClassName>) -> &str {
    class.map_or("", |class| class.0.as_str())
}

/// Returns the pause of a row. One that cannot be read still pauses: to launch would be worse.
fn understood(key: &str, row: &[u8]) -> Pause {
    serde_json::from_slice(row).unwrap_or_else(|error| {
        quarantined(&format!("pause {key}"), &error);
        let class = Some(ClassName(key.to_owned())).filter(|class| !class.0.is_empty());
        Pause { class, since: jiff::Timestamp::UNIX_EPOCH, by: "unknown".to_owned() }
    })
}

/// Stores a pause unless there is one. Returns the one that holds, and whether it is new.
pub(super) fn pause(
    write: &WriteTransaction,
    pause: &Pause,
) -> Result<(Vec<Pause>, bool), redb::Error> {
    let mut table = write.open_table(PAUSES)?;
    let key = key(pause.class.as_ref());
    let held = table.get(key)?.map(|row| understood(key, row.value()));
    if let Some(held) = held {
        return Ok((vec![held], false));
    }
    let row = serde_json::to_vec(pause).unwrap_or_default();
    table.insert(key, row.as_slice())?;
    Ok((vec![pause.clone()], true))
}

/// Ends the pause of a class, or every one. Returns those that ended, and whether there were any.
pub(super) fn resume(
    write: &WriteTransaction,
    class: Option<&ClassName>,
) -> Result<(Vec<Pause>, bool), redb::Error> {
    let mut table = write.open_table(PAUSES)?;
    let mut ended = Vec::new();
    for row in table.iter()? {
        let (found, row) = row?;
        if class.is_none_or(|class| class.0 == found.value()) {
            ended.push(understood(found.value(), row.value()));
        }
    }
    for pause in &ended {
        table.remove(key(pause.class.as_ref()))?;
    }
    let changed = !ended.is_empty();
    Ok((ended, changed))
}

pub(super) fn all(read: &ReadTransaction) -> Result<Vec<Pause>, redb::Error> {
    let mut found = Vec::new();
    for row in read.open_table(PAUSES)?.iter()? {
        let (key, row) = row?;
        found.push(understood(key.value(), row.value()));
    }
    Ok(found)
}
