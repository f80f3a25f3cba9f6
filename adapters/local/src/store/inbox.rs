//! The inbox of deliveries to evaluate, in the same file as the runs.

use std::ops::Bound;

use async_trait::async_trait;
use jiff::Timestamp;
use redb::ReadTransaction;
use tinqs_ci_reconciler::ports::{Inbox, InboxItem, PortError};

use super::index::quarantined;
use super::tables::{Answer, INBOX, Op};
use super::{Store, unexpected};

fn oldest(read: &ReadTransaction, after: &str, most: usize) -> Result<Vec<InboxItem>, redb::Error> {
    let mut found = Vec::new();
    let behind = (Bound::Excluded(after), Bound::Unbounded);
    for entry in read.open_table(INBOX)?.range::<&str>(behind)? {
        if found.len() == most {
            break;
        }
        let (key, body) = entry?;
        match InboxItem::stored(key.value(), body.value().to_vec()) {
            Some(item) => found.push(item),
            None => quarantined(key.value(), &"its key holds no time"),
        }
    }
    Ok(found)
}

#[async_trait]
impl Inbox for Store {
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError> {
        let InboxItem { key, received_at: _, body } = item.clone();
        match self.write("take_in", Op::TakeIn { key, body }).await? {
            Answer::Taken(taken) => Ok(taken),
            _ => Err(unexpected("take_in")),
        }
    }

    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError> {
        let after = after.to_owned();
        self.read("oldest", move |read| oldest(read, &after, most)).await
    }

    async fn take_out(&self, key: &str) -> Result<(), PortError> {
        self.write("take_out", Op::TakeOut { key: key.to_owned() }).await.map(|_| ())
    }

    async fn writable(&self, _holder: &str, _now: Timestamp) -> Result<(), PortError> {
        self.can_be_written().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(second: i64, body: &str) -> InboxItem {
        let received_at = Timestamp::from_second(second).expect("a time");
        InboxItem::new(received_at, body, body.as_bytes().to_vec())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn items_survive_a_restart_in_order_until_they_are_taken_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let (later, sooner) = (item(20, "a"), item(10, "b"));
        for item in [&later, &sooner, &later] {
            assert!(store.take_in(item).await.expect("written"));
        }
        drop(store);
        let store = Store::open(dir.path()).expect("the same store");
        let expected = [sooner.clone(), later];
        assert_eq!(store.oldest("", 10).await.expect("read"), expected);
        assert_eq!(store.oldest("", 1).await.expect("read"), expected[..1]);
        assert_eq!(store.oldest(&sooner.key, 9).await.expect("read"), expected[1..]);
        store.take_out(&sooner.key).await.expect("written");
        store.take_out(&sooner.key).await.expect("gone is success");
        assert_eq!(store.oldest("", 10).await.expect("read"), expected[1..]);
    }
}
