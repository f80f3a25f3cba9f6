//! The inbox of deliveries that are to be evaluated, in the same file as the runs.

use std::ops::Bound;

use async_trait::async_trait;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};
use tinqs_ci_reconciler::ports::PortError;

use super::tables::{Answer, Op, Refused, quarantined};
use super::{Store, unexpected};
use crate::gitea::demand::inbox::{Inbox, Item, MOST_ITEMS};

/// Key → item, oldest first.
const INBOX: TableDefinition<&str, &[u8]> = TableDefinition::new("inbox");

type Applied = Result<(Result<Answer, Refused>, bool), redb::Error>;

pub(super) fn prepare(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(INBOX)?;
    Ok(())
}

pub(super) fn take_in(write: &WriteTransaction, key: &str, body: &[u8]) -> Applied {
    let mut inbox = write.open_table(INBOX)?;
    if inbox.len()? >= MOST_ITEMS && inbox.get(key)?.is_none() {
        return Ok((Ok(Answer::Taken(false)), false));
    }
    inbox.insert(key, body)?;
    Ok((Ok(Answer::Taken(true)), true))
}

pub(super) fn take_out(write: &WriteTransaction, key: &str) -> Applied {
    let was = write.open_table(INBOX)?.remove(key)?.is_some();
    Ok((Ok(Answer::Done), was))
}

fn oldest(
    read: &ReadTransaction,
    after: &str,
    most: usize,
) -> Result<Vec<(String, Item)>, redb::Error> {
    let mut found = Vec::new();
    let behind = (Bound::Excluded(after), Bound::Unbounded);
    for entry in read.open_table(INBOX)?.range::<&str>(behind)? {
        if found.len() == most {
            break;
        }
        let (key, body) = entry?;
        match serde_json::from_slice(body.value()) {
            Ok(item) => found.push((key.value().to_owned(), item)),
            Err(reason) => quarantined(key.value(), &reason),
        }
    }
    Ok(found)
}

#[async_trait]
impl Inbox for Store {
    async fn take_in(&self, item: &Item) -> Result<bool, PortError> {
        // Nothing in it can fail to serialise; an empty one would be skipped as unreadable.
        let body = serde_json::to_vec(item).unwrap_or_default();
        match self.write("take_in", Op::TakeIn { key: item.key(), body }).await? {
            Answer::Taken(taken) => Ok(taken),
            Answer::Done | Answer::Version(_) => Err(unexpected("take_in")),
        }
    }

    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<(String, Item)>, PortError> {
        let after = after.to_owned();
        self.read("oldest", move |read| oldest(read, &after, most)).await
    }

    async fn take_out(&self, key: &str) -> Result<(), PortError> {
        self.write("take_out", Op::TakeOut { key: key.to_owned() }).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitea::demand::occasion::Occasion;
    use jiff::Timestamp;

    fn item(second: i64, git_ref: &str) -> Item {
        let payload = serde_json::json!({
            "ref": git_ref, "before": "1".repeat(40), "after": "2".repeat(40),
            "repository": {"id": 1, "full_name": "a/b"},
        });
        let occasion = Occasion::of("push", payload.to_string().as_bytes());
        let occasion = occasion.expect("well-formed").expect("a push");
        Item { received_at: Timestamp::from_second(second).expect("a time"), occasion }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn items_stay_over_a_restart_in_their_order_until_they_are_taken_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let (later, sooner) = (item(20, "refs/heads/a"), item(10, "refs/heads/b"));
        for item in [&later, &sooner, &later] {
            assert!(store.take_in(item).await.expect("written"));
        }
        drop(store);
        let store = Store::open(dir.path()).expect("the same store");
        let found = store.oldest("", 10).await.expect("read");
        let expected = [(sooner.key(), sooner.clone()), (later.key(), later)];
        assert_eq!(found, expected);
        assert_eq!(store.oldest("", 1).await.expect("read"), expected[..1]);
        assert_eq!(store.oldest(&sooner.key(), 9).await.expect("read"), expected[1..]);
        store.take_out(&sooner.key()).await.expect("written");
        store.take_out(&sooner.key()).await.expect("gone is success");
        assert_eq!(store.oldest("", 10).await.expect("read"), expected[1..]);
    }
}
