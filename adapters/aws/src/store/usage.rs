//! Usage: one item per day and key. It changes in the transaction that writes a run, which costs
//! twice the units of both writes.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem, Update,
};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tinqs_ci_reconciler::model::{Amount, MicroUsd, Run, Seconds, Usage, UsageKey};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, PortError, USAGE_MONTHS};

use super::condition::{checked, is_own, put_condition};
use super::item::{self, CREATED, Item, KEY, KIND, TTL, USAGE};
use super::shape::Index;
use super::{DynamoStore, conflict, found, quarantined};
use crate::errors::dynamodb::port_error;

/// The subject of the sums, as JSON.
const OF: &str = "of";
/// The sums.
const JOBS: &str = "jobs";
const BOOT: &str = "boot";
const IDLE: &str = "idle";
const BUSY: &str = "busy";
const LOST: &str = "lost";
const COST: &str = "cost";
const UNPRICED: &str = "unpriced";
const UNKNOWN_END: &str = "unknown_end";

/// A list is many calls, and each has its own deadline: this is that of all together.
const LISTED_WITHIN: Duration = Duration::from_secs(20);
/// Tries while other runs of the same key are written.
const TRIES: u32 = 10;
/// The first pause after such a conflict; doubled each time, up to 64 times.
const PAUSE: Duration = Duration::from_millis(10);

/// Returns the key of the item.
fn key_of(key: &UsageKey) -> String {
    item::key(USAGE, &format!("{}#{}", key.day, key.text()))
}

/// Returns the first moment of a day.
fn begin(day: Date) -> Timestamp {
    TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MIN)
}

/// Returns when the table may delete the usage of a day.
fn forgotten_at(day: Date) -> Timestamp {
    let kept = day.checked_add(i32::from(USAGE_MONTHS).months().days(1));
    kept.map_or(Timestamp::MAX, begin)
}

