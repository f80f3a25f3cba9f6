//! Lists: an index returns the keys, the table the items.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};
use tinqs_ci_reconciler::model::{Phase, Run};
use tinqs_ci_reconciler::ports::{Cursor, ErrorKind, Filter, OpenRun, Page, PortError, Sharing};
use tokio::task::JoinSet;

use super::DynamoStore;
use super::item::{self, CREATED, IS_OPEN, Item, KEY, RUN};
use super::shape::Index;
use crate::errors::dynamodb::port_error;

/// Items per batch: the table's own limit.
const BATCH: usize = 100;
/// Concurrent batches.
const AT_ONCE: usize = 8;
/// Records read for one page.
const SCAN: usize = 2_000;
/// Runs on one page.
const PAGE: usize = 1_000;
/// First pause before items that a batch left out are requested again; doubled each time.
const LEFT_OUT: Duration = Duration::from_millis(50);
/// Most requests per batch.
const TRIES: u32 = 8;

/// A range of an index.
pub(super) struct IndexRange<'s> {
    pub(super) index: Index,
    /// The value of the index's partition key.
    pub(super) of: &'s str,
    pub(super) newest_first: bool,
    /// Most keys per request.
    pub(super) limit: usize,
}

/// Keys of an index, and the position of the next ones.
pub(super) struct Keys {
    pub(super) keys: Vec<Item>,
    pub(super) next: Option<Item>,
}

/// A position in an index, whether or not an item is there.
pub(super) fn place(index: Index, of: &str, created: i64, key: &str) -> Item {
    Item::from([
        (index.partition().to_owned(), item::text(of)),
        (CREATED.to_owned(), item::number(created)),
        (KEY.to_owned(), item::text(key)),
    ])
}

pub(super) fn key_of(item: &Item) -> Option<&str> {
    item.get(KEY)?.as_s().ok().map(String::as_str)
}

