//! Runs in one `DynamoDB` table.
//!
//! - Every write is conditional on uid and version, and carries a mark of its writer: the client
//!   retries after a lost response, and a refused write that finds its own mark has succeeded.
//! - Two indexes, both of keys only: `open`, which holds a run until it is finished, and `created`,
//!   for lists. Keys never change, so most writes of a run touch neither and cost one unit.
//! - Finished runs carry a time to live; the table deletes them.

mod announced;
mod archive;
mod complete;
mod condition;
mod deflate;
mod inbox;
mod inspect;
mod item;
mod lists;
mod pauses;
mod reruns;
mod seat_items;
mod seats;
mod shape;
mod table;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use jiff::{SignedDuration, Timestamp, civil::Date};
use parking_lot::Mutex;
use sha2::Digest as _;
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Pause, RepoRef, RerunKey, Reruns, Run, RunName, SeatLimits, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Expect, Filter, NewerRecord, OpenRun, Page, PortError, ReadByAll, RunStore, Seat,
    UnreadRecords,
};

use self::complete::Awaited;
use self::condition::{checked, conflict, found, is_own, put_condition};
use self::item::{Item, KEY, UID, Unreadable, VERSION};
use self::seat_items::KeptSeats;
use super::errors::dynamodb::port_error;

pub use complete::Progress;
pub use inspect::TableFound;
pub use shape::description;
pub use table::{Deletion, Ensured, Expiry, TableError};

/// The time for which a lease is kept after its end.
const LEASE_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// A store in a table of `DynamoDB`.
pub struct DynamoStore {
    client: Client,
    table: String,
    /// Distinguishes this process from all other writers.
    writer: [u8; 8],
    writes: AtomicU64,
    units: Mutex<Units>,
    unread: UnreadRecords,
    /// Held while listing the open runs: concurrent lists would multiply the memory.
    listing: tokio::sync::Mutex<()>,
    /// The seats that were last read or taken.
    seats: Mutex<BTreeMap<ClassName, KeptSeats>>,
    /// The index that is still being made, without which nothing can be listed.
    awaited: Mutex<Option<Awaited>>,
}

/// Capacity units consumed so far, as reported by the table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Write units, including those of the indexes; refused writes are charged but not reported.
    pub written: f64,
    /// Read units.
    pub read: f64,
}

impl fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStore").field("table", &self.table).finish_non_exhaustive()
    }
}

impl DynamoStore {
    /// Returns the store of this table; sends nothing yet. `writer` names this process; no two
    /// running processes share it.
    pub fn new(client: Client, table: impl Into<String>, writer: &str) -> Self {
        let mut hash = sha2::Sha256::new();
        let started = Timestamp::now().as_nanosecond();
        hash.update(format!("{writer}\n{}\n{started}", std::process::id()));
        let mut writer = [0; 8];
        writer.copy_from_slice(&hash.finalize()[..8]);
        Self {
            client,
            table: table.into(),
            writer,
            writes: AtomicU64::new(0),
            units: Mutex::default(),
            unread: UnreadRecords::default(),
            listing: tokio::sync::Mutex::default(),
            seats: Mutex::default(),
            awaited: Mutex::default(),
        }
    }

    /// Returns the name of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Returns the units that this process has consumed so far.
    pub fn units(&self) -> Units {
        *self.units.lock()
    }

    /// Returns a mark that no other write has.
    fn mark(&self) -> [u8; 16] {
        let mut mark = [0; 16];
        mark[..8].copy_from_slice(&self.writer);
        mark[8..].copy_from_slice(&self.writes.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        mark
    }

    fn wrote(&self, charged: Option<&ConsumedCapacity>) {
        let charged = charged.and_then(ConsumedCapacity::capacity_units).unwrap_or_default();
        self.units.lock().written += charged;
    }

    /// Puts an item on a condition. `false`: the condition does not hold.
    async fn put_if(
        &self,
        operation: &'static str,
        asked: PutItemFluentBuilder,
    ) -> Result<bool, PortError> {
        match asked.send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                Ok(true)
            }
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(port_error(operation, &error)),
            },
        }
    }

    fn read<'c>(&self, charged: impl IntoIterator<Item = &'c ConsumedCapacity>) {
        let charged: f64 = charged.into_iter().filter_map(ConsumedCapacity::capacity_units).sum();
        self.units.lock().read += charged;
    }

    /// Reads one item, consistent with every completed write.
    async fn item(&self, operation: &'static str, key: &str) -> Result<Option<Item>, PortError> {
        let asked = self.client.get_item().table_name(&self.table).key(KEY, item::text(key));
        let asked =
            asked.consistent_read(true).return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error(operation, &error))?;
        self.read(answer.consumed_capacity());
        Ok(answer.item)
    }

    /// Parses the run in an item. An unreadable one is logged each time.
    fn understand(&self, item: &Item) -> Result<Run, Unreadable> {
        let name = item.get(KEY).and_then(|name| name.as_s().ok()).map_or("", String::as_str);
        let understood = item::run_of(item);
        match &understood {
            Ok(_) => self.unread.is_fine(name),
            Err(Unreadable { reason, newer }) => {
                self.unread.failed(name, *newer);
                quarantined(name, reason);
            }
        }
        understood
    }

    /// A deleted record does not count as unreadable.
    fn gone(&self, name: &RunName) {
        self.unread.is_fine(name.as_str());
    }
}

