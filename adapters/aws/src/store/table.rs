//! Creates and checks the table, and takes the steps that complete it.

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndex,
    GlobalSecondaryIndexDescription, GlobalSecondaryIndexUpdate, IndexStatus, KeyType,
    ProvisionedThroughput, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::item::{CREATED, KEY, KIND, OPEN, TTL};
use super::shape::{
    INDEXES, Index, definition, expiry_by_hand, has_keys, has_kind, index_by_hand, key, keys_only,
    table_by_hand,
};
use crate::errors::dynamodb::port_error;

/// Longest wait for the creation of a table.
const MADE_WITHIN: Duration = Duration::from_mins(5);
/// First pause between two checks; doubled up to [`DESCRIBE_AT_LEAST_EVERY`].
pub(super) const DESCRIBE_FIRST: Duration = Duration::from_millis(100);
pub(super) const DESCRIBE_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// Changes to the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Whether it was created.
    pub made: bool,
    /// Indexes that were created.
    pub indexes: Vec<&'static str>,
    /// Whether the deletion of finished runs was enabled.
    pub expires: bool,
    /// Steps that could not be checked or done, and are not needed to start.
    pub warnings: Vec<String>,
    /// An index that is still being made.
    pub awaited: Option<&'static str>,
}

/// The reason why the table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A permission is missing.
    #[error(
        "{what}, and this process lacks {right} on the table: with credentials that have it, run \
         `tinqs-ci init --aws`, or `{command}`"
    )]
    Denied {
        /// The missing part, as the start of a sentence.
        what: String,
        /// The IAM action.
        right: &'static str,
        /// The command that does it.
        command: String,
    },
    /// The table is not a table of tinqs-ci.
    #[error("table {table} is not a table of tinqs-ci ({why}): set `store` to another name")]
    Foreign {
        /// Its name.
        table: String,
        /// The difference.
        why: String,
    },
    /// The creation takes too long.
    #[error(
        "{what} is still being created after {} min: this goes on without us, so start again later",
        .after.as_secs() / 60
    )]
    Late {
        /// The table or the index.
        what: String,
        /// The time waited so far.
        after: Duration,
    },
    /// A required part of the request is missing.
    #[error("cannot build the request for the table")]
    Request(#[from] BuildError),
    /// Any other failure.
    #[error("{what}: {why}")]
    Failed {
        /// The failed step.
        what: String,
        /// The reason.
        why: String,
    },
}

fn is_denied<E>(error: &SdkError<E>) -> bool
where
    E: ProvideErrorMetadata + Error + 'static,
{
    port_error("ensure_table", error).kind == ErrorKind::Denied
}

fn failed<E>(what: String, error: &SdkError<E>) -> TableError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    TableError::Failed { what, why: port_error("ensure_table", error).message }
}

/// Deletion protection of a new table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The table can be deleted.
    Allowed,
    /// The protection must be removed first.
    Protected,
}

pub(super) enum TableState {
    There(Box<TableDescription>),
    Missing,
    Denied(String),
}

/// Whether the table deletes finished runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It does.
    On,
    /// It does not.
    Off,
    /// It deletes by another attribute.
    Other,
    /// This process may not read it.
    Unseen,
}

pub(super) struct Maker<'s> {
    pub(super) client: &'s Client,
    pub(super) table: &'s str,
}

/// A step towards a complete table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The index that is missing or not ready yet; `None`: both are ready.
    pub(super) awaited: Option<Index>,
    /// Whether this step began to make it.
    pub(super) began: bool,
}

/// Whether an index can be read.
pub(super) fn is_ready(index: &GlobalSecondaryIndexDescription) -> bool {
    index.index_status() == Some(&IndexStatus::Active)
}