impl DynamoStore {
    /// Returns the next keys of an index after a position.
    pub(super) async fn keys(
        &self,
        operation: &'static str,
        stretch: &IndexRange<'_>,
        behind: Option<Item>,
    ) -> Result<Keys, PortError> {
        self.needs_indexes(operation)?;
        let asked = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(stretch.index.name())
            .key_condition_expression("#of = :of")
            .expression_attribute_names("#of", stretch.index.partition())
            .expression_attribute_values(":of", item::text(stretch.of))
            .scan_index_forward(!stretch.newest_first)
            .limit(i32::try_from(stretch.limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(behind)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = asked.send().await.map_err(|error| port_error(operation, &error))?;
        self.read(answer.consumed_capacity());
        Ok(Keys { keys: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }

    /// Returns those of the items that exist, by key.
    pub(super) async fn fetch(
        &self,
        operation: &'static str,
        keys: &[Item],
        consistent: bool,
    ) -> Result<HashMap<String, Item>, PortError> {
        let mut found = HashMap::with_capacity(keys.len());
        let mut under_way = JoinSet::new();
        let mut batches = keys.chunks(BATCH);
        loop {
            while under_way.len() < AT_ONCE
                && let Some(batch) = batches.next()
            {
                let asked = Batch {
                    client: self.client.clone(),
                    table: self.table.clone(),
                    operation,
                    consistent,
                };
                under_way.spawn(asked.whole(batch.iter().filter_map(only_key).collect()));
            }
            let Some(ended) = under_way.join_next().await else { return Ok(found) };
            let (items, charged) = ended.map_err(|panicked| {
                let message = format!("reading failed: {panicked}");
                PortError::new("store", operation, ErrorKind::Unavailable, message)
            })??;
            self.read(&charged);
            for item in items {
                if let Some(key) = key_of(&item) {
                    found.insert(key.to_owned(), item);
                }
            }
        }
    }

    pub(super) async fn list_open(&self) -> Result<Vec<OpenRun>, PortError> {
        // One batch at a time: items are many times as long as what remains of them.
        let stretch =
            IndexRange { index: Index::Open, of: IS_OPEN, newest_first: false, limit: SCAN };
        let _one_at_a_time = self.listing.lock().await;
        let (mut open, mut behind) = (Vec::new(), None);
        let mut sharing = Sharing::default();
        loop {
            let Keys { keys, next } = self.keys("open", &stretch, behind).await?;
            let items = self.fetch("open", &keys, false).await?;
            let runs = items.values().filter_map(|item| self.understand(item).ok());
            // The index lags: finished runs have left it or will.
            let runs = runs.filter(Run::is_open);
            open.extend(runs.map(|run| sharing.share(OpenRun::of(&run))));
            match next {
                Some(next) => behind = Some(next),
                None => return Ok(open),
            }
        }
    }

    pub(super) async fn list_page(
        &self,
        filter: &Filter,
        after: Option<&str>,
    ) -> Result<Page, PortError> {
        let after = after
            .map(Cursor::parse)
            .transpose()
            .map_err(|message| PortError::new("store", "page", ErrorKind::Invalid, message))?;
        // Open phases have few runs and their own index; finished runs are read in order of time.
        let (index, of) = match filter.phase {
            Some(Phase::Waiting | Phase::Starting | Phase::Running) => (Index::Open, IS_OPEN),
            Some(Phase::Finished) | None => (Index::Created, RUN),
        };
        let limit = filter.limit.clamp(1, PAGE);
        // The requested number and one more; if a filter omits some, more per request.
        let all = filter.phase.is_none() && filter.class.is_none() && filter.repo.is_none();
        let at_once = if all { limit + 1 } else { limit.max(BATCH) };
        let stretch = IndexRange { index, of, newest_first: true, limit: at_once };
        let mut behind = after.map(|at| place(index, of, at.created, &at.name));
        let (mut page, mut last, mut seen) = (Page::default(), None::<Cursor>, 0);
        loop {
            let Keys { keys, next } = self.keys("page", &stretch, behind).await?;
            let items = self.fetch("page", &keys, false).await?;
            for key in &keys {
                let (Some(name), Some(created)) = (key_of(key), item::number_of(key, CREATED))
                else {
                    continue;
                };
                if page.items.len() == limit || seen == SCAN {
                    page.next = last.map(|last| last.text());
                    return Ok(page);
                }
                if let Some(Ok(run)) = items.get(name).map(|item| self.understand(item))
                    && filter.takes(&run)
                {
                    page.items.push(run);
                }
                seen += 1;
                last = Some(Cursor { created, name: name.to_owned() });
            }
            match next {
                Some(next) => behind = Some(next),
                None => return Ok(page),
            }
        }
    }
}

fn only_key(item: &Item) -> Option<Item> {
    Some(Item::from([(KEY.to_owned(), item.get(KEY)?.clone())]))
}

/// Parameters of a batch.
struct Batch {
    client: Client,
    table: String,
    operation: &'static str,
    consistent: bool,
}

impl Batch {
    /// Reads all of at most [`BATCH`] items; items that a response leaves out are requested again.
    async fn whole(
        self,
        mut keys: Vec<Item>,
    ) -> Result<(Vec<Item>, Vec<ConsumedCapacity>), PortError> {
        let Self { client, table, operation, consistent } = self;
        let (mut items, mut charged) = (Vec::with_capacity(keys.len()), Vec::new());
        let mut wait = LEFT_OUT;
        for _ in 0..TRIES {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(consistent)
                .build()
                .map_err(|error| {
                    PortError::new("store", operation, ErrorKind::Invalid, error.to_string())
                })?;
            let asked = client
                .batch_get_item()
                .request_items(&table, wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = asked.send().await.map_err(|error| port_error(operation, &error))?;
            charged.extend(answer.consumed_capacity.unwrap_or_default());
            items.extend(answer.responses.unwrap_or_default().remove(&table).unwrap_or_default());
            let left_out = answer.unprocessed_keys.unwrap_or_default().remove(&table);
            keys = left_out.map(|left_out| left_out.keys).unwrap_or_default();
            if keys.is_empty() {
                return Ok((items, charged));
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let message = format!("table {table} left out {} items in {TRIES} responses", keys.len());
        Err(PortError::new("store", operation, ErrorKind::Throttled, message))
    }
}
