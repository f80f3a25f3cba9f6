//! The requests to run jobs again: one item for each job of a workflow run.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{RerunKey, Reruns};
use tinqs_ci_reconciler::ports::{PortError, RERUNS_KEPT};

use super::item::{self, BODY, KEY, TTL, VERSION};
use super::{DynamoStore, conflict, quarantined};

fn key_of(key: &RerunKey) -> String {
    item::key("reruns", &key.text())
}

impl DynamoStore {
    /// Those that cannot be read count as none: the forge limits them too.
    pub(super) async fn read_reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        let (of, key) = (key, key_of(key));
        let Some(item) = self.item("reruns", &key).await? else { return Ok(None) };
        let text = item.get(BODY).and_then(|body| body.as_s().ok());
        let read: serde_json::Result<Reruns> =
            serde_json::from_str(text.map_or("", String::as_str));
        let version = item::version_of(&item).unwrap_or_default();
        Ok(Some(read.unwrap_or_else(|reason| {
            quarantined(&key, &reason.to_string());
            Reruns::unreadable(of.clone(), version)
        })))
    }

    /// A repeated write whose first reply was lost is a conflict: the next reading shows it.
    pub(super) async fn write_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        let key = key_of(&reruns.key);
        let version = reruns.version.saturating_add(1);
        let text = serde_json::to_string(&Reruns { version, ..reruns.clone() });
        let forget = reruns.asked_at.saturating_add(RERUNS_KEPT).unwrap_or(Timestamp::MAX);
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(key.as_str()))
            .item(VERSION, item::number(version))
            // Its serialization cannot fail.
            .item(BODY, item::text(text.unwrap_or_default()))
            .item(TTL, item::number(forget.as_second()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let asked = if reruns.version == 0 {
            let absent = asked.condition_expression("attribute_not_exists(#key)");
            absent.expression_attribute_names("#key", KEY)
        } else {
            asked
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", item::number(reruns.version))
        };
        if self.put_if("put_reruns", asked).await? {
            Ok(version)
        } else {
            Err(conflict("put_reruns", format!("the requests for {key} were written by another")))
        }
    }
}