/// Logs an unreadable record, which stays as it is.
fn quarantined(name: &str, reason: &str) {
    let name = tinqs_ci_reconciler::text::cut(name, 100);
    tracing::error!(run = %name, %reason, "skipped unreadable record");
}

#[async_trait]
impl RunStore for DynamoStore {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let Some(item) = self.item("get", name.as_str()).await? else {
            self.gone(name);
            return Ok(None);
        };
        let run = self.understand(&item).map_err(|Unreadable { reason, .. }| {
            let message = format!(
                "cannot read the record of {name} ({reason}): if a newer tinqs-ci wrote it, \
                 upgrade this replica"
            );
            PortError::new("store", "get", ErrorKind::Invalid, message)
        })?;
        Ok(Some(run))
    }

    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let (name, mark, version) = (&run.name, self.mark(), checked(run, expect)?);
        let (condition, names, values) = put_condition(expect);
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::of(run, version, &mark)))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match asked.send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                return Ok(version);
            }
            Err(error) => error,
        };
        if let Some(PutItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        {
            if is_own(refused.item(), &mark) {
                tracing::debug!(run = %name, version, "write succeeded, its reply was lost");
                return Ok(version);
            }
            return Err(conflict("put", found(name, refused.item())));
        }
        Err(port_error("put", &error))
    }

    async fn put_counting(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        self.put_and_count(run, expect, used).await
    }

    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        self.list_usage(first, last).await
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let asked = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(KEY, item::text(name.as_str()))
            // A retry whose first try succeeded finds nothing to delete.
            .condition_expression(
                "attribute_not_exists(#key) OR (#uid = :uid AND #version = :version)",
            )
            .expression_attribute_names("#key", KEY)
            .expression_attribute_names("#uid", UID)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":uid", item::bytes(uid.0.as_bytes()))
            .expression_attribute_values(":version", item::number(version))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match asked.send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                self.gone(name);
                return Ok(());
            }
            Err(error) => error,
        };
        if let Some(DeleteItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        {
            return Err(conflict("remove", found(name, refused.item())));
        }
        Err(port_error("remove", &error))
    }

    /// The table deletes finished runs, so none is among them.
    async fn open(&self, _now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        self.list_open().await
    }

    /// Reads at most 2,000 records, so a page may be short, even empty, and still have a `next`.
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        self.list_page(filter, after).await
    }

    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        self.take_seat(class, attempt_id, repo, limits).await
    }

    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        self.give_seat_back(class, attempt_id).await
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        self.list_seats(class).await
    }

    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        self.store_pause(pause).await
    }

    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        self.end_pauses(class).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        self.list_pauses().await
    }

    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        self.read_reruns(key).await
    }

    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        self.write_reruns(reruns).await
    }

    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let until = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        let forget = until.saturating_add(LEASE_KEPT).unwrap_or(Timestamp::MAX);
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(item::key("lease", what)))
            .item("holder", item::text(holder))
            .item("until", item::number(until.as_millisecond()))
            .item(item::TTL, item::number(forget.as_second()))
            .condition_expression(
                "attribute_not_exists(#key) OR #holder = :holder OR #until <= :now",
            )
            .expression_attribute_names("#key", KEY)
            .expression_attribute_names("#holder", "holder")
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":holder", item::text(holder))
            .expression_attribute_values(":now", item::number(now.as_millisecond()))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.put_if("lease", asked).await
    }

    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        self.announce_formats(replica, reads, now, ttl).await
    }

    async fn writable(&self, holder: &str, now: Timestamp) -> Result<(), PortError> {
        self.needs_indexes("writable")?;
        self.lease("ready", holder, now, SignedDuration::from_secs(1)).await.map(|_| ())
    }

    /// Counts each record once, and at most 1,000.
    fn unreadable(&self) -> usize {
        self.unread.count()
    }

    fn newer(&self) -> Vec<NewerRecord> {
        self.unread.newer()
    }
}
