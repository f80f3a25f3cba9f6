//! The inbox of deliveries that are to be evaluated, in the same table: found by the index of
//! creation, in a partition of their own. It is never full.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::item::{self, BODY, CREATED, INBOX, KEY, KIND};
use super::lists::{Keys, Stretch, key_of, place};
use super::shape::Index;
use super::{DynamoStore, quarantined};
use crate::aws::errors::dynamodb::port_error;
use crate::gitea::demand::inbox::{Inbox, Item};

/// A document of one unit is not zipped.
const ROOM: usize = item::UNIT - 160;
/// Keys in one answer.
const AT_ONCE: usize = 100;

fn inbox_key(key: &str) -> String {
    item::key(INBOX, key)
}

fn key_in(stored: &str) -> String {
    let key = stored.strip_prefix(INBOX).and_then(|rest| rest.strip_prefix('#'));
    key.unwrap_or(stored).to_owned()
}

/// When an item was taken in, as its key tells.
fn received(key: &str) -> Option<i64> {
    key.split('-').next()?.parse().ok()
}

#[async_trait]
impl Inbox for DynamoStore {
    async fn take_in(&self, item: &Item) -> Result<bool, PortError> {
        let document = serde_json::to_vec(item).map_err(|error| {
            PortError::new("store", "take_in", ErrorKind::Invalid, error.to_string())
        })?;
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(inbox_key(&item.key())))
            .item(KIND, item::text(INBOX))
            .item(CREATED, item::number(item.received_at.as_microsecond()))
            .item(BODY, item::packed(document, ROOM))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("take_in", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(true)
    }

    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<(String, Item)>, PortError> {
        let stretch =
            Stretch { index: Index::Created, of: INBOX, newest_first: false, limit: AT_ONCE };
        let mut behind =
            received(after).map(|at| place(stretch.index, INBOX, at, &inbox_key(after)));
        let mut found = Vec::new();
        while found.len() < most {
            let Keys { keys, next } = self.keys("oldest", &stretch, behind).await?;
            // The index lags behind what was taken out.
            let mut items = self.fetch("oldest", &keys, true).await?;
            for stored in keys.iter().filter_map(key_of) {
                let Some(there) = items.remove(stored) else { continue };
                let read = item::unpacked(&there).and_then(|document| {
                    serde_json::from_slice::<Item>(&document)
                        .map_err(|error| item::shapeless(&error))
                });
                match read {
                    Ok(item) => found.push((key_in(stored), item)),
                    Err(reason) => quarantined(stored, &reason),
                }
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
}
