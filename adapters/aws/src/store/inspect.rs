//! The table looked at, with nothing changed: what `doctor` tells and `init --aws --dry-run` would do.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TableStatus};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::DynamoStore;
use super::item::{KEY, OPEN};
use super::shape::{INDEXES, Index, expiry_by_hand, index_by_hand, table_by_hand};
use super::table::{Expiry, Look, TableError};
use crate::errors::dynamodb::port_error;

/// The key of no item: what is asked of it neither finds nor changes anything.
const NOTHING: &str = "doctor#nothing";
/// It holds for no item of that key.
const THERE: &str = "attribute_exists(run_id)";

/// A table as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFound {
    /// There is none of that name; what makes it by hand.
    Missing(String),
    /// This process may not look at it; a sentence.
    Unseen(String),
    /// It is another's; why.
    Foreign(String),
    /// It is ours.
    There {
        /// It answers.
        is_active: bool,
        /// Indexes that it lacks, each with what makes it by hand.
        lacks: Vec<(&'static str, String)>,
        /// Whether it removes finished runs.
        expiry: Expiry,
        /// What makes it do so by hand.
        expire_by_hand: String,
    },
}

impl DynamoStore {
    /// Looks at the table.
    ///
    /// # Errors
    /// [`TableError`]: it is not known what it is.
    pub async fn look_at_table(&self) -> Result<TableFound, TableError> {
        let maker = self.maker();
        let table = match maker.look().await? {
            Look::There(table) => table,
            Look::Missing => return Ok(TableFound::Missing(table_by_hand(&self.table))),
            Look::Denied(why) => return Ok(TableFound::Unseen(why)),
        };
        let mut lacks = Vec::new();
        let looked = maker.check(&table).and_then(|()| {
            for index in INDEXES {
                if maker.lacks(&table, index)? {
                    lacks.push((index.name(), index_by_hand(&self.table, index)));
                }
            }
            Ok(())
        });
        match looked {
            Err(TableError::Foreign { why, .. }) => return Ok(TableFound::Foreign(why)),
            other => other?,
        }
        Ok(TableFound::There {
            is_active: table.table_status() == Some(&TableStatus::Active),
            lacks,
            expiry: maker.expiry().await?,
            expire_by_hand: expiry_by_hand(&self.table),
        })
    }

    /// What this process may not do with the table's items, of all that it needs. Each right is tried
    /// on an item that is not there, writes on the condition that it is: nothing changes.
    ///
    /// # Errors
    /// What else than a missing right came back.
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

/// Whether a call was let through; how it ended then is another matter.
fn may<T, E>(answer: Result<T, SdkError<E>>) -> Result<bool, PortError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Err(error) = answer else { return Ok(true) };
    let told = port_error("doctor", &error);
    match told.kind {
        // The condition does not hold, or an index is missing, which is told by itself.
        ErrorKind::Conflict | ErrorKind::Invalid => Ok(true),
        ErrorKind::Denied => Ok(false),
        _ => Err(told),
    }
}
