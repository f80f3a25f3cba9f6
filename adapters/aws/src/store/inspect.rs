//! Read-only checks of the table, for `doctor` and `init --aws --dry-run`.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TableStatus};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::DynamoStore;
use super::item::{KEY, OPEN};
use super::shape::{INDEXES, Index, expiry_by_hand, index_by_hand, table_by_hand};
use super::table::{Expiry, TableError, TableState, is_ready};
use crate::errors::dynamodb::port_error;

/// The key of no item: requests for it neither find nor change anything.
const NOTHING: &str = "doctor#nothing";
/// A condition that no such item meets.
const THERE: &str = "attribute_exists(run_id)";

/// State of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFound {
    /// It does not exist; the command that creates it.
    Missing(String),
    /// This process may not describe it; a sentence.
    Unseen(String),
    /// It is not a table of tinqs-ci; the reason.
    Foreign(String),
    /// It is ours.
    There {
        /// Its status is active.
        is_active: bool,
        /// Missing indexes, each with the command that creates it.
        lacks: Vec<(&'static str, String)>,
        /// Indexes that are being made.
        unready: Vec<&'static str>,
        /// Whether it deletes finished runs.
        expiry: Expiry,
        /// The command that enables the deletion.
        expire_by_hand: String,
    },
}

impl DynamoStore {
    /// Reads the state of the table.
    ///
    /// # Errors
    /// [`TableError`] if the state cannot be read.
    pub async fn inspect_table(&self) -> Result<TableFound, TableError> {
        let maker = self.maker();
        let table = match maker.inspect().await? {
            TableState::There(table) => table,
            TableState::Missing => return Ok(TableFound::Missing(table_by_hand(&self.table))),
            TableState::Denied(why) => return Ok(TableFound::Unseen(why)),
        };
        let mut lacks = Vec::new();
        let inspected = maker.check(&table).and_then(|()| {
            for index in INDEXES {
                if maker.lacks(&table, index)? {
                    lacks.push((index.name(), index_by_hand(&self.table, index)));
                }
            }
            Ok(())
        });
        match inspected {
            Err(TableError::Foreign { why, .. }) => return Ok(TableFound::Foreign(why)),
            other => other?,
        }
        let unready = table.global_secondary_indexes().iter().filter(|index| !is_ready(index));
        let unready: Vec<_> = unready.filter_map(|index| index.index_name()).collect();
        let own = INDEXES.into_iter().map(Index::name);
        Ok(TableFound::There {
            unready: own.filter(|name| unready.contains(name)).collect(),
            is_active: table.table_status() == Some(&TableStatus::Active),
            lacks,
            expiry: maker.expiry().await?,
            expire_by_hand: expiry_by_hand(&self.table),
        })
    }

    /// Returns the permissions on the table's items that this process needs and lacks. Tries each
    /// on an item that does not exist; writes carry the condition that it does, so nothing changes.
    ///
    /// # Errors
    /// Any failure other than a missing permission.
    pub async fn missing_rights(&self) -> Result<Vec<&'static str>, PortError> {
        let mut missing = Vec::new();
        let mut note = |right, tried: Result<bool, PortError>| {
            if !tried? {
                missing.push(right);
            }
            Ok::<(), PortError>(())
        };
        let (table, client) = (self.table.as_str(), &self.client);
        let key = || AttributeValue::S(NOTHING.to_owned());
        note(
            "dynamodb:GetItem",
            may(client.get_item().table_name(table).key(KEY, key()).send().await),
        )?;
        let keys = KeysAndAttributes::builder().keys(HashMap::from([(KEY.to_owned(), key())]));
        let keys = keys.build().map_err(|error| {
            PortError::new("store", "doctor", ErrorKind::Invalid, error.to_string())
        })?;
        note(
            "dynamodb:BatchGetItem",
            may(client.batch_get_item().request_items(table, keys).send().await),
        )?;
        let query = client.query().table_name(table).index_name(Index::Open.name());
        let query = query.key_condition_expression("#open = :open").limit(1);
        let query = query.expression_attribute_names("#open", OPEN);
        note(
            "dynamodb:Query",
            may(query.expression_attribute_values(":open", key()).send().await),
        )?;
        let put = client.put_item().table_name(table).item(KEY, key());
        note("dynamodb:PutItem", may(put.condition_expression(THERE).send().await))?;
        let update = client.update_item().table_name(table).key(KEY, key());
        let update = update.update_expression("SET doctor = :doctor");
        let update = update.expression_attribute_values(":doctor", key());
        note("dynamodb:UpdateItem", may(update.condition_expression(THERE).send().await))?;
        let delete = client.delete_item().table_name(table).key(KEY, key());
        note("dynamodb:DeleteItem", may(delete.condition_expression(THERE).send().await))?;
        Ok(missing)
    }
}

/// Whether a call was permitted, however it ended.
fn may<T, E>(answer: Result<T, SdkError<E>>) -> Result<bool, PortError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Err(error) = answer else { return Ok(true) };
    let told = port_error("doctor", &error);
    match told.kind {
        // The condition does not hold, or an index is missing, which is reported separately.
        ErrorKind::Conflict | ErrorKind::Invalid => Ok(true),
        ErrorKind::Denied => Ok(false),
        _ => Err(told),
    }
}