impl DynamoStore {
    pub(super) async fn put_and_count(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        let (mark, version) = (self.mark(), checked(run, expect)?);
        let invalid = |error: BuildError| {
            PortError::new("store", "put", ErrorKind::Invalid, error.to_string())
        };
        let put = self.put_of(run, version, &mark, expect).map_err(invalid)?;
        let update = self.update_of(used).map_err(invalid)?;
        let mut pause = PAUSE;
        for _ in 0..TRIES {
            let asked = self
                .client
                .transact_write_items()
                .transact_items(TransactWriteItem::builder().put(put.clone()).build())
                .transact_items(TransactWriteItem::builder().update(update.clone()).build())
                // After a lost reply the client repeats it with the same token.
                .client_request_token(hex::encode(mark))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let error = match asked.send().await {
                Ok(answer) => {
                    for charged in answer.consumed_capacity() {
                        self.wrote(Some(charged));
                    }
                    return Ok(version);
                }
                Err(error) => error,
            };
            match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
                    match refusal(canceled.cancellation_reasons(), run, &mark) {
                        Refusal::Written => return Ok(version),
                        Refusal::Conflict(message) => return Err(conflict("put", message)),
                        Refusal::Busy => {}
                        Refusal::Other => return Err(port_error("put", &error)),
                    }
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => {}
                _ => return Err(port_error("put", &error)),
            }
            // Different for each write, so that two do not meet again.
            let share = u32::from(mark[15].wrapping_mul(37)) + 128;
            tokio::time::sleep(pause * share / 256).await;
            pause = (pause * 2).min(PAUSE * 64);
        }
        let message = format!("other runs changed the usage of {} during {TRIES} tries", run.name);
        Err(PortError::new("store", "put", ErrorKind::Throttled, message))
    }

    /// Adds to the usage by itself: that of a backup.
    pub(super) async fn add_usage(&self, used: &Usage) -> Result<(), PortError> {
        let update = self.update_of(used).map_err(|error| {
            PortError::new("store", "insert", ErrorKind::Invalid, error.to_string())
        })?;
        let asked = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(update).build())
            // After a lost reply the client repeats it with the same token.
            .client_request_token(hex::encode(self.mark()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error("insert", &error))?;
        for charged in answer.consumed_capacity() {
            self.wrote(Some(charged));
        }
        Ok(())
    }

    fn put_of(
        &self,
        run: &Run,
        version: u64,
        mark: &[u8],
        expect: Expect,
    ) -> Result<Put, BuildError> {
        let (condition, names, values) = put_condition(expect);
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(item::of(run, version, mark)))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
    }

    fn update_of(&self, used: &Usage) -> Result<Update, BuildError> {
        let Usage { key, amount } = used;
        let Amount { jobs, seconds, cost, unpriced, unknown_end } = amount;
        let Seconds { boot, idle, busy, lost } = seconds;
        let sums = [
            (JOBS, *jobs),
            (BOOT, *boot),
            (IDLE, *idle),
            (BUSY, *busy),
            (LOST, *lost),
            (COST, cost.0),
            (UNPRICED, *unpriced),
            (UNKNOWN_END, *unknown_end),
        ];
        let of = serde_json::to_string(key).unwrap_or_default();
        let fixed = [
            (OF, item::text(of)),
            (KIND, item::text(USAGE)),
            (CREATED, item::number(begin(key.day).as_microsecond())),
            (TTL, item::number(forgotten_at(key.day).as_second())),
        ];
        let set: Vec<String> = fixed.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let add: Vec<String> = sums.iter().map(|(name, _)| format!("#{name} :{name}")).collect();
        let mut update = Update::builder()
            .table_name(&self.table)
            .key(KEY, item::text(key_of(key)))
            .update_expression(format!("SET {} ADD {}", set.join(", "), add.join(", ")));
        let sums = sums.map(|(name, sum)| (name, item::number(sum)));
        for (name, value) in fixed.into_iter().chain(sums) {
            update = update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        update.build()
    }

    pub(super) async fn list_usage(
        &self,
        first: Date,
        last: Date,
    ) -> Result<Vec<Usage>, PortError> {
        let read = tokio::time::timeout(LISTED_WITHIN, self.read_usage(first, last)).await;
        read.unwrap_or_else(|_| {
            let message = format!(
                "the usage of {first} to {last} was not read within {} s: check whether the table \
                 throttles reads",
                LISTED_WITHIN.as_secs()
            );
            Err(PortError::new("store", "usage", ErrorKind::Unavailable, message))
        })
    }

    async fn read_usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        self.needs_indexes("usage")?;
        let mut all = Vec::new();
        let mut behind: Option<Item> = None;
        loop {
            let asked = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(Index::Created.name())
                .key_condition_expression("#kind = :kind AND #created BETWEEN :first AND :last")
                .expression_attribute_names("#kind", KIND)
                .expression_attribute_names("#created", CREATED)
                .expression_attribute_values(":kind", item::text(USAGE))
                .expression_attribute_values(":first", item::number(begin(first).as_microsecond()))
                .expression_attribute_values(":last", item::number(begin(last).as_microsecond()))
                .set_exclusive_start_key(behind)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = asked.send().await.map_err(|error| port_error("usage", &error))?;
            self.read(answer.consumed_capacity());
            let items = self.fetch("usage", answer.items(), false).await?;
            all.extend(items.values().filter_map(usage_of));
            match answer.last_evaluated_key {
                Some(next) => behind = Some(next),
                None => return Ok(all),
            }
        }
    }
}

/// The reason why a transaction was canceled.
enum Refusal {
    /// It was not: its first try succeeded.
    Written,
    /// The record is not as expected.
    Conflict(String),
    /// Another transaction changes the same items now.
    Busy,
    Other,
}

fn refusal(reasons: &[CancellationReason], run: &Run, mark: &[u8]) -> Refusal {
    let code = |reason: &CancellationReason| reason.code().unwrap_or_default().to_owned();
    if let Some(reason) = reasons.first()
        && code(reason) == "ConditionalCheckFailed"
    {
        if is_own(reason.item(), mark) {
            return Refusal::Written;
        }
        return Refusal::Conflict(found(&run.name, reason.item()));
    }
    if reasons.iter().any(|reason| code(reason) == "TransactionConflict") {
        return Refusal::Busy;
    }
    Refusal::Other
}

pub(super) fn usage_of(item: &Item) -> Option<Usage> {
    let key = item.get(KEY).and_then(|key| key.as_s().ok()).map_or("", String::as_str);
    let of = item.get(OF)?.as_s().ok()?;
    let read = serde_json::from_str(of).inspect_err(|error| {
        quarantined(key, &item::shapeless(error));
    });
    let sum = |name| item::number_of(item, name).unwrap_or(0);
    let seconds = Seconds { boot: sum(BOOT), idle: sum(IDLE), busy: sum(BUSY), lost: sum(LOST) };
    let amount = Amount {
        jobs: sum(JOBS),
        seconds,
        cost: MicroUsd(sum(COST)),
        unpriced: sum(UNPRICED),
        unknown_end: sum(UNKNOWN_END),
    };
    Some(Usage { key: read.ok()?, amount })
}
