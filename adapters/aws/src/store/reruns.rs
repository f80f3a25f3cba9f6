//! The requests to run jobs again: one item for each job of a workflow run.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use tinqs_ci_reconciler::model::{RerunKey, Reruns};
use tinqs_ci_reconciler::ports::{PortError, RERUNS_KEPT};

use super::condition::{conflict, is_own};
use super::item::{self, BODY, KEY, TTL, VERSION, WRITER};
use super::{DynamoStore, quarantined};
use crate::errors::dynamodb::port_error;

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

    /// A refused write that finds its own mark has succeeded: its first reply was lost.
    pub(super) async fn write_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        let (key, mark) = (key_of(&reruns.key), self.mark());
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
            .item(WRITER, item::bytes(&mark))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let asked = if reruns.version == 0 {
            let absent = asked.condition_expression("attribute_not_exists(#key)");
            absent.expression_attribute_names("#key", KEY)
        } else {
            asked
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":version", item::number(reruns.version))
        };
        let error = match asked.send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                return Ok(version);
            }
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error()
        else {
            return Err(port_error("put_reruns", &error));
        };
        if is_own(refused.item(), &mark) {
            return Ok(version);
        }
        Err(conflict("put_reruns", format!("the requests for {key} were written by another")))
    }
}
