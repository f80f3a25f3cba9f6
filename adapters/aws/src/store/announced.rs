//! The announcements of replicas: one item, with one attribute for each replica.

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, ReturnValue};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::{Announced, PortError, ReadByAll};

use super::item::{self, Item, KEY};
use super::{DynamoStore, LEASE_KEPT};
use crate::errors::dynamodb::port_error;

/// The item's subject among the leases.
const FORMATS: &str = "formats";
/// The lease whose holder every replica knows.
const SWEEP: &str = "sweep";
/// The prefix of the attribute of a replica.
const OF_REPLICA: &str = "replica#";
/// An announcement is removed this long after its end.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

fn announced(item: &Item) -> Vec<Announced> {
    let of_replicas = item.iter().filter(|(name, _)| name.starts_with(OF_REPLICA));
    let texts = of_replicas.filter_map(|(_, value)| value.as_s().ok());
    texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
}

/// Returns the holder of a lease that has not ended.
fn holder(lease: &Item, now: Timestamp) -> Option<String> {
    let until: i64 = item::number_of(lease, "until")?;
    let holder = lease.get("holder")?.as_s().ok()?;
    (until > now.as_millisecond()).then(|| holder.clone())
}

impl DynamoStore {
    pub(super) async fn announce_formats(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let until = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        let announcement = Announced { replica: replica.to_owned(), reads, until };
        let key = item::key("lease", FORMATS);
        let forget = announcement.until.saturating_add(LEASE_KEPT).unwrap_or(Timestamp::MAX);
        let text = serde_json::to_string(&announcement).unwrap_or_default();
        let asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(&key))
            .update_expression("SET #replica = :announced, #ttl = :ttl")
            .expression_attribute_names("#replica", attribute(&announcement.replica))
            .expression_attribute_names("#ttl", item::TTL)
            .expression_attribute_values(":announced", item::text(text))
            .expression_attribute_values(":ttl", item::number(forget.as_second()))
            .return_values(ReturnValue::AllNew)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("announce", &error))?;
        self.wrote(answer.consumed_capacity());
        let all = answer.attributes().map(announced).unwrap_or_default();
        self.remove_old(&key, &all, now).await?;
        let sweep = self.item("announce", &item::key("lease", SWEEP)).await?;
        let leader = sweep.and_then(|lease| holder(&lease, now));
        Ok(ReadByAll::of(&all, leader.as_deref(), now))
    }

    /// Removes what replicas announced that ended long ago.
    async fn remove_old(
        &self,
        key: &str,
        all: &[Announced],
        now: Timestamp,
    ) -> Result<(), PortError> {
        let is_old = |one: &&Announced| now.duration_since(one.until) > KEPT;
        let old: Vec<String> =
            all.iter().filter(is_old).map(|one| attribute(&one.replica)).collect();
        if old.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = (0..old.len()).map(|index| format!("#r{index}")).collect();
        let mut asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(key))
            .update_expression(format!("REMOVE {}", names.join(", ")))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        for (name, attribute) in names.into_iter().zip(old) {
            asked = asked.expression_attribute_names(name, attribute);
        }
        let answer = asked.send().await.map_err(|error| port_error("announce", &error))?;
        self.wrote(answer.consumed_capacity());
        Ok(())
    }
}

fn attribute(replica: &str) -> String {
    format!("{OF_REPLICA}{replica}")
}
