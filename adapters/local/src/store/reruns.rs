//! The requests to run jobs again: one row for each job of a workflow run.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tinqs_ci_reconciler::model::{RerunKey, Reruns};
use tinqs_ci_reconciler::ports::RERUNS_KEPT;

use super::index::quarantined;

/// Key → the second of the last request, version, the requests as JSON.
pub(super) const RERUNS: TableDefinition<&str, (i64, u64, &[u8])> = TableDefinition::new("reruns");

/// Writes the requests if the stored ones have the version that was read, and deletes those that
/// are kept no longer. Returns the new version, or what the conflict is.
pub(super) fn put(
    write: &WriteTransaction,
    requests: &Reruns,
) -> Result<Result<u64, String>, redb::Error> {
    let mut table = write.open_table(RERUNS)?;
    let key = requests.key.text();
    let stored = table.get(key.as_str())?.map_or(0, |row| row.value().1);
    if stored != requests.version {
        return Ok(Err(format!("the requests for {key} are at version {stored}")));
    }
    let version = stored.saturating_add(1);
    let at = requests.asked_at.as_second();
    // Its serialization cannot fail.
    let body = serde_json::to_vec(&Reruns { version, ..requests.clone() }).unwrap_or_default();
    table.insert(key.as_str(), (at, version, body.as_slice()))?;
    let kept_from = at.saturating_sub(RERUNS_KEPT.as_secs());
    table.retain(|_, (asked_at, _, _)| asked_at >= kept_from)?;
    Ok(Ok(version))
}

/// Returns the requests of a key. Those that cannot be read count as none: the forge limits them
/// too.
pub(super) fn get(read: &ReadTransaction, of: &RerunKey) -> Result<Option<Reruns>, redb::Error> {
    let key = of.text();
    let table = read.open_table(RERUNS)?;
    let found = table.get(key.as_str())?;
    Ok(found.map(|row| {
        let (_, version, body) = row.value();
        serde_json::from_slice(body).unwrap_or_else(|reason| {
            quarantined(&key, &reason);
            Reruns::unreadable(of.clone(), version)
        })
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use redb::ReadableDatabase as _;
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn requests_that_cannot_be_read_count_as_none_and_are_replaced() {
        let file = redb::Builder::new().create_with_backend(InMemoryBackend::new()).unwrap();
        let key = RerunKey { repo_id: 5, run_id: 41, job: "build".to_owned() };
        let write = file.begin_write().unwrap();
        {
            let mut table = write.open_table(RERUNS).unwrap();
            let body = b"{\"count\": \"many\"".as_slice();
            table.insert(key.text().as_str(), (100, 3, body)).unwrap();
        }
        write.commit().unwrap();
        let found = get(&file.begin_read().unwrap(), &key).unwrap().expect("a row");
        assert_eq!(found, Reruns::unreadable(key.clone(), 3));

        let at = Timestamp::from_second(200).unwrap();
        let next = Reruns { count: 1, asked_at: at, failed_at: at, ..found };
        let write = file.begin_write().unwrap();
        assert_eq!(put(&write, &next).unwrap(), Ok(4));
        write.commit().unwrap();
        let found = get(&file.begin_read().unwrap(), &key).unwrap();
        assert_eq!(found, Some(Reruns { version: 4, ..next }));
    }
}
