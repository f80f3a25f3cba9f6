//! The inbox of deliveries to evaluate, in the same table: found by the index `created`, in a
//! partition of their own. It is never full.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use jiff::Timestamp;
use tinqs_ci_reconciler::ports::{Inbox, InboxItem, PortError};

use super::item::{self, BODY, CREATED, INBOX, Item, KEY, KIND, TTL};
use super::lists::{IndexRange, Keys, key_of, place};
use super::shape::Index;
use super::{DynamoStore, LEASE_KEPT, quarantined};
use crate::errors::dynamodb::port_error;

/// A document that fits into one unit is not compressed.
const ROOM: usize = item::UNIT - 160;
/// Keys per response.
const AT_ONCE: usize = 100;

fn inbox_key(key: &str) -> String {
    item::key(INBOX, key)
}

fn key_in(stored: &str) -> String {
    let key = stored.strip_prefix(INBOX).and_then(|rest| rest.strip_prefix('#'));
    key.unwrap_or(stored).to_owned()
}

/// Returns the delivery in an item. One that cannot be read is logged.
pub(super) fn delivery_of(stored: &str, there: &Item) -> Option<InboxItem> {
    match item::unpacked(there) {
        Ok(body) => {
            let delivery = InboxItem::stored(&key_in(stored), body);
            if delivery.is_none() {
                quarantined(stored, "its key holds no time");
            }
            delivery
        }
        Err(reason) => {
            quarantined(stored, &reason);
            None
        }
    }
}

#[async_trait]
impl Inbox for DynamoStore {
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError> {
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(inbox_key(&item.key)))
            .item(KIND, item::text(INBOX))
            .item(CREATED, item::number(item.received_at.as_microsecond()))
            .item(BODY, item::packed(item.body.clone(), ROOM))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("take_in", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(true)
    }

    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError> {
        let stretch =
            IndexRange { index: Index::Created, of: INBOX, newest_first: false, limit: AT_ONCE };
        let mut behind =
            InboxItem::received(after).map(|at| place(stretch.index, INBOX, at, &inbox_key(after)));
        let mut found = Vec::new();
        while found.len() < most {
            let Keys { keys, next } = self.keys("oldest", &stretch, behind).await?;
            // The index lags behind deletions.
            let mut items = self.fetch("oldest", &keys, true).await?;
            for stored in keys.iter().filter_map(key_of) {
                let Some(there) = items.remove(stored) else { continue };
                found.extend(delivery_of(stored, &there));
            }
            match next {
                Some(next) => behind = Some(next),
                None => break,
            }
        }
        found.truncate(most);
        Ok(found)
    }

    async fn take_out(&self, key: &str) -> Result<(), PortError> {
        let asked = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(KEY, item::text(inbox_key(key)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("take_out", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(())
    }

    /// Puts an item under a key of the inbox, because the role `ingest` may write no other. Without
    /// a kind it is in no index, so no list shows it.
    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        let forget = now.saturating_add(LEASE_KEPT).unwrap_or(Timestamp::MAX);
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(inbox_key(&format!("ready#{holder}"))))
            .item(TTL, item::number(forget.as_second()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("writable", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(())
    }
}