impl Maker<'_> {
    pub(super) async fn inspect(&self) -> Result<TableState, TableError> {
        match self.client.describe_table().table_name(self.table).send().await {
            Ok(answer) => Ok(answer
                .table
                .map_or(TableState::Missing, |table| TableState::There(Box::new(table)))),
            Err(error) => match error.as_service_error() {
                Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(TableState::Missing),
                _ if is_access(&error) => Ok(TableState::Denied(format!(
                    "table {} is used unchecked: checking it needs dynamodb:DescribeTable",
                    self.table
                ))),
                _ => Err(failed(format!("cannot describe table {}", self.table), &error)),
            },
        }
    }

    /// Whether this call created it; `false`: another process did meanwhile.
    pub(super) async fn create(&self, deletion: Deletion) -> Result<bool, TableError> {
        let mut asked = self
            .client
            .create_table()
            .table_name(self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .deletion_protection_enabled(deletion == Deletion::Protected)
            .key_schema(key(KEY, KeyType::Hash)?);
        for name in [KEY, OPEN, KIND, CREATED] {
            asked = asked.attribute_definitions(definition(name)?);
        }
        for index in INDEXES {
            let index = GlobalSecondaryIndex::builder()
                .index_name(index.name())
                .key_schema(key(index.partition(), KeyType::Hash)?)
                .key_schema(key(CREATED, KeyType::Range)?)
                .projection(keys_only());
            asked = asked.global_secondary_indexes(index.build()?);
        }
        match asked.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(CreateTableError::ResourceInUseException(_)) => Ok(false),
                _ if is_denied(&error) => Err(TableError::Denied {
                    what: format!("table {} does not exist", self.table),
                    right: "dynamodb:CreateTable",
                    command: table_by_hand(self.table),
                }),
                _ => Err(failed(format!("cannot create table {}", self.table), &error)),
            },
        }
    }

    /// Waits until the items of the table can be read and written.
    pub(super) async fn usable(&self) -> Result<TableDescription, TableError> {
        let begun = tokio::time::Instant::now();
        let mut wait = DESCRIBE_FIRST;
        loop {
            if let TableState::There(table) = self.inspect().await?
                && matches!(table.table_status(), Some(TableStatus::Active | TableStatus::Updating))
            {
                return Ok(*table);
            }
            if begun.elapsed() > MADE_WITHIN {
                let what = format!("table {}", self.table);
                return Err(TableError::Late { what, after: MADE_WITHIN });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(DESCRIBE_AT_LEAST_EVERY);
        }
    }

    /// Begins to make the first missing index, unless another one is being made: `DynamoDB` makes
    /// one at a time.
    pub(super) async fn step(&self, table: &TableDescription) -> Result<Step, TableError> {
        let mut missing = None;
        for index in INDEXES {
            if self.lacks(table, index)? {
                missing = missing.or(Some(index));
            }
        }
        let all = table.global_secondary_indexes();
        let under_way = INDEXES.into_iter().find(|index| {
            all.iter().any(|there| there.index_name() == Some(index.name()) && !is_ready(there))
        });
        let awaited = under_way.or(missing);
        let is_free =
            table.table_status() == Some(&TableStatus::Active) && all.iter().all(is_ready);
        match awaited {
            Some(index) if is_free => {
                self.create_index(table, index).await?;
                Ok(Step { awaited, began: true })
            }
            _ => Ok(Step { awaited, began: false }),
        }
    }

    pub(super) fn check(&self, table: &TableDescription) -> Result<(), TableError> {
        if has_keys(table.key_schema(), &[(KEY, KeyType::Hash)]) && has_kind(table, KEY) {
            return Ok(());
        }
        let why = format!("its key is not the text attribute `{KEY}` alone");
        Err(TableError::Foreign { table: self.table.to_owned(), why })
    }

    pub(super) fn lacks(&self, table: &TableDescription, index: Index) -> Result<bool, TableError> {
        let mut indexes = table.global_secondary_indexes().iter();
        let Some(there) = indexes.find(|there| there.index_name() == Some(index.name())) else {
            return Ok(true);
        };
        let wanted = [(index.partition(), KeyType::Hash), (CREATED, KeyType::Range)];
        if has_keys(there.key_schema(), &wanted) && has_kind(table, CREATED) {
            return Ok(false);
        }
        let why = format!("its index `{}` has other keys", index.name());
        Err(TableError::Foreign { table: self.table.to_owned(), why })
    }

    async fn create_index(&self, table: &TableDescription, index: Index) -> Result<(), TableError> {
        let mut action = CreateGlobalSecondaryIndexAction::builder()
            .index_name(index.name())
            .key_schema(key(index.partition(), KeyType::Hash)?)
            .key_schema(key(CREATED, KeyType::Range)?)
            .projection(keys_only());
        // A table with provisioned capacity needs it for its indexes too.
        let provisioned = table.provisioned_throughput();
        let units = |units: Option<i64>| units.filter(|units| *units > 0);
        let read = provisioned.and_then(|p| units(p.read_capacity_units()));
        let write = provisioned.and_then(|p| units(p.write_capacity_units()));
        let mode = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
        if let (Some(read), Some(write)) = (read, write)
            && mode != Some(&BillingMode::PayPerRequest)
        {
            let units = ProvisionedThroughput::builder()
                .read_capacity_units(read)
                .write_capacity_units(write);
            action = action.provisioned_throughput(units.build()?);
        }
        let update = GlobalSecondaryIndexUpdate::builder().create(action.build()?);
        let mut asked = self
            .client
            .update_table()
            .table_name(self.table)
            .global_secondary_index_updates(update.build());
        for name in [KEY, index.partition(), CREATED] {
            asked = asked.attribute_definitions(definition(name)?);
        }
        let Err(error) = asked.send().await else { return Ok(()) };
        // Another process may be creating it.
        if let TableState::There(table) = self.inspect().await?
            && !self.lacks(&table, index)?
        {
            return Ok(());
        }
        let (name, table) = (index.name(), self.table);
        if is_denied(&error) {
            return Err(TableError::Denied {
                what: format!("index `{name}` of table {table} is missing"),
                right: "dynamodb:UpdateTable",
                command: index_by_hand(table, index),
            });
        }
        Err(failed(format!("cannot create index `{name}` of table {table}"), &error))
    }

    /// Reads whether finished runs are deleted.
    pub(super) async fn expiry(&self) -> Result<Expiry, TableError> {
        let inspected = self.client.describe_time_to_live().table_name(self.table).send().await;
        let there = match inspected {
            Ok(answer) => answer.time_to_live_description,
            Err(error) if is_access(&error) => return Ok(Expiry::Unseen),
            Err(error) => {
                let what = format!("cannot check whether {}", self.kept());
                return Err(failed(what, &error));
            }
        };
        let status = there.as_ref().and_then(|there| there.time_to_live_status());
        let by = there.as_ref().and_then(|there| there.attribute_name());
        Ok(match status {
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) if by == Some(TTL) => {
                Expiry::On
            }
            Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => Expiry::Other,
            _ => Expiry::Off,
        })
    }

    fn kept(&self) -> String {
        format!("finished runs of table {} are not deleted", self.table)
    }

    /// Whether this call enabled the deletion.
    pub(super) async fn expire(&self) -> Result<bool, TableError> {
        let (table, kept) = (self.table, self.kept());
        match self.expiry().await? {
            Expiry::On | Expiry::Unseen => return Ok(false),
            Expiry::Other => {
                let why = format!("its time to live uses another attribute than `{TTL}`");
                return Err(TableError::Failed { what: kept, why });
            }
            Expiry::Off => {}
        }
        let wanted = TimeToLiveSpecification::builder().attribute_name(TTL).enabled(true);
        let asked = self
            .client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(wanted.build()?);
        match asked.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_denied(&error) => Err(TableError::Denied {
                what: kept,
                right: "dynamodb:UpdateTimeToLive",
                command: expiry_by_hand(table),
            }),
            Err(error) => Err(failed(kept, &error)),
        }
    }
}

/// Matches a missing permission only: wrong credentials are no reason to go on.
fn is_access<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code.is_some_and(|code| code.ends_with("AccessDeniedException"))
}
