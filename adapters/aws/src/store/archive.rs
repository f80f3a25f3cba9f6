//! Everything in the table: read for a backup, and put into an empty table.
//!
//! The table has no reading of one moment. Deliveries and usage are read first, then runs, then the
//! seats of the classes that the runs name: so nothing that a run needs is missing. Lists come from
//! the index `created`, because the role of the controller may not scan the table.

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use tinqs_ci_reconciler::model::{ClassName, Run, RunName, SeatLimits};
use tinqs_ci_reconciler::ports::{
    Archive, ErrorKind, Expect, Inbox as _, PortError, Snapshot, SnapshotPart, StoreItem,
};
use tokio::task::JoinSet;

use super::condition::{is_own, put_condition};
use super::inbox::delivery_of;
use super::item::{self, INBOX, Item, RUN, USAGE};
use super::lists::{IndexRange, Keys, key_of};
use super::shape::Index;
use super::usage::usage_of;
use super::{DynamoStore, conflict, found};
use crate::errors::dynamodb::port_error;

/// Items of one part.
const PART: usize = 200;
/// Concurrent writes of runs.
const AT_ONCE: usize = 16;

/// The part that is read next.
enum Step {
    Pauses,
    /// Items of this kind after a position.
    Listed(&'static str, Option<Item>),
    Seats,
    End,
}

/// A reading, and the classes of which the runs so far have attempts.
struct Reading<'s> {
    store: &'s DynamoStore,
    step: Step,
    classes: BTreeSet<ClassName>,
}

#[async_trait]
impl Snapshot for Reading<'_> {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError> {
        match std::mem::replace(&mut self.step, Step::End) {
            Step::Pauses => {
                let pauses = self.store.list_pauses().await?;
                self.step = Step::Listed(INBOX, None);
                let items = pauses.into_iter().map(StoreItem::Pause).collect();
                Ok(Some(SnapshotPart { items, unreadable: 0 }))
            }
            Step::Listed(kind, behind) => self.listed(kind, behind).await.map(Some),
            Step::Seats => {
                let Some(class) = self.classes.pop_first() else { return Ok(None) };
                let seats = self.store.list_seats(&class).await?;
                self.step = Step::Seats;
                let of_class = |seat| StoreItem::Seat { class: class.clone(), seat };
                let items = seats.into_iter().map(of_class).collect();
                Ok(Some(SnapshotPart { items, unreadable: 0 }))
            }
            Step::End => Ok(None),
        }
    }
}

impl Reading<'_> {
    /// Reads the next items of a kind.
    async fn listed(
        &mut self,
        kind: &'static str,
        behind: Option<Item>,
    ) -> Result<SnapshotPart, PortError> {
        let range =
            IndexRange { index: Index::Created, of: kind, newest_first: false, limit: PART };
        let Keys { keys, next } = self.store.keys("snapshot", &range, behind).await?;
        // The index lags behind deletions.
        let mut items = self.store.fetch("snapshot", &keys, true).await?;
        let mut part = SnapshotPart::default();
        for stored in keys.iter().filter_map(key_of) {
            let Some(there) = items.remove(stored) else { continue };
            match self.understand(kind, stored, &there) {
                Some(item) => part.items.push(item),
                None => part.unreadable += 1,
            }
        }
        self.step = match (next, kind) {
            (Some(next), _) => Step::Listed(kind, Some(next)),
            (None, INBOX) => Step::Listed(USAGE, None),
            (None, USAGE) => Step::Listed(RUN, None),
            (None, _) => Step::Seats,
        };
        Ok(part)
    }

    fn understand(&mut self, kind: &str, stored: &str, there: &Item) -> Option<StoreItem> {
        match kind {
            INBOX => delivery_of(stored, there).map(StoreItem::Delivery),
            USAGE => usage_of(there).map(StoreItem::Usage),
            _ => {
                let run = self.store.understand(there).ok()?;
                let past = run.status.past.iter().map(|past| &past.class);
                let own = run.status.attempt.iter().map(|attempt| &attempt.class);
                self.classes.extend(own.chain(past).cloned());
                Some(StoreItem::Run(Box::new(run)))
            }
        }
    }
}

/// A write of a run that may not exist yet.
struct NewRun {
    name: RunName,
    mark: [u8; 16],
    result: Result<PutItemOutput, SdkError<PutItemError>>,
}

impl DynamoStore {
    /// Writes runs with their versions, unless they exist.
    async fn insert_runs(&self, runs: Vec<Run>) -> Result<(), PortError> {
        let mut under_way: JoinSet<NewRun> = JoinSet::new();
        let mut runs = runs.into_iter();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(run) = runs.next()
            {
                let mark = self.mark();
                let (condition, names, _) = put_condition(Expect::Absent);
                let asked = self
                    .client
                    .put_item()
                    .table_name(&self.table)
                    .set_item(Some(item::of(&run, run.version, &mark)))
                    .condition_expression(condition)
                    .set_expression_attribute_names(Some(names))
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    );
                let name = run.name;
                under_way.spawn(async move { NewRun { name, mark, result: asked.send().await } });
            }
            let Some(ended) = under_way.join_next().await else { return Ok(()) };
            let written = ended.map_err(|panicked| {
                let message = format!("writing failed: {panicked}");
                PortError::new("store", "insert", ErrorKind::Unavailable, message)
            })?;
            written.check()?;
        }
    }
}

impl NewRun {
    /// Accepts a refusal that its own first try has caused.
    fn check(self) -> Result<(), PortError> {
        let Err(error) = self.result else { return Ok(()) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error()
        else {
            return Err(port_error("insert", &error));
        };
        let there = refused.item();
        if is_own(there, &self.mark) {
            return Ok(());
        }
        Err(conflict("insert", found(&self.name, there)))
    }
}

#[async_trait]
impl Archive for DynamoStore {
    async fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, PortError> {
        Ok(Box::new(Reading { store: self, step: Step::Pauses, classes: BTreeSet::new() }))
    }

    /// Does not find seats without runs: nobody needs them. The index may lag some seconds.
    async fn is_empty(&self) -> Result<bool, PortError> {
        for kind in [RUN, INBOX, USAGE] {
            let range =
                IndexRange { index: Index::Created, of: kind, newest_first: false, limit: 1 };
            if !self.keys("is_empty", &range, None).await?.keys.is_empty() {
                return Ok(false);
            }
        }
        Ok(self.list_pauses().await?.is_empty())
    }

    async fn insert(&self, items: Vec<StoreItem>) -> Result<(), PortError> {
        let mut runs = Vec::new();
        for item in items {
            match item {
                StoreItem::Run(run) => runs.push(*run),
                StoreItem::Seat { class, seat } => {
                    let no_limits = SeatLimits::default();
                    self.take_seat(&class, &seat.attempt_id, seat.repo_ref(), no_limits).await?;
                }
                StoreItem::Pause(pause) => {
                    self.store_pause(&pause).await?;
                }
                StoreItem::Usage(used) => self.add_usage(&used).await?,
                StoreItem::Delivery(item) => {
                    self.take_in(&item).await?;
                }
            }
        }
        self.insert_runs(runs).await
    }
}
